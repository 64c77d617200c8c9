"""What every step does around its work: times it, and turns bad input into one message."""

import errno
import time
from collections.abc import Callable
from typing import Any

import psutil
from pydantic import ValidationError

from components.errors import InputError

_process_started = psutil.Process().create_time()


def log(step: str, message: str) -> None:
    """Prints progress at once, every line as `[step] message`."""
    for line in message.splitlines():
        print(f"[{step}] {line}", flush=True)


def run_step(step: str, job: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Runs a step's job and returns what to attach to its main output.

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
        summary = job(**arguments)
    except Exception as raised:
        error = without_beam(raised)
        if isinstance(error, InputError | ValidationError):
            log(step, f"error: {error}")
        elif isinstance(error, OSError):
            # A full disk or a folder that cannot be written: the path and the reason say it all.
            log(step, f"error: {describe_os_error(error)}")
        else:
            raise
        raise SystemExit(1) from error
    seconds = time.time() - _process_started
    log(step, f"done in {seconds:.1f} s, {startup_seconds:.1f} s of it start-up")
    return {
        **summary,
        "seconds": round(seconds, 2),
        "startup_seconds": round(startup_seconds, 2),
    }


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
