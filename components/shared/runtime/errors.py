"""Errors, and how they are reported to a user."""

import errno
from collections.abc import Sequence


class InputError(ValueError):
    """The user's input cannot be used.

    The message says what is wrong, where (file, row, column, config key) and
    what to do. A step prints it without a traceback.
    """


def in_one_message(problems: Sequence[str]) -> str:
    """Return one message about one or several problems.

    Example:
    ```python
    assert in_one_message(["a.", "b."]) == "2 problems:\\n  a.\\n  b."
    ```
    """
    if len(problems) == 1:
        return problems[0]
    lines = [problem.replace("\n", "\n  ") for problem in problems]
    return f"{len(problems)} problems:\n" + "\n".join(f"  {line}" for line in lines)


def raise_all(problems: Sequence[str]) -> None:
    """Raise one `InputError` about all problems, each of them once, if there are any."""
    if problems:
        raise InputError(in_one_message(list(dict.fromkeys(problems))))


def without_beam(error: BaseException) -> BaseException:
    """Return an error as the job raised it.

    Beam 2.77 raises it again with the name of a Beam stage in the message, and an
    OSError, whose first argument is a number, as a RuntimeError.
    """
    if getattr(error, "_tagged_with_step", False) and error.__context__ is not None:
        return error.__context__
    return error


def describe_os_error(error: OSError) -> str:
    """Return the reason and the path of an error, and what to do if that is known."""
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
    return f"{reason}. To fix this: {advice[name]}." if name in advice else reason
