"""Runs of the compiled pipeline as KFP's API shows them, made by the rules of Argo and KFP.

A compiled pipeline and a short story (which pod runs how long, fails, is lost,
which step's result is cached) become the nodes of the Argo workflow at any time,
and these the JSON of the run. Read from:

- KFP 2.17.0, backend/src/v2/compiler/argocompiler/argo.go, dag.go, container.go
  and visitor.go: the workflow's templates and tasks.
- Argo Workflows 4.0.5, workflow/controller/dag.go (executeDAGTask,
  assessDAGPhase, expandTask), operator.go (executeTemplate, processNodeRetries,
  initializeNode, addChildNode, getOutboundNodes, mergedTemplateDefaultsInto),
  exit_handler.go (runOnExitNode), workflow/util/pod_name.go, and NodeID in
  pkg/apis/workflow/v1alpha1/workflow_types.go: nodes, names, ids, children.
- KFP 2.17.0, backend/src/common/util/workflow.go (NodeStatuses),
  backend/src/apiserver/server/report_server.go, api_converter.go (toModelTasks,
  toApiPipelineTaskDetail), model/run.go (ToV2), storage/task_store.go
  (CreateOrUpdateTasks), common/utils.go (CustomMarshaler): the tasks as JSON.
- backend/src/v2/component/launcher_v2.go and apiserver/server/task_server.go: the
  tasks without a name, which stand for entries of the cache.
- backend/src/apiserver/server/run_log_server.go, resource/resource_manager.go
  (ReadLog), archive/log.go, main.go: logs; frontend/server/handlers/pod-logs.ts.
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from argo_templates import Compiler, Retry, Task, Template

WORKFLOW = "deep-retrieval-x7k2p"
STATES = {
    "Pending": "PENDING",
    "Running": "RUNNING",
    "Succeeded": "SUCCEEDED",
    "Skipped": "SKIPPED",
    "Failed": "FAILED",
    "Error": "FAILED",
    "Omitted": None,  # unknown to model.RuntimeState.ToV2
}
NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Pod:
    """What happens to a pod.

    Args:
        seconds: How long it runs.
        pending: How long it waits before.
        phase: How it ends: Succeeded, Failed (its process exits with an error) or
            Error (it is lost).
        log: Its output.
        message: Argo's message about it.
    """

    seconds: float = 10.0
    pending: float = 2.0
    phase: str = "Succeeded"
    log: str = ""
    message: str = ""


@dataclass(frozen=True)
class Story:
    """What happens during a run.

    Args:
        pods: The pods of a step, one for each attempt; the last one stands for all
            further ones. Steps are named by their tasks, those in loops with the
            number of the item, and drivers by the step: `train[1]`, `adapt-driver`.
        cached: The steps that are served from the cache.
    """

    pods: Mapping[str, Sequence[Pod]] = field(default_factory=dict)
    cached: Sequence[str] = ()


@dataclass(eq=False)
class Node:
    """A node of the workflow, and when it changed."""

    name: str
    display: str
    type: str
    template: str
    phases: list[tuple[float, str]]
    children: list[tuple[float, "Node"]] = field(default_factory=list)
    leaves: list["Node"] = field(default_factory=list)
    finished: float | None = None
    hooks_finished: float = 0.0
    message: str = ""

    @property
    def phase(self) -> str:
        return self.phases[-1][1]

    @functools.cached_property
    def hash(self) -> int:
        value = 2166136261
        for byte in self.name.encode():
            value = ((value ^ byte) * 16777619) % 2**32
        return value

    @property
    def id(self) -> str:
        return self.name if self.name == WORKFLOW else f"{WORKFLOW}-{self.hash}"

    @property
    def pod_name(self) -> str:
        return f"{WORKFLOW}-{self.template}-{self.hash}"

    def end(self, time: float, phase: str) -> "Node":
        self.phases.append((time, phase))
        self.finished = time
        return self

    def add(self, time: float, child: "Node") -> None:
        if child not in [other for _, other in self.children]:
            self.children.append((time, child))


class ArgoRun:
    """A run of a compiled pipeline.

    Args:
        ir: The compiled pipeline.
        story: What happens.
        template_defaults: Whether Argo has the defaults that KFP 2.17 ships: each
            template is tried up to three times if it ends in an error.
        parameters: What the run changes of the pipeline's parameters.
    """

    def __init__(
        self,
        ir: Mapping[str, Any],
        story: Story | None = None,
        *,
        template_defaults: bool = True,
        parameters: Mapping[str, Any] | None = None,
    ):
        self.ir = ir
        self._story = story or Story()
        self._defaults = template_defaults
        self._templates = Compiler(ir, parameters or {}).templates
        self._counts: dict[str, int] = {}
        self._pods: dict[str, Pod] = {}
        self.nodes: dict[str, Node] = {}
        root = self._execute(WORKFLOW, self._templates["entrypoint"], None, 0.0)
        assert root.finished is not None
        self.phase, self.seconds = root.phase, root.finished

    # Argo: the nodes and their changes.

    def _node(
        self, name: str, kind: str, template: str, boundary: Node | None, time: float, phase: str
    ) -> Node:
        display = name.removeprefix(boundary.name).lstrip(".") if boundary else name
        node = Node(name, display, kind, template, [(time, phase)])
        assert node.id not in self.nodes
        self.nodes[node.id] = node
        return node

    def _retry(self, template: Template) -> Retry | None:
        if not self._defaults:
            return template.retry
        # A strategic merge: the template's own limit and backoff, the defaults' policy.
        own = template.retry or Retry(2, "OnError")
        return Retry(own.limit, "OnError", own.backoff, own.factor)

    def _execute(self, name: str, template: Template, boundary: Node | None, time: float) -> Node:
        retry = self._retry(template)
        if retry is None:
            return self._once(name, template, boundary, time)
        parent = self._node(name, "Retry", template.name, boundary, time, "Running")
        attempts = 0
        while True:
            child = self._once(f"{name}({attempts})", template, boundary, time)
            parent.add(time, child)
            assert child.finished is not None
            time = child.finished
            attempts += 1
            if not retry.again(child.phase, attempts):
                return parent.end(time, child.phase)
            time += retry.wait(attempts)

    def _once(self, name: str, template: Template, boundary: Node | None, time: float) -> Node:
        if template.tasks is not None:
            node = self._node(name, "DAG", template.name, boundary, time, "Running")
            return self._dag(node, template.tasks, time)
        node = self._node(name, "Pod", template.name, boundary, time, "Pending")
        pod = self._pod(name)
        self._pods[node.id] = pod
        node.phases.append((time + pod.pending, "Running"))
        node.message = pod.message
        return node.end(time + pod.pending + pod.seconds, pod.phase)

    def _pod(self, name: str) -> Pod:
        key = self._key(name)
        pods = self._story.pods.get(key) or [Pod(3, 1) if key.partition("[")[0].endswith("-driver")
                                             else Pod()]  # fmt: skip
        number = self._counts[key] = self._counts.get(key, -1) + 1
        return pods[min(number, len(pods) - 1)]

    @staticmethod
    def _key(name: str) -> str:
        """The step or driver of a node, with the number of a loop's item: `train[1]`."""
        names = re.sub(r"\(\d+\)", "", name).removesuffix(".executor").split(".")
        item = next((found[1] for part in names if (found := re.search(r"\((\d+):", part))), None)
        return names[-1] if item is None else f"{names[-1]}[{item}]"

    def _dag(self, node: Node, tasks: list[Task], begin: float) -> Node:
        done: dict[str, Node] = {}
        waiting = {task.name: task for task in tasks}
        while waiting:
            task = next(one for one in waiting.values() if not set(one.depends) & set(waiting))
            del waiting[task.name]
            before = [done[name] for name in task.depends]
            time = max([begin, *(max(one.finished or 0, one.hooks_finished) for one in before)])
            parents = [out for one in before for out in self._outbound(one)] or [node]
            name = f"{node.name}.{task.name}"
            if any(one.phase != "Succeeded" for one in before):
                child = self._skipped(name, task, node, time, "Omitted")
            elif task.unless_cached and self._key(name) in self._story.cached:
                child = self._skipped(name, task, node, time, "Skipped")
            elif task.count is not None:
                child = self._group(name, task, node, time)
            else:
                child = self._execute(name, self._templates[task.template], node, time)
            done[task.name] = child
            for parent in parents:
                parent.add(time, child)
            if task.exit_template and child.phase in ("Succeeded", "Failed", "Error"):
                self._exit(child, task, node)
        inner = {name for task in tasks for name in task.depends}
        node.leaves = [done[task.name] for task in tasks if task.name not in inner]
        bad = sorted(
            (child.finished or 0, child.phase)
            for child in done.values()
            if child.phase in ("Failed", "Error")
        )
        end = max(max(child.finished or 0, child.hooks_finished) for child in done.values())
        return node.end(end, bad[0][1] if bad else "Succeeded")

    def _skipped(self, name: str, task: Task, node: Node, time: float, phase: str) -> Node:
        child = self._node(name, "Skipped", task.template, node, time, phase)
        child.finished = time
        return child

    def _group(self, name: str, task: Task, node: Node, time: float) -> Node:
        group = self._node(name, "TaskGroup", task.template, node, time, "Running")
        phase = "Succeeded"
        for number in range(task.count or 0):
            item = f"{name}({number}:{number})"
            child = self._execute(item, self._templates[task.template], node, time)
            group.add(time, child)
            phase = child.phase if child.phase in ("Failed", "Error") else phase
        return group.end(max(child.finished or 0 for _, child in group.children), phase)

    def _exit(self, child: Node, task: Task, node: Node) -> None:
        assert child.finished is not None
        template = self._templates[task.exit_template]
        hook = self._execute(f"{child.name}.onExit", template, node, child.finished)
        child.add(child.finished, hook)
        child.hooks_finished = hook.finished or 0

    def _outbound(self, node: Node) -> list[Node]:
        """getOutboundNodes: the nodes whose children the following nodes are."""
        if node.type == "Retry":
            return [node.children[-1][1]]
        if node.type == "TaskGroup":
            return [out for _, child in node.children for out in self._outbound(child)]
        if node.type == "DAG":
            return [out for leaf in node.leaves for out in self._outbound(leaf)]
        return [node]

    # KFP: the nodes in its API.

    def tasks(self, run_id: str, began: datetime, seconds: float, lag: float = 1.0) -> list[Any]:
        """`task_details`, some seconds after the run began.

        Args:
            run_id: The run.
            began: When it began.
            seconds: Since then.
            lag: How many seconds the API server is behind.
        """
        now = seconds - lag
        found = []
        for node in self.nodes.values():
            if node.phases[0][0] > now:
                continue
            states = [(time, STATES[phase]) for time, phase in node.phases if time <= now]
            ended = node.finished is not None and node.finished <= now
            task = {
                "run_id": run_id,
                "task_id": _uuid(run_id, node.name),
                "display_name": node.display,
                "create_time": _time(began, 0),
                "start_time": _time(began, node.phases[0][0]),
                "end_time": _time(began, node.finished or 0) if ended else NEVER,
                "state": states[-1][1],
                "state_history": [
                    _without_none({"update_time": _time(began, time + lag), "state": state})
                    for number, (time, state) in enumerate(states)
                    if not number or states[number - 1][1] != state
                ],
                "child_tasks": [
                    {"pod_name": child.id} for time, child in node.children if time <= now
                ],
            }
            found.append(_without_none(task))
        found += self._cache_entries(run_id, began, now)
        # GROUP_CONCAT without ORDER BY gives no order.
        return sorted(found, key=lambda task: task["task_id"])

    def _cache_entries(self, run_id: str, began: datetime, now: float) -> Iterator[Any]:
        enabled = self._cached_steps()
        for number, node in enumerate(self.nodes.values()):
            step = self._key(node.name).partition("[")[0]
            is_step = node.type == "Pod" and "system-container-impl" in node.template
            if is_step and step in enabled and node.phase == "Succeeded":
                assert node.finished is not None
                if node.finished <= now:
                    yield {
                        "run_id": run_id,
                        "task_id": _uuid(run_id, f"{node.name} in the cache"),
                        "create_time": _time(began, node.phases[1][0]),
                        "start_time": _time(began, node.phases[1][0]),
                        "end_time": _time(began, node.finished),
                        "execution_id": str(number + 7),
                    }

    def _cached_steps(self) -> set[str]:
        groups = [self.ir["root"], *self.ir["components"].values()]
        return {
            name
            for group in groups
            for name, task in group.get("dag", {}).get("tasks", {}).items()
            if task.get("cachingOptions", {}).get("enableCache")
        }

    def run(self, run: Mapping[str, Any], seconds: float, lag: float = 1.0) -> dict[str, Any]:
        """The run's JSON, some seconds after it was created.

        Args:
            run: What it was created with.
            seconds: Since then.
            lag: How many seconds the API server is behind.
        """
        began = datetime.fromisoformat(run["created_at"])
        ended = self.seconds <= seconds - lag
        state = STATES[self.phase] if ended else "RUNNING"
        history = [{"update_time": _time(began, 0), "state": "PENDING"}]
        history.append({"update_time": _time(began, lag), "state": "RUNNING"})
        if ended:
            history.append({"update_time": _time(began, self.seconds + lag), "state": state})
        return {
            **run,
            "state": state,
            "state_history": history,
            "finished_at": _time(began, self.seconds) if ended else "1970-01-01T00:00:00Z",
            "run_details": {"task_details": self.tasks(run["run_id"], began, seconds, lag)},
        }

    def manifest(self) -> str:
        """The workflow as the v1beta1 API shows it, after its end."""
        nodes = {
            node.id: {
                "id": node.id,
                "name": node.name,
                "displayName": node.display,
                "type": node.type,
                "templateName": node.template,
                "phase": node.phase,
                **({"message": node.message} if node.message else {}),
                "children": [child.id for _, child in node.children],
            }
            for node in self.nodes.values()
        }
        return json.dumps({"metadata": {"name": WORKFLOW}, "status": {"nodes": nodes}})

    def log(self, pod: str, *, alive: bool = True, archived: bool = True) -> str | None:
        """Return a pod's log as the API server finds it; None if it finds none.

        Args:
            pod: The pod's name, or Argo's id of its node.
            alive: Whether the pods are still there.
            archived: Whether Argo archives logs.
        """
        for node in self.nodes.values():
            if node.type == "Pod" and (
                (alive and pod == node.pod_name) or (archived and pod in (node.pod_name, node.id))
            ):
                return self._pods[node.id].log
        return None

    def node(self, key: str, attempt: int = 0) -> Node:
        """A step's or driver's pod: `train[1]`, `adapt-driver`."""
        pods = [one for one in self.nodes.values() if one.type == "Pod"]
        return [one for one in pods if self._key(one.name) == key][attempt]


def _time(began: datetime, seconds: float) -> str:
    time = began.astimezone(UTC) + timedelta(seconds=int(seconds))
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _uuid(*parts: str) -> str:
    text = hashlib.md5("/".join(parts).encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [])}
