"""Finds in the log of a step's pod why it failed."""

import re

from components.shared.runtime.clean_text import one_line

# What `components.shared.runtime.step` prints in front of a message, and of what belongs to it.
_LINE = re.compile(r"\[(?P<step>[a-z_]+)\] (?P<text>.*)")
_TRACEBACK = "Traceback (most recent call last):"
# KFP's driver and launcher end with a line of glog, a library for Go: F1125 13:03:51.123456
# 1 main.go:126] KFP driver: driver.Container(…) failed: …
_FATAL = re.compile(r"F\d{4} [\d:.]+ +\d+ \S+:\d+\] (?P<text>.*)")
_CALL = re.compile(r"^KFP driver: (driver\.\w+\(.*?\) failed: )?")
# That the step exited with an error is known already.
_EXITED = re.compile(r"failed to execute component: exit status \d+$")
# backend/src/v2/metadata/client.go, GetExecutionsInDAG, of KFP 2.17.0; the name is that of the
# task, with the id of what it is in and the number of a loop's item.
_TWO_RECORDS = re.compile(
    r'two tasks have the same task name "(?P<task>.+?)_\d+(?:_idx_\d+)?", id1=\d+ id2=\d+'
)


def error_in(log: str, limit: int = 600) -> str:
    """Returns why a step failed, in one line; empty if its log does not say.

    Args:
        log: The end of the log.
        limit: Maximum number of characters.
    """
    lines = log.splitlines()
    text = _own_error(lines) or _traceback(lines) or _fatal(lines)
    return one_line(text, limit)


def own_error_in(log: str, limit: int = 600) -> str:
    """Returns the step's own message, in one line; empty if there is none.

    Args:
        log: The end of the log.
        limit: Maximum number of characters.
    """
    return one_line(_own_error(log.splitlines()), limit)


def task_with_two_records(text: str) -> str | None:
    """Returns the task that ML Metadata knows twice, if an error says so.

    A driver whose pod was lost (its node preempted, say) may have recorded its
    task already. Argo starts it again, it records the task again, and no later
    driver of the run can tell which record counts.
    """
    found = _TWO_RECORDS.search(text)
    return found["task"] if found else None


def _own_error(lines: list[str]) -> str:
    """The last `[step] error: …`, with the lines of the same step that follow it."""
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
    """The error at the end of the last traceback."""
    # A traceback of a step that starts again has the step's name in front of each line.
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
