"""Mutated files of each form: each is read, with every record accounted for, or refused."""

import gzip
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_helpers import movielens_1m

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
ROWS = [
    {
        "user": f"u{n % 17}",
        "item": n % 23,
        "stars": n % 5 + 1,
        "ts": 1_700_000_000 + 60 * n,
        "tags": ["rock", f"späť {n % 3}"][: n % 3],
        "price": n / 4,
    }
    for n in range(120)
]


def delimited(delimiter: str, encoding: str = "utf-8", quoted: bool = False) -> bytes:
    def text(value: Any) -> str:
        if isinstance(value, list):
            value = "|".join(value)
        return f'"{value} ""x""\nnext"' if quoted and isinstance(value, str) else str(value)

    lines = [delimiter.join(ROWS[0])]
    lines += [delimiter.join(map(text, row.values())) for row in ROWS]
    return ("\n".join(lines) + "\n").encode(encoding)


def inter() -> bytes:
    header = "user:token\titem:token\tstars:float\tts:float\ttags:token_seq\tprice:float\n"
    return header.encode() + delimited("\t").partition(b"\n")[2]


def jsonl() -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS).encode()


def parquet(**options: Any) -> bytes:
    file = io.BytesIO()
    table = pa.Table.from_pylist(ROWS)
    table = table.set_column(0, "user", table["user"].combine_chunks().dictionary_encode())
    pq.write_table(table, file, row_group_size=50, **options)
    return file.getvalue()


FORMS: dict[str, Callable[[], bytes]] = {
    "csv": lambda: delimited(","),
    "semicolon latin-1 with line breaks": lambda: delimited(";", "cp1250", quoted=True),
    "utf-16": lambda: delimited("\t", "utf-16"),
    "inter": inter,
    "dat": lambda: b"# made by a script\n# " + delimited("::"),
    "gzip": lambda: gzip.compress(delimited(","), mtime=0),
    "zstd": lambda: pa.compress(jsonl(), codec="zstd", asbytes=True),
    "jsonl": jsonl,
    "parquet": parquet,
    "plain parquet": lambda: parquet(compression="none", use_dictionary=False),
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Returns the content cut, with other bytes, recoded, or with values of other types."""
    data = bytearray(content)
    at = rng.randrange(len(data))
    kind = rng.randrange(8)
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for _ in range(rng.randrange(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 2:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 3:
        data[at:at] = rng.randbytes(rng.randrange(1, 50))
    elif kind == 4:
        data[at : at + rng.randrange(100)] = bytes(rng.randrange(100))
    elif kind == 5:
        data[at:at] = data[rng.randrange(len(data)) :][:300]
    elif kind == 6:
        special = [b'"', b"\r", b"\n\n", b'""', b"\x00", b",,", b"|", b"1e999", b"\xff", b"[1]",
                   b'{"a":', b"NaN", b"\x1a", b"-", b"9" * 30]  # fmt: skip
        for _ in range(rng.randrange(1, 10)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = rng.choice(special)
    else:
        text = content.decode("latin-1")
        return text.encode(rng.choice(["utf-16", "utf-8-sig", "utf-32", "utf-16-be", "utf-8"]))
    return bytes(data)


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


def seeds(count: int) -> Iterator[random.Random]:
    for seed in range(count):
        yield random.Random(seed)


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
    content = FORMS[form]()
    (tmp_path / "log.data").write_bytes(content)
    whole = open_files(source_of(tmp_path / "log.data"), batch_rows=50, needs=NEEDS)
    assert rows_and_rejects(whole) == (len(ROWS), 0)
    accepted = check_mutants(tmp_path, content, FAST)
    assert accepted > 0 or form == "gzip"  # whose checksum finds each change


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_many_mutants_are_read_or_refused(tmp_path: Path, form: str) -> None:
    check_mutants(tmp_path, FORMS[form](), SLOW)


TYPES = [
    pa.array([1, 2], pa.uint64()), pa.array([1.5, None]), pa.array([True, None]),
    pa.array(["a", None], pa.string_view()), pa.array([b"\xff", b"a"]),
    pa.array([b"\xff", b"a"]).view(pa.string()), pa.array([[1], None]), pa.array([["a"], []]),
    pa.array([[["a"]], []]), pa.array([{"k": 1}, None]), pa.nulls(2),
    pa.array([1, 2], pa.date32()), pa.array([1, 2], pa.timestamp("ns", "Asia/Tokyo")),
    pa.array([1, 2], pa.duration("s")), pa.array(["a", "b"]).dictionary_encode(),
    pa.array([1, 2], pa.time32("s")), pa.array([1, 2], pa.decimal128(5, 2)),
    pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)), pa.array(["x", "y"], pa.large_string()),
]  # fmt: skip


@pytest.mark.parametrize("column", ["user", "item", "stars", "ts", "tags", "price"])
@pytest.mark.parametrize("values", TYPES, ids=lambda values: str(values.type))
def test_any_type_of_a_column_is_read_or_refused(
    tmp_path: Path, column: str, values: pa.Array
) -> None:
    table = pa.Table.from_pylist(ROWS[:2])
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


def archive(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        for name, content in movielens_1m().items():
            zipped.writestr(f"ml-1m/{name}", content)
    return file.getvalue()


@pytest.mark.parametrize("method", METHODS)
def test_mutated_archives_are_read_or_refused(tmp_path: Path, method: str) -> None:
    check_archives(tmp_path, archive(METHODS[method]), FAST)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_many_mutated_archives_are_read_or_refused(tmp_path: Path, method: str) -> None:
    check_archives(tmp_path, archive(METHODS[method]), SLOW)


def test_encrypted_and_unknown_members_of_archives_are_named(tmp_path: Path) -> None:
    content = bytearray(archive(zipfile.ZIP_STORED))
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
