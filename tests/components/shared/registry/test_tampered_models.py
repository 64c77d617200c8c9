"""A location that somebody has tampered with: nothing leads out of its folder or the run's."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import MakeFolder
from tampered import EVIL, VERSION, everything_below, manifest_of, publish_tampered, put

from components.fetch_published.job import fetch_published
from components.resolve.job import resolve
from components.shared.registry.history import HistoryEntry
from components.shared.registry.manifest import MANIFEST
from components.shared.registry.published_models import LATEST, PublishedModels
from components.shared.runtime.errors import InputError
from components.shared.runtime.step import run_step
from components.shared.storage.location import Location
from pipeline.cli.main import main

pytest_plugins = ["published_fixtures"]

BAD_NAMES = [
    "model/../../../WRITTEN",
    "model/../../../../../WRITTEN",
    "model/..",
    "model/./history.json",
    "model//history.json",
    "model/",
    "model/..\\..\\..\\WRITTEN",
    "model/a\0b",
]
BAD_VERSIONS = [
    "../../x/versions/v-1",
    "..",
    ".",
    "/etc",
    "v/../../x",
    "..\\x",
    "v\0",
    "v-1/",
    "v 1",
    "\x1b[2Jv-1",
]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Where a step writes; it must not write above it."""
    folder = tmp_path / "runs" / "work" / "fetch-published"
    folder.mkdir(parents=True)
    return folder


# Fetching


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_manifest_does_not_write_outside_of_the_fetched_folder(
    place: str, run_folder: Path, tmp_path: Path, name: str
) -> None:
    publish_tampered(Location(place), ["model/history.json", name])
    before = everything_below(tmp_path)

    with pytest.raises(InputError) as caught:
        fetch_published(location=place, number=1, published=str(run_folder / "published"))

    message = str(caught.value)
    assert message.startswith(f"{place}/versions/{VERSION}/{MANIFEST} is not a manifest (")
    assert f"the file name {name!r} is not allowed" in message
    assert "go back to another one with deep-retrieval rollback" in message
    assert everything_below(tmp_path) == before
    assert not (run_folder / "published").exists()


@pytest.mark.parametrize("name", ["/WRITTEN", "{outside}/WRITTEN", ""])
def test_an_absolute_or_empty_name_invalidates_a_manifest_even_if_it_is_not_requested(
    place: str, run_folder: Path, tmp_path: Path, name: str
) -> None:
    name = name.format(outside=tmp_path)
    publish_tampered(Location(place), ["model/history.json", name], files=False)
    before = everything_below(tmp_path)

    with pytest.raises(InputError, match="is not allowed"):
        fetch_published(location=place, number=1, published=str(run_folder / "published"))

    assert everything_below(tmp_path) == before


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["model/caf\u00e9", "model/cafe\u0301"], "differ only in how a letter is encoded"),
        (["model/a", "model/a/b"], "'model/a' is a file and also the folder of 'model/a/b'"),
    ],
)
def test_names_that_cannot_be_files_side_by_side_are_refused(
    place: str, run_folder: Path, names: list[str], words: str
) -> None:
    publish_tampered(Location(place), names, files=False)

    with pytest.raises(InputError) as caught:
        fetch_published(location=place, number=1, published=str(run_folder / "published"))

    assert str(caught.value).startswith(f"{place}/versions/{VERSION}/{MANIFEST}: ")
    assert words in str(caught.value)
    assert not (run_folder / "published").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"1", b'{"model/a": 1}', b'{"model/a": {"size": "x", "sha256": ""}}',
     b'{"a":' * 5000, b"\xff"],
)  # fmt: skip
def test_an_invalid_manifest_is_one_message(place: str, run_folder: Path, content: bytes) -> None:
    publish_tampered(Location(place), ["model/a"])
    put(Location(place), f"versions/{VERSION}/{MANIFEST}", content)

    with pytest.raises(InputError, match="is not a manifest") as caught:
        fetch_published(location=place, number=1, published=str(run_folder / "published"))

    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("what", ["file", "folder", "version"])
def test_a_link_at_the_location_does_not_lead_out_of_it(
    tmp_path: Path, run_folder: Path, what: str
) -> None:
    place, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    publish_tampered(Location(str(place)), ["model/history.json"])
    linked = place / "versions" / VERSION
    if what != "version":
        linked = linked / "model" if what == "folder" else linked / "model" / "history.json"
    elsewhere.mkdir()
    linked.rename(elsewhere / "moved")
    linked.symlink_to(elsewhere / "moved")
    before = everything_below(tmp_path)

    with pytest.raises(InputError, match="a symbolic link leads it out of") as caught:
        fetch_published(location=str(place), number=1, published=str(run_folder / "published"))

    assert str(caught.value).startswith(f"{place}: ")
    assert "Rename or delete it there." in str(caught.value)
    assert everything_below(tmp_path) == before


def test_a_location_that_is_a_link_and_links_within_it_are_followed(
    tmp_path: Path, run_folder: Path
) -> None:
    disk = tmp_path / "disk"
    publish_tampered(Location(str(disk)), ["model/history.json"])
    place = tmp_path / "models"
    place.symlink_to(disk)
    version = place / "versions" / VERSION
    (version / "model").rename(version / "moved")
    (version / "model").symlink_to("moved")

    fetch_published(location=str(place), number=1, published=str(run_folder / "published"))

    assert (run_folder / "published" / "model" / "history.json").read_bytes() == EVIL


def test_a_link_in_the_target_does_not_lead_out_of_it(place: str, tmp_path: Path) -> None:
    publish_tampered(Location(place), ["model/history.json"])
    target, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    target.mkdir()
    elsewhere.mkdir()
    (target / "model").symlink_to(elsewhere)

    with pytest.raises(InputError, match="a symbolic link leads it out of"):
        PublishedModels.at(place).fetch(VERSION, ["model/"], target)

    assert list(elsewhere.iterdir()) == []


