"""Finds the nodes of an Argo workflow in a run of Kubeflow Pipelines, as its API shows it.

`run_details.task_details` has an entry for each node: for each step a driver, a
group, one or more pods, often with a node around each that counts attempts. An
entry shows its display name, its state and the ids of its children, but neither
its own id nor where it belongs. Both follow from Argo's naming: a node is called
`<group>.<display name>`, and its id is the workflow's name and a hash of the
node's name. So the names are found by hashing those that are possible, from the
root down.

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

# What KFP's compiler calls a step's pod, and the driver that is started before a step or a group.
POD = "executor"
DRIVER = "-driver"
# What Argo adds to the name of an attempt, and of a loop's item.
ATTEMPT = re.compile(r"(.+)\((\d+)\)", re.DOTALL)
ITEM = re.compile(r"(.+)\((\d+):[^()]*\)", re.DOTALL)
_CHILD = re.compile(r"(.+)-(\d{1,10})", re.DOTALL)
# A run of this pipeline has some hundred tasks, in groups of groups up to ten deep. What has more
# than these is not read: no answer of a server may take long.
_MOST_TASKS = 5_000
_MOST_NAMES = 300_000
_DEEPEST = 40


@dataclass(eq=False)
class Node:
    """A node of the workflow.

    Args:
        display: Its display name.
        hash: Of its name; what its id ends with.
        group: The node that it is in; none for the root.
        name: The display name without the number of an attempt.
        attempt: Which attempt it is, from 0; none if it is not one.
        path: The names of all that it is in and its own, without attempts.
        task: The entry that shows it; empty if that is not known.
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
        """Its state as the API names it; empty if that is not known."""
        return str(self.task.get("state") or "")


def find_nodes(tasks: list[Mapping[str, Any]]) -> tuple[str, list[Node]]:
    """Finds the workflow's name and its nodes, with the tasks that show them.

    Args:
        tasks: The entries of `task_details` that have a display name.

    Returns:
        The name and the nodes; none if they cannot be told.
    """
    workflow = _workflow(tasks) if len(tasks) <= _MOST_TASKS else ""
    return workflow, _nodes(workflow, tasks) if workflow else []


def is_pod(node: Node) -> bool:
    """Whether a node is a pod, or counts the attempts of one."""
    return node.name == POD or node.name.endswith(DRIVER)


def pod_names(node_id: str, *, is_driver: bool) -> list[str]:
    """Returns by what names the API server may find the log of a pod, the likeliest first.

    A pod that is there is found by its name: the workflow's, the template's (as
    KFP's compiler names it: backend/src/v2/compiler/argocompiler) and the hash of
    its node. A log that was archived is found by the node's id, too.

    Args:
        node_id: Argo's id of the pod's node.
        is_driver: Whether the pod is a driver's, not a step's own.
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
    """The workflow's name: what all ids of children begin with."""
    counts: dict[str, int] = defaultdict(int)
    for task in tasks:
        for workflow, _ in _children(task):
            counts[workflow] += 1
    return max(counts, key=lambda name: counts[name]) if counts else ""


def _hashed(text: str, begin: int = 2166136261) -> int:
    """FNV-1a, 32 bits, as Go's hash/fnv; one of a longer text can go on from another."""
    value = begin
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def _nodes(workflow: str, tasks: list[Mapping[str, Any]]) -> list[Node]:
    """Finds the workflow's nodes by their names, and which task shows which of them."""
    known = {number for task in tasks for name, number in _children(task) if name == workflow}
    displays = {str(task["display_name"]) for task in tasks}
    # What is in a node begins with it and a dot: hash the rest only.
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
    """Gives the nodes their tasks: by what is in them, or by a display name that is unique."""
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
    """The nodes that may show a node as their child: what it is a part of, and its driver.

    In Argo a node is a child of all nodes that it waited for, too.
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
