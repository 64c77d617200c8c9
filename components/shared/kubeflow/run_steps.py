"""Reads the pipeline's own steps from a run of Kubeflow Pipelines, as its API shows it.

`run_details.task_details` has an entry for each node of the Argo workflow: for
each step a driver, a group and its pods. Which entry is which node is found by
`components.shared.kubeflow.argo_nodes`; what the nodes say of the steps, here.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from components.shared.kubeflow.argo_nodes import (
    ATTEMPT,
    DRIVER,
    ITEM,
    POD,
    Node,
    find_nodes,
    is_pod,
)

PENDING, RUNNING, SUCCEEDED, FAILED = "PENDING", "RUNNING", "SUCCEEDED", "FAILED"
# Not a state of the API: the step was served from the cache.
REUSED = "REUSED"
ENDED = frozenset({SUCCEEDED, FAILED, REUSED, "CANCELED", "SKIPPED"})

# What KFP's compiler names by itself.
_GROUP = re.compile(r"root|iteration|iteration-item|iteration-iterations|.*\.onExit")
_GENERATED = re.compile(r"(exit-handler|for-loop|condition|condition-branches)-\d+")
# The API's times are whole seconds, and Argo writes the times of a node and of what is in it one
# after the other.
_SLACK = timedelta(seconds=2)


@dataclass(frozen=True)
class Attempt:
    """A pod of a step.

    Args:
        node_id: Argo's id of its node.
        began: When it was created, if that is known.
    """

    node_id: str
    began: datetime | None = None


@dataclass(frozen=True)
class Step:
    """One of the pipeline's own steps; in a loop, one for each item.

    Args:
        path: The tasks that it is in and its own, as the compiled pipeline names them.
        items: For each loop that it is in, the loop's task and the number of the
            item, from 0.
        state: As the API names it; `REUSED` if it was served from the cache;
            empty if it has not begun.
        began: When its pod was asked for.
        ended: When it ended, if it has.
        attempts: Its pods, in order.
        failed_driver: Argo's node id of the driver that failed, so that the step
            never began; else empty.
    """

    path: tuple[str, ...]
    items: tuple[tuple[str, int], ...] = ()
    state: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    failed_driver: str = ""

    @property
    def name(self) -> str:
        """The step's name, as it stands in the config and in front of its log lines."""
        return self.path[-1].replace("-", "_")


def read_steps(run: Mapping[str, Any]) -> list[Step]:
    """Finds the pipeline's own steps in a run, in the order in which they began.

    Args:
        run: The run, as the API's JSON has it. Whatever is missing or of another
            type is passed over.
    """
    details = run.get("run_details")
    found = details.get("task_details") if isinstance(details, Mapping) else None
    tasks = [
        task
        for task in (found if isinstance(found, Sequence) else ())
        if isinstance(task, Mapping) and isinstance(task.get("display_name"), str)
    ]
    workflow, nodes = find_nodes(tasks)
    if nodes:
        found_steps = sorted(
            _Tree(workflow, nodes, tasks).steps(), key=lambda step: (step.path, step.items)
        )
    else:
        found_steps = list(_by_name(tasks))
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(found_steps, key=lambda step: step.began or step.ended or latest)


def failed_steps(steps: Iterable[Step]) -> list[Step]:
    """Returns the steps that made a run fail, the first to fail first."""
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(
        (step for step in steps if step.state == FAILED),
        key=lambda step: (step.ended or latest, step.path, step.items),
    )


def title(
    step: Step, items_of: Callable[[str], Sequence[Any] | None], name: str | None = None
) -> str:
    """Names a step for people, one in a loop by its item: `train [64, 32]`.

    Args:
        step: The step.
        items_of: Returns what a loop runs over, given its task; none if unknown.
        name: What to call the step; its own name by default.
    """
    words = [name or step.name]
    for loop, number in step.items:
        items = items_of(loop)
        known = isinstance(items, Sequence) and not isinstance(items, str) and number < len(items)
        words.append(_item_text(items[number]) if items and known else f"#{number + 1}")
    return " ".join(words)


