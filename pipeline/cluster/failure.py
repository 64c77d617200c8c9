"""Says why a run failed, as far as that can be had."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.shared.kubeflow.run_steps import Step
from components.shared.kubeflow.step_error import error_in, own_error_in, task_with_two_records
from pipeline.cluster.api import Cluster
from pipeline.cluster.pod_log import Pod, find_pod, kubectl, read_log
from pipeline.cluster.redaction import clean
from pipeline.cluster.run_shape import RunShape

# What Argo says of a container that exits with an error: its log knows more.
_EXITED = "Error (exit code "
_KILLED = "OOMKilled"


def explain(
    cluster: Cluster, run: Mapping[str, Any], step: Step, shape: RunShape, namespace: str
) -> list[str]:
    """Says why a step failed, and how to see more if its log cannot be read.

    Args:
        cluster: Where it ran.
        run: The run.
        step: The step that failed.
        shape: What the run was compiled from.
        namespace: Where the run's pods are.
    """
    name, run_id = shape.title(step), str(run.get("run_id"))
    pod = pod_of(cluster, run_id, step, shape)
    found = read_log(cluster, run, pod) if pod else None
    log = found[0] if found else ""
    message = clean(pod.message, 300) if pod else ""
    twice = task_with_two_records(log) or task_with_two_records(message)
    if step.failed_driver and twice:
        return [
            f"error: {name} could not start: Kubeflow has two records of {clean(twice, 60)}, since "
            "its driver's pod was lost and started again (e.g. its node was preempted).",
            "This run cannot continue. Start a new one: steps that have succeeded are reused from "
            "the cache.",
        ]
    text = _text(log, message)
    what = "could not start: its driver failed" if step.failed_driver else "failed"
    lines = [f"error: {name} {what}" + (f": {text}" if text else "; its log does not say why")]
    if found is None:
        lines = [f"error: {name} {what}" + (f": {text}" if text else "")]
        lines.append(
            f"Its log cannot be read through Kubeflow. To see it: {kubectl(run_id, pod, namespace)}"
        )
    return lines


def pod_of(
    cluster: Cluster, run_id: str, step: Step, shape: RunShape, attempt: int | None = None
) -> Pod | None:
    """Finds the pod of a step that says what happened; none if it is not known.

    Args:
        cluster: Where it ran.
        run_id: The run.
        step: The step.
        shape: What the run was compiled from.
        attempt: Which of its attempts, from 1; the last one by default.
    """
    if step.failed_driver and attempt is None:
        return find_pod(cluster, run_id, step.failed_driver, is_driver=True)
    if not step.attempts:
        return None
    known = shape.steps.get(step.path)
    node_id = step.attempts[(attempt or len(step.attempts)) - 1].node_id
    return find_pod(cluster, run_id, node_id, template=known.template if known else "")


def also_failed(steps: Sequence[Step], shape: RunShape) -> str:
    """Names further steps that failed."""
    return ", ".join(clean(shape.title(step), 80) for step in steps)


def _text(log: str, message: str) -> str:
    own = own_error_in(log)
    if _KILLED in message or (message and not own and _EXITED not in message):
        return f"{message}; {own}" if own else message
    return own or error_in(log) or message
