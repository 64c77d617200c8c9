"""Sources on S3 and other stores: the same tables, bit for bit, as from files of this machine.

S3 is moto's, a server on this machine, spoken to through s3fs.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from ingest_helpers import (
    CATALOGUE,
    LOG,
    Ingested,
    Source,
    catalogue_rows,
    csv_source,
    files_source,
    left_over,
    log_rows,
    movielens_csv,
    run,
    write_archive,
    write_csv,
    write_folder,
)
from moto.server import ThreadedMotoServer

from components.ingest.remote import fetched
from components.shared.runtime.errors import InputError
from components.shared.runtime.step import run_step

BUCKET = "shop-data"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclasses.dataclass(frozen=True)
class Store:
    """A place on a store, and how files get there."""

    url: str
    put: Callable[[str, bytes], None]

    def upload(self, folder: Path) -> str:
        """Copies a folder there; returns where it is."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
                self.put(name, path.read_bytes())
        return f"{self.url}/{folder.name}"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """A server that speaks S3, with a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty bucket on S3, and an environment that finds it."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    # Nothing of this machine's user, and no question to a cloud that is not there.
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", endpoint_url=s3_server, **_as_boto(CREDENTIALS))
    client.create_bucket(Bucket=BUCKET)
    yield Store(
        f"s3://{BUCKET}",
        lambda name, content: client.put_object(Bucket=BUCKET, Key=name, Body=content),
    )
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    s3fs.S3FileSystem.clear_instance_cache()


def _as_boto(credentials: dict[str, str]) -> dict[str, Any]:
    return {
        "aws_access_key_id": credentials["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": credentials["AWS_SECRET_ACCESS_KEY"],
        "region_name": credentials["AWS_DEFAULT_REGION"],
    }


@pytest.fixture
def memory() -> Iterator[Store]:
    """Fsspec's store in this process."""
    files = fsspec.filesystem("memory")
    yield Store(
        f"memory://{BUCKET}", lambda name, content: files.pipe(f"/{BUCKET}/{name}", content)
    )
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn."""
    return request.getfixturevalue(request.param)


def write_log(folder: Path) -> Path:
    """Writes the log in several ways: one file, parts, parts in folders, and the catalogue."""
    rows = log_rows()
    for name in ("parts", "days/2026-01-01", "days/2026-01-02"):
        (folder / name).mkdir(parents=True)
    write_csv(folder / "log.csv", LOG, rows)
    for number in range(3):
        write_csv(folder / "parts" / f"part-{number}.csv", LOG, rows[number::3])
    (folder / "parts" / "notes.txt").write_text("no log")
    for number, day in enumerate(("2026-01-01", "2026-01-02")):
        table = pa.table(dict(zip(LOG, map(list, zip(*rows[number::2], strict=True)), strict=True)))
        pq.write_table(table, folder / "days" / day / f"part-{number}.parquet")
    write_csv(folder / "items.csv", CATALOGUE, catalogue_rows())
    catalogue = pa.table(
        dict(zip(CATALOGUE, map(list, zip(*catalogue_rows(), strict=True)), strict=True))
    )
    pq.write_table(catalogue, folder / "items.parquet")
    return folder


def source_at(place: str, interactions: str, candidates: str = "items.csv") -> Source:
    """A source below a folder or a URL."""
    source = files_source(Path("log"), Path("items"))
    return {
        **source,
        "interactions": f"{place}/{interactions}",
        "candidates": f"{place}/{candidates}",
    }


def ingest_both(tmp_path: Path, local: Source, remote: Source, **config: Any) -> list[Ingested]:
    """Ingests the same from this machine and from a store."""
    both = []
    for name, source in (("local", local), ("remote", remote)):
        (tmp_path / name).mkdir()
        both.append(run(tmp_path / name, source, **config))
    return both


# --- the same tables ------------------------------------------------------------------------------

PATHS = {
    "a single file": ("log.csv", "items.csv"),
    "a glob": ("parts/part-*.csv", "items.csv"),
    "a glob with a choice": ("parts/part-[01].csv", "item?.csv"),
    "a glob with folders": ("days/*/part-*.parquet", "items.parquet"),
    "a glob of folders": ("days/2026-*/*.parquet", "items.parquet"),
}


def test_a_bucket_itself_may_be_the_folder(tmp_path: Path, s3: Store) -> None:
    folder = write_log(tmp_path / "log")
    for name in ("log.csv", "items.csv"):
        s3.put(name, (folder / name).read_bytes())
    local, remote = ingest_both(
        tmp_path, source_at(str(folder), "log.csv"), source_at(s3.url, "l*.csv")
    )
    assert remote.files() == local.files()


@pytest.mark.parametrize("paths", PATHS)
def test_tables_are_the_same_bit_for_bit_as_from_local_copies(
    tmp_path: Path, store: Store, paths: str
) -> None:
    folder = write_log(tmp_path / "log v1.0")
    url = store.upload(folder)
    local, remote = ingest_both(
        tmp_path, source_at(str(folder), *PATHS[paths]), source_at(url, *PATHS[paths])
    )
    assert remote.files() == local.files()
    assert remote.summary == local.summary


def test_rejects_name_the_file_like_those_of_a_local_source(tmp_path: Path, store: Store) -> None:
    folder = write_log(tmp_path / "log")
    with open(folder / "parts" / "part-1.csv", "a") as file:
        file.write("u1,1,many,5\nu1,1\n")
    url = store.upload(folder)
    local, remote = ingest_both(
        tmp_path,
        source_at(str(folder), "parts/*.csv"),
        source_at(url, "parts/*.csv"),
        max_reject_share=0.1,
    )
    assert {row["file"] for row in remote.rejects} == {"part-1.csv"}
    assert remote.files() == local.files()


@pytest.mark.parametrize("form", ["an archive", "a folder"])
def test_movielens_may_be_on_a_store(tmp_path: Path, store: Store, form: str) -> None:
    there = tmp_path / "there"
    if form == "an archive":
        there.mkdir()
        write_archive(there / "ml-latest-small.zip", movielens_csv(), "ml-latest-small")
        name = "ml-latest-small.zip"
    else:
        write_folder(there / "ml-latest-small", movielens_csv())
        name = "ml-latest-small"
    url = store.upload(there)
    source = {"kind": "movielens", "version": "latest-small"}
    local, remote = ingest_both(
        tmp_path, {**source, "path": str(there / name)}, {**source, "path": f"{url}/{name}"}
    )
    assert remote.files() == local.files()


def test_only_one_of_log_and_catalogue_may_be_on_a_store(tmp_path: Path, memory: Store) -> None:
    folder = write_log(tmp_path / "log")
    url = memory.upload(folder)
    mixed = {
        **source_at(str(folder), "log.csv"),
        "candidates": f"{url}/items.csv",
    }
    local, remote = ingest_both(tmp_path, source_at(str(folder), "log.csv"), mixed)
    assert remote.files() == local.files()


# --- what is copied -------------------------------------------------------------------------------


def test_only_matching_files_are_copied_into_the_folder(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    url = store.upload(write_log(tmp_path / "log"))
    source = source_at(url, "parts/part-*.csv")
    copies = fetched(source, str(tmp_path / "work"))
    files = sorted(
        path.relative_to(tmp_path / "work").as_posix()
        for path in (tmp_path / "work").rglob("*")
        if path.is_file()
    )
    assert files == [
        "candidates/items.csv",
        *(f"interactions/part-{number}.csv" for number in range(3)),
    ]
    assert copies["interactions"] == str(tmp_path / "work" / "interactions" / "part-*.csv")
    assert {**copies, "interactions": "", "candidates": ""} == {
        **source,
        "interactions": "",
        "candidates": "",
    }
    assert f"copied 3 files from {url}/parts/part-*.csv" in capsys.readouterr().out


def test_a_local_source_is_not_copied(tmp_path: Path) -> None:
    source = csv_source(tmp_path)
    assert fetched(source, str(tmp_path / "work")) == source
    assert fetched({"kind": "sample", "interactions": 5}, str(tmp_path / "work")) == {
        "kind": "sample",
        "interactions": 5,
    }
    assert not (tmp_path / "work").exists()


def test_copies_are_removed_after_the_run(
    tmp_path: Path, memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    run(tmp_path, source_at(memory.upload(write_log(tmp_path / "log")), "log.csv"))
    assert list((tmp_path / "tmp").glob("ingest-*")) == []


# --- what is not there ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interactions", "candidates", "key"),
    [
        ("lag.csv", "items.csv", "interactions"),
        ("parts/*.parquet", "items.csv", "interactions"),
        ("nowhere/*/part-*.csv", "items.csv", "interactions"),
        ("nowhere", "items.csv", "interactions"),
        ("log.csv", "items-?.csv", "candidates"),
    ],
)
def test_an_empty_url_is_named(
    tmp_path: Path, store: Store, interactions: str, candidates: str, key: str
) -> None:
    url = store.upload(write_log(tmp_path / "log"))
    source = source_at(url, interactions, candidates)
    with pytest.raises(InputError) as error:
        run(tmp_path, source)
    assert str(error.value) == f"source.{key}: there is nothing at {source[key]}."
    assert left_over(tmp_path) == []


def test_a_missing_bucket_is_named(tmp_path: Path, s3: Store) -> None:
    with pytest.raises(InputError) as error:
        run(tmp_path, source_at("s3://no-such-bucket/log", "log.csv"))
    message = str(error.value)
    assert "s3://no-such-bucket/log" in message
    assert "\n" not in message
    assert left_over(tmp_path) == []


def test_missing_credentials_are_one_message(
    tmp_path: Path,
    s3: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = s3.upload(write_log(tmp_path / "log"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SystemExit):
        run_step("ingest", run, folder=tmp_path, source=source_at(url, "parts/*.csv"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "error" in line]
    assert len(lines) == 1
    assert "credentials" in lines[0]
    assert url in lines[0]
    assert left_over(tmp_path) == []


def test_an_unknown_protocol_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        run(tmp_path, source_at("s4://bucket", "log.csv"))
    message = str(error.value)
    assert "s4" in message
    assert "s3://" in message
    assert "\n" not in message


# --- objects with names that lead elsewhere, and URLs with secrets ------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "data/sub/../../../x.csv",
        "data/sub/../../../../../x.csv",
        "data//x.csv",
        "data/./x.csv",
        "data/..\\..\\x.csv",
    ],
)
@pytest.mark.parametrize("pattern", ["data", "data/*", "data/**/*.csv"])
def test_an_object_is_not_copied_outside_the_folder(
    tmp_path: Path, store: Store, name: str, pattern: str
) -> None:
    write_csv(tmp_path / "log.csv", LOG, log_rows())
    store.put("data/log.csv", (tmp_path / "log.csv").read_bytes())
    store.put(name, b"this should not be here")
    work = tmp_path / "a" / "b" / "c" / "work"
    work.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    source = {"kind": "movielens", "path": f"{store.url}/{pattern}"}
    below = name.removeprefix("data/")

    try:
        fetched(source, str(work))
    except InputError as error:
        message = str(error)
        assert message.startswith(f"source.path: {store.url}")
        assert f"the file name {below!r} is not allowed: " in message or repr(name) in message
        assert message.endswith("Rename or delete it there.")
        assert sorted(tmp_path.rglob("*")) == before
    else:  # a pattern that does not match it
        assert pattern != "data"
        copied = {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()}
        assert copied == {"path/log.csv"}
        assert {path for path in tmp_path.rglob("*") if work not in path.parents} == set(before)


def test_an_object_that_is_also_the_folder_of_another_is_named(tmp_path: Path, s3: Store) -> None:
    s3.put("logs/data", b"x")
    s3.put("logs/data/log.csv", b"x")

    with pytest.raises(InputError) as error:
        fetched({"kind": "movielens", "path": f"{s3.url}/logs"}, str(tmp_path / "work"))

    assert str(error.value).startswith(
        f"source.path: {s3.url}/logs: 'data' is a file and also the folder of 'data/log.csv'"
    )
    assert not (tmp_path / "work").exists()


def test_a_local_source_may_contain_links(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    write_csv(disk / "1.csv", LOG, log_rows())
    write_csv(disk / "items.csv", CATALOGUE, catalogue_rows())
    (tmp_path / "data").symlink_to(disk)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "log.csv").symlink_to(disk / "1.csv")

    linked = run(tmp_path, source_at(str(tmp_path), "more/*.csv", "data/items.csv"))

    assert len(linked.interactions) == len(log_rows())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("interactions", "s3://key:secret@bucket/log.csv"),
        ("interactions", "s3://key:se/secret@bucket/log-*.csv"),
        ("candidates", "https://host/items.csv?X-Amz-Signature=secret"),
        ("candidates", ["gs://secret@bucket/items.csv"]),
    ],
)
def test_credentials_in_a_source_are_refused_by_the_step_and_not_repeated(
    tmp_path: Path, key: str, value: object, capfd: pytest.CaptureFixture[str]
) -> None:
    source = {**source_at(str(tmp_path), "log.csv"), key: value}

    with pytest.raises(SystemExit):
        run_step("ingest", run, folder=tmp_path, source=source)

    output = "".join(capfd.readouterr())
    assert f"[ingest] error: source.{key}" in output
    assert "a URL must not contain credentials" in output
    assert "secret@" not in output
    assert "=secret" not in output
    assert left_over(tmp_path) == []


# --- not yet so -----------------------------------------------------------------------------------


def test_a_missing_folder_in_a_bucket_is_named(tmp_path: Path, s3: Store) -> None:
    source = {"kind": "movielens", "version": "100k", "path": "s3://no-such-bucket/ml-100k"}
    with pytest.raises(InputError, match="s3://no-such-bucket/ml-100k"):
        run(tmp_path, source)


def test_folder_placeholders_of_consoles_are_not_files(tmp_path: Path, s3: Store) -> None:
    """A folder's mark is an empty object whose name ends with a slash."""
    write_folder(tmp_path / "there" / "ml-latest-small", movielens_csv())
    for mark in ("there/", "there/ml-latest-small/", "there/ml-latest-small/empty/"):
        s3.put(mark, b"")
    url = s3.upload(tmp_path / "there")
    copies = fetched(
        {"kind": "movielens", "path": f"{url}/ml-latest-small"}, str(tmp_path / "work")
    )
    names = {path.name for path in Path(copies["path"]).rglob("*") if path.is_file()}
    assert names == {"ratings.csv", "movies.csv"}


