"""The error in a step's log, and text from servers, made safe to print."""

import pytest

from components.shared.kubeflow.step_error import error_in, own_error_in, task_with_two_records
from components.shared.runtime.clean_text import one_line, printable

EXITED = "F1125 13:03:51.1       1 main.go:57] failed to execute component: exit status 1"
TRACEBACK = 'Traceback (most recent call last):\n  File "job.py", line 7, in train\n    x = y\n'


@pytest.mark.parametrize(
    ("log", "own", "error"),
    [
        ("", "", ""),
        ("[train] epoch 1\n", "", ""),
        ("[train] error: no disk\n", "no disk", "no disk"),
        ("[train] error: first\n[train] done\n[train] error: last\n", "last", "last"),
        # Further lines of the same message.
        (
            "[ingest] error: 2 problems:\n[ingest]   a: wrong\n[ingest]   b: wrong\n" + EXITED,
            "2 problems: a: wrong b: wrong",
            "2 problems: a: wrong b: wrong",
        ),
        ("[a] error: of a\n[b] of b\n", "of a", "of a"),
        # A step that starts again prints `failed`; only the last attempt prints `error`.
        (
            "[train] failed: no disk\n[train] starts again in 5 s: attempt 2 of 2\n"
            "[train] error: still no disk\n",
            "still no disk",
            "still no disk",
        ),
        (TRACEBACK + "ValueError: shapes differ\n" + EXITED, "", "ValueError: shapes differ"),
        (TRACEBACK + "jaxlib.XlaError: full\n", "", "jaxlib.XlaError: full"),
        (TRACEBACK + "KeyboardInterrupt\n", "", "KeyboardInterrupt"),
        (TRACEBACK, "", ""),
        (EXITED, "", ""),
        (
            "F1125 13:03:51.1       1 main.go:57] failed to execute component: no bucket",
            "",
            "failed to execute component: no bucket",
        ),
        (
            "F1125 13:03:51.1  1 main.go:126] KFP driver: driver.Container(a (b)) failed: why",
            "",
            "why",
        ),
        ("F1125 13:03:51.1  1 main.go:126] KFP driver: no argument", "", "no argument"),
    ],
)  # fmt: skip
def test_the_reason_is_found_at_the_end_of_a_log(log: str, own: str, error: str) -> None:
    assert own_error_in(log) == own
    assert error_in(log) == error


def test_a_reason_is_truncated() -> None:
    assert error_in(f"[train] error: {'x' * 5000}", 100) == "x" * 100 + "…"


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ('two tasks have the same task name "ingest_23", id1=4 id2=7', "ingest"),
        ('x: two tasks have the same task name "select-model_5", id1=4 id2=7\n', "select-model"),
        ('two tasks have the same task name "train_23_idx_1", id1=4 id2=7', "train"),
        ("two tasks have failed", None),
    ],
)
def test_two_records_of_a_task_are_recognized(text: str, task: str | None) -> None:
    assert task_with_two_records(text) == task


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        (" two\n lines\t", "two lines"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\x00b\x07c\x9b1md", "abcd"),
        ("right\u202eleft", "rightleft"),
        ("half\ud800", "half"),
        ("größer", "größer"),
    ],
)
def test_text_from_outside_is_made_safe_to_print(text: str, line: str) -> None:
    assert one_line(text) == line
    assert " ".join(printable(text).split()) == line


def test_white_space_is_kept_where_lines_are_printed_one_by_one() -> None:
    assert printable("  a\tb \x1b[1mc") == "  a\tb c"
