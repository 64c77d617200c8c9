"""The user's own log and catalogue in Parquet or CSV files."""

import csv
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.ingest.config import FilesSource
from components.ingest.sources.log import FILE, ROW, InteractionLog, with_origin
from components.ingest.sources.text import ReadText, TextFormat, parse_file, split_blocks
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    REJECTS_SCHEMA,
    TIMESTAMP,
    TITLE,
    Column,
    DType,
    Schema,
)
from components.shared.runtime.errors import InputError

_RATING = "rating"  # the column's name if the log has no ratings


def open_files(
    config: FilesSource, *, batch_rows: int, needs: TableNeeds | None = None
) -> InteractionLog:
    """Open the files.

    Raises:
        InputError: If there is no file or no row, or a column is missing or unusable.
    """
    columns = config.columns
    log_files = _files(config.interactions, "source.interactions")
    catalogue_files = _files(config.candidates, "source.candidates")
    log_types = _column_types(log_files, config, "source.interactions")
    catalogue_types = _column_types(catalogue_files, config, "source.candidates")
    log_columns = columns.model_dump(exclude={"title", "timestamp_unit"})
    catalogue_columns = columns.model_dump(include={"candidate_id", "title"})
    _require(log_types, log_files[0], log_columns)
    _require(catalogue_types, catalogue_files[0], catalogue_columns)
    _check_names(config, log_types, catalogue_types)
    schema = _schema(config, log_types, catalogue_types)
    schema.id_dtypes  # noqa: B018 - raises if an id is neither a string nor an integer

    catalogue_tables, rejects = [], [REJECTS_SCHEMA.empty_table()]
    for path in catalogue_files:
        if path.suffix == ".parquet":
            table = with_origin(pq.read_table(path), path.name)
        else:
            table, bad_lines = parse_file(str(path), path.name, _text_format(path))
            rejects.append(bad_lines)
        catalogue_tables.append(table)
    candidates = pa.concat_tables(catalogue_tables, promote_options="permissive")
    if columns.title is None:
        title = pc.cast(candidates[columns.candidate_id], pa.string())
        candidates = candidates.append_column(TITLE, title)
    if all(path.suffix == ".parquet" for path in log_files):
        interactions: beam.PTransform = _ReadParquet(log_files, batch_rows)
        empty = not any(pq.read_metadata(path).num_rows for path in log_files)
    elif all(path.suffix == ".csv" for path in log_files):
        blocks = [
            block for path in log_files for block in split_blocks(str(path), path.name, header=True)
        ]
        interactions = ReadText(blocks, _text_format(log_files[0]), batch_rows)
        empty = not blocks
    else:
        raise InputError(
            f"source.interactions: {config.interactions} matches both Parquet and CSV files. "
            "Use files of one kind."
        )
    if empty:
        raise InputError(
            f"source.interactions: {config.interactions} has no rows: there are no interactions "
            "to learn from."
        )
    return InteractionLog(
        schema=schema,
        interactions=_WithDefaults(interactions, columns.rating is None, columns.timestamp),
        candidates=candidates,
        rejects=pa.concat_tables(rejects),
        files=config,
        first_rows=_first_rows(log_files),
    )


def _first_rows(files: list[Path]) -> pa.Table:
    path = files[0]
    if path.suffix == ".parquet":
        return pa.Table.from_batches([next(pq.ParquetFile(path).iter_batches(1000))])
    return parse_file(str(path), path.name, _text_format(path))[0].slice(0, 1000)


def _files(pattern: str, key: str) -> list[Path]:
    found = glob.glob(str(Path(pattern).expanduser()), recursive=True)
    files = [Path(path) for path in sorted(found)]
    if not files:
        raise InputError(f"{key}: no file matches {pattern}.")
    for path in files:
        if path.suffix not in (".parquet", ".csv"):
            raise InputError(f"{key}: {path} is neither .parquet nor .csv.")
    return files


def _text_format(path: Path) -> TextFormat:
    with open(path, "rb") as file:
        line = file.readline()
    try:
        header = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, row 1: not UTF-8. Convert the file.") from error
    names = tuple(name.strip() for name in next(csv.reader([header])))
    return TextFormat(names, ",", quoted=True, header=True)


def _column_types(files: list[Path], config: FilesSource, key: str) -> dict[str, DType]:
    """Return the columns of the files, which must all be the same."""
    types: dict[str, DType] = {}
    for path in files:
        if path.suffix == ".parquet":
            try:
                fields = list(pq.read_schema(path))
            except pa.ArrowInvalid as error:
                raise InputError(f"{key}: {path} is not a Parquet file ({error}).") from error
            names = tuple(field.name for field in fields)
            found = {
                field.name: config.dtypes.get(field.name) or _dtype(field, path) for field in fields
            }
        else:
            if not path.stat().st_size:
                raise InputError(f"{key}: {path} is empty: it has no header line.")
            names = _text_format(path).columns
            found = {name: config.dtypes.get(name, "string") for name in names}
        if len(found) < len(names):
            twice = sorted(name for name in found if names.count(name) > 1)
            raise InputError(
                f"{key}: {path} has the column {twice[0]!r} twice. Rename one of them."
            )
        # The columns of text have positions, those of Parquet have names.
        same_place = path.suffix == ".parquet" or list(found) == list(types)
        if types and (found != types or not same_place):
            raise InputError(
                f"{key}: {path} has the columns {_listed(found)}, but {files[0]} has "
                f"{_listed(types)}. All files of a table need the same columns and types, and CSV "
                "files the same order."
            )
        types = found
    return types


