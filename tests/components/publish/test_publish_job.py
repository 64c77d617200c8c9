"""publish: what is good enough becomes a version and the latest one, anything else does not."""

import dataclasses
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import EVALUATE, FEATURES, SMALL_SAMPLE, TRAIN
from killed_publish import MOMENTS, publish_in_process
from made_evaluation import made_evaluation

from components.check_data.job import check_data
from components.fetch_published.job import fetch_published
from components.publish.job import publish
from components.shared.contracts.data_profile import DataProfile
from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.lineage import Lineage
from components.shared.contracts.publication import Publication
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.step_record import REVISION, StepRecords, record_step
from components.shared.contracts.tables import Schema
from components.shared.registry.history import HistoryEntry
from components.shared.registry.published_models import Conflict, PublishedModels
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import write_json
from components.shared.runtime.step import run_step

REASONS = ["hit_rate_at_20_filtered is 0.1, and must be 0.2", "one more reason"]


@dataclasses.dataclass(frozen=True)
class Step:
    """A publish step: its arguments, and the place it publishes to."""

    arguments: dict[str, Any]

    @property
    def models(self) -> PublishedModels:
        """What is published."""
        return PublishedModels.at(self.arguments["location"])

    @property
    def publication(self) -> Publication:
        """The outcome that the step wrote."""
        return Publication.read_file(self.arguments["publication"])

    def changed(self, **arguments: Any) -> "Step":
        """The same step with other arguments."""
        return Step({**self.arguments, **arguments})

    def run(self) -> dict[str, Any]:
        """Runs it in this process."""
        return publish(**self.arguments)

    def read_json(self, name: str) -> Any:
        """Reads a JSON file of the location."""
        return json.loads(self.models.location.read(name) or b"null")


@pytest.fixture
def step(
    sample_tables: Path, sample_encoded: Path, sample_model: Path, sample_export: Path,
    tmp_path: Path,
) -> Step:  # fmt: skip
    """Publishes the sample's model to an empty folder."""
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    made_evaluation().write(evaluation)
    record_step(
        evaluation,
        "evaluate",
        {"config": EVALUATE},
        {"export": str(sample_export), "models": [str(sample_model)]},
    )
    (evaluation / "large.parquet").write_bytes(b"what the report needs and a version does not")
    fetch_published(location="", number=0, published=str(tmp_path / "published"))
    check_data(
        tables=str(sample_tables),
        config={"max_volume": 5.0},
        published=str(tmp_path / "published"),
        data_check=str(tmp_path / "data_check"),
    )
    return Step(
        {
            "location": str(tmp_path / "models"),
            "name": "sample",
            "run": "r-7",
            "images": {"train": "model:1"},
            "warm_start": False,
            "tables": str(sample_tables),
            "encoded": str(sample_encoded),
            "model": str(sample_model),
            "export": str(sample_export),
            "evaluation": str(evaluation),
            "published": str(tmp_path / "published"),
            "data_check": str(tmp_path / "data_check"),
            "publication": str(tmp_path / "outputs" / "publication.json"),
        }
    )


@pytest.fixture
def other_model(sample_model: Path, tmp_path: Path) -> str:
    """The sample's model with another history: another model."""
    folder = tmp_path / "other"
    folder.mkdir()
    for path in sample_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "history.json").write_text("{}")
    return str(folder)


def fetched(step: Step, folder: Path) -> Step:
    """The same step in a run that begins now."""
    location = step.arguments["location"]
    latest = PublishedModels.at(location).latest()
    number = latest.number if latest else 0
    fetch_published(location=location, number=number, published=str(folder))
    return step.changed(published=str(folder))


def refused(step: Step) -> Step:
    """The same step after an evaluation that found the model not good enough."""
    made_evaluation(good_enough=False, reasons=REASONS).write(step.arguments["evaluation"])
    return step


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


# What is not published


