"""Every step records itself and the steps before it in its output."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import EVALUATE, FEATURES, SMALL_SAMPLE, TRAIN

from components.check_data.job import check_data
from components.encode_for_published.job import encode_for_published
from components.evaluate.job import evaluate
from components.fetch_published.job import fetch_published
from components.ingest.job import ingest
from components.select_model.job import select_model
from components.shared.contracts.step_record import StepRecords
from components.shared.runtime.images import STEP_IMAGES

COMPONENTS = Path(__file__).parents[2] / "components"
# Their only outputs are values, a log, or a published version.
WITHOUT_RECORD = {"resolve", "publish", "notify"}
# The folders and files that the steps hand on, which records replace.
ARTIFACTS = {
    "tables", "rejects", "encoded", "base", "published", "published_test", "model", "models",
    "export", "evaluation", "metrics", "report", "data_check",
}  # fmt: skip
# A place on the machine: with or without checkpoints, a training gives the same model.
UNRECORDED_ARGUMENTS = {"train": {"checkpoints"}}


@pytest.fixture(scope="module")
def outputs(
    sample_tables: Path,
    sample_encoded: Path,
    sample_model: Path,
    sample_export: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The output folder of each step."""
    folder = tmp_path_factory.mktemp("outputs")
    paths = {
        name: str(folder / name)
        for name in ("published", "selected", "test", "check", "evaluation", "metrics", "report")
    }
    fetch_published(location="", number=0, published=paths["published"])
    select_model(models=[str(sample_model)], model=paths["selected"])
    check_data(
        tables=str(sample_tables),
        published=paths["published"],
        config={},
        data_check=paths["check"],
    )
    encode_for_published(
        tables=str(sample_tables),
        published=paths["published"],
        config={},
        published_test=paths["test"],
    )
    evaluate(
        export=str(sample_export),
        encoded=str(sample_encoded),
        models=[str(sample_model)],
        published=paths["published"],
        published_test=paths["test"],
        data_check=paths["check"],
        config={**EVALUATE, "bootstrap_samples": 100},
        evaluation=paths["evaluation"],
        metrics=paths["metrics"],
        report=paths["report"],
    )
    return {
        "fetch_published": Path(paths["published"]),
        "ingest": sample_tables,
        "check_data": Path(paths["check"]),
        "adapt": sample_encoded,
        "encode_for_published": Path(paths["test"]),
        "train": sample_model,
        "select_model": Path(paths["selected"]),
        "export": sample_export,
        "evaluate": Path(paths["evaluation"]),
    }


def _job_arguments(step: str) -> set[str]:
    """The names of the arguments of a step's job, from its source: two jobs need TensorFlow."""
    module = ast.parse((COMPONENTS / step / "job.py").read_text())
    [job] = [n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == step]
    return {argument.arg for argument in job.args.kwonlyargs}


def test_every_step_with_an_output_folder_is_looked_at(outputs: dict[str, Path]) -> None:
    assert set(outputs) == set(STEP_IMAGES) - WITHOUT_RECORD


@pytest.mark.parametrize("step", sorted(set(STEP_IMAGES) - WITHOUT_RECORD))
def test_a_record_has_all_arguments_of_its_job(step: str, outputs: dict[str, Path]) -> None:
    own = StepRecords.read(outputs[step]).steps[-1]
    unrecorded = ARTIFACTS | UNRECORDED_ARGUMENTS.get(step, set())

    assert own.step == step
    assert set(own.arguments) == _job_arguments(step) - unrecorded


@pytest.mark.parametrize(
    ("step", "before"),
    [
        ("fetch_published", []),
        ("ingest", []),
        ("adapt", ["ingest"]),
        ("check_data", ["ingest", "fetch_published"]),
        ("encode_for_published", ["ingest", "fetch_published"]),
        ("train", ["ingest", "adapt"]),
        ("select_model", ["ingest", "adapt", "train"]),
        ("export", ["ingest", "adapt", "train"]),
        ("evaluate", ["ingest", "adapt", "train", "export", "fetch_published",
                      "encode_for_published", "check_data"]),
    ],
)  # fmt: skip
def test_a_record_has_each_step_before_it_once(
    step: str, before: list[str], outputs: dict[str, Path]
) -> None:
    records = StepRecords.read(outputs[step])

    assert [record.step for record in records.steps] == [*before, step]
    assert records.unrecorded == []


def test_a_record_has_the_values_that_the_step_was_given(outputs: dict[str, Path]) -> None:
    records = StepRecords.read(outputs["evaluate"])
    by_step = {record.step: record.arguments for record in records.steps}

    assert by_step["ingest"]["source"] == SMALL_SAMPLE
    assert by_step["adapt"]["features"] == FEATURES
    assert by_step["train"] == {"config": TRAIN, "layer_sizes": [16], "seed": 7, "gpus": 0}


def test_both_outputs_of_ingest_have_the_same_record(sample_tables: Path) -> None:
    rejects = StepRecords.read(sample_tables.with_name("rejects"))

    assert rejects == StepRecords.read(sample_tables)


def test_no_record_has_a_path_of_the_machine(outputs: dict[str, Path]) -> None:
    for folder in outputs.values():
        text = (folder / StepRecords.FILE).read_text()
        for machine in (folder, Path.cwd(), Path.home()):
            assert str(machine) not in text


def test_the_same_inputs_give_the_same_bytes(sample_tables: Path, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"source": SMALL_SAMPLE, "config": {}, "seed": 7}
    ingest(**arguments, tables=str(tmp_path / "tables"), rejects=str(tmp_path / "rejects"))

    assert (tmp_path / "tables" / StepRecords.FILE).read_bytes() == (
        sample_tables / StepRecords.FILE
    ).read_bytes()
    assert "time" not in json.loads((sample_tables / StepRecords.FILE).read_text())
