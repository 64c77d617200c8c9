"""Finds the nodes of an Argo workflow in a run of Kubeflow Pipelines, as its API shows it.

`run_details.task_details` has an entry for each node: for each step a driver, a
group, one or more pods, often with a node around each that counts attempts. An
entry shows its display name, its state and the ids of its children, but neither
its own id nor its group. Both follow from Argo's naming: a node is named
`<group>.<display name>`, and its id is the workflow's name and a hash of the
node's name. So this module hashes the possible names, from the root down.

Sources: KFP 2.17.0, backend/src/apiserver/server/api_converter.go (toModelTasks,
toApiPipelineTaskDetail), backend/src/common/util/workflow.go (NodeStatuses),
backend/src/v2/compiler/argocompiler/{dag,container}.go; Argo 4.0.5,
pkg/apis/workflow/v1alpha1/workflow_types.go (NodeID),
workflow/controller/{dag,operator}.go.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# KFP's names of a step's pod, and of the driver that runs before a step or a group.
POD = "executor"
DRIVER = "-driver"
# Argo's suffixes of an attempt and of a loop's item.
ATTEMPT = re.compile(r"(.+)\((\d+)\)", re.DOTALL)
ITEM = re.compile(r"(.+)\((\d+):[^()]*\)", re.DOTALL)
_CHILD = re.compile(r"(.+)-(\d{1,10})", re.DOTALL)
# A run of this pipeline has about a hundred tasks, in groups up to ten deep. Larger runs are not
# read, so that no answer of a server takes long.
_MOST_TASKS = 5_000
_MOST_NAMES = 300_000
_DEEPEST = 40


@dataclass(eq=False)
class Node:
    """A node of the workflow.

    Args:
        display: Its display name.
        hash: The hash of its name, with which its id ends.
        group: The node around it; None for the root.
        name: The display name without the number of an attempt.
        attempt: The number of the attempt, from 0; None if the node is not an attempt.
        path: The names of the groups around it and its own, without attempts.
        task: Its entry in `task_details`; empty if unknown.
    """

    display: str
    hash: int
    group: "Node | None"
    name: str = ""
    attempt: int | None = None
    path: tuple[str, ...] = ()
    task: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = ATTEMPT.fullmatch(self.display)
        self.name, self.attempt = (found[1], int(found[2])) if found else (self.display, None)
        self.path = (*(self.group.path if self.group else ()), self.name)

    @property
    def state(self) -> str:
        """The API's state; empty if unknown."""
        return str(self.task.get("state") or "")


def find_nodes(tasks: list[Mapping[str, Any]]) -> tuple[str, list[Node]]:
    """Return the workflow's name and its nodes, with their entries.

    Args:
        tasks: The entries of `task_details` that have a display name.

    Returns:
        The name and the nodes; empty if they cannot be found.
    """
    workflow = _workflow(tasks) if len(tasks) <= _MOST_TASKS else ""
    return workflow, _nodes(workflow, tasks) if workflow else []


def is_pod(node: Node) -> bool:
    """Whether a node is a pod, or counts the attempts of one."""
    return node.name == POD or node.name.endswith(DRIVER)


def pod_names(node_id: str, *, is_driver: bool) -> list[str]:
    """Return the names under which the API server may find a pod's log, the most likely first.

    An existing pod is found by its name: the workflow's name, the template's name (from
    KFP's compiler, backend/src/v2/compiler/argocompiler) and the hash of its node. An archived
    log is also found by the node's id.

    Args:
        node_id: Argo's id of the pod's node.
        is_driver: Whether the pod is a step's driver.
    """
    workflow, _, number = node_id.rpartition("-")
    templates = (
        ("system-container-driver", "system-dag-driver")
        if is_driver
        else ("system-container-impl", "retry-system-container-impl")
    )
    return [*(f"{workflow}-{template}-{number}" for template in templates), node_id]


def _children(task: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    children = task.get("child_tasks")
    for child in children if isinstance(children, Sequence) else ():
        name = child.get("pod_name") if isinstance(child, Mapping) else None
        found = _CHILD.fullmatch(name) if isinstance(name, str) else None
        if found:
            yield found[1], int(found[2])


def _workflow(tasks: list[Mapping[str, Any]]) -> str:
    """Return the workflow's name, with which the ids of children start."""
    counts: dict[str, int] = defaultdict(int)
    for task in tasks:
        for workflow, _ in _children(task):
            counts[workflow] += 1
    return max(counts, key=lambda name: counts[name]) if counts else ""


def _hashed(text: str, begin: int = 2166136261) -> int:
    """Return the FNV-1a hash, 32 bits, as Go's hash/fnv; `begin` is the hash of a prefix."""
    value = begin
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def _nodes(workflow: str, tasks: list[Mapping[str, Any]]) -> list[Node]:
    """Return the workflow's nodes, found by their names, with their entries."""
    known = {number for task in tasks for name, number in _children(task) if name == workflow}
    displays = {str(task["display_name"]) for task in tasks}
    # The name of a node starts with its group's name and a dot: hash only the rest.
    rests = [(display, f".{display}") for display in sorted(displays)]
    root = Node(workflow, _hashed(workflow), None)
    nodes = {root.hash: root}
    for number in range(len(tasks)):
        again = Node(f"{workflow}({number})", _hashed(f"({number})", root.hash), None)
        if again.hash not in known:
            break
        nodes[again.hash] = again
    groups = list(nodes.values())
    hashed = 0
    while groups and hashed < _MOST_NAMES:
        group = groups.pop()
        hashed += len(rests)
        for display, rest in rests:
            value = _hashed(rest, group.hash)
            if value in known and value not in nodes:
                nodes[value] = Node(display, value, group)
                if not is_pod(nodes[value]) and len(nodes[value].path) < _DEEPEST:
                    groups.append(nodes[value])
    _assign(workflow, tasks, nodes)
    return list(nodes.values()) if len(nodes) > 1 else []


def _assign(workflow: str, tasks: list[Mapping[str, Any]], nodes: dict[int, Node]) -> None:
    """Give the nodes their entries: by their children, or by a unique display name."""
    by_place = {(node.group, node.display): node for node in nodes.values()}
    open_tasks: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for task in tasks:
        display = task["display_name"]
        for name, number in _children(task):
            child = nodes.get(number) if name == workflow else None
            parents = _parents(child, display, by_place) if child else ()
            parent = next((node for node in parents if node.display == display), None)
            if parent:
                parent.task = task
                break
        else:
            open_tasks[display].append(task)
    open_nodes: dict[str, list[Node]] = defaultdict(list)
    for node in nodes.values():
        if not node.task:
            open_nodes[node.display].append(node)
    for display, waiting in open_nodes.items():
        if len(waiting) == len(open_tasks[display]) == 1:
            waiting[0].task = open_tasks[display][0]


def _parents(
    child: Node, display: str, by_place: dict[tuple[Node | None, str], Node]
) -> Iterator[Node]:
    """Yield the nodes that may list a node as their child: its group, and its driver.

    In Argo, a node is also a child of every node that it waited for.
    """
    names = [child.name] if child.attempt is not None else []
    item = ITEM.fullmatch(child.display)
    names += [item[1]] if item else []
    names += [child.display.removesuffix(".onExit")] if child.display.endswith(".onExit") else []
    names += [display] if re.sub(r"\(\d+\)$", "", display) == f"{child.name}{DRIVER}" else []
    for name in names:
        node = by_place.get((child.group, name))
        if node:
            yield node
    if child.group:
        yield child.group
