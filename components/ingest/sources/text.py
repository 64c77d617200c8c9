"""Delimited text as Arrow batches of strings; every malformed line is a reject."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.ingest.sources.log import FILE, ROW, Rejected, with_row_numbers
from components.shared.contracts.tables import REJECTS_SCHEMA
from components.shared.runtime.errors import InputError


@dataclass(frozen=True)
class TextFormat:
    """The format of a text file.

    Args:
        columns: The names of the columns, in order.
        delimiter: The separator of fields, of one or more characters.
        quoted: Whether fields may be quoted with `"`.
        header: Whether the first line contains the columns' names.
        encoding: The file's encoding.
    """

    columns: tuple[str, ...]
    delimiter: str
    quoted: bool = False
    header: bool = False
    encoding: str = "utf-8"


@dataclass(frozen=True)
class TextBlock:
    """A block of whole lines of a file.

    Args:
        path: The file's path.
        name: The file's name in messages.
        offset: Position of the first byte.
        length: Number of bytes.
        first_row: Number of the first line; 1 is the file's first line.
    """

    path: str
    name: str
    offset: int
    length: int
    first_row: int


def split_blocks(
    path: str, name: str, *, header: bool, block_bytes: int = 8 << 20
) -> list[TextBlock]:
    """Divide a file into blocks of whole lines that workers read in parallel.

    The file is scanned once for line ends, to number each block's first line.

    Args:
        path: The file's path.
        name: The file's name in messages.
        header: Whether to skip the first line.
        block_bytes: Approximate size of a block in bytes.
    """
    blocks = []
    offset, row = 0, 1
    with open(path, "rb") as file:
        if header:
            offset, row = len(file.readline()), 2
        size = os.fstat(file.fileno()).st_size
        while offset < size:
            file.seek(offset)
            data = file.read(block_bytes) + file.readline()
            blocks.append(TextBlock(path, name, offset, len(data), row))
            offset += len(data)
            row += data.count(b"\n")
    return blocks


def _parse(data: bytes, layout: TextFormat) -> tuple[pa.Table, list[pa.csv.InvalidRow]]:
    """Return the rows, and the lines with too few or too many fields."""
    invalid: list[pa.csv.InvalidRow] = []

    def set_aside(row: pa.csv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    table = pa.csv.read_csv(
        pa.BufferReader(data),
        read_options=pa.csv.ReadOptions(
            column_names=list(layout.columns),
            use_threads=False,
            encoding=layout.encoding,
            block_size=2 * len(data) + 1,  # a single block, even if the text is longer as UTF-8
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=layout.delimiter,
            quote_char='"' if layout.quoted else False,
            invalid_row_handler=set_aside,
            ignore_empty_lines=False,
            newlines_in_values=False,
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(layout.columns, pa.string()),
            strings_can_be_null=False,
        ),
    )
    return table, invalid


def parse_block(block: TextBlock, layout: TextFormat) -> tuple[pa.Table, pa.Table]:
    """Parse a block.

    Returns:
        The rows, with string columns, `_file` and `_row`; and a table of
        `REJECTS_SCHEMA` with the lines that have too few or too many fields or an
        unclosed quote. An empty line is a row of empty fields.

    Raises:
        InputError: If the block is not in the expected encoding, or its lines
            cannot be separated.
    """
    with open(block.path, "rb") as file:
        file.seek(block.offset)
        data = file.read(block.length)
    delimiter = layout.delimiter
    if len(delimiter) > 1:  # pyarrow.csv only accepts one character
        data = data.replace(delimiter.encode(), b"\x1f")
        layout = replace(layout, delimiter="\x1f")
    numbers = block.first_row + np.arange(data.count(b"\n") + (not data.endswith(b"\n")))
    bad: list[_BadLine] = []
    try:
        table, invalid = _parse(data, layout)
        if layout.quoted and table.num_rows + len(invalid) != len(numbers):
            data, numbers, bad = _without_unclosed_quotes(data, numbers, layout.encoding)
            table, invalid = _parse(data, layout)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InputError(_undecodable(data, block, layout.encoding) or str(error)) from error
    if table.num_rows + len(invalid) != len(numbers):
        raise InputError(
            f"{block.name}: lines cannot be separated from row {block.first_row} on. End each "
            "line with \\n or \\r\\n, and keep line breaks out of quoted fields."
        )
    good = np.ones(len(numbers), bool)
    for row in invalid:
        good[row.number - 1] = False
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        text = row.text.replace("\x1f", delimiter)
        bad.append(_BadLine(int(numbers[row.number - 1]), reason, text))
    return with_row_numbers(table, block.name, numbers[good]), _rejects(bad, block.name)


class _BadLine(NamedTuple):
    row: int
    reason: str
    text: str


def _without_unclosed_quotes(
    data: bytes, numbers: np.ndarray, encoding: str
) -> tuple[bytes, np.ndarray, list[_BadLine]]:
    """Remove the lines with an unclosed quote, because pyarrow reads past their ends.

    Args:
        data: Whole lines.
        numbers: `(lines,) int64`, their numbers.
        encoding: Their encoding.

    Returns:
        The other lines, their numbers, and the removed lines.
    """
    lines = data.removesuffix(b"\n").split(b"\n")
    closed = np.array([line.count(b'"') % 2 == 0 for line in lines])
    bad = [
        _BadLine(int(numbers[index]), "a quote is not closed", lines[index].decode(encoding))
        for index in np.flatnonzero(~closed)
    ]
    return b"\n".join(itertools.compress(lines, closed)) + b"\n", numbers[closed], bad


def _rejects(bad: list[_BadLine], file: str) -> pa.Table:
    return pa.table(
        {
            "file": [file] * len(bad),
            "row": [line.row for line in bad],
            "reason": [line.reason for line in bad],
            "record": [line.text for line in bad],
        },
        schema=REJECTS_SCHEMA,
    )


def _undecodable(data: bytes, block: TextBlock, encoding: str) -> str | None:
    """Return a message that names the first line that cannot be decoded, if there is one."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        row = block.first_row + data.count(b"\n", 0, error.start)
        return f"{block.name}, row {row}: not {encoding.upper()}. Convert the file."
    return None


