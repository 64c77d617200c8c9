"""Reads files as record batches: as plain iterators, and as a root transform for Beam."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from components.ingest.parsing import is_text, plain, split_text, unchecked, without_brackets
from components.ingest.sources.bad_records import BadRecord, Parsed, rejects_of_text
from components.ingest.sources.delimited import DelimitedParser, too_long
from components.ingest.sources.json_lines import JsonParser
from components.ingest.sources.layout import Layout, TableLayout
from components.ingest.sources.log import Rejected, with_row_numbers
from components.ingest.sources.parquet_files import read_row_group, row_groups
from components.ingest.sources.sequences import SequenceParser
from components.ingest.sources.text_stream import MAX_LINE_BYTES, TooLong, opened, utf8_lines
from components.shared.contracts.tables import VECTOR, DType
from components.shared.runtime.arrow import one_array

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class FilePart:
    """A file, or a row group of a Parquet file.

    Args:
        layout: How the file is written.
        group: The row group; None for the whole file.
        first_row: The number of its first row, of a row group.
    """

    layout: Layout
    group: int | None = None
    first_row: int = 1


@dataclass(frozen=True)
class Records:
    """Some rows of a file, and the records before or among them that could not be read.

    Args:
        rows: The wanted columns, in any type, with `_file` and `_row`.
        rejects: A table of `REJECTS_SCHEMA`.
    """

    rows: pa.Table
    rejects: pa.Table


def read_batches(
    layout: Layout, columns: Sequence[str], batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Read some columns of a file in batches, leaving out what cannot be read.

    Args:
        layout: How the file is written; see `components.ingest.sources.layout.look_at`.
        columns: The columns. Text is not converted.
        batch_rows: Maximum number of rows of a batch.

    Raises:
        InputError: If the file is damaged.

    Example:
    ```python
    from pathlib import Path

    from components.ingest.sources.file_search import find_files
    from components.ingest.sources.layout import look_at

    Path("log.csv").write_text("user;stars\\n7;4,5\\n")
    [batch] = read_batches(look_at(find_files("log.csv")[0]), ["stars"])
    assert batch.to_pydict() == {"stars": ["4,5"], "_file": ["log.csv"], "_row": [2]}
    ```
    """
    for part in parts_of([layout]):
        for records in read_part(part, dict.fromkeys(columns), batch_rows):
            yield from records.rows.combine_chunks().to_batches(max_chunksize=batch_rows)


def parts_of(layouts: Sequence[Layout]) -> list[FilePart]:
    """Divide files into parts that workers read in parallel.

    Raises:
        InputError: If a Parquet file is damaged.
    """
    parts = []
    for layout in layouts:
        if layout.format != "parquet":
            parts.append(FilePart(layout))
            continue
        first_row = 1
        for group, rows in enumerate(row_groups(layout.file.path, layout.file.name)):
            if rows:
                parts.append(FilePart(layout, group, first_row))
            first_row += rows
    return parts


def read_part(
    part: FilePart, wanted: Mapping[str, DType | None], batch_rows: int = BATCH_ROWS
) -> Iterator[Records]:
    """Read the wanted columns of a file or a row group.

    Args:
        part: What to read.
        wanted: The columns, each with the type that it should have, for lists in
            text; None: as in the file. A column that the file does not have is null.
        batch_rows: Approximate number of rows at a time.

    Raises:
        InputError: If the file is damaged.
    """
    layout = part.layout
    here = [
        name for name in wanted if name in layout.columns and name not in layout.file.partitions
    ]
    if part.group is not None:
        found = _read_parquet(part, here, batch_rows)
    else:
        found = _read_text(layout, here)
    for parsed in found:
        table = _with_all_columns(
            _renamed(parsed.table, layout), len(parsed.numbers), layout, wanted
        )
        yield Records(
            with_row_numbers(table, layout.file.name, parsed.numbers),
            rejects_of_text(parsed.bad, layout.file.name),
        )


def _read_parquet(part: FilePart, columns: list[str], batch_rows: int) -> Iterator[Parsed]:
    assert part.group is not None
    row = part.first_row
    file = part.layout.file
    in_file = [part.layout.aliases.get(name, name) for name in columns]
    for batch in read_row_group(file.path, file.name, part.group, in_file, batch_rows):
        numbers = np.arange(row, row + batch.num_rows)
        row += batch.num_rows
        yield Parsed(pa.Table.from_batches([batch]), numbers)


