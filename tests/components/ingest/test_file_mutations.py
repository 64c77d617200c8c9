"""Mutated files of each form: each is read, with every record accounted for, or refused."""

import re
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_helpers import movielens_1m, write_archive
from mutants import ODD_COLUMNS, mutated, seeds
from table_forms import FORMS, LOG

from components.ingest.config import FilesSource, MovieLensSource
from components.ingest.sources import InteractionLog, open_source
from components.ingest.sources.files import open_files
from components.ingest.sources.layout import look_at_table
from components.ingest.sources.reading import ReadFiles, parts_of
from components.shared.contracts.table_needs import ColumnNeed, TableNeeds
from components.shared.runtime.errors import InputError, raise_all

FAST, SLOW = 100, 1000
MAX_MESSAGE = 20_000
NEEDS = TableNeeds(
    query={"user": ColumnNeed(dtypes=["string", "int64"])},
    candidate={
        "item": ColumnNeed(dtypes=["string", "int64"]),
        "tags": ColumnNeed(dtypes=["list<string>"]),
        "price": ColumnNeed(dtypes=["float32", "int64"]),
    },
)
COLUMNS = {"query_id": "user", "candidate_id": "item", "rating": "stars", "timestamp": "ts"}


def source_of(path: Path) -> FilesSource:
    return FilesSource.model_validate(
        {"kind": "files", "interactions": str(path), "columns": COLUMNS}
    )


def rows_and_rejects(log: InteractionLog) -> tuple[int, int]:
    """Reads a log as a worker does."""
    read = log.interactions
    assert isinstance(read, ReadFiles)
    rows = rejects = 0
    for part in read._parts:
        for out in read._read.process(part):
            batch = getattr(out, "value", out)
            batch.validate()
            if batch is out:
                rows += batch.num_rows
            else:
                rejects += batch.num_rows
                assert max(map(len, batch["record"].to_pylist()), default=0) < 1000
    raise_all(log.problems)
    return rows, rejects


def records_in(path: Path) -> int | None:
    """Returns how many records a file must have, if its form allows to know."""
    layout = look_at_table([_found(path)], None, "").files[0]
    if layout.format == "parquet":
        return sum(pq.read_metadata(path).row_group(part.group).num_rows
                   for part in parts_of([layout]))  # fmt: skip
    text = layout.text
    assert text is not None
    if layout.compression or text.encoding not in ("utf-8", "cp1252", "latin-1"):
        return None
    content = path.read_bytes()
    if text.quoted and b'"' in content and layout.format == "csv":
        return None
    lines = re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf"))
    return sum(
        1
        for line in lines[text.first_lines :]
        if line.strip(b" \t") or (line and layout.format == "csv")
    )


def _found(path: Path) -> Any:
    from components.ingest.sources.file_search import FoundFile

    return FoundFile(str(path), path.name)


def check_message(error: InputError) -> None:
    assert 0 < len(str(error)) < MAX_MESSAGE


def check_mutants(folder: Path, content: bytes, count: int) -> int:
    """Reads mutants; returns how many were accepted."""
    path = folder / "log.data"
    accepted = 0
    for number, rng in enumerate(seeds(count)):
        path.write_bytes(mutated(content, rng))
        try:
            log = open_files(source_of(path), batch_rows=50, needs=NEEDS)
            rows, rejects = rows_and_rejects(log)
        except InputError as error:
            check_message(error)
            continue
        accepted += 1
        expected = records_in(path)
        if expected is not None:
            assert rows + rejects == expected, number
    return accepted


@pytest.mark.parametrize("form", FORMS)
def test_mutants_are_read_or_refused(tmp_path: Path, form: str) -> None:
    content = FORMS[form](LOG)
    (tmp_path / "log.data").write_bytes(content)
    whole = open_files(source_of(tmp_path / "log.data"), batch_rows=50, needs=NEEDS)
    assert rows_and_rejects(whole) == (len(LOG), 0)
    accepted = check_mutants(tmp_path, content, FAST)
    assert accepted > 0 or form == "gzip"  # whose checksum finds each change


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_many_mutants_are_read_or_refused(tmp_path: Path, form: str) -> None:
    check_mutants(tmp_path, FORMS[form](LOG), SLOW)


@pytest.mark.parametrize("column", ["user", "item", "stars", "ts", "tags", "price"])
@pytest.mark.parametrize("values", ODD_COLUMNS, ids=lambda values: str(values.type))
def test_any_type_of_a_column_is_read_or_refused(
    tmp_path: Path, column: str, values: pa.Array
) -> None:
    table = pa.Table.from_pylist(LOG[:2])
    table = table.set_column(table.column_names.index(column), column, values)
    pq.write_table(table, tmp_path / "log.data")
    try:
        log = open_files(source_of(tmp_path / "log.data"), batch_rows=50, needs=NEEDS)
        outcome: Any = rows_and_rejects(log)
    except InputError as error:
        outcome = str(error)
    if isinstance(outcome, str):
        assert column in outcome
        assert len(outcome) < 1000
    else:
        assert outcome == (2, 0)


def check_archives(folder: Path, content: bytes, count: int) -> None:
    path = folder / "ml-1m.zip"
    for number, rng in enumerate(seeds(count)):
        path.write_bytes(mutated(content, rng))
        work = folder / str(number)
        work.mkdir()
        source = MovieLensSource(kind="movielens", version="1m", path=str(path))
        try:
            rows_and_rejects(open_source(source, seed=1, batch_rows=50, workdir=str(work)))
        except InputError as error:
            check_message(error)


METHODS = {
    "stored": zipfile.ZIP_STORED, "deflate": zipfile.ZIP_DEFLATED, "bz2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}  # fmt: skip


def archive(folder: Path, method: int) -> bytes:
    return write_archive(folder / "whole.zip", movielens_1m(), "ml-1m", method).read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_mutated_archives_are_read_or_refused(tmp_path: Path, method: str) -> None:
    check_archives(tmp_path, archive(tmp_path, METHODS[method]), FAST)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_many_mutated_archives_are_read_or_refused(tmp_path: Path, method: str) -> None:
    check_archives(tmp_path, archive(tmp_path, METHODS[method]), SLOW)


def test_encrypted_and_unknown_members_of_archives_are_named(tmp_path: Path) -> None:
    content = bytearray(archive(tmp_path, zipfile.ZIP_STORED))
    central = content.index(b"PK\x01\x02")
    for offset, value, says in (
        (8, 1, "encrypted"),  # the flag of the first member
        (10, 99, "compression method|compression type"),
    ):
        changed = bytearray(content)
        changed[central + offset] = changed[offset - 2] = value
        path = tmp_path / f"{value}.zip"
        path.write_bytes(changed)
        source = MovieLensSource(kind="movielens", version="1m", path=str(path))
        with pytest.raises(InputError, match=rf"cannot be unpacked \(.*({says}).*\)\. Download"):
            open_source(source, seed=1, batch_rows=50, workdir=str(tmp_path))


@pytest.mark.parametrize("line", [b"1::1::5::978300760\n", b"x" * 1_000_000], ids=["many", "one"])
def test_an_archive_that_unpacks_to_far_too_much_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in movielens_1m().items():
            zipped.writestr(name, content)
        with zipped.open("ml-1m/ratings.dat", "w") as file:
            for _ in range(60):
                file.write(line * (1_000_000 // len(line)))
    source = MovieLensSource(kind="movielens", version="1m", path=str(path))
    with pytest.raises(InputError, match=r"unpacks to more than 100 times its .* bytes"):
        open_source(source, seed=1, batch_rows=50, workdir=str(tmp_path))