def parse_file(path: str, name: str, layout: TextFormat) -> tuple[pa.Table, pa.Table]:
    """Parse a whole file; see `parse_block`. For an empty file, both tables are empty."""
    parts = [parse_block(block, layout) for block in split_blocks(path, name, header=layout.header)]
    if not parts:
        empty = pa.schema(
            [
                *((column, pa.string()) for column in layout.columns),
                (FILE, pa.string()),
                (ROW, pa.int64()),
            ]
        ).empty_table()
        return empty, REJECTS_SCHEMA.empty_table()
    return (
        pa.concat_tables([rows.unify_dictionaries() for rows, _ in parts]),
        pa.concat_tables([rejects for _, rejects in parts]),
    )


class _ParseBlock(beam.DoFn):
    def __init__(self, layout: TextFormat, batch_rows: int):
        self._layout = layout
        self._batch_rows = batch_rows

    def process(self, block: TextBlock) -> Iterator[pa.RecordBatch | Rejected]:
        rows, rejects = parse_block(block, self._layout)
        yield from rows.combine_chunks().to_batches(max_chunksize=self._batch_rows)
        for batch in rejects.to_batches():
            yield beam.pvalue.TaggedOutput("rejects", batch)


class ReadText(beam.PTransform):
    """A root transform that reads blocks of text; see `InteractionLog.interactions`."""

    def __init__(self, blocks: list[TextBlock], layout: TextFormat, batch_rows: int):
        super().__init__()
        self._blocks = blocks
        self._layout = layout
        self._batch_rows = batch_rows

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Return the outputs `main` and `rejects`."""
        parsed = (
            begin
            | "Blocks" >> beam.Create(self._blocks)
            | "Spread" >> beam.Reshuffle()
            | "Parse"
            >> beam.ParDo(_ParseBlock(self._layout, self._batch_rows)).with_outputs(
                "rejects", main="main"
            )
        )
        return {"main": parsed.main, "rejects": parsed.rejects}
