"""From publish to the next run's fetch_published, through a place of each kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_evaluation import made_evaluation
from places import MakeFolder

from components.fetch_published.job import fetch_published
from components.publish.job import publish
from components.resolve.job import resolve
from components.shared.contracts.statistics import Statistics
from components.shared.registry.published import Published
from components.shared.registry.published_models import Conflict, PublishedModels
from components.shared.runtime.files import read_json

pytest_plugins = ["published_fixtures"]

Run = Callable[[str, Path], dict[str, Any]]


@pytest.fixture
def run(place: str, version_folder: MakeFolder, tmp_path: Path) -> Run:
    """Publish a model with its own content, compared with the fetched one."""

    def publish_one(content: str, published: Path) -> dict[str, Any]:
        folder = version_folder(content)
        tables = folder / "tables"
        tables.mkdir()
        Statistics(
            rows={}, users=2, candidates=1, ratings={}, times={}, rejects={}, outside_window=0,
            fingerprint=content,
        ).write(tables)  # fmt: skip
        made_evaluation().write(folder)
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
    """Fetch the champion as a run does: resolve returns its entry."""
    resolved = resolve(source={"kind": "sample"}, location=place)
    fetch_published(location=place, number=resolved["published_number"], published=str(folder))
    return Published.read(folder)


def test_each_run_fetches_the_model_from_the_previous_run(
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


def test_of_two_runs_compared_with_the_same_champion_the_second_fails(
    place: str, run: Run, tmp_path: Path
) -> None:
    fetch(place, tmp_path / "one")
    fetch(place, tmp_path / "other")
    red = run("red", tmp_path / "one")

    with pytest.raises(Conflict, match="another run has published since this run found no version"):
        run("blue", tmp_path / "other")

    assert fetch(place, tmp_path / "next").version == red["version"]
    # Another run is compared with the new champion.
    assert run("blue", tmp_path / "next")["version"] != red["version"]


def test_a_retried_step_publishes_once(place: str, run: Run, tmp_path: Path) -> None:
    fetch(place, tmp_path / "0")

    first = run("red", tmp_path / "0")
    note = read_json(tmp_path / "publication.json")
    again = run("red", tmp_path / "0")

    assert again == first
    assert read_json(tmp_path / "publication.json") == note
    assert len(PublishedModels.at(place).history()) == 1


def test_the_next_run_fetches_the_target_of_a_rollback(
    place: str, run: Run, tmp_path: Path
) -> None:
    fetch(place, tmp_path / "0")
    red = run("red", tmp_path / "0")
    fetch(place, tmp_path / "1")
    run("blue", tmp_path / "1")

    PublishedModels.at(place).rollback()

    assert fetch(place, tmp_path / "2").version == red["version"]
    # A model that was compared with the previous champion is not published.
    with pytest.raises(Conflict):
        run("green", tmp_path / "1")
