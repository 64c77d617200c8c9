"""A mergeable summary of a table: one summary per column."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from components.shared.contracts.data_profile import ColumnProfile
from components.shared.profiling.column_summary import ColumnSummary, merge_summaries

# Merging counts costs as much as their distinct values, so summaries wait until it pays.
_WAITING_PARTS = 16
_WAITING_VALUES = 1_000_000


@dataclass
class TableSummary:
    """Summaries of some rows of a table, from which the profiles of its columns are made.

    Batches may differ in their columns: a column that a batch lacks has no value in
    its rows.

    Args:
        rows: Number of rows.
        parts: Summaries of disjoint rows by column, merged when there are many.

    Example:
    ```python
    summary = TableSummary()
    summary.add(pa.table({"city": ["Oslo", "Rome", ""]}))
    summary.add(pa.table({"city": ["Oslo"], "age": [31]}))

    city, age = summary.profiles()
    assert (city.rows, city.missing, city.distinct) == (4, 1, 2)
    assert age.missing == 3
    ```
    """

    rows: int = 0
    parts: dict[str, list[ColumnSummary]] = field(default_factory=dict)

    def add(self, batch: pa.Table | pa.RecordBatch) -> None:
        """Add rows."""
        self.rows += batch.num_rows
        for name in batch.schema.names:
            self.parts.setdefault(name, []).append(ColumnSummary.of(batch.column(name)))
        self._merge_if_many()

    @classmethod
    def merged(cls, summaries: Iterable["TableSummary"]) -> "TableSummary":
        """Merge the summaries of disjoint rows."""
        merged = cls()
        for summary in summaries:
            merged.rows += summary.rows
            for name, parts in summary.parts.items():
                merged.parts.setdefault(name, []).extend(parts)
            merged._merge_if_many()
        return merged

    def _merge_if_many(self) -> None:
        for name, parts in self.parts.items():
            values = sum(part.counts.num_rows for part in parts if part.counts is not None)
            if len(parts) > 1 and (len(parts) >= _WAITING_PARTS or values >= _WAITING_VALUES):
                self.parts[name] = [merge_summaries(parts)]

    def profiles(self) -> list[ColumnProfile]:
        """Return the profiles of the columns, in the order in which they were first seen."""
        profiles = []
        for name, parts in self.parts.items():
            absent = self.rows - sum(part.rows for part in parts)
            without = [ColumnSummary(rows=absent, missing=absent)] if absent else []
            profiles.append(merge_summaries([*parts, *without]).profile(name))
        return profiles