def test_what_is_not_good_enough_leaves_nothing_at_the_location(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = refused(step).run()

    location = step.arguments["location"]
    assert summary == {"version": "", "location": location}
    assert not Path(location).exists()
    assert step.publication == Publication(version="", location=location, reasons=REASONS)
    assert capsys.readouterr().out.splitlines() == [
        "[publish] nothing is published, because the model is not good enough:",
        *(f"[publish]   {reason}" for reason in REASONS),
    ]


def test_what_is_not_good_enough_leaves_the_published_model_as_it_is(
    step: Step, other_model: str, tmp_path: Path
) -> None:
    step.run()
    before = {name: step.models.location.read(name) for name in step.models.location.names()}

    refused(fetched(step, tmp_path / "now")).changed(model=other_model).run()

    after = {name: step.models.location.read(name) for name in step.models.location.names()}
    assert after == before


def test_without_a_location_the_step_says_so(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    summary = step.changed(location="").run()

    assert summary == {"version": "", "location": ""}
    assert step.publication.reasons == ["publish.location is not set"]
    assert "nothing is published, as publish.location is not set" in capsys.readouterr().out
    assert not files(here)


# What is published


def test_what_is_good_enough_becomes_the_latest_version(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = step.run()

    (version,) = step.models.versions()
    location = step.arguments["location"]
    assert version.startswith("sample-")
    assert summary == {"version": version, "location": location}
    latest = step.models.latest()
    assert latest is not None
    assert (latest.number, latest.version, latest.previous) == (1, version, None)
    assert latest.action == "publish"
    assert HistoryEntry.model_validate(step.read_json("latest.json")) == latest
    assert step.publication == Publication(
        version=version, location=location, reasons=[], number=1, previous=None
    )
    assert capsys.readouterr().out == (
        f"[publish] {version} is the latest version at {location} now\n"
    )


def test_a_version_has_the_export_the_model_the_features_and_the_evaluation(
    step: Step, sample_export: Path, sample_model: Path, sample_encoded: Path, tmp_path: Path
) -> None:
    version = step.run()["version"]

    folder = Path(step.arguments["location"]) / "versions" / version
    assert files(folder / "export") == files(sample_export) - {StepRecords.FILE}
    assert files(folder / "model") == files(sample_model) - {StepRecords.FILE}
    assert (folder / "export" / "saved_model" / "saved_model.pb").is_file()
    assert files(folder / "features") == {
        name for name in files(sample_encoded) if "/" not in name or name.startswith("vocab")
    } - {StepRecords.FILE}
    assert (folder / "features" / "query_feature_space.keras").is_file()
    assert (folder / "features" / "vocabularies" / "movie_id.parquet").is_file()
    assert {path.name for path in folder.iterdir()} == {
        "export", "model", "features", "schema.json", "profile.json", "evaluation.json",
        "lineage.json", "MANIFEST.json",
    }  # fmt: skip
    assert Evaluation.read(folder) == made_evaluation()
    assert set(step.models.manifest(version)) == files(folder) - {"MANIFEST.json"}


def test_the_next_run_fetches_the_schema_and_the_profile_of_the_data(
    step: Step, tmp_path: Path
) -> None:
    step.run()

    published = Path(fetched(step, tmp_path / "next").arguments["published"])

    data_check = Path(step.arguments["data_check"])
    for name in (Schema.FILE, DataProfile.FILE):
        assert (published / name).read_bytes() == (data_check / name).read_bytes()


def test_a_version_can_be_published_without_a_profile(step: Step, tmp_path: Path) -> None:
    step.changed(data_check=None).run()

    published = Path(fetched(step, tmp_path / "next").arguments["published"])

    assert not (published / DataProfile.FILE).exists()


def test_every_file_of_a_version_is_the_one_that_the_steps_wrote(
    step: Step, sample_export: Path, tmp_path: Path
) -> None:
    version = step.run()["version"]

    step.models.fetch(version, [""], tmp_path / "fetched")

    for name in files(sample_export) - {StepRecords.FILE}:
        copied = tmp_path / "fetched" / "export" / name
        assert copied.read_bytes() == (sample_export / name).read_bytes()


def test_the_lineage_says_what_a_model_was_made_from(
    step: Step, sample_tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REVISION, "0123abc")

    version = step.run()["version"]

    lineage = Lineage.parse(json.dumps(step.read_json(f"versions/{version}/lineage.json")), "it")
    statistics = Statistics.read(sample_tables)
    assert statistics.fingerprint
    assert lineage.time.endswith("+00:00")
    assert lineage.model_dump(exclude={"format", "time", "steps"}) == {
        "run": "r-7",
        "config": "sample",
        "images": {"train": "model:1"},
        "parameters": {
            "source": SMALL_SAMPLE,
            "source_fingerprint": "",
            "data_until": "",
            "ingest": {},
            "table_needs": None,
            "drift": {"max_volume": 5.0},
            "features": FEATURES,
            "adapt": {},
            "train": TRAIN,
            "layer_stacks": [[16]],
            "evaluate": EVALUATE,
            "warm_start": False,
            "seed": 7,
        },
        "unrecorded": [],
        "revision": "0123abc",
        "data": statistics.model_dump(mode="json"),
        "compared_with": None,
    }
    assert [record.step for record in lineage.steps] == [
        "ingest", "adapt", "train", "export", "evaluate", "fetch_published", "check_data"
    ]  # fmt: skip


def test_the_lineage_names_an_input_without_a_record(
    step: Step, sample_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(
        sample_model, tmp_path / "by-hand", ignore=shutil.ignore_patterns(StepRecords.FILE)
    )

    version = step.changed(model=str(tmp_path / "by-hand")).run()["version"]

    assert step.read_json(f"versions/{version}/lineage.json")["unrecorded"] == ["publish.model"]
    assert "the lineage is incomplete: publish.model has no step_records.json" in (
        capsys.readouterr().out
    )


def test_one_model_of_two_runs_is_one_version(step: Step, tmp_path: Path) -> None:
    first = step.run()["version"]
    folders = {name: tmp_path / "again" / name for name in ("encoded", "model", "export")}
    for name, folder in folders.items():
        shutil.copytree(step.arguments[name], folder)
        record_step(folder, name, {"source": "/elsewhere", "seed": 99})

    again = step.changed(**{name: str(folder) for name, folder in folders.items()}).run()

    assert again["version"] == first


def test_without_a_revision_the_lineage_says_that_it_is_unknown(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REVISION, raising=False)

    version = step.run()["version"]

    assert step.read_json(f"versions/{version}/lineage.json")["revision"] == "unknown"


def test_the_next_model_follows_the_one_it_was_compared_with(
    step: Step, other_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = step.run()["version"]

    second = fetched(step, tmp_path / "now").changed(model=other_model).run()["version"]

    assert [move.version for move in step.models.history()] == [first, second]
    assert step.publication.previous == first
    assert step.publication.number == 2
    assert step.read_json(f"versions/{second}/lineage.json")["compared_with"] == first
    assert f"now; before it was {first}" in capsys.readouterr().out


def test_the_same_model_as_the_published_one_is_not_published_again(
    step: Step, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = step.run()["version"]

    again = fetched(step, tmp_path / "now").run()["version"]

    assert again == first
    assert len(step.models.history()) == 1
    assert f"{first} is the latest version already" in capsys.readouterr().out


def test_a_run_that_was_compared_with_an_older_model_fails(step: Step, other_model: str) -> None:
    first = step.run()["version"]

    with pytest.raises(Conflict, match="another run has published since") as caught:
        step.changed(model=other_model).run()

    assert step.arguments["location"] in str(caught.value)
    assert [move.version for move in step.models.history()] == [first]
    assert step.read_json("latest.json")["version"] == first


def test_a_run_that_fails_so_leaves_no_version(step: Step, other_model: str) -> None:
    first = step.run()["version"]

    with pytest.raises(Conflict):
        step.changed(model=other_model).run()

    assert step.models.versions() == [first]


def test_nothing_is_left_of_what_was_gathered(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    step.run()
    with pytest.raises(InputError):
        step.changed(location="nonsense://bucket").run()

    assert os.listdir(tmp_path / "tmp") == []


# Names from elsewhere, and secrets


def test_a_name_that_leads_elsewhere_is_no_versions_name(step: Step, tmp_path: Path) -> None:
    before = files(tmp_path)

    with pytest.raises(InputError, match=r"publish: '\.\./\.\./sample-\w{12}' cannot be the name"):
        step.changed(name="../../sample").run()

    assert files(tmp_path) == before


@pytest.mark.parametrize("field", ["version", "previous"])
def test_a_note_of_the_published_model_with_a_path_in_it_is_refused(
    step: Step, tmp_path: Path, field: str
) -> None:
    move = {"number": 1, "version": "v-1", "previous": None, "action": "publish", "time": "2026"}
    write_json({"entry": {**move, field: "../x"}}, tmp_path / "published" / "published.json")

    with pytest.raises(InputError, match=r"'\.\./x' cannot be the name of a version"):
        step.run()

    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("good_enough", [True, False])
def test_credentials_in_the_location_are_in_no_output(
    step: Step, good_enough: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        **(step if good_enough else refused(step)).arguments,
        "location": "s3://key:secret-9@bucket/models",
    }

    with pytest.raises(SystemExit):
        run_step("publish", publish, **arguments)

    output = "".join(capfd.readouterr())
    assert output.startswith("[publish] error: publish.location (in front of the bucket or host): ")
    assert "secret-9" not in output
    assert not Path(step.arguments["publication"]).exists()


# Once, whatever happens


def test_a_step_that_is_tried_again_publishes_once(step: Step) -> None:
    first = step.run()
    note = step.publication
    before = {name: step.models.location.read(name) for name in step.models.location.names()}

    again = step.run()

    assert again == first
    assert step.publication == note
    after = {name: step.models.location.read(name) for name in step.models.location.names()}
    assert after == before


def assert_one_whole_version(step: Step, tmp_path: Path) -> None:
    (move,) = step.models.history()
    assert move.number == 1
    assert HistoryEntry.model_validate(step.read_json("latest.json")) == move
    assert step.models.versions() == [move.version]
    step.models.fetch(move.version, [""], tmp_path / "whole")
    assert step.publication.version == move.version
    assert not [name for name in step.models.location.names() if name.endswith(".partial")]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_step_that_was_killed_is_finished_by_the_next_attempt(
    step: Step, tmp_path: Path, moment: str
) -> None:
    ended = publish_in_process(step.arguments, moment)

    assert ended == -signal.SIGKILL
    moved = moment in ("before latest.json", "before the note")
    assert (step.models.latest() is not None) is moved
    assert not Path(step.arguments["publication"]).exists()

    step.run()
    assert_one_whole_version(step, tmp_path)


def test_a_step_that_is_killed_again_and_again_publishes_once_in_the_end(
    step: Step, tmp_path: Path
) -> None:
    for moment in MOMENTS[1:4]:
        assert publish_in_process(step.arguments, moment) == -signal.SIGKILL
        assert step.models.latest() is None

    assert publish_in_process(step.arguments, None) == 0
    assert_one_whole_version(step, tmp_path)


def test_a_run_that_a_killed_one_was_before_is_in_conflict_with_it(
    step: Step, other_model: str, tmp_path: Path
) -> None:
    assert publish_in_process(step.arguments, "before latest.json") == -signal.SIGKILL
    other = step.changed(model=other_model)

    with pytest.raises(Conflict):
        other.run()

    second = fetched(other, tmp_path / "now").run()["version"]
    history = step.models.history()
    assert [move.number for move in history] == [1, 2]
    assert history[1].version == second
    assert HistoryEntry.model_validate(step.read_json("latest.json")) == history[1]
