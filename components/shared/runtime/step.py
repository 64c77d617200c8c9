"""Runs a step's job: measures its time, reports errors, and retries it."""

import logging
import re
import time
import traceback
from collections.abc import Callable
from typing import Any

import psutil
from pydantic import ValidationError

from components.shared.runtime.attempts import attempt_began, next_attempt, start_again
from components.shared.runtime.errors import InputError, describe_os_error, without_beam
from components.shared.runtime.progress import progress_lines

logger = logging.getLogger(__name__)

_process_started = attempt_began() or psutil.Process().create_time()
# Placeholders that Kubeflow fills in: kfp's, and those of recurring runs in KFP 1.
_PLACEHOLDER = re.compile(
    r"\{\{\$\.[^{}]*\}\}|\[\[(?:ScheduledTime|CurrentTime|RunUUID|Index)(?:\.[^\[\]]*)?\]\]"
)


def run_step(step: str, job: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Run a step's job and return the metadata of its main output.

    A failed step is started again if the pipeline asks for it and Argo does not do
    it; see `components.shared.runtime.attempts`.

    Args:
        step: The step's name, for its messages.
        job: The work. Returns a flat dict of values to show in the UI.
        **arguments: The job's arguments.

    Returns:
        The job's dict, with `seconds` (wall time of the process so far) and
        `startup_seconds` (the part before the job began: interpreter and
        imports).

    Raises:
        SystemExit: With status 1, after printing the message of an
            `InputError`, of invalid settings, or of a file that cannot be read
            or written. Any other error keeps its traceback.
    """
    with progress_lines(step):
        return _run(job, arguments)


def _run(job: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
    startup_seconds = time.time() - _process_started
    try:
        _check_resolved(arguments)
        summary = job(**arguments)
    except Exception as raised:
        error = without_beam(raised)
        message = _message(error)
        if (following := next_attempt()) is not None:
            number, attempts, wait = following
            logger.info("failed: %s", message or traceback.format_exc())
            logger.info("starts again in %.0f s: attempt %d of %d", wait, number, attempts)
            start_again(wait)
        if message is None:
            raise
        logger.error(message)
        raise SystemExit(1) from error
    seconds = time.time() - _process_started
    logger.info("done in %.1f s, %.1f s of it start-up", seconds, startup_seconds)
    return {
        **summary,
        "seconds": round(seconds, 2),
        "startup_seconds": round(startup_seconds, 2),
    }


def _message(error: BaseException) -> str | None:
    """Return the message for the user; None if the error needs its traceback."""
    if isinstance(error, InputError | ValidationError):
        return str(error)
    # E.g. a full disk or a folder that is not writable: path and reason are enough.
    return describe_os_error(error) if isinstance(error, OSError) else None


def _check_resolved(arguments: dict[str, Any]) -> None:
    """Refuse a placeholder that Kubeflow should have filled in, however deep it is nested."""
    for name, value in arguments.items():
        found = _PLACEHOLDER.search(str(value))
        if found:
            raise InputError(
                f"{name}: Kubeflow Pipelines did not replace the placeholder {found[0]}. This "
                "pipeline needs a server of version 2.17 or later; the UI shows the version at the "
                "bottom. In a schedule, write data_until: scheduled instead of [[ScheduledTime]]."
            )
