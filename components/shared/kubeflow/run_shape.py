"""Reads a run's steps from the compiled pipeline: names, order, attempts, items of loops."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.shared.kubeflow.step import Step, title

_EXIT_STRATEGY = "ALL_UPSTREAM_TASKS_COMPLETED"
_CHANNEL = "pipelinechannel--"


@dataclass(frozen=True)
class StepShape:
    """A step of the compiled pipeline.

    Args:
        name: Its display name, with underscores.
        attempts: Maximum number of attempts; None if the pipeline sets none.
        template: The name of its Argo template, from KFP's compiler.
    """

    name: str
    attempts: int | None
    template: str


@dataclass(frozen=True)
class RunShape:
    """The steps of a run, in an order in which they may begin.

    Args:
        steps: The steps, by their path of tasks.
        items: The items of each loop whose items are known, by the loop's task.
    """

    steps: Mapping[tuple[str, ...], StepShape] = field(default_factory=dict)
    items: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, specification: Any, parameters: Mapping[str, Any] | None = None) -> "RunShape":
        """Read a compiled pipeline.

        Args:
            specification: The IR as the API returns it: alone, or with the
                settings for Kubernetes. Anything else has no steps.
            parameters: The run's values for the pipeline's parameters.
        """
        found = _mapping(specification)
        ir = _mapping(found.get("pipeline_spec")) or found
        root = _mapping(ir.get("root"))
        defaults = _mapping(_mapping(root.get("inputDefinitions")).get("parameters"))
        values = {name: _mapping(of).get("defaultValue") for name, of in defaults.items()}
        reader = _Reader(
            _mapping(ir.get("components")),
            _executors(_mapping(found.get("platform_spec"))),
            {**values, **(parameters or {})},
        )
        steps = dict(reader.steps(root))
        return cls(steps, reader.items)

    def name(self, step: Step) -> str:
        """Return a step's display name, e.g. `fetch_base` for the task `fetch-published-2`."""
        shape = self.steps.get(step.path)
        return shape.name if shape else step.name

    def title(self, step: Step) -> str:
        """Return a step's name for the user; in a loop with its item: `train [64, 32]`."""
        return title(step, self.items.get, self.name(step))

    def attempts(self, step: Step) -> int | None:
        """Return the maximum number of attempts of a step; None if it is unknown."""
        shape = self.steps.get(step.path)
        return shape.attempts if shape else None

    def titles(self) -> list[str]:
        """Return the names of all steps of a run; in loops, one for each item."""
        found = []
        for path, shape in self.steps.items():
            loop = next((task for task in path if task in self.items), None)
            numbers = range(len(self.items[loop])) if loop else [0]
            for number in numbers:
                items = ((loop, number),) if loop else ()
                found.append(title(Step(path, items), self.items.get, shape.name))
        return found

    def not_begun(self, steps: Sequence[Step]) -> list[str]:
        """Return the names of the steps that have not begun; in loops, once for all items."""
        begun = {step.path for step in steps if step.state}
        return [shape.name for path, shape in self.steps.items() if path not in begun]


class _Reader:
    def __init__(
        self,
        components: Mapping[str, Any],
        executors: Mapping[str, Any],
        parameters: Mapping[str, Any],
    ):
        self._components = components
        self._executors = executors
        self._parameters = parameters
        self.items: dict[str, Sequence[Any]] = {}

    def steps(
        self,
        component: Mapping[str, Any],
        path: tuple[str, ...] = (),
        retry: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[tuple[str, ...], StepShape]]:
        """Yield the steps of a component and of its groups, with their paths."""
        if len(path) > 20:
            return
        for task, settings in _in_order(_mapping(_mapping(component.get("dag")).get("tasks"))):
            # KFP's compiler passes a group's policy to its tasks: argocompiler/visitor.go.
            policy = _mapping(settings.get("retryPolicy")) or retry or {}
            name = _mapping(settings.get("componentRef")).get("name")
            inner = _mapping(self._components.get(str(name)))
            self._note_items(task, settings)
            if "dag" in inner:
                yield from self.steps(inner, (*path, task), policy)
            else:
                label = str(inner.get("executorLabel"))
                yield (*path, task), self._shape(task, settings, policy, label)

    def _shape(
        self, task: str, settings: Mapping[str, Any], policy: Mapping[str, Any], label: str
    ) -> StepShape:
        # KFP's argocompiler/container.go, addContainerExecutorTemplate.
        template = f"{'retry-' if policy else ''}system-container-impl"
        pod = _mapping(_mapping(self._executors.get(label)).get("podMetadata"))
        if pod:
            counts = [len(_mapping(pod.get(kind))) for kind in ("annotations", "labels")]
            template = f"metadata-{counts[0]}-{counts[1]}-{template}"
        count = policy.get("maxRetryCount")
        name = _mapping(settings.get("taskInfo")).get("name") or task
        return StepShape(
            str(name).replace("-", "_"),
            int(count) + 1 if isinstance(count, int | float) else None,
            template,
        )

    def _note_items(self, task: str, settings: Mapping[str, Any]) -> None:
        source = _mapping(_mapping(settings.get("parameterIterator")).get("items"))
        found: Any = None
        if isinstance(source.get("raw"), str):
            try:
                found = json.loads(source["raw"])
            except ValueError:
                found = None
        elif isinstance(source.get("inputParameter"), str):
            # kfp passes a pipeline parameter through all groups under this name.
            found = self._parameters.get(source["inputParameter"].removeprefix(_CHANNEL))
        if isinstance(found, list):
            self.items[task] = found


def _in_order(tasks: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the tasks of a group, each after the tasks that it depends on; exit handlers last."""
    waiting = {name: _mapping(task) for name, task in sorted(tasks.items())}
    while waiting:
        ready = [
            name
            for name, task in waiting.items()
            if not {str(other) for other in task.get("dependentTasks") or ()} & set(waiting)
        ]
        of_last = {
            name
            for name in ready
            if _mapping(waiting[name].get("triggerPolicy")).get("strategy") == _EXIT_STRATEGY
        }
        # KFP refuses a cycle; its tasks are shown all the same.
        for name in sorted(ready, key=lambda one: one in of_last) or list(waiting):
            yield name, waiting.pop(name)


def _executors(platform: Mapping[str, Any]) -> Mapping[str, Any]:
    kubernetes = _mapping(_mapping(platform.get("platforms")).get("kubernetes"))
    return _mapping(_mapping(kubernetes.get("deploymentSpec")).get("executors"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
