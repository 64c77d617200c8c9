"""What every step does around its work: times it, turns bad input into one message, tries again."""

import errno
import re
import time
import traceback
from collections.abc import Callable
from typing import Any

import psutil
from pydantic import ValidationError

from components.attempts import attempt_began, next_attempt, start_again
from components.errors import InputError

_process_started = attempt_began() or psutil.Process().create_time()
# What Kubeflow fills in: kfp's placeholders, and those of recurring runs of KFP 1.
_PLACEHOLDER = re.compile(
    r"\{\{\$\.[^{}]*\}\}|\[\[(?:ScheduledTime|CurrentTime|RunUUID|Index)(?:\.[^\[\]]*)?\]\]"
)


def log(step: str, message: str) -> None:
    """Prints progress at once, every line as `[step] message`."""
    for line in message.splitlines():
        print(f"[{step}] {line}", flush=True)


def run_step(step: str, job: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Runs a step's job and returns what to attach to its main output.

    A step that fails is started again where the pipeline asks for it and Argo
    would not do so; see `components.attempts`.

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
    startup_seconds = time.time() - _process_started
    try:
        _check_resolved(arguments)
        summary = job(**arguments)
    except Exception as raised:
        error = without_beam(raised)
        message = _message(error)
        if (following := next_attempt()) is not None:
            number, attempts, wait = following
            log(step, f"failed: {message}" if message else traceback.format_exc())
            log(step, f"starts again in {wait:.0f} s: attempt {number} of {attempts}")
            start_again(wait)
        if message is None:
            raise
        log(step, f"error: {message}")
        raise SystemExit(1) from error
    seconds = time.time() - _process_started
    log(step, f"done in {seconds:.1f} s, {startup_seconds:.1f} s of it start-up")
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


def without_beam(error: BaseException) -> BaseException:
    """The error as the work raised it.

    Beam 2.77 raises it again with the name of its own step in the message, and
    an OSError, whose first argument is a number, as a RuntimeError.
    """
    if getattr(error, "_tagged_with_step", False) and error.__context__ is not None:
        return error.__context__
    return error


def describe_os_error(error: OSError) -> str:
    """Says what failed on which path, and what to do where that is known."""
    reason = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    advice = {
        "ENOSPC": "free some space, or choose another folder",
        "EDQUOT": "free some space, or choose another folder",
        "EACCES": "make the folder writable, or choose another one",
        "EROFS": "make the folder writable, or choose another one",
        "EEXIST": "a file is where a folder should be: choose another folder",
        "ENOTDIR": "a file is where a folder should be: choose another folder",
    }
    name = errno.errorcode.get(error.errno or 0, "")
    return f"{reason}. To mend it: {advice[name]}." if name in advice else reason
