"""A log of interactions: the interface of all sources."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa

from components.ingest.config import FilesSource
from components.shared.contracts.tables import REJECTS_SCHEMA, Schema

FILE = "_file"
ROW = "_row"

Rejected = beam.pvalue.TaggedOutput[Literal["rejects"], pa.RecordBatch]


@dataclass(frozen=True)
class InteractionLog:
    """Interactions and candidates before they are checked.

    Args:
        schema: The columns of checked rows.
        interactions: A root transform. Its output `main` is a PCollection of
            `pa.RecordBatch`: the query id, the candidate id, the rating and the
            timestamp by their names in the schema, as strings or in their types,
            with `_file` and `_row` (1 is the first row). Without `users`, it
            contains the other query columns as well. Its output `rejects` has
            batches of `REJECTS_SCHEMA`: lines that could not be split into columns.
        candidates: The catalogue, with `_file` and `_row`.
        users: Query columns by query id, if the source has them in a separate file.
        rejects: Lines of the candidates and users that could not be parsed.
        files: The config of the user's files, for messages and policies; None for
            built-in sources.
        batches: Reads columns of the log, for a first look; None for built-in sources.
        problems: What is wrong with the columns. With a problem, the log is only good for a
            first look: what is wrong is null, and `candidates` has no rows if it is the id.
        refused: The features that the problems are about, e.g. `features.query.age`.
        shuffled: Whether the rows are not in the order in which they were published.
    """

    schema: Schema
    interactions: beam.PTransform
    candidates: pa.Table
    users: pa.Table | None = None
    rejects: pa.Table = field(default_factory=REJECTS_SCHEMA.empty_table)
    files: FilesSource | None = None
    batches: Callable[[Sequence[str]], Iterator[pa.Table]] | None = None
    problems: Sequence[str] = ()
    refused: Collection[str] = ()
    shuffled: bool = False


def with_origin(table: pa.Table, file: str, first_row: int = 1) -> pa.Table:
    """Append the columns `_file` and `_row` to rows that are consecutive in a file."""
    return with_row_numbers(table, file, np.arange(first_row, first_row + table.num_rows))


def with_row_numbers(table: pa.Table, file: str, numbers: np.ndarray) -> pa.Table:
    """Append the columns `_file` and `_row`, the origin of each row.

    Args:
        table: Some rows of a file.
        file: The file's name in messages.
        numbers: `(rows,) int64`, the rows' numbers; 1 is the first.
    """
    files = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(table.num_rows, np.int32)), pa.array([file])
    )
    return table.append_column(FILE, files).append_column(ROW, pa.array(numbers))


class FromTable(beam.PTransform):
    """A root transform that emits a table in batches."""

    def __init__(self, table: pa.Table, batch_rows: int):
        super().__init__()
        self._batches = table.combine_chunks().to_batches(max_chunksize=batch_rows)

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Return the outputs `main` and `rejects`."""
        return {
            "main": begin | "Batches" >> beam.Create(self._batches),
            "rejects": begin | "No rejects" >> beam.Create([]),
        }