# The history


@pytest.mark.parametrize("field", ["version", "previous"])
@pytest.mark.parametrize("name", BAD_VERSIONS)
def test_an_entry_of_the_history_with_a_path_in_it_is_refused(
    place: str, run_folder: Path, name: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_tampered(Location(place), ["model/history.json"])
    entry = {"number": 2, "version": VERSION, "previous": VERSION, "action": "publish", "time": "1"}
    put(Location(place), "history/00000002.json", json.dumps({**entry, field: name}).encode())

    with pytest.raises(InputError) as caught:
        fetch_published(location=place, number=2, published=str(run_folder / "published"))

    message = str(caught.value)
    with pytest.raises(InputError, match="is not a valid history entry"):
        resolve(source={"kind": "sample"}, location=place)
    assert message.startswith(
        f"{place}/history/00000002.json is not a valid history entry ({field}:"
    )
    assert f"{name!r} cannot be the name of a version" in message
    assert message.endswith("Delete it, or move it elsewhere.")
    assert "\x1b" not in message
    assert not (run_folder / "published").exists()
    for command in ("published", "rollback"):
        assert main([command, "--location", place]) == 2
        assert f"{name!r} cannot be the name of a version" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value"), [("time", "\x1b[2J"), ("time", "1\n2"), ("number", 0), ("number", -1)]
)
def test_an_entry_that_would_disturb_a_terminal_or_a_name_is_refused(
    place: str, field: str, value: Any
) -> None:
    entry = {"number": 1, "version": VERSION, "previous": None, "action": "publish", "time": "1"}
    put(Location(place), "history/00000001.json", json.dumps({**entry, field: value}).encode())

    with pytest.raises(InputError, match=f"is not a valid history entry \\({field}: ") as caught:
        PublishedModels.at(place).latest()

    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("read", [PublishedModels.latest, PublishedModels.history])
def test_an_entry_under_a_name_with_a_path_in_it_is_refused(
    request: pytest.FixtureRequest, read: Callable[[PublishedModels], object]
) -> None:
    location = Location(f"s3://{request.getfixturevalue('s3').bucket}/models")
    put(location, "history/../../elsewhere.json", b"{}")

    with pytest.raises(InputError, match=r"the file name 'history/\.\./\.\./elsewhere\.json' is"):
        read(PublishedModels(location))


# Rollback and publication


@pytest.mark.parametrize("name", BAD_VERSIONS)
def test_a_rollback_to_a_path_is_refused_and_changes_nothing(
    place: str, version_folder: MakeFolder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    models = PublishedModels.at(place)
    for color in ("red", "blue"):
        version = models.add(version_folder(color), "shop", ["export", "model", "features"])
        models.make_latest(version, models.latest(), "publish")
    # There is a complete version, but it is somebody else's.
    if "\0" not in name and not name.startswith("/"):
        put(models.location, f"versions/{name}/{MANIFEST}", manifest_of([]))
    before = [models.location.read(file) for file in (LATEST, "history/00000002.json")]

    assert main(["rollback", "--location", place, "--to", name]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {place}: {name!r} cannot be the name of a version")
    assert f"It has: {', '.join(models.versions())}." in said.err
    assert [models.location.read(file) for file in (LATEST, "history/00000002.json")] == before
    assert len(models.history()) == 2


def test_a_rollback_to_an_empty_name_is_not_one_to_the_previous_version(
    place: str, version_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    models = PublishedModels.at(place)
    for color in ("red", "blue"):
        version = models.add(version_folder(color), "shop", ["export", "model", "features"])
        models.make_latest(version, models.latest(), "publish")

    assert main(["rollback", "--location", place, "--to", ""]) == 2

    assert "'' cannot be the name of a version" in capsys.readouterr().err
    assert len(models.history()) == 2


@pytest.mark.parametrize("name", BAD_VERSIONS)
def test_a_path_is_refused_as_a_version_by_every_method(
    place: str, version_folder: MakeFolder, tmp_path: Path, name: str
) -> None:
    models = PublishedModels.at(place)
    folder = version_folder("red")

    for act in (
        lambda: models.manifest(name),
        lambda: models.make_latest(name, None, "publish"),
        lambda: models.fetch(name, [""], tmp_path / "fetched"),
        lambda: models.add(folder, f"../{name}", ["export"]),
    ):
        with pytest.raises(InputError, match="cannot be the name of a version"):
            act()

    assert models.location.names() == []
    assert not (tmp_path / "fetched").exists()


def test_folders_that_cannot_be_versions_are_not_listed(place: str) -> None:
    location = Location(place)
    for name in (VERSION, "\x1b[2J", "a b"):
        put(location, f"versions/{name}/{MANIFEST}", b"{}")

    assert PublishedModels(location).versions() == [VERSION]


def test_the_step_reports_it_in_one_line(
    place: str, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_tampered(Location(place), ["model/../../../WRITTEN"])

    with pytest.raises(SystemExit):
        run_step(
            "fetch_published", fetch_published, location=place, number=1,
            published=str(run_folder / "published"),
        )  # fmt: skip

    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"[fetch_published] error: {place}/versions/{VERSION}/{MANIFEST} ")
    assert os.listdir(run_folder) == []


def test_an_entry_of_an_older_version_is_read_unchanged() -> None:
    entry = HistoryEntry(
        number=12, version="movielens-100k-0123456789ab", previous="my-shop-ba9876543210",
        action="rollback", time="2026-11-25T09:39:00+00:00",
    )  # fmt: skip

    assert HistoryEntry.model_validate_json(entry.model_dump_json()) == entry
