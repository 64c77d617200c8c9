"""Records of steps: merged along the pipeline, each once, and without secrets."""

from pathlib import Path

import pytest

from components.shared.contracts.step_record import REVISION, StepRecord, StepRecords, record_step
from components.shared.runtime.errors import InputError


@pytest.fixture(autouse=True)
def _revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REVISION, "0123abc")


def recorded(folder: Path, step: str, inputs: dict[str, str | list[str] | None] | None = None,
             **arguments: object) -> str:  # fmt: skip
    """A folder with the record of a step."""
    record_step(folder, step, arguments, inputs)
    return str(folder)


def test_a_step_is_recorded_with_its_arguments_and_the_revision(tmp_path: Path) -> None:
    recorded(tmp_path, "ingest", seed=7, source={"kind": "sample"})

    assert StepRecords.read(tmp_path) == StepRecords(
        steps=[
            StepRecord(
                step="ingest",
                arguments={"seed": 7, "source": {"kind": "sample"}},
                revision="0123abc",
            )
        ],
        unrecorded=[],
    )


def test_without_a_revision_a_record_says_that_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REVISION)
    recorded(tmp_path, "ingest")

    assert StepRecords.read(tmp_path).steps[0].revision == "unknown"


def test_a_step_that_two_inputs_share_is_recorded_once(tmp_path: Path) -> None:
    tables = recorded(tmp_path / "tables", "ingest", seed=7)
    encoded = recorded(tmp_path / "encoded", "adapt", {"tables": tables})
    recorded(tmp_path / "export", "export", {"tables": tables, "encoded": encoded})

    steps = [record.step for record in StepRecords.read(tmp_path / "export").steps]
    assert steps == ["ingest", "adapt", "export"]


def test_two_executions_of_a_step_are_two_records(tmp_path: Path) -> None:
    models = [recorded(tmp_path / f"{units}", "train", layer_sizes=[units]) for units in (8, 16)]
    recorded(tmp_path / "model", "select_model", {"models": models, "base": None})

    trained = StepRecords.read(tmp_path / "model").of("train")
    assert [record.arguments["layer_sizes"] for record in trained] == [[8], [16]]


def test_an_input_without_a_record_is_named_in_all_later_records(tmp_path: Path) -> None:
    (tmp_path / "by-hand").mkdir()
    encoded = recorded(tmp_path / "encoded", "adapt", {"tables": str(tmp_path / "by-hand")})
    recorded(tmp_path / "model", "train", {"encoded": encoded})

    assert StepRecords.read(tmp_path / "model").unrecorded == ["adapt.tables"]


def test_a_copied_record_is_replaced(tmp_path: Path) -> None:
    model = recorded(tmp_path, "train", seed=7)
    recorded(tmp_path, "select_model", {"models": [model]})

    assert [record.step for record in StepRecords.read(tmp_path).steps] == ["train", "select_model"]


def test_a_url_with_credentials_is_refused_and_not_repeated(tmp_path: Path) -> None:
    source = {"kind": "files", "interactions": "s3://key:secret-9@bucket/log.csv"}

    with pytest.raises(InputError, match=r"ingest\.source\.interactions \(in front") as caught:
        recorded(tmp_path, "ingest", source=source)

    assert "secret-9" not in str(caught.value)
    assert not (tmp_path / StepRecords.FILE).exists()
