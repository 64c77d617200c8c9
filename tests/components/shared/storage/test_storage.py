"""Files at a location: a folder, memory, and S3 as a server on this machine."""

import errno
import importlib
import multiprocessing
import os
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import racing
from places import S3, Race

from components.shared.runtime.errors import InputError, describe_os_error
from components.shared.storage.location import Location, is_remote

pytest_plugins = ["published_fixtures"]

Act = Callable[[Location, Path], Any]

# Everything that can be asked of a location.
ACTS: dict[str, Act] = {
    "read": lambda location, _: location.read("history/1.json"),
    "names": lambda location, _: location.names("history"),
    "matching": lambda location, _: location.matching("history/*.json"),
    "write": lambda location, _: location.write("history/1.json", b"1"),
    "create": lambda location, _: location.create("history/1.json", b"1"),
    "upload": lambda location, folder: location.upload(folder, "history"),
    "download": lambda location, folder: location.download(["history/1.json"], "", folder),
    "delete": lambda location, _: location.delete("history/1.json"),
}
WRITING = ("write", "create")


@pytest.fixture
def local_folder(tmp_path: Path) -> Path:
    """A folder of this machine with two files."""
    folder = tmp_path / "local"
    (folder / "towers").mkdir(parents=True)
    (folder / "history.json").write_bytes(b"{}")
    (folder / "towers" / "query.keras").write_bytes(b"\x00\xff")
    return folder


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/models", True),
        ("gs://bucket/models", True),
        ("memory://models", True),
        ("models", False),
        ("/data/models", False),
        ("file:///data/models", False),
    ],
)
def test_a_url_is_remote_and_a_path_is_not(path: str, expected: bool) -> None:
    assert is_remote(path) is expected


def test_an_empty_location_has_no_files(place: str) -> None:
    location = Location(place)

    assert location.read("latest.json") is None
    assert location.names() == []
    assert location.names("history") == []
    assert location.matching() == []
    assert location.matching("*.json") == []


@pytest.mark.parametrize("content", [b"", b"{}\n", bytes(range(256)) * 1000])
def test_written_content_is_read(place: str, content: bytes) -> None:
    Location(place).write("versions/v1/model.bin", content)

    assert Location(place).read("versions/v1/model.bin") == content


def test_a_write_replaces_existing_content(place: str) -> None:
    location = Location(place)

    location.write("latest.json", b"the first one, which is longer")
    location.write("latest.json", b"the second one")

    assert location.read("latest.json") == b"the second one"
    assert location.names() == ["latest.json"]


def test_names_are_sorted_and_relative_to_the_location(place: str) -> None:
    location = Location(place)
    for name in ("latest.json", "history/00000010.json", "history/00000009.json", "a/b/c.json"):
        location.write(name, b"x")

    assert location.names() == [
        "a/b/c.json", "history/00000009.json", "history/00000010.json", "latest.json"
    ]  # fmt: skip
    assert location.names("history") == ["history/00000009.json", "history/00000010.json"]
    assert location.names("a") == ["a/b/c.json"]


def test_a_folder_with_the_same_prefix_is_another_folder(place: str) -> None:
    location = Location(place)
    location.write("history/1.json", b"x")
    location.write("history-old/2.json", b"x")
    Location(f"{place}-old").write("history/3.json", b"x")

    assert location.names("history") == ["history/1.json"]
    assert location.names() == ["history-old/2.json", "history/1.json"]


def test_names_are_not_cached(place: str) -> None:
    location = Location(place)
    location.write("history/1.json", b"x")
    before = location.names("history")

    Location(place).write("history/2.json", b"x")

    assert before == ["history/1.json"]
    assert location.names("history") == ["history/1.json", "history/2.json"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["2026/01/log.csv", "2026/02/log.csv", "2026/readme.md", "log.csv"]),
        ("*.csv", ["log.csv"]),
        ("2026/*", ["2026/readme.md"]),
        ("2026/*/log.csv", ["2026/01/log.csv", "2026/02/log.csv"]),
        ("**/*.csv", ["2026/01/log.csv", "2026/02/log.csv", "log.csv"]),
        ("2026/0[2-9]/*", ["2026/02/log.csv"]),
        ("*.parquet", []),
    ],
)
def test_a_pattern_matches_files_and_no_folders(
    place: str, pattern: str, expected: list[str]
) -> None:
    location = Location(place)
    for name in ("2026/01/log.csv", "2026/02/log.csv", "2026/readme.md", "log.csv"):
        location.write(name, b"x")

    assert location.matching(pattern) == expected