def _item_text(item: Any) -> str:
    text = item if isinstance(item, str) else json.dumps(_whole(item), ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _whole(value: Any) -> Any:
    """Writes 64.0 as 64: the IR and the API have no other numbers than floats."""
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def time_of(value: Any) -> datetime | None:
    """Reads one of the API's times; none for one that has not come, the year 1 or 1970."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.year <= 1970:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def state_time(task: Mapping[str, Any], state: str) -> datetime | None:
    """Returns when the API server heard that a task has this state."""
    history = task.get("state_history")
    times = [
        time_of(status.get("update_time"))
        for status in (history if isinstance(history, Sequence) else ())
        if isinstance(status, Mapping) and status.get("state") == state
    ]
    return next((time for time in times if time), None)


class _Tree:
    """The nodes of a workflow, and the steps among them."""

    def __init__(self, workflow: str, nodes: list[Node], tasks: list[Mapping[str, Any]]):
        self._workflow = workflow
        self._by_place = {(node.group, node.display): node for node in nodes}
        self._again: dict[tuple[Node | None, str], list[Node]] = defaultdict(list)
        self._latest: dict[tuple[str, ...], int] = defaultdict(int)
        self._instances: dict[tuple[str, ...], list[Node]] = defaultdict(list)
        self._guesses: dict[str, dict[Node, str]] = {}
        taken = {id(node.task) for node in nodes}
        # Pods have nothing in them that tells which they are; their times and states do, mostly.
        self._pods = [
            task
            for task in tasks
            if id(task) not in taken
            and re.fullmatch(rf"{POD}(\(\d+\))?", str(task["display_name"]))
        ]
        for node in nodes:
            if node.attempt is not None:
                self._latest[node.path] = max(self._latest[node.path], node.attempt)
                self._again[node.group, node.name].append(node)
        for node in nodes:
            if node.attempt is None and not is_pod(node):
                self._instances[node.path].append(node)

    def steps(self) -> Iterator[Step]:
        """The pipeline's own steps."""
        for path, instances in self._instances.items():
            instances.sort(key=self._order)
            attempts = [attempt for node in instances for attempt in self._attempts(node)]
            has_pods = any(self._executors(node) for node in instances)
            current = next((node for node in instances if self._is_current(node)), None)
            driver = self._failed_driver(current) if current else None
            if not has_pods and not driver:
                continue
            step = Step(*_place(path), attempts=tuple(attempts))
            if current is None:
                yield step
            elif driver and not current.state:
                yield Step(
                    step.path, step.items, FAILED, None, time_of(driver.task.get("end_time")),
                    step.attempts, self._id(self._last_attempt(driver)),
                )  # fmt: skip
            else:
                yield self._with_state(step, current)

    def _with_state(self, step: Step, node: Node) -> Step:
        state, ended = node.state, None
        if state in ENDED:
            ended = time_of(node.task.get("end_time")) or state_time(node.task, state)
        if state == SUCCEEDED and self._was_reused(node):
            state = REUSED
        elif state == RUNNING:
            state = self._pod_state(node)
        began = time_of(node.task.get("start_time"))
        attempts = () if state == REUSED else step.attempts
        return Step(step.path, step.items, state, began, ended, attempts)

    def _id(self, node: Node) -> str:
        return f"{self._workflow}-{node.hash}"

    def _order(self, node: Node) -> list[int]:
        groups = [node]
        while groups[-1].group:
            groups.append(groups[-1].group)
        return [group.attempt or 0 for group in reversed(groups)]

    def _is_current(self, node: Node) -> bool:
        """Whether no group that the node is in was begun again after it."""
        group = node.group
        while group:
            if group.attempt is not None and group.attempt != self._latest[group.path]:
                return False
            group = group.group
        return True

    def _groups(self, node: Node) -> list[Node]:
        """The attempts of a node, or the node itself if Argo does not count them."""
        again = self._again.get((node.group, node.display), ())
        return sorted(again, key=lambda other: other.attempt or 0) or [node]

    def _last_attempt(self, node: Node) -> Node:
        return self._groups(node)[-1]

    def _executors(self, node: Node) -> list[Node]:
        pods = (self._by_place.get((group, POD)) for group in self._groups(node))
        return [pod for pod in pods if pod]

    def _attempts(self, node: Node) -> Iterator[Attempt]:
        for executor in self._executors(node):
            pods = self._groups(executor)
            if pods == [executor] and self._is_skipped(executor, node):
                continue
            for pod in pods:
                yield Attempt(self._id(pod), time_of(pod.task.get("start_time")))

    def _failed_driver(self, node: Node) -> Node | None:
        # The driver of a loop belongs to a node of another name.
        name = "iteration" if node.display == "iteration-iterations" else node.display
        driver = self._by_place.get((node.group, f"{name}{DRIVER}"))
        return driver if driver and driver.state == FAILED else None

    def _is_skipped(self, executor: Node, node: Node) -> bool:
        """Whether a step has no pod, as its result was cached; Argo counts no attempts then."""
        if executor.state:
            return executor.state == "SKIPPED"
        began, ended = time_of(node.task.get("start_time")), time_of(node.task.get("end_time"))
        if not began or (ended and ended - began > _SLACK):
            return False
        # All pods of that name are called the same: see what began at that time.
        states = {
            pod.get("state")
            for pod in self._pods
            if pod["display_name"] == POD
            and abs((time_of(pod.get("start_time")) or began) - began) <= _SLACK
        }
        return "SKIPPED" in states and not (node.state == RUNNING and states & {PENDING, RUNNING})

    def _was_reused(self, node: Node) -> bool:
        return bool(self._executors(node)) and not list(self._attempts(node))

    def _pod_state(self, node: Node) -> str:
        """PENDING if a running step's pod waits for a machine or its image; else RUNNING."""
        executors = self._executors(node)
        if not executors or not list(self._attempts(node)):
            return ""
        last = self._last_attempt(executors[-1])
        # Between two attempts the last one has failed, and the step runs.
        state = last.state or self._guessed_states(last.display).get(node)
        return PENDING if state == PENDING else RUNNING

    def _guessed_states(self, display: str) -> dict[Node, str]:
        """The states of pods of one display name, by the order in which their steps began."""
        if display not in self._guesses:
            waiting = [
                (time_of(node.task.get("start_time")), node)
                for instances in self._instances.values()
                for node in instances
                if node.state == RUNNING and (executors := self._executors(node))
                and self._last_attempt(executors[-1]).display == display
                and not self._last_attempt(executors[-1]).state
            ]  # fmt: skip
            pods = [
                (time_of(pod.get("start_time")), str(pod["state"]))
                for pod in self._pods
                if pod["display_name"] == display and pod.get("state") in (PENDING, RUNNING)
            ]
            self._guesses[display] = _paired(waiting, pods)
        return self._guesses[display]


def _paired(
    nodes: list[tuple[datetime | None, Node]], pods: list[tuple[datetime | None, str]]
) -> dict[Node, str]:
    """Gives each node the state of a pod; PENDING only where no other order is possible."""
    if len({state for _, state in pods}) == 1:
        return {node: pods[0][1] for _, node in nodes}
    times = [time for time, _ in nodes]
    if len(nodes) != len(pods) or None in times or len(set(times)) < len(times):
        return {}
    in_order = zip(
        sorted(nodes, key=lambda one: one[0] or datetime.max),
        sorted(pods, key=lambda one: (one[0] or datetime.max.replace(tzinfo=UTC), one[1])),
        strict=True,
    )
    return {node: state for (_, node), (_, state) in in_order}


def _place(path: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
    """A step's tasks without what KFP's compiler puts around them, and its items."""
    tasks: list[str] = []
    items: list[tuple[str, int]] = []
    for name in path[1:]:
        found = ITEM.fullmatch(name)
        if found and tasks:
            items.append((tasks[-1], int(found[2])))
        elif not _GROUP.fullmatch(name):
            tasks.append(name)
    return tuple(tasks or path[-1:]), tuple(items)


# Where the nodes cannot be told: another version of KFP, or a run without children.


def _by_name(tasks: list[Mapping[str, Any]]) -> Iterator[Step]:
    """Takes tasks for steps by their display names alone."""
    found: dict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    for task in tasks:
        display = task["display_name"]
        again = ATTEMPT.fullmatch(display)
        name = again[1] if again else display
        internal = name == POD or name.endswith(DRIVER) or ITEM.fullmatch(name)
        if not internal and not _GROUP.fullmatch(name) and not _GENERATED.fullmatch(name):
            found[name].append((int(again[2]) if again else -1, task))
    for name, those in found.items():
        _, task = min(those, key=lambda one: (one[0] >= 0, -one[0]))
        state = str(task.get("state") or "")
        ended = None
        if state in ENDED:
            ended = time_of(task.get("end_time")) or state_time(task, state)
        yield Step((name,), (), state, time_of(task.get("start_time")), ended)
