"""Reads the pipeline's own steps from a run of Kubeflow Pipelines, as its API shows it.

`run_details.task_details` has an entry for each node of the Argo workflow: a
driver, a group and pods for each step. `argo_nodes` finds the node of each entry;
`workflow_steps` reads the steps from the nodes.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from components.shared.kubeflow.api_times import state_time, time_of
from components.shared.kubeflow.argo_nodes import ATTEMPT, DRIVER, ITEM, POD, find_nodes
from components.shared.kubeflow.step import ENDED, Step
from components.shared.kubeflow.workflow_steps import GROUP, WorkflowSteps

_GENERATED = re.compile(r"(exit-handler|for-loop|condition|condition-branches)-\d+")


def read_steps(run: Mapping[str, Any]) -> list[Step]:
    """Return the pipeline's own steps in a run, in the order in which they began.

    Args:
        run: The run, as the API's JSON. Missing values and values of another type are ignored.
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
            WorkflowSteps(workflow, nodes, tasks).steps(), key=lambda step: (step.path, step.items)
        )
    else:
        found_steps = list(_by_name(tasks))
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(found_steps, key=lambda step: step.began or step.ended or latest)


def _by_name(tasks: list[Mapping[str, Any]]) -> Iterator[Step]:
    """Find steps by the display names of tasks alone.

    Used if the nodes cannot be found: for another version of KFP, or a run without children.
    """
    found: dict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    for task in tasks:
        display = task["display_name"]
        again = ATTEMPT.fullmatch(display)
        name = again[1] if again else display
        internal = name == POD or name.endswith(DRIVER) or ITEM.fullmatch(name)
        if not internal and not GROUP.fullmatch(name) and not _GENERATED.fullmatch(name):
            found[name].append((int(again[2]) if again else -1, task))
    for name, those in found.items():
        _, task = min(those, key=lambda one: (one[0] >= 0, -one[0]))
        state = str(task.get("state") or "")
        ended = None
        if state in ENDED:
            ended = time_of(task.get("end_time")) or state_time(task, state)
        yield Step((name,), (), state, time_of(task.get("start_time")), ended)
