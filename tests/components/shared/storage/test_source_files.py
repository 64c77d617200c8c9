"""The fingerprint of a source's files: another one when they change, the same when they do not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import S3
from s3fs import S3FileSystem

from components.shared.runtime.errors import InputError
from components.shared.storage.location import Location
from components.shared.storage.source_files import SOURCE_PATHS, source_fingerprint

pytest_plugins = ["published_fixtures"]

NAMES = ("log/2026-01.csv", "log/2026-02.csv", "log/old/2025-12.csv", "items.csv")


@pytest.fixture
def filled(place: str) -> str:
    """A place of each kind with a log in parts and a catalogue."""
    for name in NAMES:
        Location(place).write(name, f"{name}\n".encode())
    return place


def files(interactions: str, candidates: str = "no-such-catalogue.csv") -> dict[str, Any]:
    return {"kind": "files", "interactions": interactions, "candidates": candidates}


def movielens(path: str | None) -> dict[str, Any]:
    return {"kind": "movielens", "version": "100k", "path": path}


# What a source names below a place, and a file that appears among it.
WAYS: dict[str, tuple[Callable[[str], dict[str, Any]], str]] = {
    "glob": (lambda place: files(f"{place}/log/*.csv"), "log/2026-03.csv"),
    "glob over folders": (lambda place: files(f"{place}/**/*.csv"), "log/new/2026-03.csv"),
    "catalogue": (
        lambda place: files(f"{place}/log/2026-01.csv", f"{place}/item?.csv"),
        "itemz.csv",
    ),
    "folder": (lambda place: movielens(f"{place}/log"), "log/deep/er/2026-03.csv"),
    "folder with a slash": (lambda place: movielens(f"{place}/log/"), "log/2026-03.csv"),
}


def fingerprint(source: dict[str, Any]) -> str:
    found = source_fingerprint(source)
    assert len(found) == 16
    assert int(found, 16) >= 0
    return found


# --- what has none --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "sample", "users": 60, "items": 40, "interactions": 1500},
        {"kind": "sample"},
        {"kind": "movielens", "version": "100k"},
        movielens(None),
    ],
    ids=["sample", "sample by default", "movielens", "movielens with path null"],
)
def test_a_source_that_names_no_file_has_no_fingerprint(source: dict[str, Any]) -> None:
    assert source_fingerprint(source) == ""


def test_the_keys_are_those_of_every_source_that_names_files() -> None:
    assert {"path", "interactions", "candidates", "users"} == SOURCE_PATHS


@pytest.mark.parametrize("pattern", ["log.csv", "log/*.csv", "log"])
def test_missing_files_give_an_empty_fingerprint(place: str, pattern: str) -> None:
    assert source_fingerprint(files(f"{place}/{pattern}")) == ""


# --- the same state -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*WAYS, "single file"])
def test_the_same_state_gives_the_same_value(filled: str, way: str) -> None:
    source = WAYS[way][0](filled) if way in WAYS else files(f"{filled}/{NAMES[0]}")

    first = fingerprint(source)
    S3FileSystem.clear_instance_cache()

    assert fingerprint(dict(reversed(source.items()))) == first


def test_other_files_do_not_change_it(filled: str) -> None:
    source = files(f"{filled}/log/*.csv", f"{filled}/items.csv")
    before = fingerprint(source)

    for name in ("log/notes.txt", "log/old/2025-11.csv", "items.csv.bak", "logs/2026-01.csv"):
        Location(filled).write(name, b"x")

    assert fingerprint(source) == before


def test_other_settings_of_the_source_do_not_change_it(filled: str) -> None:
    source = files(f"{filled}/log/*.csv")

    assert fingerprint({**source, "columns": {"query_id": "user"}}) == fingerprint(source)


# --- another state --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_new_file_changes_it(filled: str, way: str) -> None:
    make, name = WAYS[way]
    before = fingerprint(make(filled))

    Location(filled).write(name, b"x")

    assert fingerprint(make(filled)) != before


@pytest.mark.parametrize("way", [way for way in WAYS if way != "catalogue"])
def test_a_deleted_file_changes_it(filled: str, way: str) -> None:
    make, _ = WAYS[way]
    before = fingerprint(make(filled))

    Location(filled).delete(NAMES[0])

    assert fingerprint(make(filled)) != before


def test_the_same_files_as_log_or_as_catalogue_are_two_states(filled: str) -> None:
    log, items = f"{filled}/{NAMES[0]}", f"{filled}/{NAMES[3]}"

    assert fingerprint(files(log, items)) != fingerprint(files(log, log))
    assert fingerprint(files(log, items)) != fingerprint(files(items, items))


@pytest.mark.parametrize("way", [*WAYS, "single file"])
def test_another_size_changes_it(filled: str, way: str) -> None:
    source = WAYS[way][0](filled) if way in WAYS else files(f"{filled}/{NAMES[0]}")
    before = fingerprint(source)

    Location(filled).write(NAMES[0], b"a longer content than the one before\n")

    assert fingerprint(source) != before


@pytest.mark.parametrize("pattern", ["log/2026-01.csv", "log/*.csv", "log/2026-0[12].csv"])
def test_other_content_of_the_same_size_changes_it(filled: str, pattern: str) -> None:
    content = Location(filled).read(NAMES[0])
    assert content is not None
    before = fingerprint(files(f"{filled}/{pattern}"))

    Location(filled).write(NAMES[0], content.upper())

    assert fingerprint(files(f"{filled}/{pattern}")) != before


# --- files of this machine ------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("u1,1\n")
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_the_modification_time_counts_to_the_nanosecond(log: Path) -> None:
    before = fingerprint(files(str(log)))

    os.utime(log, ns=(10**18, 10**18 + 1))

    assert fingerprint(files(str(log))) != before


def test_the_size_counts_if_the_time_is_the_same(log: Path) -> None:
    before = fingerprint(files(str(log)))

    log.write_text("u1,10\n")
    os.utime(log, ns=(10**18, 10**18))

    assert fingerprint(files(str(log))) != before


def test_the_access_time_does_not_count(log: Path) -> None:
    before = fingerprint(files(str(log)))

    os.utime(log, ns=(2 * 10**18, 10**18))

    assert fingerprint(files(str(log))) == before


def test_a_path_in_the_home_folder_is_found(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(log.parent))

    assert fingerprint(files("~/log.csv")) == fingerprint(files(str(log)))


def test_a_file_url_is_a_local_file(log: Path) -> None:
    assert fingerprint(files(f"file://{log}")) == fingerprint(files(str(log)))


# --- stores ---------------------------------------------------------------------------------------


def test_only_list_and_head_requests_are_sent_to_s3(s3: S3) -> None:
    """Content is not read: a log may have many gigabytes."""
    url = f"s3://{s3.bucket}/log"
    Location(url).write("a.csv", b"x" * 1000)

    asked: list[str] = []
    app = type(s3.app).__call__

    def noting(self: Any, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return app(self, environ, start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(s3.app), "__call__", noting)
        for source in (files(f"{url}/*.csv"), files(f"{url}/a.csv"), movielens(url)):
            fingerprint(source)

    assert asked
    assert not [request for request in asked if request.startswith(("PUT", "POST"))]
    assert not [request for request in asked if request.startswith("GET") and "a.csv" in request]


def test_the_same_content_written_again_to_s3_changes_nothing(s3: S3) -> None:
    url = f"s3://{s3.bucket}/log"
    Location(url).write("a.csv", b"x")
    before = fingerprint(files(f"{url}/*.csv"))

    Location(url).write("a.csv", b"x")

    assert fingerprint(files(f"{url}/*.csv")) == before


def test_folder_placeholders_of_consoles_do_not_count(s3: S3) -> None:
    url = f"s3://{s3.bucket}/log"
    Location(url).write("a.csv", b"x")
    before = fingerprint(movielens(url))

    for key in ("log/", "log/empty/"):
        S3FileSystem().call_s3("put_object", Bucket=s3.bucket, Key=key, Body=b"")
        assert S3FileSystem(use_listings_cache=False).exists(f"{s3.bucket}/{key}")

    assert fingerprint(movielens(url)) == before


def test_a_bucket_without_access_is_named_with_its_key(s3: S3) -> None:
    s3.app.denied.add(s3.bucket)
    url = f"s3://{s3.bucket}/log/*.csv"

    with pytest.raises(InputError) as error:
        source_fingerprint(files("log.csv", url))

    message = str(error.value)
    assert message.startswith("source.candidates: ")
    assert url in message
    assert "credentials" in message
    assert "\n" not in message


def test_a_missing_bucket_is_named_with_its_key(s3: S3) -> None:
    with pytest.raises(InputError, match=r"source\.path: s3://no-such-bucket-of-ours/ml-100k"):
        source_fingerprint(movielens("s3://no-such-bucket-of-ours/ml-100k"))


def test_an_unsupported_store_is_named_with_its_key() -> None:
    with pytest.raises(InputError, match=r"source\.interactions: https://.*is not supported"):
        source_fingerprint(files("https://files.example.org/log.csv"))


def test_states_are_sorted_and_name_every_file(filled: str) -> None:
    states = Location.states(filled)

    names = [name for name, _ in states]
    assert names == sorted(names)
    assert [name.split("models/", 1)[1] for name in names] == sorted(NAMES)
    assert all(state for _, state in states)


def test_a_file_that_is_being_written_is_not_listed(filled: str) -> None:
    before = Location.states(filled)

    Location(filled).write("log/2026-04.csv.partial", b"half of")

    assert Location.states(filled) == before
