"""The job of notify: one line for the log, and a message for the webhook."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.notify.kubeflow import Kubeflow, Unanswered
from components.notify.webhook import WEBHOOK, post
from components.shared.runtime.clean_text import one_line

logger = logging.getLogger(__name__)

__all__ = ["WEBHOOK", "FinalStatus", "notify"]

# ML Metadata's final states of a group of steps: KFP 2.17.0, backend/src/v2/metadata/client.go
# (UpdateDAGExecutionsState). There, CANCELED means that a step's condition was false.
_STATES = {
    "COMPLETE": "SUCCEEDED",
    "CACHED": "SUCCEEDED",
    "SUCCEEDED": "SUCCEEDED",
    "FAILED": "FAILED",
    "CANCELED": "CANCELLED",
    "CANCELLED": "CANCELLED",
}


@dataclass(frozen=True)
class FinalStatus:
    """Kubeflow's final status of all other steps.

    Args:
        state: How they ended, e.g. `COMPLETE` or `FAILED`. The API server is asked about
            unknown states.
        group: The task that contains all other steps.
        error: The reason of a failure; KFP 2.17 never gives one.
    """

    state: str
    group: str = ""
    error: str = ""


def notify(
    *,
    name: str,
    run: str,
    status: FinalStatus,
    run_id: str = "",
    layer_stacks: Sequence[Any] = (),
    kubeflow: Kubeflow | None = None,
) -> dict[str, Any]:
    """Report how a run ended, in the log and to the webhook.

    If the environment variable DEEP_RETRIEVAL_WEBHOOK holds an address, a JSON object
    is posted to it: `text`, a sentence that Slack and others show, and `name`, `run`,
    `run_id`, `state`, `step` and `error`. The run does not fail if the webhook or
    Kubeflow does not answer.

    Args:
        name: The config's name.
        run: The run's name.
        status: Kubeflow's final status of all other steps.
        run_id: The run's id; without it, Kubeflow is not asked which step failed.
        layer_stacks: The layer stacks of the trainings, in order; they name the trainings.
        kubeflow: The API server that is asked which step failed; by default the one
            of the Kubeflow installation that this process runs in.

    Returns:
        `state` (`SUCCEEDED`, `FAILED` or `CANCELLED`), `step`, `error` and
        `notified`: whether the webhook accepted the message.
    """
    outcome = _STATES.get(status.state.strip().upper(), "")
    step, error = "", one_line(status.error)
    if outcome in ("", "FAILED") and run_id:
        kubeflow = kubeflow or Kubeflow.of_this_pod()
        try:
            found = kubeflow.why_it_failed(run_id, layer_stacks, status.group)
        except Unanswered as unanswered:
            logger.warning(f"cannot tell which step failed: {unanswered}")
        else:
            step, error = found.step, error or found.error
            # The run ends with Argo's state, which ML Metadata may not have received.
            outcome = "SUCCEEDED" if found.succeeded else outcome
    # A failed driver or a lost pod leaves the state unchanged, usually RUNNING.
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
