"""Looks at the user's files: which tables there are, and what is in their columns."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from pydantic import BaseModel

from components.ingest.config import FileFormat
from components.ingest.remote import fetched
from components.ingest.sources.file_search import FoundFile, find_files
from components.ingest.sources.layout import Layout, look_at
from components.ingest.sources.log import FILE, ROW
from components.ingest.sources.reading import FilePart, parts_of, read_part
from components.ingest.sources.whole_tables import concat
from components.shared.contracts.data_profile import ColumnProfile
from components.shared.profiling.table_summary import TableSummary
from components.shared.runtime.beam import pipeline_options
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import replace_text
from components.shared.storage.location import is_remote
from pipeline.init.table_look import TableLook

SAMPLE_ROWS = 100_000
_BATCH_ROWS = 131_072


@dataclass(frozen=True)
class _Table:
    """The files of a table.

    Args:
        path: The path, glob or URL that names them in a config.
        layouts: How each is written.
    """

    path: str
    layouts: list[Layout]


class _Profile(BaseModel):
    columns: dict[str, ColumnProfile] = {}
    bad_records: int = 0


def look_at_data(paths: Sequence[str]) -> list[TableLook]:
    """Look at all rows of some files.

    Args:
        paths: Files, folders, globs or URLs. Files of one path that have different
            columns are different tables.

    Raises:
        InputError: If there is no such file, or one cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="init-") as work:
        tables = [
            table
            for number, path in enumerate(paths)
            for table in _tables_of(path, _local_copy(path, Path(work) / str(number)))
        ]
        profiles = _profiled(tables, Path(work))
        return [
            TableLook(
                path=table.path,
                columns=profile.columns,
                sample=_sample(table),
                format=_told(table.layouts[0]),
                notes=_notes(table.layouts),
                bad_records=profile.bad_records,
            )
            for table, profile in zip(tables, profiles, strict=True)
        ]


def _local_copy(path: str, folder: Path) -> str:
    if not is_remote(path):
        return path
    folder.mkdir()
    return str(fetched({"interactions": path}, str(folder))["interactions"])


def _tables_of(path: str, local: str) -> Iterator[_Table]:
    """Divide the files of a path into tables, by their columns."""
    groups: dict[tuple[str, ...], list[Layout]] = {}
    for file in find_files(local):
        layout = look_at(file)
        groups.setdefault((layout.format, *sorted(layout.columns)), []).append(layout)
    if len(groups) == 1:
        yield _Table(path, next(iter(groups.values())))
        return
    for layouts in groups.values():
        inside = _inside(local, [layout.file for layout in layouts])
        yield _Table(path if inside is None else f"{path.rstrip('/')}/{inside}", layouts)


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
    numbered = tuple(f"column_{number}" for number in range(1, len(layout.names) + 1))
    if layout.format == "csv" and layout.names == numbered:
        return FileFormat(header=False)
    return FileFormat()


def _notes(layouts: list[Layout]) -> tuple[str, ...]:
    first = layouts[0]
    found = [{"csv": "delimited text", "jsonl": "JSON Lines", "parquet": "Parquet"}[first.format]]
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
        for batch, _ in _batches(part):
            parts.append(pa.Table.from_batches([batch]))
            rows += batch.num_rows
            if rows >= SAMPLE_ROWS:
                return _joined(parts).slice(0, SAMPLE_ROWS)
    return _joined(parts) if parts else pa.table({})


def _joined(parts: list[pa.Table]) -> pa.Table:
    return concat(parts) or pa.table({})


def _batches(part: FilePart) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Read all columns of a part of a file: batches, each with its number of bad records."""
    for records in read_part(part, dict.fromkeys(part.layout.columns), _BATCH_ROWS):
        rows = records.rows.drop_columns([FILE, ROW]).combine_chunks()
        bad_records = records.rejects.num_rows
        if not rows.num_rows and bad_records:
            yield pa.RecordBatch.from_pydict({}), bad_records
        for batch in rows.to_batches():
            yield batch, bad_records
            bad_records = 0


def _profiled(tables: Sequence[_Table], work: Path) -> list[_Profile]:
    """Profile all columns of all tables in one Beam pass."""
    parts = [
        (number, part) for number, table in enumerate(tables) for part in parts_of(table.layouts)
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
    files = [work / f"profile-{number}.json" for number in range(len(tables))]
    return [
        _Profile.model_validate_json(file.read_text("utf-8")) if file.exists() else _Profile()
        for file in files
    ]


@dataclass
class _Summary:
    table: TableSummary = field(default_factory=TableSummary)
    bad_records: int = 0


def _summarize(number: int, part: FilePart) -> tuple[int, _Summary]:
    summary = _Summary()
    for batch, bad_records in _batches(part):
        summary.table.add(batch)
        summary.bad_records += bad_records
    return number, summary


def _merge(parts: Iterable[_Summary]) -> _Summary:
    parts = list(parts)
    return _Summary(
        TableSummary.merged(part.table for part in parts), sum(part.bad_records for part in parts)
    )


def _save(summarized: tuple[int, _Summary], work: Path) -> None:
    number, summary = summarized
    columns = {column.name: column for column in summary.table.profiles()}
    profile = _Profile(columns=columns, bad_records=summary.bad_records)
    replace_text(work / f"profile-{number}.json", profile.model_dump_json())
