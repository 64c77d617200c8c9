"""Listing the runs in an output folder, and finding one."""

from pathlib import Path

import pytest
from made_runs import FIRST, SECOND, made_run

from components.shared.runtime.errors import InputError
from pipeline.local.stored_runs import find_run, list_runs


def test_runs_are_listed_newest_first_and_by_name(tmp_path: Path) -> None:
    made_run(tmp_path, FIRST, "b")
    made_run(tmp_path, SECOND, "a")

    assert [run.id for run in list_runs(str(tmp_path))] == [f"a/{SECOND}", f"b/{FIRST}"]
    assert [run.id for run in list_runs(str(tmp_path), "b")] == [f"b/{FIRST}"]
    assert list_runs(str(tmp_path / "nowhere")) == []


def test_folders_that_hold_other_things_are_no_runs(tmp_path: Path) -> None:
    made_run(tmp_path, FIRST)
    for name in ("tune/tiny", "compare", "models/versions/tiny-0123", "work/experiments"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "tune" / "tiny" / "run.json").write_text("{}")
    (tmp_path / "linked").symlink_to(tmp_path / "tiny")

    assert [run.id for run in list_runs(str(tmp_path))] == [f"tiny/{FIRST}"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda run: (run / "run.json").write_text("{"), "run.json is not a valid run.json"),
        (lambda run: (run / "run.json").write_bytes(b"\xff\xfe\x00"), "is not text"),
        (lambda run: (run / "run.json").unlink(), "run.json does not exist"),
        (lambda run: (run / "run.json").write_text('{"format": 99}'), "Upgrade deep-retrieval"),
        (lambda run: (run / "evaluation" / "evaluation.json").unlink(), "does not exist"),
        (lambda run: run.rename(f"{run}.partial"), "it is half-written"),
    ],
)
def test_a_damaged_or_half_written_folder_is_named(
    damage: object, problem: str, tmp_path: Path
) -> None:
    made_run(tmp_path, FIRST)
    damage(made_run(tmp_path, SECOND).folder)  # type: ignore[operator]

    damaged, whole = list_runs(str(tmp_path))

    assert problem in damaged.problem
    assert damaged.result is None
    assert whole.result is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", f"b/{SECOND}"),
        ("a", f"a/{SECOND}"),
        (f"a/{FIRST}", f"a/{FIRST}"),
        ("a/2026-11-24", f"a/{FIRST}"),
        ("2026-11-24T03", f"a/{FIRST}"),
        ("b/", f"b/{SECOND}"),
    ],
)
def test_a_run_is_found(text: str, expected: str, tmp_path: Path) -> None:
    made_run(tmp_path, FIRST, "a")
    made_run(tmp_path, SECOND, "a")
    made_run(tmp_path, SECOND, "b")

    assert find_run(str(tmp_path), text).id == expected
    assert find_run("elsewhere", str(tmp_path / expected)).id == expected


def test_latest_is_the_newest_run_that_can_be_read_if_the_link_is_gone(tmp_path: Path) -> None:
    made_run(tmp_path, FIRST)
    (made_run(tmp_path, SECOND).folder / "run.json").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        find_run(str(tmp_path), "latest")

    (tmp_path / "latest").unlink()

    assert find_run(str(tmp_path), "latest").run.started == FIRST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "tniy",
            "is named tniy. Did you mean 'tiny'\\? The newest are tiny/2026-11-25",
        ),
        ("2026-11", f"2 runs begin with 2026-11: tiny/{SECOND}, tiny/{FIRST}. Write more of it."),
    ],
)
def test_a_name_that_is_no_run_s_is_refused_with_those_there_are(
    text: str, message: str, tmp_path: Path
) -> None:
    made_run(tmp_path, FIRST)
    made_run(tmp_path, SECOND)

    with pytest.raises(InputError, match=message):
        find_run(str(tmp_path), text)


@pytest.mark.parametrize("text", ["latest", "tiny"])
def test_without_runs_the_message_says_how_to_begin(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="deep-retrieval run --config sample"):
        find_run(str(tmp_path), text)
