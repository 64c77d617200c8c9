"""What was seen of a table: the profile of all rows, and the first of them."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import FileFormat
from components.shared.contracts.data_profile import ColumnProfile


@dataclass(frozen=True)
class TableLook:
    """A table as its files show it.

    Args:
        path: The path, glob or URL of its files, as a config would name it.
        columns: The profile of each column, over all rows.
        sample: The first rows.
        format: What a config has to say about the form of the files; empty if the files
            say it themselves.
        notes: What was found about the form of the files, for people.
        bad_records: Number of records that could not be split into columns.
    """

    path: str
    columns: dict[str, ColumnProfile]
    sample: pa.Table
    format: FileFormat = field(default_factory=FileFormat)
    notes: tuple[str, ...] = ()
    bad_records: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return max((column.rows for column in self.columns.values()), default=0)

    def distinct(self, name: str) -> int:
        """Return the number of distinct values of a column; its values if there are too many."""
        column = self.columns[name]
        return column.present if column.distinct is None else column.distinct

    def is_unique(self, name: str) -> bool:
        """Return whether almost every row has a value of its own in a column."""
        column = self.columns[name]
        return column.present > 1 and self.distinct(name) >= 0.99 * column.rows

    def values(self, name: str, at_most: int = 10_000) -> set[str]:
        """Return distinct values of a column in the first rows, as text."""
        found = pc.unique(_as_text(self.sample[name])).drop_null().slice(0, at_most)
        return set(found.to_pylist())

    def covers(self, name: str, known: set[str]) -> bool:
        """Return whether a column has most of some values, or the values that were looked at."""
        mine = self.values(name)
        common = len(mine & known)
        return common > 0 and common >= 0.5 * min(len(mine), len(known))


def depends_on(sample: pa.Table, column: str, key: str) -> bool:
    """Return whether a key decides a column's value: whether it describes the key.

    Args:
        sample: Some rows.
        column: The column that may describe.
        key: The column of the ids that may be described.

    Returns:
        True if keys with several rows have a single value in 95% of the cases.
    """
    if pa.types.is_nested(sample.schema.field(column).type):
        values = pa.array([repr(value) for value in sample[column].to_pylist()])
    else:
        values = _as_text(sample[column])
    pairs = pa.table({"key": _as_text(sample[key]), "value": values})
    of_key = pairs.group_by("key").aggregate([("value", "count_distinct"), ("value", "count")])
    several = of_key["value_count"].to_numpy() > 1
    if not several.any():
        return False
    return bool(np.mean(of_key["value_count_distinct"].to_numpy()[several] == 1) >= 0.95)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_nested(column.type):
        return pa.chunked_array([[repr(value) for value in column.to_pylist()]])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.cast(column, pa.string(), safe=False)
