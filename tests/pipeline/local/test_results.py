"""The output folder of runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_evaluation import made_evaluation
from tiny_config import tiny

from components.shared.contracts.publication import Publication
from components.shared.contracts.run import Run, StepTime
from components.shared.runtime.errors import InputError
from pipeline.config.loading import load_config
from pipeline.local.results import prepare_output, save_results


@pytest.fixture
def outputs(tmp_path: Path) -> dict[str, Any]:
    """The pipeline's outputs in the work folder."""
    work = tmp_path / "work"
    for name in ("export", "evaluation"):
        (work / name).mkdir(parents=True)
    made_evaluation().write(work / "evaluation")
    (work / "report").write_text("<html>")
    (work / "log").write_text("all output")
    names = ("export", "evaluation", "report")
    return {name: SimpleNamespace(path=str(work / name)) for name in names}


def a_run(started: str) -> Run:
    return Run(
        name="tiny",
        started=started,
        runner="subprocess",
        seconds=3.0,
        good_enough=False,
        publication=Publication(version="", location="", reasons=["why"]),
        steps=[StepTime(step="ingest", seconds=2.0, startup_seconds=1.5)],
    )


def test_results_are_gathered_and_latest_points_at_the_newest(
    tmp_path: Path, outputs: dict[str, Any]
) -> None:
    results = [
        save_results(tmp_path, a_run(started), tiny(), outputs, tmp_path / "work" / "log")
        for started in ("2026-01-01", "2026-01-02")
    ]
    assert [result.folder for result in results] == [
        tmp_path / "tiny" / "2026-01-01", tmp_path / "tiny" / "2026-01-02"
    ]  # fmt: skip
    assert (tmp_path / "latest").resolve() == results[1].folder
    assert Run.read(tmp_path / "latest") == a_run("2026-01-02")
    assert results[1].evaluation == made_evaluation()
    assert load_config(str(results[1].folder / "config.yaml")) == tiny()
    assert (results[1].folder / "run.log").read_text() == "all output"
    assert (results[1].folder / "report.html").read_text() == "<html>"


def test_results_that_cannot_be_gathered_leave_nothing(
    tmp_path: Path, outputs: dict[str, Any]
) -> None:
    (tmp_path / "work" / "report").unlink()
    with pytest.raises(FileNotFoundError):
        save_results(tmp_path, a_run("2026-01-01"), tiny(), outputs, tmp_path / "work" / "log")
    assert list((tmp_path / "tiny").iterdir()) == []
    assert not (tmp_path / "latest").exists()


def test_the_output_folder_is_made(tmp_path: Path) -> None:
    assert prepare_output(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b" / "work").is_dir()


def test_a_path_that_kfp_cannot_work_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="python3"):
        prepare_output(str(tmp_path / "python3.11"))


def test_an_output_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Choose another folder"):
        prepare_output(str(tmp_path / "file" / "runs"))
