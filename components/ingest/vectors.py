"""The width of columns of vectors: how many numbers each row has."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.catalogue import list_separator
from components.ingest.config import TableName
from components.ingest.parsing import parse
from components.ingest.sources import InteractionLog
from components.shared.contracts.tables import VECTOR, Column, Schema
from components.shared.runtime.errors import InputError

_FIRST_ROWS = 100_000


def with_widths(log: InteractionLog, schema: Schema) -> tuple[Schema, list[str]]:
    """Give columns of vectors the width that most of their first rows have.

    Args:
        log: The log, whose first rows are read if it has such columns.
        schema: The columns of the tables.

    Returns:
        The columns with their widths; and why columns cannot be vectors.
    """
    problems: list[str] = []

    def found(column: Column, table: TableName, rows: pa.Table | None) -> Column:
        if column.dtype != VECTOR:
            return column
        try:
            width = _usual_width(log, column, table, rows)
        except InputError as error:
            problems.append(str(error))
            return column
        if width < 2:
            problems.append(
                f"source.{table}: {column.name!r} has no row with a vector, a list of two finite "
                "numbers or more. Leave the feature out, or correct the column."
            )
        return column.model_copy(update={"width": width})

    people: TableName = "interactions" if log.users is None else "users"
    items: TableName = "candidates"
    updated = {
        "query": [found(column, people, log.users) for column in schema.query],
        "candidate": [found(column, items, log.candidates) for column in schema.candidate],
    }
    return schema.model_copy(update=updated), problems


def _usual_width(
    log: InteractionLog, column: Column, table: TableName, rows: pa.Table | None
) -> int:
    widths: Counter[int] = Counter()
    seen = 0
    for batch in _batches(log, column.name, rows):
        values = parse(batch[column.name], column, list_separator(log, table)).values
        lengths = pc.value_counts(pc.list_value_length(pc.drop_null(values)))
        for entry in lengths.to_pylist():
            widths[entry["values"]] += entry["counts"]
        seen += batch.num_rows
        del widths[0]  # no value
        if seen >= _FIRST_ROWS and widths:
            break
    # Of equally frequent ones, the larger, whatever comes first.
    return max(widths, key=lambda width: (widths[width], width), default=0)


def _batches(log: InteractionLog, name: str, rows: pa.Table | None) -> Iterator[pa.Table]:
    if rows is not None:
        yield rows.select([name])
    elif log.batches is not None:
        yield from log.batches([name])
