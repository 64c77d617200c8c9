"""The Argo workflow's templates, as KFP's compiler makes them from a compiled pipeline.

Read from KFP 2.17.0, backend/src/v2/compiler/argocompiler/argo.go, dag.go, container.go and
visitor.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Retry:
    limit: int
    policy: str
    backoff: float = 0.0
    factor: float = 2.0

    def wait(self, attempts: int) -> float:
        """Return the seconds between an attempt and the next."""
        return float(self.backoff * self.factor ** (attempts - 1))

    def again(self, phase: str, attempts: int) -> bool:
        """Argo's processNodeRetries."""
        retried = {"Always": ("Failed", "Error"), "OnFailure": ("Failed",), "OnError": ("Error",)}
        return phase in retried[self.policy] and attempts <= self.limit


@dataclass
class Task:
    name: str
    template: str
    depends: list[str] = field(default_factory=list)
    count: int | None = None  # of a loop
    unless_cached: bool = False
    exit_template: str = ""


@dataclass
class Template:
    name: str
    tasks: list[Task] | None = None  # none: a pod
    retry: Retry | None = None


class Compiler:
    """argocompiler: the workflow's templates."""

    def __init__(self, ir: Mapping[str, Any], parameters: Mapping[str, Any]):
        self._ir = ir
        inputs = ir["root"]["inputDefinitions"]["parameters"]
        self._parameters = {name: of.get("defaultValue") for name, of in inputs.items()}
        self._parameters |= parameters
        self.templates: dict[str, Template] = {}
        for name in ("system-dag-driver", "system-container-driver"):
            self.templates[name] = Template(name)
        self._dag("root", ir["root"], None)
        driver = Task("root-driver", "system-dag-driver")
        root = Task("root", "root", ["root-driver"])
        self.templates["entrypoint"] = Template("entrypoint", [driver, root])

    def _dag(self, name: str, component: Mapping[str, Any], retry: Any) -> None:
        tasks = dict(sorted(component["dag"]["tasks"].items()))
        exits = {}
        for key, task in tasks.items():
            if self._is_exit(task):
                template = f"exit-hook-{name}-{key}"
                self.templates[template] = Template(template, self._task(key, task, retry, True))
                for before in task["dependentTasks"]:
                    exits[before] = template
        found = []
        for key, task in tasks.items():
            if not self._is_exit(task):
                found += self._task(key, task, retry, False, exits.get(key, ""))
        self.templates[name] = Template(name, found)

    @staticmethod
    def _is_exit(task: Mapping[str, Any]) -> bool:
        return task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"

    def _task(
        self,
        name: str,
        task: Mapping[str, Any],
        retry: Any,
        alone: bool,
        exit_template: str = "",
        item: bool = False,
    ) -> list[Task]:
        component = task["componentRef"]["name"]
        inner = self._ir["components"][component]
        policy = task.get("retryPolicy") or retry
        depends = [] if alone or item else list(task.get("dependentTasks", ()))
        if "parameterIterator" in task and not item:
            return [Task(name, self._loop(name, component, task, policy), depends)]
        if "dag" in inner:
            self._dag(component, inner, policy)
            return [
                Task(f"{name}-driver", "system-dag-driver", depends),
                Task(name, component, [f"{name}-driver"], exit_template=exit_template),
            ]
        return [
            Task(f"{name}-driver", "system-container-driver", depends),
            Task(name, self._executor(policy), [f"{name}-driver"], exit_template=exit_template),
        ]

    def _loop(self, name: str, component: str, task: Mapping[str, Any], policy: Any) -> str:
        items = task["parameterIterator"]["items"]["inputParameter"]
        count = len(self._parameters[items.removeprefix("pipelinechannel--")])
        template = f"{component}-iteration"
        inner = self._task("iteration-item", task, policy, False, item=True)
        self.templates[template] = Template(template, inner)
        loop = f"{component}-{name}-iterator"
        self.templates[loop] = Template(
            loop,
            [
                Task("iteration-driver", "system-dag-driver"),
                Task("iteration-iterations", template, ["iteration-driver"], count=count),
            ],
        )
        return loop

    def _executor(self, policy: Mapping[str, Any] | None) -> str:
        prefix = "retry-" if policy else ""
        name, pod = f"{prefix}system-container-executor", f"{prefix}system-container-impl"
        # In KFP they are inputs of the template; one for all steps is enough here.
        retry = None
        if policy:
            seconds = float(str(policy.get("backoffDuration", "0s")).removesuffix("s"))
            factor = float(policy.get("backoffFactor", 2.0))
            retry = Retry(int(policy["maxRetryCount"]), "OnFailure", seconds, factor)
        self.templates[pod] = Template(pod, None, retry)
        self.templates[name] = Template(name, [Task("executor", pod, unless_cached=True)])
        return name
