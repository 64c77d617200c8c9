"""The work of notify: one line for the log, and the same for a webhook."""

import logging
from collections.abc import Sequence
from typing import Any

from components.notify.kubeflow import Kubeflow, Unanswered
from components.notify.webhook import WEBHOOK, post
from components.shared.runtime.clean_text import one_line

logger = logging.getLogger(__name__)

__all__ = ["WEBHOOK", "notify"]

# What ML Metadata calls the end of a group of steps: KFP 2.17.0, backend/src/v2/metadata/client.go
# (UpdateDAGExecutionsState); in it CANCELED means that a step's condition did not hold.
_STATES = {
    "COMPLETE": "SUCCEEDED",
    "CACHED": "SUCCEEDED",
    "SUCCEEDED": "SUCCEEDED",
    "FAILED": "FAILED",
    "CANCELED": "CANCELLED",
    "CANCELLED": "CANCELLED",
}


def notify(
    *,
    name: str,
    run: str,
    state: str,
    run_id: str = "",
    layer_stacks: Sequence[Any] = (),
    group: str = "",
    error: str = "",
    kubeflow: Kubeflow | None = None,
) -> dict[str, Any]:
    """Says how a run ended.

    Where the environment variable DEEP_RETRIEVAL_WEBHOOK has an address, it gets
    a JSON object by POST: `text`, a sentence as Slack and others show it, and
    `name`, `run`, `run_id`, `state`, `step` and `error`. Neither a webhook nor a
    Kubeflow that does not answer fails the run.

    Args:
        name: The config's name.
        run: The run's name.
        state: How the steps ended, as Kubeflow's final status says it, e.g.
            `COMPLETE` or `FAILED`. Any other is looked up.
        run_id: The run's id; without it Kubeflow is not asked.
        layer_stacks: What the trainings are named by.
        group: The task in which all other steps are, as the final status names it.
        error: Why it failed, if the final status says so. (KFP 2.17 never does.)
        kubeflow: Whom to ask which step failed; by default the API server of the
            Kubeflow that this process runs in.

    Returns:
        `state` (`SUCCEEDED`, `FAILED` or `CANCELLED`), `step`, `error` and
        `notified`: whether the webhook took it.
    """
    outcome = _STATES.get(state.strip().upper(), "")
    step, error = "", one_line(error)
    if outcome in ("", "FAILED") and run_id:
        kubeflow = kubeflow or Kubeflow.of_this_pod()
        try:
            found = kubeflow.why_it_failed(run_id, layer_stacks, group)
        except Unanswered as unanswered:
            logger.warning(f"which step failed is not known: {unanswered}")
        else:
            step, error = found.step, error or found.error
            # The run ends as Argo says, which ML Metadata may not have heard.
            outcome = "SUCCEEDED" if found.succeeded else outcome
    # A driver that fails, or a pod that is lost, leaves the state as it was: RUNNING, mostly.
    outcome = outcome or "FAILED"
    text = f"{name}: run {run} {outcome.lower()}"
    if outcome == "FAILED":
        what = f"{step} failed" if step else "a step failed"
        text += f": {what}" + (f": {error}" if error else "")
        text += f" (run {run_id})" if run_id and not step else ""
    elif error:
        text += f": {error}"
    logger.info(text)
    message = {
        "text": text, "name": name, "run": run, "run_id": run_id, "state": outcome, "step": step,
        "error": error,
    }  # fmt: skip
    return {"state": outcome, "step": step, "error": error, "notified": post(message)}
