"""Explains why a step of a run failed."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.shared.kubeflow.run_shape import RunShape
from components.shared.kubeflow.step import Step
from components.shared.kubeflow.step_error import error_in, own_error_in, task_with_two_records
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.redaction import clean
from pipeline.cluster.runs.pod_log import Pod, find_pod, kubectl, read_log

# Argo's message for a container that exits with an error; the log has the reason.
_EXITED = "Error (exit code "
_KILLED = "OOMKilled"


def explain(
    cluster: Cluster, run: Mapping[str, Any], step: Step, shape: RunShape, namespace: str
) -> list[str]:
    """Explain why a step failed, and how to see its log if it cannot be read.

    Args:
        cluster: The server.
        run: The run, as the API's JSON.
        step: The step that failed.
        shape: The steps of the compiled pipeline.
        namespace: The namespace of the run's pods.

    Returns:
        Lines for the user.
    """
    name, run_id = shape.title(step), str(run.get("run_id"))
    pod = pod_of(cluster, run_id, step, shape)
    found = read_log(cluster, run, pod) if pod else None
    log = found[0] if found else ""
    message = clean(pod.message, 300) if pod else ""
    twice = task_with_two_records(log) or task_with_two_records(message)
    if step.failed_driver and twice:
        return [
            f"error: {name} could not start: Kubeflow has two records of {clean(twice, 60)}, "
            "because the pod of its driver was lost and replaced (e.g. its node was preempted).",
            "This run cannot continue. Start a new run: it reuses completed steps from the cache.",
        ]
    text = _text(log, message)
    what = "could not start: its driver failed" if step.failed_driver else "failed"
    lines = [f"error: {name} {what}" + (f": {text}" if text else "; its log shows no error")]
    if found is None:
        lines = [f"error: {name} {what}" + (f": {text}" if text else "")]
        lines.append(
            f"Its log cannot be read through Kubeflow. To see it: {kubectl(run_id, pod, namespace)}"
        )
    return lines


def pod_of(
    cluster: Cluster, run_id: str, step: Step, shape: RunShape, attempt: int | None = None
) -> Pod | None:
    """Return the pod of a step, or of its failed driver; None if the step has no known pod.

    Args:
        cluster: The server.
        run_id: The run's id.
        step: The step.
        shape: The steps of the compiled pipeline.
        attempt: The number of the attempt, from 1; the last one by default.
    """
    if step.failed_driver and attempt is None:
        return find_pod(cluster, run_id, step.failed_driver, is_driver=True)
    if not step.attempts:
        return None
    known = shape.steps.get(step.path)
    node_id = step.attempts[(attempt or len(step.attempts)) - 1].node_id
    return find_pod(cluster, run_id, node_id, template=known.template if known else "")


def also_failed(steps: Sequence[Step], shape: RunShape) -> str:
    """Return the names of failed steps, as one text."""
    return ", ".join(clean(shape.title(step), 80) for step in steps)


def _text(log: str, message: str) -> str:
    own = own_error_in(log)
    if _KILLED in message or (message and not own and _EXITED not in message):
        return f"{message}; {own}" if own else message
    return own or error_in(log) or message
