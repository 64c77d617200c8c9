"""From publish to the next run's fetch_published, through a place of each kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import MakeFolder

from components.fetch_published.job import fetch_published
from components.publish.job import publish
from components.resolve.job import resolve
from components.shared.registry.published_models import Conflict, Published, PublishedModels
from components.shared.runtime.files import read_json, write_json

pytest_plugins = ["published_fixtures"]

Run = Callable[[str, Path], dict[str, Any]]


@pytest.fixture
def run(place: str, version_folder: MakeFolder, tmp_path: Path) -> Run:
    """Publishes a model with content of its own, after what was fetched."""

    def publish_one(content: str, published: Path) -> dict[str, Any]:
        folder = version_folder(content)
        tables = folder / "tables"
        tables.mkdir()
        write_json({"fingerprint": content}, tables / "statistics.json")
        write_json({"headline": {"good_enough": True, "reasons": []}}, folder / "evaluation.json")
        return publish(
            location=place,
            name="shop",
            tables=str(tables),
            encoded=str(folder / "features"),
            model=str(folder / "model"),
            export=str(folder / "export"),
            evaluation=str(folder),
            published=str(published),
            run="by-hand",
            images={},
            warm_start=False,
            publication=str(tmp_path / "publication.json"),
        )

    return publish_one


def fetch(place: str, folder: Path) -> Published:
    """Fetches the live version as a run does: resolve says which one it is."""
    resolved = resolve(source={"kind": "sample"}, location=place)
    fetch_published(location=place, number=resolved["published_number"], published=str(folder))
    return Published.read(folder)


def test_each_run_fetches_what_the_run_before_published(
    place: str, run: Run, tmp_path: Path
) -> None:
    assert fetch(place, tmp_path / "0").version is None
    red = run("red", tmp_path / "0")

    assert fetch(place, tmp_path / "1").version == red["version"]
    blue = run("blue", tmp_path / "1")

    assert fetch(place, tmp_path / "2").version == blue["version"]
    assert (tmp_path / "2" / "model" / "history.json").read_text() == "model/history.json of blue\n"
    lineage = PublishedModels.at(place).location.read(f"versions/{blue['version']}/lineage.json")
    assert f'"compared_with": "{red["version"]}"'.encode() in (lineage or b"")
    assert b'"fingerprint": "blue"' in (lineage or b"")


def test_of_two_runs_that_fetched_the_same_model_the_second_fails(
    place: str, run: Run, tmp_path: Path
) -> None:
    fetch(place, tmp_path / "one")
    fetch(place, tmp_path / "other")
    red = run("red", tmp_path / "one")

    with pytest.raises(Conflict, match="no longer none, which this run was compared with"):
        run("blue", tmp_path / "other")

    assert fetch(place, tmp_path / "next").version == red["version"]
    # Run again, it is compared with that one.
    assert run("blue", tmp_path / "next")["version"] != red["version"]


def test_a_step_that_is_tried_again_publishes_once(place: str, run: Run, tmp_path: Path) -> None:
    fetch(place, tmp_path / "0")

    first = run("red", tmp_path / "0")
    note = read_json(tmp_path / "publication.json")
    again = run("red", tmp_path / "0")

    assert again == first
    assert read_json(tmp_path / "publication.json") == note
    assert len(PublishedModels.at(place).history()) == 1


def test_a_rollback_is_what_the_next_run_fetches(place: str, run: Run, tmp_path: Path) -> None:
    fetch(place, tmp_path / "0")
    red = run("red", tmp_path / "0")
    fetch(place, tmp_path / "1")
    run("blue", tmp_path / "1")

    PublishedModels.at(place).rollback()

    assert fetch(place, tmp_path / "2").version == red["version"]
    # What was compared with the version that is no longer the latest is not published.
    with pytest.raises(Conflict):
        run("green", tmp_path / "1")