def test_a_folder_with_a_dot_in_its_name_is_copied(tmp_path: Path, memory: Store) -> None:
    write_folder(tmp_path / "there" / "ml.latest-small", movielens_csv())
    url = memory.upload(tmp_path / "there")
    copies = fetched(
        {"kind": "movielens", "path": f"{url}/ml.latest-small"}, str(tmp_path / "work")
    )
    assert {path.name for path in Path(copies["path"]).iterdir()} == {"ratings.csv", "movies.csv"}


def test_the_copies_are_the_files_that_are_read(tmp_path: Path, memory: Store) -> None:
    folder = tmp_path / "log"
    for name, rows in (("a", log_rows()[:60]), ("b/c", log_rows()[60:])):
        (folder / name).mkdir(parents=True)
        write_csv(folder / name / "part.csv", LOG, rows)
    write_csv(folder / "items.csv", CATALOGUE, catalogue_rows())
    url = memory.upload(folder)
    remote = run(tmp_path, source_at(url, "**/part.csv"))
    assert len(remote.interactions) == len(log_rows())


def test_a_source_at_a_web_address_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        run(tmp_path, source_at("https://files.example.org", "log.csv"))
    assert "writers" not in str(error.value)
    assert str(error.value).startswith("source.candidates: https://files.example.org/")
