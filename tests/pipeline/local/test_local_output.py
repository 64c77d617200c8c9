"""The output of kfp's runner, sorted by step."""

import builtins
import io
import logging
import sys
import threading
from collections.abc import Callable

from pipeline.local.output import RunOutput, capture_output


class Recorded:
    """A display that keeps what it shows."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, ...]] = []

    def started(self, task: int, step: str) -> None:
        self.shown.append(("started", step))

    def message(self, task: int, step: str, text: str) -> None:
        self.shown.append((step, text))

    def ended(self, task: int, *, succeeded: bool) -> None:
        self.shown.append(("ended", "well" if succeeded else "badly"))

    def reused(self, step: str) -> None:
        self.shown.append(("reused", step))


def output() -> tuple[RunOutput, Recorded, io.StringIO]:
    display, log = Recorded(), io.StringIO()
    return RunOutput(display, log), display, log


def in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_steps_lines_are_shown_and_everything_is_logged() -> None:
    printed, display, log = output()
    printed.line("    [KFP Executor 2026-01-01 INFO]: noise")
    printed.line("    [train] 32 epoch 1/2: loss 0.5")
    assert display.shown == [("train", "32 epoch 1/2: loss 0.5")]
    assert log.getvalue().count("\n") == 2


def test_tasks_begin_end_and_are_reused_as_kfp_logs_it() -> None:
    printed, display, _ = output()
    printed.line("Executing task \x1b[96m'fetch-published-2'\x1b[0m")
    printed.line("Task \x1b[96m'fetch-published-2'\x1b[0m finished with status SUCCESS")
    printed.line("Task select-model cache hit (key=1c56ef73dd24); skipping execution.")
    assert display.shown == [
        ("started", "fetch_published"), ("ended", "well"), ("reused", "select_model"),
    ]  # fmt: skip
    assert [found.step for found in printed.reused] == ["select_model"]


def test_an_error_holds_its_own_steps_lines_and_not_those_of_a_step_beside_it() -> None:
    printed, display, _ = output()
    printed.line("[train] error: The loss became nan.")
    in_thread(lambda: printed.line("[train] 16-8 epoch 2/2: loss 0.5"))
    printed.line("[train] Lower train.learning_rate.")
    assert printed.failed_step == "train"
    assert printed.errors == ["The loss became nan.", "Lower train.learning_rate."]
    assert display.shown == []


def test_prints_and_records_are_captured_and_everything_is_put_back() -> None:
    printed, display, log = output()
    before = (builtins.print, sys.stdout, logging.getLogger().level, logging.getLogger().handlers)
    with capture_output(printed):
        print("[ingest] be", end="")
        in_thread(lambda: print("[adapt] beside"))
        print("gun")
        logging.info("Executing task 'export'\nStreamed logs:")
        builtins.print = lambda *_: None
    assert display.shown == [("adapt", "beside"), ("ingest", "begun"), ("started", "export")]
    assert log.getvalue().endswith("Streamed logs:\n")
    after = (builtins.print, sys.stdout, logging.getLogger().level, logging.getLogger().handlers)
    assert after == before
