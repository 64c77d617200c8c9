"""Follows kfp's local runner through its output and its log records."""

import builtins
import contextlib
import io
import logging
import re
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from typing import IO

from pipeline.definition import STEPS
from pipeline.local.display import Display
from pipeline.local.step_times import Reuse, step_of

_STEP_LINE = re.compile(rf"^\s*\[({'|'.join(STEPS)})\] (.*)$")
# What kfp 2.17 logs about a task.
_STARTED = re.compile(r"^Executing task \S*?'([\w-]+)'")
_ENDED = re.compile(r"^Task \S*?'[\w-]+' finished with status (\w+)")
_REUSED = re.compile(r"^Task (\S+) cache hit")
_COLOURS = re.compile(r"\x1b\[\d*m")
_ERROR = "error: "


def without_colours(text: str) -> str:
    """Remove the escape sequences by which kfp colours names."""
    return _COLOURS.sub("", text)


class RunOutput:
    """Sorts a run's output: all of it to a log, the steps' own lines to a display.

    Tasks that run in parallel have separate threads, by which their lines are told
    apart.

    Args:
        display: Shows the steps.
        log: Takes every line.

    Attributes:
        reused: The tasks whose results were reused.
        failed_step: The first step that reported an error; None if there is none.
        errors: Its error message, line by line.
        last_lines: The last lines of each thread.
    """

    def __init__(self, display: Display, log: IO[str]):
        self._display = display
        self._log = log
        self._failed_thread = 0
        self._lock = threading.Lock()
        self.reused: list[Reuse] = []
        self.failed_step: str | None = None
        self.errors: list[str] = []
        self.last_lines: dict[int, deque[str]] = {}

    def line(self, text: str) -> None:
        """Take a line of output."""
        text = without_colours(text)
        thread = threading.get_ident()
        with self._lock:
            self._log.write(text + "\n")
            self.last_lines.setdefault(thread, deque(maxlen=25)).append(text)
            if match := _STEP_LINE.match(text):
                self._step_line(thread, *match.groups())
            elif match := _STARTED.match(text):
                self.last_lines[thread].clear()
                self._display.started(thread, step_of(match.group(1)))
            elif match := _ENDED.match(text):
                self._display.ended(thread, succeeded=match.group(1) == "SUCCESS")
            elif match := _REUSED.match(text):
                step = step_of(match.group(1))
                self.reused.append(Reuse(step, time.time()))
                self._display.reused(step)

    def _step_line(self, thread: int, step: str, message: str) -> None:
        if message.startswith(_ERROR) or self.failed_step:
            if self.failed_step is None:
                self.failed_step, self._failed_thread = step, thread
            if (self.failed_step, self._failed_thread) == (step, thread):
                self.errors.append(message.removeprefix(_ERROR))
            return  # the error is shown once, at the end
        self._display.message(thread, step, message)


class _Lines(io.TextIOBase):
    """A text stream that passes on whole lines, those of each thread apart."""

    def __init__(self, output: RunOutput):
        self._output = output
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        thread = threading.get_ident()
        *lines, rest = (self._begun.get(thread, "") + text).split("\n")
        self._begun[thread] = rest
        for line in lines:
            if line.strip():
                self._output.line(line)
        return len(text)

    def isatty(self) -> bool:
        return False


class _TakeRecords(logging.Filter):
    """Takes kfp's log records, which go to the root logger.

    A filter and not a handler: kfp 2.17 replaces the root logger's handlers
    around each task, and tasks that run side by side leave theirs behind.
    """

    def __init__(self, output: RunOutput):
        super().__init__()
        self._output = output

    def filter(self, record: logging.LogRecord) -> bool:
        for line in record.getMessage().splitlines():
            self._output.line(line)
        return False


@contextlib.contextmanager
def capture_output(output: RunOutput) -> Iterator[None]:
    """Send all that is printed and logged to `output`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # kfp 2.17 replaces it to indent a task's output, and tasks side by side leave it so.
    print_ = builtins.print
    take = _TakeRecords(output)
    root.addFilter(take)
    root.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(_Lines(output)), warnings.catch_warnings():
            # kfp warns that the subprocess runner ignores the images.
            warnings.simplefilter("ignore")
            yield
    finally:
        builtins.print = print_
        root.removeFilter(take)
        root.handlers[:] = handlers
        root.setLevel(level)
