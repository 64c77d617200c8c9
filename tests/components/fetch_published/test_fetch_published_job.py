"""fetch_published: what a run begins from and is compared with."""

from pathlib import Path

import pytest

from components.errors import InputError
from components.fetch_published.job import fetch_published
from components.publish.job import publish
from components.published_models import Move, Published, PublishedModels
from components.step import run_step
from components.tables import write_json


@pytest.fixture
def models(
    sample_tables: Path, sample_encoded: Path, sample_model: Path, sample_export: Path,
    tmp_path: Path,
) -> PublishedModels:  # fmt: skip
    """The sample's model, published in a folder."""
    write_json({"headline": {"reasons": []}}, tmp_path / "evaluation.json")
    Published().write(tmp_path)
    location = str(tmp_path / "models")
    publish(
        location=location,
        good_enough=True,
        name="sample",
        tables=str(sample_tables),
        encoded=str(sample_encoded),
        model=str(sample_model),
        export=str(sample_export),
        evaluation=str(tmp_path),
        published=str(tmp_path),
        lineage={},
        publication=str(tmp_path / "publication.json"),
    )
    return PublishedModels.at(location)


def latest(models: PublishedModels) -> Move:
    move = models.latest()
    assert move is not None
    return move


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("located", [True, False])
def test_where_nothing_is_published_there_is_a_note_that_says_so(
    located: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = str(tmp_path / "models") if located else ""
    folder = tmp_path / "published"

    summary = fetch_published(location=location, published=str(folder))

    assert summary == {"version": ""}
    assert Published.read(folder) == Published()
    assert files(folder) == {"published.json"}
    where = f"at {location}" if located else "as publish.location is not set"
    assert capsys.readouterr().out == f"[fetch_published] no version is published {where}\n"
    assert not (tmp_path / "models").exists()


def test_the_latest_version_comes_with_what_later_steps_need(
    models: PublishedModels,
    sample_export: Path,
    sample_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "published"

    summary = fetch_published(location=str(models.location), published=str(folder))

    move = latest(models)
    assert summary == {"version": move.version}
    assert Published.read(folder) == Published(move=move)
    assert files(folder / "model") == files(sample_model)
    assert files(folder / "export") == {
        name
        for name in files(sample_export)
        if name.startswith("candidates/") or name in ("query_tower.keras", "export.json")
    }
    assert {"feature_spec.json", "query_feature_space.keras"} <= files(folder / "features")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"[fetch_published] the latest version is {move.version}, of {move.time}"


def test_the_served_model_and_the_users_stay_where_they_are(
    models: PublishedModels, sample_export: Path, tmp_path: Path
) -> None:
    assert (sample_export / "saved_model").is_dir()
    assert (sample_export / "users").is_dir()

    fetch_published(location=str(models.location), published=str(tmp_path / "published"))

    assert {path.name for path in (tmp_path / "published").iterdir()} == {
        "published.json", "export", "model", "features"
    }  # fmt: skip
    assert not (tmp_path / "published" / "export" / "saved_model").exists()
    assert not (tmp_path / "published" / "export" / "users").exists()


def test_every_fetched_file_is_the_published_one(models: PublishedModels, tmp_path: Path) -> None:
    folder = tmp_path / "published"

    fetch_published(location=str(models.location), published=str(folder))

    version = Path(str(models.location)) / "versions" / latest(models).version
    for name in files(folder) - {"published.json"}:
        assert (folder / name).read_bytes() == (version / name).read_bytes()


def test_what_was_fetched_before_is_replaced(models: PublishedModels, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    fetch_published(location=str(models.location), published=str(folder))
    (folder / "left over").write_text("x")

    fetch_published(location="", published=str(folder))

    assert files(folder) == {"published.json"}


@pytest.mark.parametrize("file", ["model/query_tower.keras", "features/feature_spec.json"])
def test_a_tampered_version_leaves_no_fetched_folder(
    models: PublishedModels, tmp_path: Path, file: str
) -> None:
    name = f"versions/{latest(models).version}/{file}"
    models.location.write(name, b"something else")

    with pytest.raises(InputError, match="is not the file that was published") as caught:
        fetch_published(location=str(models.location), published=str(tmp_path / "published"))

    assert f"{models.location}/{name}" in str(caught.value)
    assert not (tmp_path / "published").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_latest_version_that_is_gone_is_named(models: PublishedModels, tmp_path: Path) -> None:
    version = latest(models).version
    models.location.delete(f"versions/{version}/MANIFEST.json")

    with pytest.raises(InputError, match=f"has no version {version}"):
        fetch_published(location=str(models.location), published=str(tmp_path / "published"))

    assert not (tmp_path / "published").exists()


def test_a_location_that_cannot_be_reached_leaves_no_fetched_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nonsense://bucket cannot be reached"):
        fetch_published(location="nonsense://bucket", published=str(tmp_path / "published"))

    assert list(tmp_path.iterdir()) == []


def test_credentials_in_the_location_are_refused_and_not_repeated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_step(
            "fetch_published", fetch_published, location="gs://secret-9@bucket/models",
            published=str(tmp_path / "published"),
        )  # fmt: skip

    output = "".join(capfd.readouterr())
    assert output.startswith("[fetch_published] error: gs://***@bucket/models (in front of the ")
    assert "secret-9" not in output
    assert list(tmp_path.iterdir()) == []
