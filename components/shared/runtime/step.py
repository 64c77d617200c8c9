"""What every step does around its work: times it, turns bad input into one message, tries again."""

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
# What Kubeflow fills in: kfp's placeholders, and those of recurring runs of KFP 1.
_PLACEHOLDER = re.compile(
    r"\{\{\$\.[^{}]*\}\}|\[\[(?:ScheduledTime|CurrentTime|RunUUID|Index)(?:\.[^\[\]]*)?\]\]"
)


def run_step(step: str, job: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Runs a step's job and returns what to attach to its main output.

    A step that fails is started again where the pipeline asks for it and Argo
    would not do so; see `components.shared.runtime.attempts`.

    Args:
        step: The step's name, for its messages.
        job: The work. Returns a flat dict of what it wants to show in the UI.
        **arguments: The job's arguments.

    Returns:
        The job's dict, with `seconds` (wall time of the whole process so far)
        and `startup_seconds` (the part before the job began: interpreter and
        imports) added.

    Raises:
        SystemExit: With status 1, after printing the message of an
            `InputError`, of wrong settings, or of a file that cannot be
            written. Any other error keeps its traceback.
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
    """Returns what a user is told of an error; none for one that needs its traceback."""
    if isinstance(error, InputError | ValidationError):
        return str(error)
    # A full disk or a folder that cannot be written: the path and the reason say it all.
    return describe_os_error(error) if isinstance(error, OSError) else None


def _check_resolved(arguments: dict[str, Any]) -> None:
    """Refuses a placeholder that Kubeflow should have filled in, wherever it is."""
    for name, value in arguments.items():
        found = _PLACEHOLDER.search(str(value))
        if found:
            raise InputError(
                f"{name}: {found[0]} arrived as it is, although Kubeflow Pipelines should have "
                "replaced it. This pipeline needs a server of version 2.17 or later; see its "
                "version at the bottom of the UI. A schedule takes data_until: scheduled, not "
                "[[ScheduledTime]]."
            )
