"""Reads a run's steps from the nodes of its Argo workflow."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from components.shared.kubeflow.api_times import state_time, time_of
from components.shared.kubeflow.argo_nodes import DRIVER, ITEM, POD, Node, is_pod
from components.shared.kubeflow.step import (
    ENDED,
    FAILED,
    PENDING,
    REUSED,
    RUNNING,
    SUCCEEDED,
    Attempt,
    Step,
)

# Groups that KFP's compiler adds.
GROUP = re.compile(r"root|iteration|iteration-item|iteration-iterations|.*\.onExit")
# The API's times are whole seconds, and Argo records the times of a node and of the nodes in it
# one after the other.
_SLACK = timedelta(seconds=2)


class WorkflowSteps:
    """Finds the steps among the nodes of a workflow.

    Args:
        workflow: The workflow's name.
        nodes: Its nodes, from `find_nodes`.
        tasks: The entries of `task_details` that have a display name.
    """

    def __init__(self, workflow: str, nodes: list[Node], tasks: list[Mapping[str, Any]]):
        self._workflow = workflow
        self._by_place = {(node.group, node.display): node for node in nodes}
        self._again: dict[tuple[Node | None, str], list[Node]] = defaultdict(list)
        self._latest: dict[tuple[str, ...], int] = defaultdict(int)
        self._instances: dict[tuple[str, ...], list[Node]] = defaultdict(list)
        self._guesses: dict[str, dict[Node, str]] = {}
        taken = {id(node.task) for node in nodes}
        # Entries of pods do not tell their nodes; their times and states usually do.
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
        """Yield the pipeline's own steps."""
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
        """Whether Argo has not restarted any group around the node since."""
        group = node.group
        while group:
            if group.attempt is not None and group.attempt != self._latest[group.path]:
                return False
            group = group.group
        return True

    def _groups(self, node: Node) -> list[Node]:
        """Return the attempts of a node, or the node itself if Argo does not count them."""
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
        """Whether a step has no pod because its result was cached; Argo then counts no attempts."""
        if executor.state:
            return executor.state == "SKIPPED"
        began, ended = time_of(node.task.get("start_time")), time_of(node.task.get("end_time"))
        if not began or (ended and ended - began > _SLACK):
            return False
        # All pods have the same display name: look at those that began at this time.
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
        """Return PENDING if a running step's pod waits for a node or its image; else RUNNING."""
        executors = self._executors(node)
        if not executors or not list(self._attempts(node)):
            return ""
        last = self._last_attempt(executors[-1])
        # Between two attempts the last one has failed, and the step runs.
        state = last.state or self._guessed_states(last.display).get(node)
        return PENDING if state == PENDING else RUNNING

    def _guessed_states(self, display: str) -> dict[Node, str]:
        """Match pods of one display name to steps by the order in which they began."""
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
    """Give each node the state of a pod; none if the order is ambiguous."""
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
    """Return a step's tasks without the groups that KFP's compiler adds, and its items."""
    tasks: list[str] = []
    items: list[tuple[str, int]] = []
    for name in path[1:]:
        found = ITEM.fullmatch(name)
        if found and tasks:
            items.append((tasks[-1], int(found[2])))
        elif not GROUP.fullmatch(name):
            tasks.append(name)
    return tuple(tasks or path[-1:]), tuple(items)