def _read_text(layout: Layout, columns: list[str]) -> Iterator[Parsed]:
    text = layout.text
    assert text is not None
    parser: DelimitedParser | JsonParser | SequenceParser
    if layout.format == "csv":
        parser = DelimitedParser(layout.names, columns, text)
        nothing = pa.table({name: pa.array([], pa.string()) for name in columns})
    elif layout.format == "sequences":
        parser = SequenceParser(layout.names, columns, text)
        nothing = pa.table({name: pa.array([], layout.columns[name]) for name in columns})
    else:
        types = {layout.aliases.get(name, name): layout.columns[name] for name in columns}
        parser = JsonParser(types, text.comment, text.encoding)
        nothing = pa.table({name: pa.array([], kind) for name, kind in types.items()})
    none = np.empty(0, np.int64)
    rest, line, skip = b"", 1, text.first_lines
    file = layout.file
    with opened(file.path, file.name, layout.compression) as stream:
        for block in utf8_lines(stream, text.encoding):
            if isinstance(block, TooLong) and skip:  # a header with very many columns
                skip, line = skip - 1, line + 1
                continue
            if isinstance(block, TooLong):
                if rest:
                    lines = rest.count(b"\n")
                    yield parser.parse(rest, line)
                    rest, line = b"", line + lines
                bad = BadRecord(line, too_long(MAX_LINE_BYTES), bytes(block))
                yield Parsed(nothing, none, [bad])
                line += 1
                continue
            while skip and block:  # the header and the comments before it
                block = block[block.find(b"\n") + 1 :]
                skip, line = skip - 1, line + 1
            data = rest + block
            if not data:
                continue
            parsed = parser.parse(data, line, last=False)
            rest = b"".join(item + b"\n" for item in parsed.rest)
            line += data.count(b"\n") - len(parsed.rest)
            yield parsed
        if rest:
            yield parser.parse(rest, line)


def _renamed(table: pa.Table, layout: Layout) -> pa.Table:
    """Give columns their names in the config; the names of text by position are those already."""
    if layout.format in ("csv", "sequences") or not layout.aliases:
        return table
    names = {in_file: name for name, in_file in layout.aliases.items()}
    return table.rename_columns([names.get(name, name) for name in table.column_names])


def _with_all_columns(
    table: pa.Table, rows: int, layout: Layout, wanted: Mapping[str, DType | None]
) -> pa.Table:
    columns = {}
    for name, dtype in wanted.items():
        if name in layout.file.partitions:
            value = layout.file.partitions[name]
            array = pa.repeat(pa.scalar(value, pa.string()), rows)
        elif name in table.column_names:
            array = one_array(table[name])
            if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
                array = unchecked(array)  # pyarrow 25 has few functions for views
        else:
            array = pa.nulls(rows)
        if dtype in ("list<string>", VECTOR):
            array = _split(array, layout.separator(name), in_brackets=dtype == VECTOR)
        columns[name] = array
    if not columns:
        return pa.Table.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.table(columns)


def _split(array: pa.Array, separator: str, in_brackets: bool) -> pa.Array:
    """Split text into lists: of bytes if any of it is not UTF-8, so that its rows are rejected.

    Lists, and a damaged column, which checking the rows refuses, stay as they are.
    """
    if not is_text(array.type.value_type if pa.types.is_dictionary(array.type) else array.type):
        return array
    try:
        text = unchecked(plain(array))
    except pa.ArrowException:
        return array
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        texts = text.view(pa.binary()).to_pylist()
        lists = [value if value is None else value.split(separator.encode()) for value in texts]
        trimmed = [v if v is None else [e.strip() for e in v if e.strip()] for v in lists]
        return pa.array(trimmed, pa.list_(pa.binary()))
    return split_text(without_brackets(text) if in_brackets else text, separator)


class ReadFiles(beam.PTransform):
    """A root transform that reads files; see `InteractionLog.interactions`.

    Args:
        table: The files.
        wanted: The columns; see `read_part`.
        constants: Values of columns that the files do not have.
        batch_rows: Maximum number of rows of a batch.
    """

    def __init__(
        self,
        table: TableLayout,
        wanted: Mapping[str, DType | None],
        constants: Mapping[str, pa.Scalar],
        batch_rows: int,
    ):
        super().__init__()
        self._parts = parts_of(table.files)
        self._read = _ReadPart(dict(wanted), dict(constants), batch_rows)

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Return the outputs `main` and `rejects`."""
        read = (
            begin
            | "Files" >> beam.Create(self._parts)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(self._read).with_outputs("rejects", main="main")
        )
        return {"main": read.main, "rejects": read.rejects}


class _ReadPart(beam.DoFn):
    def __init__(
        self, wanted: dict[str, DType | None], constants: dict[str, pa.Scalar], batch_rows: int
    ):
        self._wanted = wanted
        self._constants = constants
        self._batch_rows = batch_rows

    def process(self, part: FilePart) -> Iterator[pa.RecordBatch | Rejected]:
        for records in read_part(part, self._wanted, self._batch_rows):
            rows = records.rows
            for name, value in self._constants.items():
                rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
            yield from rows.combine_chunks().to_batches(max_chunksize=self._batch_rows)
            for batch in records.rejects.to_batches():
                yield beam.pvalue.TaggedOutput("rejects", batch)
