"""The console during a run: plain lines, and the live view of a terminal."""

import io
import re
import threading

from rich.console import Console

from pipeline.local.display import display_on, plain_display
from pipeline.local.live_display import LiveDisplay


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def drawn(display: LiveDisplay) -> list[str]:
    """Draw the lines of the running steps, without the spinners."""
    console = Console(file=io.StringIO(), width=60)
    with console.capture() as captured:
        console.print(display.table())
    return [line[2:].rstrip() for line in captured.get().splitlines()]


def live() -> tuple[LiveDisplay, list[str]]:
    above: list[str] = []
    return LiveDisplay(above.append), above


def test_each_message_is_a_line_with_the_time_and_the_step() -> None:
    console = io.StringIO()
    with display_on(console) as display:
        display.started(1, "ingest")
        display.message(1, "ingest", "5 interactions")
        display.ended(1, succeeded=True)
        display.reused("adapt")
    lines = console.getvalue().splitlines()
    assert all(re.match(r" +\d+\.\d s  \w", line) for line in lines)
    assert [line.split(" s  ")[1] for line in lines] == [
        "ingest               started",
        "ingest               5 interactions",
        "adapt                reused: its inputs and its code are those of an earlier run",
    ]


def test_a_step_without_a_line_for_long_is_reported_with_its_last_message() -> None:
    reported = threading.Event()

    class Console(io.StringIO):
        def write(self, text: str) -> int:
            if "still running, 0 s; last: epoch 1/2" in text:
                reported.set()
            return super().write(text)

    with plain_display(Console(), quiet_seconds=0.01) as display:
        display.started(1, "train")
        display.message(1, "train", "epoch 1/2")
        assert reported.wait(timeout=30)


def test_a_pipe_that_nobody_reads_does_not_stop_the_run() -> None:
    with display_on(ClosedPipe()) as display:
        display.started(1, "ingest")
        display.message(1, "ingest", "5 interactions")


def test_a_terminal_has_a_line_for_each_running_step_with_its_last_message() -> None:
    display, above = live()
    display.started(1, "train")
    display.started(2, "train")
    display.message(1, "train", "8 epoch 1/2")
    display.message(1, "train", "8 epoch 2/2")
    assert drawn(display) == ["   0.0 s train                8 epoch 2/2", "   0.0 s train"]
    assert above == []


def test_a_step_that_has_ended_moves_up_with_its_last_message() -> None:
    display, above = live()
    display.started(1, "train")
    display.message(1, "train", "done in 2.0 s")
    display.ended(1, succeeded=True)
    display.reused("export")
    assert drawn(display) == []
    assert [line.split(" s  ", 1)[1] for line in above] == [
        "train                done in 2.0 s",
        "export               reused: its inputs and its code are those of an earlier run",
    ]


def test_warnings_stay_on_a_terminal_and_failures_are_left_to_the_end() -> None:
    display, above = live()
    display.started(1, "train")
    display.message(1, "train", "warning: no GPU")
    display.message(1, "train", "8 epoch 1/2")
    display.ended(1, succeeded=False)
    assert [line.split(" s  ", 1)[1] for line in above] == ["train                warning: no GPU"]
    assert drawn(display) == []


def test_long_messages_are_cut_and_markup_is_shown_as_it_is() -> None:
    display, _ = live()
    display.started(1, "train")
    display.message(1, "train", "[bold]" + "x" * 100)
    (line,) = drawn(display)
    assert line.startswith("   0.0 s train                [bold]xxx")
    assert line.endswith("…")


def test_the_live_view_leaves_finished_lines_on_the_terminal() -> None:
    terminal = Terminal()
    with display_on(terminal) as display:
        display.started(1, "train")
        display.message(1, "train", "[a] done in 2.0 s")
        display.ended(1, succeeded=True)
    assert "train                [a] done in 2.0 s" in terminal.getvalue()
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again
