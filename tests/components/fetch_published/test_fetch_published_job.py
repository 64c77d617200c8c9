"""fetch_published: what a run begins from and is compared with."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from made_evaluation import made_evaluation

from components.fetch_published.component import fetch_published as fetch_component
from components.fetch_published.job import fetch_published
from components.publish.job import publish
from components.shared.contracts.step_record import StepRecords
from components.shared.registry.history import HistoryEntry
from components.shared.registry.published import Published
from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.errors import InputError
from components.shared.runtime.step import run_step


@pytest.fixture
def models(
    sample_tables: Path, sample_encoded: Path, sample_model: Path, sample_export: Path,
    tmp_path: Path,
) -> PublishedModels:  # fmt: skip
    """The sample's model, published in a folder."""
    made_evaluation().write(tmp_path)
    Published().write(tmp_path)
    location = str(tmp_path / "models")
    publish(
        location=location,
        name="sample",
        tables=str(sample_tables),
        encoded=str(sample_encoded),
        model=str(sample_model),
        export=str(sample_export),
        evaluation=str(tmp_path),
        published=str(tmp_path),
        run="by-hand",
        images={},
        warm_start=False,
        publication=str(tmp_path / "publication.json"),
    )
    return PublishedModels.at(location)


def latest(models: PublishedModels) -> HistoryEntry:
    move = models.latest()
    assert move is not None
    return move


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("located", [True, False])
def test_without_a_model_published_json_says_so(
    located: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = str(tmp_path / "models") if located else ""
    folder = tmp_path / "published"

    summary = fetch_published(location=location, number=0, published=str(folder))

    assert summary == {"version": ""}
    assert Published.read(folder) == Published()
    assert files(folder) == {"published.json", "step_records.json"}
    said = "[fetch_published] there is no model to fetch (comparison)\n"
    assert capsys.readouterr().out == said
    assert not (tmp_path / "models").exists()


def test_the_parts_that_later_steps_need_are_fetched(
    models: PublishedModels,
    sample_export: Path,
    sample_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "published"

    summary = fetch_published(location=str(models.location), number=1, published=str(folder))

    move = latest(models)
    assert summary == {"version": move.version}
    assert Published.read(folder) == Published(entry=move)
    assert files(folder / "model") == files(sample_model) - {StepRecords.FILE}
    assert files(folder / "export") == {
        name
        for name in files(sample_export)
        if name.startswith("candidates/") or name in ("query_tower.keras", "export.json")
    }
    assert {"feature_spec.json", "query_feature_space.keras"} <= files(folder / "features")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        f"[fetch_published] fetched {move.version}, published at {move.time} (comparison)"
    )


def test_the_requested_entry_is_fetched_even_if_there_is_a_later_one(
    models: PublishedModels, sample_model: Path, sample_export: Path, sample_encoded: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    first = latest(models)
    gathered = tmp_path / "gathered"
    for name, part in (
        ("model", sample_model), ("export", sample_export), ("features", sample_encoded)
    ):  # fmt: skip
        shutil.copytree(part, gathered / name)
    (gathered / "model" / "history.json").write_text("{}")
    version = models.add(gathered, "sample", ("export", "model", "features"))
    second = models.make_latest(version, first, "publish")
    third = models.rollback()
    place = str(models.location)

    for move in (first, second, third):
        folder = tmp_path / f"fetched-{move.number}"
        summary = fetch_published(location=place, number=move.number, published=str(folder))
        assert summary == {"version": move.version}
        assert Published.read(folder) == Published(entry=move)

    assert [move.number for move in (first, second, third)] == [1, 2, 3]
    assert third.version == first.version != second.version
    assert (tmp_path / "fetched-2" / "model" / "history.json").read_text() == "{}"
    assert (tmp_path / "fetched-3" / "model" / "history.json").read_text() != "{}"


class _Artifact:
    """What Kubeflow hands a component for an output."""

    def __init__(self, path: Path):
        self.path = str(path)
        self.metadata: dict[str, Any] = {}


@pytest.mark.parametrize("purpose", ["comparison", "warm start"])
def test_the_log_of_the_component_names_the_purpose(
    models: PublishedModels, tmp_path: Path, capsys: pytest.CaptureFixture[str], purpose: str
) -> None:
    artifact = _Artifact(tmp_path / "published")

    fetch_component.python_func(
        location=str(models.location), number=1, purpose=purpose, published=artifact
    )

    move = latest(models)
    assert artifact.metadata["version"] == move.version
    assert Published.read(artifact.path) == Published(entry=move)
    said = f"[fetch_published] fetched {move.version}, published at {move.time} ({purpose})"
    assert said in capsys.readouterr().out.splitlines()


def test_a_missing_entry_leaves_no_fetched_folder(models: PublishedModels, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"history/00000002\.json does not exist") as caught:
        fetch_published(
            location=str(models.location), number=2, published=str(tmp_path / "published")
        )

    assert str(models.location) in str(caught.value)
    assert not (tmp_path / "published").exists()


def test_the_saved_model_and_the_users_are_not_fetched(
    models: PublishedModels, sample_export: Path, tmp_path: Path
) -> None:
    assert (sample_export / "saved_model").is_dir()
    assert (sample_export / "users").is_dir()

    fetch_published(location=str(models.location), number=1, published=str(tmp_path / "published"))

    assert {path.name for path in (tmp_path / "published").iterdir()} == {
        "published.json", "step_records.json", "export", "model", "features"
    }  # fmt: skip
    assert not (tmp_path / "published" / "export" / "saved_model").exists()
    assert not (tmp_path / "published" / "export" / "users").exists()


def test_every_fetched_file_is_the_published_one(models: PublishedModels, tmp_path: Path) -> None:
    folder = tmp_path / "published"

    fetch_published(location=str(models.location), number=1, published=str(folder))

    version = Path(str(models.location)) / "versions" / latest(models).version
    for name in files(folder) - {"published.json", StepRecords.FILE}:
        assert (folder / name).read_bytes() == (version / name).read_bytes()


def test_previous_output_is_replaced(models: PublishedModels, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    fetch_published(location=str(models.location), number=1, published=str(folder))
    (folder / "left over").write_text("x")

    fetch_published(location="", number=0, published=str(folder))

    assert files(folder) == {"published.json", "step_records.json"}


@pytest.mark.parametrize("file", ["model/query_tower.keras", "features/feature_spec.json"])
def test_a_tampered_version_leaves_no_fetched_folder(
    models: PublishedModels, tmp_path: Path, file: str
) -> None:
    name = f"versions/{latest(models).version}/{file}"
    models.location.write(name, b"something else")

    with pytest.raises(InputError, match="is not the file that was published") as caught:
        fetch_published(
            location=str(models.location), number=1, published=str(tmp_path / "published")
        )

    assert f"{models.location}/{name}" in str(caught.value)
    assert not (tmp_path / "published").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_missing_version_is_named(models: PublishedModels, tmp_path: Path) -> None:
    version = latest(models).version
    models.location.delete(f"versions/{version}/MANIFEST.json")

    with pytest.raises(InputError, match=f"has no version {version}"):
        fetch_published(
            location=str(models.location), number=1, published=str(tmp_path / "published")
        )

    assert not (tmp_path / "published").exists()


def test_an_unreachable_location_leaves_no_fetched_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nonsense://bucket cannot be reached"):
        fetch_published(
            location="nonsense://bucket", number=1, published=str(tmp_path / "published")
        )

    assert list(tmp_path.iterdir()) == []


def test_credentials_in_the_location_are_refused_and_not_repeated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_step(
            "fetch_published", fetch_published, number=1, location="gs://secret-9@bucket/models",
            published=str(tmp_path / "published"),
        )  # fmt: skip

    output = "".join(capfd.readouterr())
    assert output.startswith("[fetch_published] error: gs://***@bucket/models (in front of the ")
    assert "secret-9" not in output
    assert list(tmp_path.iterdir()) == []
