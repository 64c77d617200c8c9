"""resolve: what a run cannot know before it starts, as plain values."""

import os
from pathlib import Path
from typing import Any

import pytest

from components.resolve.component import resolve as component
from components.resolve.job import SCHEDULED, resolve
from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.errors import InputError
from components.shared.runtime.step import run_step
from components.shared.storage.source_files import source_fingerprint

SAMPLE = {"kind": "sample", "users": 60, "items": 40, "interactions": 1500}
NOON = "2026-11-24T12:00:00Z"
NOTHING_PUBLISHED = {"published_number": 0, "published_version": "", "base_number": 0}


@pytest.fixture
def models(tmp_path: Path) -> PublishedModels:
    """Three versions at a location; after a rollback the second is live, by the fourth entry."""
    models = PublishedModels.at(str(tmp_path / "models"))
    for content in ("red", "blue", "green"):
        folder = tmp_path / content
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "history.json").write_text(content)
        models.make_latest(models.add(folder, "shop", ("model",)), models.latest(), "publish")
    models.rollback()
    return models


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the end of the data --------------------------------------------------------------------------


def test_scheduled_becomes_the_scheduled_time_of_the_run() -> None:
    resolved = resolve(source=SAMPLE, data_until=SCHEDULED, scheduled_time=NOON)

    assert resolved["data_until"] == NOON


def test_scheduled_is_refused_in_a_run_that_is_not_scheduled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run_step("resolve", resolve, source=SAMPLE, data_until=SCHEDULED, scheduled_time="")

    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[resolve] error: data_until: scheduled stands for the scheduled time")
    assert "Kubeflow Pipelines 2.17 or later" in line
    assert "data_until=2026-11-24T03:15:00Z" in line


@pytest.mark.parametrize("scheduled_time", ["", NOON])
@pytest.mark.parametrize("until", ["", "2026-01-01", "2026-01-01T03:00:00+02:00"])
def test_a_given_time_and_an_empty_one_are_returned_unchanged(
    until: str, scheduled_time: str
) -> None:
    resolved = resolve(source=SAMPLE, data_until=until, scheduled_time=scheduled_time)

    assert resolved["data_until"] == until


def test_an_unresolved_placeholder_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    placeholder = "{{$.pipeline_job_schedule_time_utc}}"

    with pytest.raises(SystemExit):
        run_step(
            "resolve", resolve, source=SAMPLE, data_until=SCHEDULED, scheduled_time=placeholder
        )

    (line,) = capsys.readouterr().out.splitlines()
    assert f"did not replace the placeholder {placeholder}. " in line


# --- the published model --------------------------------------------------------------------------


@pytest.mark.parametrize("warm_start", [True, False])
def test_without_a_location_nothing_is_published(warm_start: bool) -> None:
    resolved = resolve(source=SAMPLE, location="", warm_start=warm_start)

    assert resolved == {"source_fingerprint": "", "data_until": "", **NOTHING_PUBLISHED}


@pytest.mark.parametrize("warm_start", [True, False])
def test_at_an_empty_location_nothing_is_published(tmp_path: Path, warm_start: bool) -> None:
    location = str(tmp_path / "models")

    resolved = resolve(source=SAMPLE, location=location, warm_start=warm_start)

    assert {name: resolved[name] for name in NOTHING_PUBLISHED} == NOTHING_PUBLISHED
    assert not (tmp_path / "models").exists()


def test_the_champion_is_the_version_of_the_last_entry(models: PublishedModels) -> None:
    second = models.entry(2)

    resolved = resolve(source=SAMPLE, location=str(models.location))

    assert resolved["published_number"] == 4
    assert resolved["published_version"] == second.version == models.entry(4).version


@pytest.mark.parametrize(("warm_start", "base"), [(True, 4), (False, 0)])
def test_training_starts_from_the_champion_only_with_a_warm_start(
    models: PublishedModels, warm_start: bool, base: int
) -> None:
    resolved = resolve(source=SAMPLE, location=str(models.location), warm_start=warm_start)

    assert resolved["base_number"] == base
    assert resolved["published_number"] == 4


def test_a_new_champion_changes_the_next_result(
    models: PublishedModels,
) -> None:
    before = resolve(source=SAMPLE, location=str(models.location), warm_start=True)

    models.rollback(models.entry(1).version)
    after = resolve(source=SAMPLE, location=str(models.location), warm_start=True)

    assert (before["published_number"], after["published_number"]) == (4, 5)
    assert after["base_number"] == 5
    assert after["published_version"] == models.entry(1).version != before["published_version"]


def test_nothing_is_written(models: PublishedModels, tmp_path: Path) -> None:
    before = everything(tmp_path)

    resolve(source=SAMPLE, location=str(models.location), warm_start=True)

    assert everything(tmp_path) == before


def test_an_unreachable_location_is_named() -> None:
    with pytest.raises(InputError, match="nonsense://bucket cannot be reached"):
        resolve(source=SAMPLE, location="nonsense://bucket")


# --- the source -----------------------------------------------------------------------------------


def test_the_fingerprint_is_the_one_of_the_sources_files(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("u1,1\n")
    source: dict[str, Any] = {"kind": "files", "interactions": str(log), "candidates": str(log)}

    first = resolve(source=source)["source_fingerprint"]
    os.utime(log, ns=(0, 0))
    second = resolve(source=source)["source_fingerprint"]

    assert second == source_fingerprint(source)
    assert len(first) == 16
    assert first != second


@pytest.mark.parametrize("missing", ["items.csv", "items-*.csv"])
def test_a_missing_source_is_refused_before_a_cache_can_replace_it(
    tmp_path: Path, missing: str
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("u1,1\n")
    path = str(tmp_path / missing)
    with pytest.raises(InputError) as caught:
        resolve(source={"kind": "files", "interactions": str(log), "candidates": path})
    assert str(caught.value) == (
        f"source.candidates: there is nothing at {path}. Check the path; on a cluster, resolve "
        "needs the volumes that ingest has."
    )


# --- the component --------------------------------------------------------------------------------


def test_the_component_returns_each_value_under_its_name(
    models: PublishedModels, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("u1,1\n")
    arguments: dict[str, Any] = {
        "source": {"kind": "files", "interactions": str(log)},
        "data_until": SCHEDULED,
        "scheduled_time": NOON,
        "location": str(models.location),
        "warm_start": False,
    }
    outputs = component.component_spec.outputs
    assert outputs is not None

    returned = component.python_func(**arguments)

    values = dict(zip(outputs, returned, strict=True))
    times = {name: values.pop(name) for name in ("seconds", "startup_seconds")}
    assert values == resolve(**arguments)
    assert 0 < times["startup_seconds"] <= times["seconds"]


# --- the log --------------------------------------------------------------------------------------


def test_the_log_names_the_champion_and_the_end_of_the_data(
    models: PublishedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = resolve(
        source=SAMPLE, data_until=SCHEDULED, scheduled_time=NOON, location=str(models.location)
    )
    resolve(source=SAMPLE)

    assert capsys.readouterr().out.splitlines() == [
        f"[resolve] the live version is {resolved['published_version']}; "
        f"takes interactions before {NOON}",
        "[resolve] no version is published",
    ]