def test_a_folder_is_uploaded_with_its_subfolders(place: str, local_folder: Path) -> None:
    location = Location(place)

    location.upload(local_folder, "versions/v1")

    assert location.names() == ["versions/v1/history.json", "versions/v1/towers/query.keras"]
    assert location.read("versions/v1/towers/query.keras") == b"\x00\xff"


def test_files_are_downloaded_under_their_names_below_the_folder(
    place: str, local_folder: Path, tmp_path: Path
) -> None:
    location = Location(place)
    location.upload(local_folder, "versions/v1")
    target = tmp_path / "downloaded"

    location.download(["versions/v1/towers/query.keras"], "versions/v1", target)
    location.download(["versions/v1/history.json"], "", target)

    files = sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file())
    assert files == ["towers/query.keras", "versions/v1/history.json"]
    assert (target / "towers" / "query.keras").read_bytes() == b"\x00\xff"


def test_only_the_deleted_file_is_removed(place: str) -> None:
    location = Location(place)
    location.write("checkpoints/1.npz", b"x")
    location.write("checkpoints/2.npz", b"x")

    location.delete("checkpoints/1.npz")
    location.delete("checkpoints/1.npz")

    assert location.names() == ["checkpoints/2.npz"]


def test_a_file_is_created_once(place: str) -> None:
    location = Location(place)

    assert location.create("history/1.json", b"the first") is True
    assert location.create("history/1.json", b"another") is False
    assert Location(place).create("history/1.json", b"another") is False
    assert location.create("history/2.json", b"the second") is True
    assert location.read("history/1.json") == b"the first"
    assert location.names() == ["history/1.json", "history/2.json"]


def test_a_slash_at_the_end_of_the_url_is_ignored(place: str) -> None:
    Location(f"{place}/").write("history/1.json", b"x")

    assert Location(place).names() == ["history/1.json"]
    assert str(Location(f"{place}/")) == place


@pytest.mark.parametrize(
    "url", ["models", "./models", "../here/models", "~/here/models", "file://{tmp}/here/models"]
)
def test_a_folder_can_be_given_in_several_ways(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    location = Location(url.format(tmp=tmp_path))

    location.write("history/1.json", b"x")

    assert location.names() == ["history/1.json"]
    assert (tmp_path / "here" / "models" / "history" / "1.json").read_bytes() == b"x"


# Places that cannot be reached


@pytest.mark.parametrize(
    "url", ["nonsense://bucket/models", "http://example.com/models", "simplecache::s3://b/models"]
)
def test_a_protocol_without_exclusive_creation_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"Use a folder, s3://") as caught:
        Location(url)

    assert str(caught.value).startswith(url)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1/models", "github://models", "zip://models"])
def test_a_protocol_is_refused_before_anything_connects(url: str) -> None:
    with pytest.raises(InputError, match="is not supported"):
        Location(url)


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_without_the_cloud_packages_the_message_says_what_to_install(
    protocol: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    # Not as an attribute of fsspec, which is a dict by that name.
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, protocol, raising=False)

    with pytest.raises(InputError) as caught:
        Location(f"{protocol}://bucket/models")

    assert f"{protocol}://bucket/models cannot be reached" in str(caught.value)
    assert "pip install 'deep-retrieval-pipeline[cloud]'" in str(caught.value)


@pytest.mark.parametrize("act", ACTS)
def test_a_bucket_without_access_is_named(s3: S3, local_folder: Path, act: str) -> None:
    place = f"s3://{s3.bucket}/models"
    s3.app.denied.add(s3.bucket)

    with pytest.raises(InputError, match="Check the credentials") as caught:
        ACTS[act](Location(place), local_folder)

    assert f"{place}/history" in str(caught.value)