def _listed(types: dict[str, DType]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in types.items())


def _dtype(field: pa.Field, path: Path) -> DType:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float32"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list<string>"
    raise InputError(
        f"{path}: column {field.name!r} has the type {kind}, which no feature can use. Convert "
        "it to a number, a string or a list of strings, or remove it."
    )


def _require(types: dict[str, DType], path: Path, wanted: dict[str, str | None]) -> None:
    for meaning, name in wanted.items():
        if name is not None and name not in types:
            raise InputError(
                f"source.columns.{meaning}: {path} has no column {name!r}. Its columns are "
                f"{', '.join(types)}."
            )


def _check_names(config: FilesSource, log: dict[str, DType], catalogue: dict[str, DType]) -> None:
    """Refuse names that would be those of two columns of the tables."""
    columns = config.columns
    for meaning, name, types in (
        ("rating", _RATING, log),
        ("timestamp", TIMESTAMP, log),
        ("title", TITLE, catalogue),
    ):
        if getattr(columns, meaning) is None and name in types:
            raise InputError(
                f"source.columns.{meaning} is not set, but there is a column {name!r}. Set it to "
                f"{name!r} if that is what the column holds, or rename the column."
            )
    for meanings in (
        ("query_id", "candidate_id", "rating", "timestamp"),
        ("candidate_id", "title"),
    ):
        named: dict[str, str] = {}
        for meaning in meanings:
            name = getattr(columns, meaning)
            if name in named:
                raise InputError(
                    f"source.columns: {named[name]} and {meaning} are both {name!r}. Each needs "
                    "its own column; remove a setting that has no column."
                )
            if name is not None:
                named[name] = meaning
    for key, types, reserved in (
        ("interactions", log, (FILE, ROW, CANDIDATE_INDEX)),
        ("candidates", catalogue, (FILE, ROW)),
    ):
        for name in reserved:
            if name in types:
                raise InputError(
                    f"source.{key}: the column {name!r} has a name that ingest reserves. Rename it."
                )


def _schema(config: FilesSource, log: dict[str, DType], catalogue: dict[str, DType]) -> Schema:
    columns = config.columns
    apart = {columns.query_id, columns.candidate_id, columns.rating, columns.timestamp}
    query = [Column(name=columns.query_id, dtype=log[columns.query_id], role="query_id")]
    query += [Column(name=name, dtype=kind) for name, kind in log.items() if name not in apart]
    candidate = [
        Column(
            name=columns.candidate_id, dtype=catalogue[columns.candidate_id], role="candidate_id"
        )
    ]
    title = columns.title or TITLE
    candidate.append(Column(name=title, dtype="string", role="title"))
    candidate += [
        Column(name=name, dtype=kind)
        for name, kind in catalogue.items()
        if name not in (columns.candidate_id, title)
    ]
    return Schema(
        query=query,
        interaction=[
            Column(name=columns.rating or _RATING, dtype="float32", role="rating"),
            Column(name=columns.timestamp or TIMESTAMP, dtype="int64", role="timestamp"),
        ],
        candidate=candidate,
    )


class _ReadParquet(beam.PTransform):
    """A root transform that reads Parquet files, one row group at a time."""

    def __init__(self, files: list[Path], batch_rows: int):
        super().__init__()
        self._groups = []
        for path in files:
            row = 1
            metadata = pq.read_metadata(path)
            for group in range(metadata.num_row_groups):
                self._groups.append((str(path), group, row))
                row += metadata.row_group(group).num_rows
        self._batch_rows = batch_rows

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        return {
            "main": begin
            | "Row groups" >> beam.Create(self._groups)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read_row_group, self._batch_rows),
            "rejects": begin | "No rejects" >> beam.Create([]),
        }


def _read_row_group(group: tuple[str, int, int], batch_rows: int) -> Iterator[pa.RecordBatch]:
    path, number, first_row = group
    table = pq.ParquetFile(path).read_row_group(number)
    table = with_origin(table, Path(path).name, first_row)
    yield from table.combine_chunks().to_batches(max_chunksize=batch_rows)


class _WithDefaults(beam.PTransform):
    """A root transform that adds a rating of 1 and a timestamp of 0 if the log has none."""

    def __init__(self, read: beam.PTransform, add_rating: bool, timestamp: str | None):
        super().__init__()
        self._read = read
        self._add_rating = add_rating
        self._add_timestamp = timestamp is None

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        outputs = begin | self._read
        return {
            "main": outputs["main"]
            | "Defaults" >> beam.Map(_add_defaults, self._add_rating, self._add_timestamp),
            "rejects": outputs["rejects"],
        }


def _add_defaults(batch: pa.RecordBatch, add_rating: bool, add_timestamp: bool) -> pa.RecordBatch:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    if add_rating:
        columns[_RATING] = pa.repeat(pa.scalar(1.0, pa.float32()), batch.num_rows)
    if add_timestamp:
        columns[TIMESTAMP] = pa.repeat(pa.scalar(0, pa.int64()), batch.num_rows)
    return pa.RecordBatch.from_pydict(columns)
