"""Looks at the user's files: which tables there are, and what is in their columns."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from components.ingest.config import FileFormat
from components.ingest.remote import fetched
from components.ingest.sources.column_types import kind_of
from components.ingest.sources.file_search import FoundFile, find_files
from components.ingest.sources.joining import concat
from components.ingest.sources.layout import Layout, look_at
from components.ingest.sources.log import FILE, ROW
from components.ingest.sources.reading import FilePart, parts_of, read_part
from components.ingest.sources.sequences import looks_like_sequences
from components.ingest.sources.text_encoding import find_encoding, sample_of
from components.ingest.sources.text_stream import compression_of
from components.shared.contracts.data_profile import ColumnProfile
from components.shared.profiling.column_summary import ColumnSummary, merge_summaries
from components.shared.profiling.table_summary import TableSummary
from components.shared.runtime.beam import pipeline_options
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import replace_text
from components.shared.storage.location import is_remote
from pipeline.init.table_look import TableLook

SAMPLE_ROWS = 100_000
_BATCH_ROWS = 131_072
# A column of JSON with more values than this of another type than the others is not read.
_MOST_MISFITS = 0.005
_FORMATS = {
    "csv": "delimited text",
    "jsonl": "JSON Lines",
    "parquet": "Parquet",
    "sequences": "a user and the user's items on each line",
}


@dataclass(frozen=True)
class _Table:
    """The files of a table.

    Args:
        path: The path, glob or URL that names them in a config.
        local: The same on this machine.
        layouts: How each is written.
        unread: Columns that no feature can take.
    """

    path: str
    local: str
    layouts: list[Layout]
    unread: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        return [name for name in self.layouts[0].columns if name not in self.unread]


class _Profile(BaseModel):
    columns: dict[str, ColumnProfile] = {}
    bad_records: int = 0
    misfits: dict[str, int] = {}


def look_at_data(paths: Sequence[str], work: Path) -> list[TableLook]:
    """Look at all rows of some files.

    Args:
        paths: Files, folders, globs or URLs. Files of one path that have different
            columns are different tables.
        work: An empty folder, for copies of remote files.

    Raises:
        InputError: If there is no such file, or one cannot be read.
    """
    tables = [
        _without_unreadable(table)
        for number, path in enumerate(paths)
        for table in _tables_of(path, _local_copy(path, work / str(number)))
    ]
    profiles = _profiled(tables, work)
    for number, table in enumerate(tables):
        while misfits := _misfits(profiles[number]):
            table = replace(table, unread=table.unread | misfits)
            profiles[number] = _profiled([table], Path(tempfile.mkdtemp(dir=work)))[0]
        tables[number] = table
    return [_look(table, profile) for table, profile in zip(tables, profiles, strict=True)]


def _look(table: _Table, profile: "_Summarized") -> TableLook:
    first = table.layouts[0]
    unread = {
        name: ColumnProfile(name=name, kind="other", rows=profile.rows, missing=0, distinct=None)
        for name in table.unread
    }
    seen = profile.profile.columns | unread
    agree = all(layout.names == first.names for layout in table.layouts)
    return TableLook(
        path=table.path,
        columns={name: seen[name] for name in first.columns if name in seen},
        sample=_sample(table),
        format=_told(first),
        notes=_notes(table.layouts),
        bad_records=profile.profile.bad_records,
        counts=profile.counts,
        names=first.names if first.format == "csv" and agree else (),
        repeated=frozenset(name for layout in table.layouts for name in layout.repeated),
        local=table.local,
    )


def _without_unreadable(table: _Table) -> _Table:
    """Leave out the columns of types that no feature can take, and of names that are reserved."""
    columns = table.layouts[0].columns
    unread = {name for name, kind in columns.items() if kind_of(kind) == "other"}
    return replace(table, unread=frozenset(unread | ({FILE, ROW} & columns.keys())))


def _misfits(profile: "_Summarized") -> frozenset[str]:
    """Return the columns whose values are of several types, so that many records are refused."""
    most = _MOST_MISFITS * (profile.rows + profile.profile.bad_records)
    return frozenset(name for name, rows in profile.profile.misfits.items() if rows > most)


def _local_copy(path: str, folder: Path) -> str:
    if not is_remote(path):
        return path
    folder.mkdir()
    return str(fetched({"interactions": path}, str(folder))["interactions"])


def _tables_of(path: str, local: str) -> Iterator[_Table]:
    """Divide the files of a path into tables, by their columns."""
    groups: dict[tuple[str, ...], list[Layout]] = {}
    for file in find_files(local):
        layout = look_at(file, _form(file))
        groups.setdefault((layout.format, *sorted(layout.columns)), []).append(layout)
    if len(groups) == 1:
        yield _Table(path, local, next(iter(groups.values())))
        return
    for layouts in groups.values():
        inside = _inside(local, [layout.file for layout in layouts])
        yield _Table(_joined_path(path, inside), _joined_path(local, inside), layouts)


def _form(file: FoundFile) -> FileFormat | None:
    """Return the form of a file, if it is one that has to be told."""
    with open(file.path, "rb") as opened_file:
        if opened_file.read(4) in (b"PAR1", b"PARE"):
            return None
    compression = compression_of(file.path, file.name)
    encoding, _ = find_encoding(file.path, file.name, compression, None)
    sample = sample_of(file.path, file.name, compression, encoding)
    return FileFormat(format="sequences") if looks_like_sequences(sample) else None


def _joined_path(folder: str, inside: str | None) -> str:
    return folder if inside is None else f"{folder.rstrip('/')}/{inside}"


def _inside(folder: str, files: list[FoundFile]) -> str | None:
    """Return what names some files of a folder: a file's name or a glob.

    Raises:
        InputError: If no simple glob matches these files only.
    """
    root = Path(folder)
    if not root.is_dir():  # a glob, whose files cannot be named apart
        raise InputError(
            f"{folder} matches files with different columns, which are different tables. Name "
            "each table by a path of its own."
        )
    names = sorted(Path(file.path).relative_to(root).as_posix() for file in files)
    if len(names) == 1:
        return names[0]
    for glob in (f"*{Path(names[0]).suffix}", f"**/*{Path(names[0]).suffix}",
                 f"{Path(names[0]).parts[0]}/**/*"):  # fmt: skip
        matched = sorted(
            path.relative_to(root).as_posix() for path in root.glob(glob) if path.is_file()
        )
        if matched == names:
            return glob
    raise InputError(
        f"{folder} contains files of several tables, e.g. {names[0]} and {names[1]} of one. Put "
        "each table into a folder of its own."
    )


def _told(layout: Layout) -> FileFormat:
    """Return what a config has to say about files, because nothing in them says it."""
    if layout.format == "sequences":
        return FileFormat(format="sequences")
    numbered = tuple(f"column_{number}" for number in range(1, len(layout.names) + 1))
    if layout.format == "csv" and layout.names == numbered:
        return FileFormat(header=False)
    return FileFormat()


def _notes(layouts: list[Layout]) -> tuple[str, ...]:
    first = layouts[0]
    found = [_FORMATS[first.format]]
    if len(layouts) > 1:
        found.append(f"{len(layouts)} files")
    if first.text is not None and first.text.encoding.lower().replace("-", "") != "utf8":
        found.append(f"encoding {first.text.encoding}")
    return tuple(found)


def _sample(table: _Table) -> pa.Table:
    """Return the first rows of a table."""
    parts: list[pa.Table] = []
    rows = 0
    for part in parts_of(table.layouts):
        for batch, _ in _batches(part, table.columns):
            if not batch.num_rows:
                continue
            parts.append(pa.Table.from_batches([batch]))
            rows += batch.num_rows
            if rows >= SAMPLE_ROWS:
                return _joined(parts).slice(0, SAMPLE_ROWS)
    empty = pa.table({name: pa.array([], pa.string()) for name in table.columns})
    return _joined(parts) if parts else empty


def _joined(parts: list[pa.Table]) -> pa.Table:
    joined = concat(parts)
    assert joined is not None
    return joined


def _batches(part: FilePart, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    """Read columns of a part of a file: batches, each with the reasons of its bad records."""
    for records in read_part(part, dict.fromkeys(columns), _BATCH_ROWS):
        rows = records.rows.drop_columns([FILE, ROW]).combine_chunks()
        reasons = records.rejects["reason"].to_pylist()
        if not rows.num_rows and reasons:
            yield pa.RecordBatch.from_pydict({}), reasons
        for batch in rows.to_batches():
            yield batch, reasons
            reasons = []


@dataclass(frozen=True)
class _Summarized:
    """What was seen of all rows of a table.

    Args:
        rows: Number of rows.
        profile: The profile of each column that was read.
        counts: See `TableLook.counts`.
    """

    rows: int = 0
    profile: _Profile = field(default_factory=_Profile)
    counts: dict[str, pa.Table] = field(default_factory=dict)


def _profiled(tables: Sequence[_Table], work: Path) -> list[_Summarized]:
    """Profile the columns of all tables in one Beam pass."""
    parts = [
        (number, (part, table.columns))
        for number, table in enumerate(tables)
        for part in parts_of(table.layouts)
    ]
    with beam.Pipeline(options=pipeline_options([])) as pipeline:
        _ = (
            pipeline
            | "List parts" >> beam.Create(parts)
            | "Distribute" >> beam.Reshuffle()
            | "Summarize" >> beam.MapTuple(_summarize)
            | "Merge" >> beam.CombinePerKey(_merge)
            | "Save" >> beam.Map(_save, work)
        )
    return [_saved(work, number) for number in range(len(tables))]


@dataclass
class _Summary:
    table: TableSummary = field(default_factory=TableSummary)
    bad_records: int = 0
    misfits: Counter[str] = field(default_factory=Counter)


def _summarize(number: int, read: tuple[FilePart, Sequence[str]]) -> tuple[int, _Summary]:
    part, columns = read
    summary = _Summary()
    for batch, reasons in _batches(part, columns):
        summary.table.add(batch)
        summary.bad_records += len(reasons)
        if part.layout.format == "jsonl":
            summary.misfits.update(
                name for reason in reasons for name in columns if reason.startswith(f"{name} is ")
            )
    return number, summary


def _merge(parts: Iterable[_Summary]) -> _Summary:
    parts = list(parts)
    misfits: Counter[str] = Counter()
    for part in parts:
        misfits.update(part.misfits)
    return _Summary(
        TableSummary.merged(part.table for part in parts),
        sum(part.bad_records for part in parts),
        misfits,
    )


def _save(summarized: tuple[int, _Summary], work: Path) -> None:
    number, summary = summarized
    merged = {name: merge_summaries(parts) for name, parts in summary.table.parts.items()}
    rows = summary.table.rows
    columns = {}
    for position, (name, column) in enumerate(merged.items()):
        absent = rows - column.rows
        if absent:
            column = merge_summaries([column, ColumnSummary(rows=absent, missing=absent)])
        columns[name] = column.profile(name)
        if column.kind in ("text", "number") and column.counts is not None:
            pq.write_table(column.counts, work / f"counts-{number}-{position}.parquet")
    profile = _Profile(columns=columns, bad_records=summary.bad_records, misfits=summary.misfits)
    replace_text(work / f"profile-{number}.json", profile.model_dump_json())


def _saved(work: Path, number: int) -> _Summarized:
    file = work / f"profile-{number}.json"
    if not file.exists():
        return _Summarized()
    profile = _Profile.model_validate_json(file.read_text("utf-8"))
    counts = {}
    for position, name in enumerate(profile.columns):
        of_column = work / f"counts-{number}-{position}.parquet"
        if of_column.exists():
            counts[name] = pq.read_table(of_column)
    rows = max((column.rows for column in profile.columns.values()), default=0)
    return _Summarized(rows, profile, counts)