@pytest.mark.usefixtures("changed_environment")
@pytest.mark.parametrize("act", ACTS)
def test_without_credentials_the_message_says_so(
    s3: S3, local_folder: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    place = f"s3://{s3.bucket}/models"

    with pytest.raises(InputError, match="no credentials were found for it") as caught:
        ACTS[act](Location(place), local_folder)

    assert str(caught.value).startswith(f"{place}: ")


@pytest.mark.usefixtures("changed_environment")
@pytest.mark.parametrize("act", ["read", "names", "create"])
def test_an_unreachable_server_is_named(
    s3: S3, local_folder: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    with pytest.raises(InputError, match=f"s3://{s3.bucket}/models"):
        ACTS[act](Location(f"s3://{s3.bucket}/models"), local_folder)


@pytest.mark.parametrize("act", ["write", "create", "upload"])
def test_a_missing_bucket_is_named(s3: S3, local_folder: Path, act: str) -> None:
    place = f"s3://no-{s3.bucket}/models"

    with pytest.raises(InputError, match=place):
        ACTS[act](Location(place), local_folder)


def test_a_folder_without_read_permission_is_not_treated_as_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location(str(tmp_path / "models"))
    location.write("history/1.json", b"x")

    # Tests may run as root, whom no mode of a folder keeps out.
    def denied(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", denied)

    with pytest.raises(PermissionError, match="models/history"):
        location.names("history")


@pytest.mark.parametrize("act", WRITING)
def test_a_folder_without_write_permission_is_named(
    tmp_path: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: str, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "makedirs", denied)

    with pytest.raises(PermissionError) as caught:
        ACTS[act](Location(str(tmp_path / "models")), tmp_path)

    # Which a step and the command line put into words.
    assert describe_os_error(caught.value) == (
        f"Permission denied: {tmp_path}/models/history. To fix this: make the folder writable, or "
        "choose another one."
    )


def test_a_file_in_place_of_the_folder_is_not_mistaken_for_another_writer(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("this is a file")
    location = Location(str(tmp_path / "models"))

    with pytest.raises(OSError, match="models"):
        location.create("lock.json", b"1")


# Names and links that lead out

# Everything that can be asked of a location with the name of a file.
NAMED: dict[str, Callable[[Location, str, Path], Any]] = {
    "read": lambda location, name, _: location.read(name),
    "names": lambda location, name, _: location.names(name),
    "write": lambda location, name, _: location.write(name, b"1"),
    "create": lambda location, name, _: location.create(name, b"1"),
    "upload": lambda location, name, folder: location.upload(folder, name),
    "download": lambda location, name, folder: location.download([name], "", folder),
    "delete": lambda location, name, _: location.delete(name),
}


@pytest.mark.parametrize("name", ["../x", "a//x", "a\\x"])
@pytest.mark.parametrize("act", NAMED)
def test_a_name_that_leads_elsewhere_is_refused_by_every_method(
    place: str, local_folder: Path, act: str, name: str
) -> None:
    beside = Location(f"{place.rpartition('/')[0]}/x")
    beside.write("history.json", b"of somebody else")

    with pytest.raises(InputError) as caught:
        NAMED[act](Location(place), name, local_folder)

    shown = {"upload": f"{name}/history.json"}.get(act, name)
    assert str(caught.value).startswith(f"{place}: the file name {shown!r} is not allowed: ")
    assert str(caught.value).endswith("Rename or delete it there.")
    assert beside.read("history.json") == b"of somebody else"
    assert [*beside.names(), *Location(place).names()] == ["history.json"]


@pytest.mark.parametrize("act", NAMED)
@pytest.mark.parametrize("linked", ["models/linked", "models/linked/deep/history.json"])
def test_a_link_out_of_a_folder_is_followed_by_no_method(
    tmp_path: Path, local_folder: Path, act: str, linked: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"of somebody else")
    link = tmp_path / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere / "file" if link.suffix else elsewhere)
    name = "linked/deep" if act == "upload" and link.suffix else "linked/deep/history.json"

    with pytest.raises(InputError, match="a symbolic link leads it out of") as caught:
        NAMED[act](Location(str(tmp_path / "models")), name, local_folder)

    assert str(caught.value).startswith(f"{tmp_path / 'models'}: the file name 'linked/deep/")
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_bytes() == b"of somebody else"
    assert link.is_symlink()


@pytest.mark.parametrize("names", [["data", "data/x"], ["caf\u00e9", "cafe\u0301"]])
def test_files_that_cannot_coexist_are_not_downloaded(
    place: str, tmp_path: Path, names: list[str]
) -> None:
    target = tmp_path / "target"

    with pytest.raises(InputError, match=place):
        Location(place).download(names, "", target)

    assert not target.exists()


# Credentials


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/models",
        "gs://secret@bucket/models",
        "memory://key:secret@models",
        "https://user:secret@host/models",
        "ftp://user:secret@host/models",
        "nonsense://user:secret@host/models",
        "simplecache::s3://key:secret@bucket",
        "s3://bucket/models?X-Amz-Signature=secret",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="a URL must not contain credentials") as caught:
        Location(url)

    assert "***" in str(caught.value)
    assert "secret@" not in str(caught.value)
    assert "=secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert capsys.readouterr() == ("", "")


def test_an_at_sign_in_a_name_is_no_credential(tmp_path: Path) -> None:
    location = Location(f"memory://{uuid.uuid4().hex}/a@b")
    location.write("c@d:e", b"1")

    assert location.read("c@d:e") == b"1"
    assert location.names() == ["c@d:e"]


# Whole or not at all


@pytest.mark.parametrize(
    ("act", "failing"),
    [("write", "fsync"), ("write", "replace"), ("create", "fsync"), ("create", "link")],
)
def test_after_a_full_disk_only_the_old_content_is_left(
    tmp_path: Path, act: str, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location(str(tmp_path / "models"))
    location.write("latest.json", b"old")
    if act == "write":
        location.write("history/1.json", b"old")
    before = {name: location.read(name) for name in location.names()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(OSError, match="No space left"):
            ACTS[act](location, tmp_path)

    assert {name: location.read(name) for name in location.names()} == before
    assert ACTS[act](location, tmp_path) is not False
    assert location.read("history/1.json") == b"1"


def test_no_partial_files_are_left_after_writing(tmp_path: Path) -> None:
    location = Location(str(tmp_path))

    location.write("a.json", b"1")
    location.write("a.json", b"2")
    location.create("b.json", b"1")
    location.create("b.json", b"2")

    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"]


def test_a_process_killed_while_writing_leaves_the_old_content(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    location.write("latest.json", b"old")

    process = multiprocessing.get_context("spawn").Process(
        target=racing.stop_in_the_middle, args=(str(tmp_path), "latest.json", b"new")
    )
    process.start()
    process.join(60)

    assert process.exitcode == 9
    assert location.read("latest.json") == b"old"
    location.write("latest.json", b"newer")
    assert location.read("latest.json") == b"newer"


def test_leftovers_of_a_killed_writer_are_not_listed(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    location.write("history/1.json", b"1")
    process = multiprocessing.get_context("spawn").Process(
        target=racing.stop_in_the_middle, args=(str(tmp_path), "history/2.json", b"2")
    )
    process.start()
    process.join(60)

    assert process.exitcode == 9
    assert location.names() == ["history/1.json"]
    assert location.matching("history/*") == ["history/1.json"]


def test_a_reader_sees_the_old_content_or_the_new_one(shared_place: str, race: Race) -> None:
    contents = [letter * 300_000 for letter in (b"a", b"b", b"c")]
    Location(shared_place).write("latest.json", contents[0])
    writes, reads = (200, 400) if is_remote(shared_place) is False else (15, 30)

    seen = race(
        "write_or_read",
        [
            {
                "url": shared_place, "name": "latest.json",
                "writes": [contents[i % 3] for i in range(writes)] if writer else [],
                "reads": 0 if writer else reads,
            }
            for writer in (True, True, False, False)
        ],
    )  # fmt: skip

    assert set().union(*seen) <= set(contents)
    assert all(seen[2:])
    assert Location(shared_place).names() == ["latest.json"]


def test_one_of_several_creators_succeeds_and_its_content_is_kept(
    shared_place: str, race: Race
) -> None:
    for number in range(4 if is_remote(shared_place) else 20):
        name = f"history/{number:08d}.json"
        contents = [f"{uuid.uuid4().hex} of {creator}".encode() * 500 for creator in range(4)]

        created = race(
            "create",
            [{"url": shared_place, "name": name, "content": content} for content in contents],
        )

        assert sorted(created) == [False, False, False, True]
        assert Location(shared_place).read(name) == contents[created.index(True)]
        assert Location(shared_place).names("history")[-1] == name


def test_an_upload_interrupted_in_a_file_leaves_the_old_file_intact(
    tmp_path: Path, local_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location(str(tmp_path / "models"))
    location.upload(local_folder, "versions/v1")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", half_a_copy)
        with pytest.raises(OSError, match="No space left"):
            location.upload(local_folder, "versions/v1")

    assert location.read("versions/v1/history.json") == b"{}"
    assert location.read("versions/v1/towers/query.keras") == b"\x00\xff"


def half_a_copy(source: str, target: str) -> None:
    """What a copy leaves when the disk is full."""
    content = Path(source).read_bytes()
    Path(target).write_bytes(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, "No space left on device", target)
