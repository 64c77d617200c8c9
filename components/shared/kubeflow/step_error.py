"""Finds the error in the log of a step's pod."""

import re

from components.shared.runtime.clean_text import one_line

# The lines that `components.shared.runtime.step` prints.
_LINE = re.compile(r"\[(?P<step>[a-z_]+)\] (?P<text>.*)")
_TRACEBACK = "Traceback (most recent call last):"
# The last line of KFP's driver and launcher comes from glog, a library for Go: F1125
# 13:03:51.123456 1 main.go:126] KFP driver: driver.Container(…) failed: …
_FATAL = re.compile(r"F\d{4} [\d:.]+ +\d+ \S+:\d+\] (?P<text>.*)")
_CALL = re.compile(r"^KFP driver: (driver\.\w+\(.*?\) failed: )?")
# This says only that the step exited with an error.
_EXITED = re.compile(r"failed to execute component: exit status \d+$")
# backend/src/v2/metadata/client.go, GetExecutionsInDAG, of KFP 2.17.0. The task's name is followed
# by the id of its group and the number of a loop's item.
_TWO_RECORDS = re.compile(
    r'two tasks have the same task name "(?P<task>.+?)_\d+(?:_idx_\d+)?", id1=\d+ id2=\d+'
)


def error_in(log: str, limit: int = 600) -> str:
    """Return a step's error on one line; an empty string if its log has none.

    Args:
        log: The end of the log.
        limit: Maximum number of characters.
    """
    lines = log.splitlines()
    text = _own_error(lines) or _traceback(lines) or _fatal(lines)
    return one_line(text, limit)


def own_error_in(log: str, limit: int = 600) -> str:
    """Return the step's own error message on one line; an empty string if its log has none.

    Args:
        log: The end of the log.
        limit: Maximum number of characters.
    """
    return one_line(_own_error(log.splitlines()), limit)


def task_with_two_records(text: str) -> str | None:
    """Return the task with two records in ML Metadata; None if the text does not report one.

    A driver whose pod was lost, e.g. because its node was preempted, may have recorded its
    task already. Argo starts the driver again, it records the task again, and no later
    driver of the run can tell which record is valid.
    """
    found = _TWO_RECORDS.search(text)
    return found["task"] if found else None


def _own_error(lines: list[str]) -> str:
    """Return the last `[step] error: …`, with the lines of the same step that follow it."""
    found = [
        number
        for number, line in enumerate(lines)
        if (match := _LINE.fullmatch(line)) and match["text"].startswith("error: ")
    ]
    if not found:
        return ""
    first = _LINE.fullmatch(lines[found[-1]])
    text = [first["text"].removeprefix("error: ")] if first else []
    for line in lines[found[-1] + 1 :]:
        following = _LINE.fullmatch(line)
        if not first or not following or following["step"] != first["step"]:
            break
        text.append(following["text"])
    return " ".join(text)


def _traceback(lines: list[str]) -> str:
    """Return the error at the end of the last traceback."""
    # In the traceback of a step that starts again, each line starts with the step's name.
    begins = [number for number, line in enumerate(lines) if line.endswith(_TRACEBACK)]
    for line in lines[begins[-1] + 1 :] if begins else ():
        if re.match(r"[A-Za-z_][\w.]*(: |$)", line):
            return line
    return ""


def _fatal(lines: list[str]) -> str:
    for line in reversed(lines):
        found = _FATAL.match(line)
        if found and not _EXITED.search(line):
            return _CALL.sub("", found["text"])
    return ""
