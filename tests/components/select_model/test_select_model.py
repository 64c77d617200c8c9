from pathlib import Path
from typing import Any

import pytest
from made_training import made_training

from components.select_model.job import select_model
from components.shared.contracts.step_record import StepRecords
from components.shared.runtime.errors import InputError


@pytest.fixture
def trained(tmp_path: Path) -> Any:
    """Write models like train's, one for each validation metric."""

    def make(*validation: float) -> list[str]:
        folders = []
        for number, value in enumerate(validation):
            folder = tmp_path / f"model-{number}"
            folder.mkdir()
            made_training(layer_sizes=f"{number}", validation=value).write(folder)
            (folder / "history.json").write_text(f"history of {number}")
            for tower in ("query", "candidate"):
                (folder / f"{tower}_tower.keras").write_bytes(f"{tower} of {number}".encode())
            folders.append(str(folder))
        return folders

    return make


def _contents(folder: str | Path) -> dict[str, bytes]:
    root = Path(folder)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _model(folder: str | Path) -> dict[str, bytes]:
    """The files of a model, without the record of the step that wrote the folder."""
    contents = _contents(folder)
    contents.pop(StepRecords.FILE, None)
    return contents


@pytest.mark.parametrize(
    ("validation", "best"),
    [
        ((0.1, 0.3, 0.2), 1),
        ((0.3, 0.1), 0),
        ((0.1, 0.2, 0.9), 2),
        ((0.2, 0.4, 0.4), 1),  # the first of equals
        ((0.0, 0.0), 0),
        ((0.5,), 0),
    ],
)
def test_the_first_of_the_best_models_is_copied_with_all_its_files(
    trained: Any, tmp_path: Path, validation: tuple[float, ...], best: int
) -> None:
    folders = trained(*validation)

    summary = select_model(models=folders, model=str(tmp_path / "best"))

    assert summary == {
        "layer_sizes": str(best),
        "monitor": "mrr_at_5_raw",
        "validation": validation[best],
    }
    assert _model(tmp_path / "best") == _model(folders[best])
    assert len(_model(tmp_path / "best")) == 4


def test_selecting_twice_gives_the_same(trained: Any, tmp_path: Path) -> None:
    folders = trained(0.1, 0.3, 0.3)

    summaries = [select_model(models=folders, model=str(tmp_path / name)) for name in "ab"]

    assert summaries[0] == summaries[1]
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")


def test_the_models_are_left_as_they_are(trained: Any, tmp_path: Path) -> None:
    folders = trained(0.1, 0.3)
    before = [_contents(folder) for folder in folders]

    select_model(models=folders, model=str(tmp_path / "best"))

    assert [_contents(folder) for folder in folders] == before


def test_the_log_marks_the_best_model_only(
    trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    select_model(models=trained(0.1, 0.3, 0.3), model=str(tmp_path / "best"))

    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("<- best") for line in lines] == [False, True, False]
    assert all("validation mrr_at_5_raw" in line for line in lines)


def test_a_model_without_its_training_json_is_refused(trained: Any, tmp_path: Path) -> None:
    folders = trained(0.1, 0.3)
    (Path(folders[0]) / "training.json").unlink()

    with pytest.raises(InputError, match=r"model-0/training\.json does not exist"):
        select_model(models=folders, model=str(tmp_path / "best"))


def test_an_older_selection_is_replaced(trained: Any, tmp_path: Path) -> None:
    folders = trained(0.1, 0.3)
    stale = tmp_path / "best" / "stale.txt"
    stale.parent.mkdir()
    stale.touch()

    select_model(models=folders, model=str(tmp_path / "best"))

    assert _model(tmp_path / "best") == _model(folders[1])
