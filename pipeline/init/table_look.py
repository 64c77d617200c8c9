"""What was seen of a table: the profile of all rows, and the first of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import FileFormat
from components.shared.contracts.data_profile import ColumnProfile
from components.shared.profiling.column_summary import MOST_DISTINCT


@dataclass(frozen=True)
class TableLook:
    """A table as its files show it.

    Args:
        path: The path, glob or URL of its files, as a config would name it.
        columns: The profile of each column, over all rows.
        sample: The first rows, without columns of kind `other`.
        format: What a config has to say about the form of the files; empty if the files
            say it themselves.
        notes: What was found about the form of the files, for people.
        bad_records: Number of records that could not be split into columns.
        counts: `value`, `rows`: the distinct values of a column as text, over all rows;
            not of columns with too many.
        names: The columns' names by position, of delimited text whose files agree in them.
        repeated: The names that several columns of the files have.
        local: The path of the files on this machine; `path` by default.
    """

    path: str
    columns: dict[str, ColumnProfile]
    sample: pa.Table
    format: FileFormat = field(default_factory=FileFormat)
    notes: tuple[str, ...] = ()
    bad_records: int = 0
    counts: Mapping[str, pa.Table] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    repeated: frozenset[str] = frozenset()
    local: str = ""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return max((column.rows for column in self.columns.values()), default=0)

    def distinct(self, name: str) -> int:
        """Return the number of distinct values of a column; an estimate if there are many."""
        column = self.columns[name]
        if column.distinct is not None:
            return column.distinct
        if column.kind == "other" or not column.present:
            return column.present
        rows = pc.value_counts(_as_text(self.sample[name]).drop_null()).field("counts").to_numpy()
        once, twice = int((rows == 1).sum()), int((rows == 2).sum())
        if once == len(rows):  # all of them differ
            return column.present
        # Chao's estimate of the number of species from those in a sample.
        estimate = len(rows) + once * once // (2 * max(twice, 1))
        return min(max(estimate, MOST_DISTINCT + 1), column.present - 1)

    def is_unique(self, name: str, share: float = 0.99) -> bool:
        """Return whether almost every row has a value of its own in a column.

        Args:
            name: The column.
            share: Least number of distinct values, as a share of the rows.
        """
        column = self.columns[name]
        return column.present > 1 and self.distinct(name) >= share * column.rows

    @property
    def has_header(self) -> bool:
        """Whether the files name their columns."""
        return self.format.header is not False

    def values(self, name: str) -> pa.Array:
        """Return the distinct values of a column as text: all, or those of the first rows."""
        if name in self.counts:
            return self.counts[name]["value"].combine_chunks()
        return pc.unique(_as_text(self.sample[name])).drop_null()

    def coverage(self, name: str, known: pa.Array) -> float:
        """Return the share of some values that a column has; 0 if the others are not like them.

        Args:
            name: A column.
            known: `(values,)` distinct ids of the log, as text.
        """
        mine = self.values(name)
        common = pc.sum(pc.is_in(known, mine)).as_py() or 0
        if not common or common < 0.5 * min(len(mine), len(known)):
            return 0.0
        return float(common / len(known))

    def rows_without(self, name: str, known: pa.Array) -> int:
        """Return the number of rows of a log whose id is not among some, as far as it is seen."""
        counts = self.counts.get(name)
        if counts is None:
            values = _as_text(self.sample[name]).drop_null()
            share = 1 - (pc.mean(pc.is_in(values, known)).as_py() or 0.0)
            return round(share * self.columns[name].present)
        unknown = pc.invert(pc.is_in(counts["value"], known))
        return int(pc.sum(counts["rows"].filter(unknown)).as_py() or 0)

    def renamed(self, names: Mapping[str, str]) -> "TableLook":
        """Return the table with other names of its columns, which its config then has to list."""

        def new(name: str) -> str:
            return names.get(name, name)

        return replace(
            self,
            columns={
                new(name): column.model_copy(update={"name": new(name)})
                for name, column in self.columns.items()
            },
            sample=self.sample.rename_columns([new(name) for name in self.sample.column_names]),
            counts={new(name): counts for name, counts in self.counts.items()},
            names=tuple(map(new, self.names)),
            # With a header, its line is skipped.
            format=self.format.model_copy(
                update={
                    "header": self.format.header is not False,
                    "names": list(map(new, self.names)),
                }
            ),
        )


def depends_on(sample: pa.Table, column: str, key: str) -> bool:
    """Return whether a key decides a column's value: whether it describes the key.

    Args:
        sample: Some rows.
        column: The column that may describe.
        key: The column of the ids that may be described.

    Returns:
        True if keys with several rows have a single value in 95% of the cases.
    """
    if column not in sample.column_names:  # of a kind that is not read
        return False
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


def repeats(log: TableLook, query_id: str, candidate_id: str) -> bool:
    """Return whether users may interact with an item repeatedly; unknown is yes."""
    sample = log.sample
    pairs = pa.table({"user": _as_text(sample[query_id]), "item": _as_text(sample[candidate_id])})
    different = pairs.group_by(["user", "item"]).aggregate([]).num_rows
    return different < sample.num_rows or sample.num_rows < log.rows


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_nested(column.type):
        return pa.chunked_array([[repr(value) for value in column.to_pylist()]])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.cast(column, pa.string(), safe=False)
