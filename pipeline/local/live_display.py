"""The live view of a run on a terminal."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.local.lines import REUSED, STEP_WIDTH, line

_WARNING = "warning: "


@dataclass
class _Running:
    step: str
    began: float
    last: str = ""


class LiveDisplay:
    """Keeps a line for each running step below those that have ended.

    Warnings are printed and stay. Any other message is replaced by the next one of
    the same step.

    Args:
        print_above: Prints a line above the running steps.
    """

    def __init__(self, print_above: Callable[[str], None]):
        self._print_above = print_above
        self._began = time.monotonic()
        self._running: dict[int, _Running] = {}
        self._lock = threading.Lock()

    def started(self, task: int, step: str) -> None:
        """Add a line for a step."""
        with self._lock:
            self._running[task] = _Running(step, time.monotonic())

    def message(self, task: int, step: str, text: str) -> None:
        """Change a step's line."""
        with self._lock:
            if task in self._running:
                self._running[task].last = text
        if text.startswith(_WARNING):
            self._print(step, text)

    def ended(self, task: int, *, succeeded: bool) -> None:
        """Move a step's line up; failures are reported at the end of the run."""
        with self._lock:
            ended = self._running.pop(task, None)
        if ended and succeeded:
            self._print(ended.step, ended.last)

    def reused(self, step: str) -> None:
        """Print that a step's result is reused."""
        self._print(step, REUSED)

    def table(self) -> Table:
        """Draw the lines of the running steps."""
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column()  # the one that Rich shortens if the terminal is narrow
        now = time.monotonic()
        with self._lock:
            for running in self._running.values():
                spinner = Spinner("dots", Text(f"{now - running.began:6.1f} s"))
                # All spinners turn together, however often the table is drawn.
                spinner.start_time = self._began
                last = Text(running.last, no_wrap=True, overflow="ellipsis")
                table.add_row(spinner, Text(f"{running.step:<{STEP_WIDTH}}"), last)
        return table

    def _print(self, step: str, text: str) -> None:
        self._print_above(line(time.monotonic() - self._began, step, text))


@contextlib.contextmanager
def live_display(console: IO[str]) -> Iterator[LiveDisplay]:
    """Show a run on a terminal, see `LiveDisplay`."""
    terminal = Console(file=console)

    def print_above(text: str) -> None:
        live.refresh()  # printing repeats the lines below as they were drawn last
        terminal.print(text, markup=False, highlight=False, soft_wrap=True)

    display = LiveDisplay(print_above)
    live = Live(
        console=terminal,
        get_renderable=display.table,
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live:
        yield display
