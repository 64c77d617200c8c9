"""What has moved between the published model's data and a run's data, and what breaks a limit."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from components.check_data.column_pair import ColumnPair
from components.check_data.config import DriftConfig
from components.shared.contracts.data_profile import ColumnProfile, DataProfile
from components.shared.contracts.drift import Moved, TableName
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import Column, Schema

_TABLES: tuple[TableName, ...] = ("interactions", "candidates")


@dataclass(frozen=True)
class DataFacts:
    """What is known of a run's tables.

    Args:
        schema: Their columns.
        profile: What is in these columns.
    """

    schema: Schema
    profile: DataProfile

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> "DataFacts":
        """Read both files in a folder."""
        return cls(Schema.read(folder), DataProfile.read(folder))

    def columns(self, table: TableName) -> dict[str, Column]:
        """Return the columns of a table by name."""
        schema = self.schema
        columns = schema.candidate if table == "candidates" else schema.query + schema.interaction
        return {column.name: column for column in columns}

    def profiles(self, table: TableName) -> dict[str, ColumnProfile]:
        """Return the profiles of a table's columns by name."""
        columns = self.profile.candidates if table == "candidates" else self.profile.interactions
        return {column.name: column for column in columns}

    def rows(self, table: TableName) -> int:
        """Return the number of rows of a table; of the interactions, of the training split."""
        return next((profile.rows for profile in self.profiles(table).values()), 0)


def find_moved(
    published: DataFacts, now: DataFacts, limits: DriftConfig, needs: TableNeeds | None
) -> list[Moved]:
    """Compare a run's data with that of the published model.

    Args:
        published: The published model's data.
        now: The run's data.
        limits: The limits.
        needs: The columns that the run's features take. A column that they no longer
            take is gone because the config has changed, which breaks nothing. None:
            features take all columns.

    Returns:
        What differs by more than half of its limit, breaks first.
    """
    moved = [
        each
        for table in _TABLES
        for each in (
            *_schema_moved(table, published.columns(table), now.columns(table), needs),
            *_volume_moved(table, published.rows(table), now.rows(table), limits),
            *_values_moved(table, published, now, limits),
        )
    ]
    return sorted(moved, key=lambda each: not each.breaks)


def _schema_moved(
    table: TableName,
    published: dict[str, Column],
    now: dict[str, Column],
    needs: TableNeeds | None,
) -> Iterator[Moved]:
    for name, before in published.items():
        column = now.get(name)
        if column is None:
            yield Moved(
                table=table,
                column=name,
                change="column gone",
                published=before.dtype,
                breaks=not _left_out(table, before, needs),
            )
        elif column.dtype != before.dtype:
            yield Moved(
                table=table,
                column=name,
                change="type",
                published=before.dtype,
                now=column.dtype,
                breaks=True,
            )
    for name, column in now.items():
        if name not in published:
            yield Moved(
                table=table, column=name, change="new column", now=column.dtype, breaks=False
            )


def _left_out(table: TableName, column: Column, needs: TableNeeds | None) -> bool:
    """Return whether the config leaves out a column: the log may still have it."""
    if column.derived:
        return True
    if needs is None or column.role != "feature":
        return False
    return column.name not in (needs.candidate if table == "candidates" else needs.query)


def _volume_moved(
    table: TableName, published: int, now: int, limits: DriftConfig
) -> Iterator[Moved]:
    ratio = now / published if published else 1.0
    least, most = limits.min_volume, limits.max_volume
    if (1 + least) / 2 <= ratio <= (1 + most) / 2:
        return
    yield Moved(
        table=table,
        change="rows",
        published=f"{published:,}",
        now=f"{now:,}",
        limit=f"{published * least:,.0f} to {published * most:,.0f}",
        breaks=not least <= ratio <= most,
    )


def _values_moved(
    table: TableName, published: DataFacts, now: DataFacts, limits: DriftConfig
) -> Iterator[Moved]:
    columns, todays = published.columns(table), now.columns(table)
    profiles, todays_profiles = published.profiles(table), now.profiles(table)
    for name, column in todays.items():
        before = columns.get(name)
        if before is None or before.dtype != column.dtype or name in limits.ignore:
            continue
        if name in profiles and name in todays_profiles:
            pair = ColumnPair(table, column.role, profiles[name], todays_profiles[name])
            yield from pair.moved(limits)
