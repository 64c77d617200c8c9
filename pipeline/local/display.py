"""The console output while a run's steps are running: plain lines, or a live view."""

import contextlib
import io
import os
import threading
import time
from collections.abc import Iterator
from typing import IO, Protocol

from pipeline.heartbeat import QUIET_SECONDS, Heartbeat
from pipeline.local.lines import REUSED, line


class Display(Protocol):
    """Shows a run's steps.

    A task is identified by a number, as a step can have several at a time.
    """

    def started(self, task: int, step: str) -> None:
        """Show that a step begins."""

    def message(self, task: int, step: str, text: str) -> None:
        """Show a message of a step."""

    def ended(self, task: int, *, succeeded: bool) -> None:
        """Show that a step has ended."""

    def reused(self, step: str) -> None:
        """Show that a step's result is reused."""


@contextlib.contextmanager
def display_on(console: IO[str]) -> Iterator[Display]:
    """Show a run on a console: live if it is a terminal, else in plain lines."""
    if console.isatty() and os.environ.get("TERM") != "dumb":
        # Rich is imported on a terminal only.
        from pipeline.local.live_display import live_display

        with live_display(console) as live:
            yield live
    else:
        with plain_display(console) as plain:
            yield plain


class PlainDisplay:
    """Prints each message on a line, with the time since the run began.

    Args:
        console: The stream to print to. A closed pipe, as after `| head`, is ignored.
        quiet_seconds: Maximum time without a line of a running step.
    """

    def __init__(self, console: IO[str], quiet_seconds: float = QUIET_SECONDS):
        self._console = console
        self._began = time.monotonic()
        self._last: dict[int, str] = {}
        self._lock = threading.Lock()
        self.heartbeat = Heartbeat(self._print, quiet_seconds)

    def started(self, task: int, step: str) -> None:
        """Print that a step begins."""
        self._last[task] = ""
        self._print(step, "started")
        self.heartbeat.start(task, step, lambda: self._last[task])

    def message(self, task: int, step: str, text: str) -> None:
        """Print a message of a step."""
        self._last[task] = text
        self.heartbeat.heard(task)
        self._print(step, text)

    def ended(self, task: int, *, succeeded: bool) -> None:
        """Print nothing, as the step's last message says so."""
        self.heartbeat.stop(task)

    def reused(self, step: str) -> None:
        """Print that a step's result is reused."""
        self._print(step, REUSED)

    def _print(self, step: str, text: str) -> None:
        with self._lock:
            try:
                self._console.write(line(time.monotonic() - self._began, step, text) + "\n")
                self._console.flush()
            except BrokenPipeError:  # the reader has gone, as after `| head`; the run continues
                self._console = io.StringIO()


@contextlib.contextmanager
def plain_display(console: IO[str], quiet_seconds: float = QUIET_SECONDS) -> Iterator[PlainDisplay]:
    """Show a run in plain lines, see `PlainDisplay`."""
    display = PlainDisplay(console, quiet_seconds)
    with display.heartbeat:
        yield display
