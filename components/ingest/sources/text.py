"""Delimited text as Arrow batches of strings, with every bad line accounted for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.ingest.sources.log import FILE, ROW, Rejected
from components.tables import REJECTS_SCHEMA


@dataclass(frozen=True)
class TextFormat:
    """How a text file is laid out.

    Args:
        columns: The columns' names, in order.
        delimiter: What stands between fields; may be longer than a character.
        quoted: Whether fields may be quoted with `"`.
        header: Whether the first line holds the columns' names.
        encoding: The file's encoding.
    """

    columns: tuple[str, ...]
    delimiter: str
    quoted: bool = False
    header: bool = False
    encoding: str = "utf-8"


@dataclass(frozen=True)
class TextBlock:
    """Some whole lines of a file.

    Args:
        path: The file.
        name: What messages call it.
        offset: The first byte.
        length: How many bytes.
        first_row: Number of the first line; 1 is the file's first.
    """

    path: str
    name: str
    offset: int
    length: int
    first_row: int


def split_blocks(
    path: str, name: str, *, header: bool, block_bytes: int = 8 << 20
) -> list[TextBlock]:
    """Cuts a file into blocks of whole lines that workers read side by side.

    One scan for line ends, so that every block knows its first line's number.

    Args:
        path: The file.
        name: What messages call it.
        header: Whether to leave the first line out.
        block_bytes: About how large a block is.
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


def parse_block(block: TextBlock, layout: TextFormat) -> tuple[pa.Table, pa.Table]:
    """Reads a block.

    Returns:
        The rows, all columns strings, beside `_file` and `_row`; and a table of
        `REJECTS_SCHEMA` with the lines that have too few or too many fields.
    """
    with open(block.path, "rb") as file:
        file.seek(block.offset)
        data = file.read(block.length)
    delimiter = layout.delimiter
    if len(delimiter) > 1:  # pyarrow.csv takes one character
        data = data.replace(delimiter.encode(), b"\x1f")
        delimiter = "\x1f"
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    invalid: list[pa.csv.InvalidRow] = []

    def set_aside(row: pa.csv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    # A last empty column keeps pyarrow from reading an empty line as a row of one column.
    table = pa.csv.read_csv(
        pa.BufferReader(data),
        read_options=pa.csv.ReadOptions(
            column_names=list(layout.columns), use_threads=False, encoding=layout.encoding
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter,
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
    good = np.ones(lines, bool)
    good[[row.number - 1 for row in invalid]] = False
    numbers = block.first_row + np.flatnonzero(good)
    files = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(table.num_rows, np.int32)), pa.array([block.name])
    )
    table = table.append_column(FILE, files).append_column(ROW, pa.array(numbers))
    rejects = pa.table(
        {
            "file": [block.name] * len(invalid),
            "row": [block.first_row + row.number - 1 for row in invalid],
            "reason": [
                f"{row.actual_columns} fields instead of {row.expected_columns}" for row in invalid
            ],
            "record": [row.text.replace("\x1f", layout.delimiter) for row in invalid],
        },
        schema=REJECTS_SCHEMA,
    )
    return table, rejects


def parse_file(path: str, name: str, layout: TextFormat) -> tuple[pa.Table, pa.Table]:
    """Reads a whole file; see `parse_block`. Both tables are empty for an empty file."""
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
        """Makes the outputs `main` and `rejects`."""
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
