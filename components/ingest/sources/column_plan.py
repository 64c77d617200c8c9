"""Decides which columns of the user's files are read, and what they become."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from components.ingest.config import FilesSource
from components.ingest.sources.column_types import ColumnTypes, Kind
from components.ingest.sources.layout import TableLayout, listed
from components.ingest.sources.log import FILE, ROW
from components.shared.contracts.derived_columns import DERIVED
from components.shared.contracts.table_needs import ColumnNeed, TableNeeds
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    TIMESTAMP,
    TITLE,
    Column,
    DType,
    Schema,
)
from components.shared.runtime.errors import InputError

logger = logging.getLogger(__name__)

RATING = "rating"  # the column's name if the log has no ratings
_TEXTS: tuple[Kind, ...] = ("text", "integer", "large integer", "number", "time")
_TIMES = _TEXTS
_NUMBERS: tuple[Kind, ...] = ("text", "integer", "large integer", "number")

Wanted: TypeAlias = dict[str, DType | None]


@dataclass(frozen=True)
class Tables:
    """The files of each table.

    Args:
        log: The log.
        catalogues: The catalogues, the first of which lists the items.
        users: The table of users, if there is one.
    """

    log: TableLayout
    catalogues: list[TableLayout]
    users: TableLayout | None


def raise_all(problems: list[str]) -> None:
    """Raise one `InputError` with all problems, if there are any."""
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))


@dataclass(frozen=True)
class Plan:
    """The columns to read of each table, and what becomes of them.

    Args:
        schema: The columns of the tables that ingest writes.
        log: The columns to read of the log; see `reading.read_part`.
        items: The columns of the log that describe items, if there is no catalogue.
        catalogues: The columns to read of each catalogue.
        users: The columns to read of the table of users.
    """

    schema: Schema
    log: Wanted
    items: Wanted
    catalogues: list[Wanted]
    users: Wanted


class Planner:
    """Decides which columns of which table are read, and collects what is wrong with them."""

    def __init__(self, config: FilesSource, needs: TableNeeds | None, tables: Tables):
        self._config = config
        self._columns = config.columns
        self._needs = needs
        self._tables = tables
        self._problems: list[str] = []

    def plan(self) -> Plan:
        """Return the plan.

        Raises:
            InputError: If a column is missing or unusable.
        """
        columns, log = self._columns, self._tables.log
        self._check_names()
        self._require(log, query_id=columns.query_id, candidate_id=columns.candidate_id,
                      rating=columns.rating, timestamp=columns.timestamp,
                      event=columns.event)  # fmt: skip
        item_tables = self._tables.catalogues or [log]
        for table in item_tables:
            self._require(table, candidate_id=columns.candidate_id)
        people = self._tables.users or log
        self._require(people, query_id=columns.query_id)
        raise_all(self._problems)

        query = self._features("query", [people])
        if self._tables.catalogues or self._needs is not None:
            candidate = self._features("candidate", item_tables)
        else:
            candidate = {}
        title = self._title(item_tables)
        raise_all(self._problems)

        query_needs = self._needs.query if self._needs else {}
        candidate_needs = self._needs.candidate if self._needs else {}
        people_types = self._types(people, query_needs)
        schema_query = [
            Column(name=columns.query_id, dtype=people_types.an_id(columns.query_id),
                   role="query_id"),
            *(Column(name=name, dtype=people_types.feature(name)) for name in query),
        ]  # fmt: skip
        item_types = [self._types(table, candidate_needs) for table in item_tables]
        schema_candidate = [
            Column(name=columns.candidate_id, dtype=item_types[0].an_id(columns.candidate_id),
                   role="candidate_id"),
            Column(name=columns.title or TITLE, dtype="string", role="title"),
            *(Column(name=name, dtype=item_types[at].feature(name))
              for name, at in candidate.items()),
        ]  # fmt: skip
        if columns.title is not None:
            item_types[title].check(columns.title, _TEXTS, "title", "a title is text")
        self._check_log()
        for types in (people_types, *item_types):
            self._problems += types.problems
        schema = Schema(
            query=schema_query,
            interaction=[
                Column(name=columns.rating or RATING, dtype="float32", role="rating"),
                Column(name=columns.timestamp or TIMESTAMP, dtype="int64", role="timestamp"),
            ],
            candidate=schema_candidate,
        )
        raise_all(self._problems)
        schema.id_dtypes  # noqa: B018 - raises if an id is neither a string nor an integer
        return self._wanted(schema, candidate, title)

    def _wanted(self, schema: Schema, candidate: dict[str, int], title: int) -> Plan:
        columns = self._columns
        of_query: Wanted = {column.name: column.dtype for column in schema.query}
        of_candidate: Wanted = {column.name: column.dtype for column in schema.candidate}
        log: Wanted = {columns.query_id: None, columns.candidate_id: None}
        if self._tables.users is None:
            log = of_query | {columns.candidate_id: None}
        for name in (columns.rating, columns.timestamp, columns.event):
            if name is not None:
                log[name] = None
        places = dict(candidate)
        if columns.title is not None:
            places[columns.title] = title
        catalogues = [
            {columns.candidate_id: None}
            | {name: of_candidate[name] for name, place in places.items() if place == at}
            for at in range(max(1, len(self._tables.catalogues)))
        ]
        return Plan(schema, log, catalogues[0], catalogues, of_query)

    def _types(self, table: TableLayout, needs: dict[str, ColumnNeed]) -> ColumnTypes:
        return ColumnTypes(table, dict(self._config.dtypes), needs)

    def _check_log(self) -> None:
        """Check the types of the log's own columns."""
        columns, log = self._columns, self._tables.log
        types = self._types(log, {})
        for meaning, name in (
            ("query_id", columns.query_id),
            ("candidate_id", columns.candidate_id),
        ):
            types.check(name, _TEXTS, meaning, "an id is a string or an integer")
        if columns.rating is not None:
            types.check(columns.rating, _NUMBERS, "rating", "a rating is a number")
        if columns.timestamp is not None:
            types.check(
                columns.timestamp, _TIMES, "timestamp",
                "a time is a number, ISO 8601 text, a date or a timestamp",
            )  # fmt: skip
        if columns.event is not None:
            types.check(columns.event, _TEXTS, "event", "a kind of event is text")
        self._problems += types.problems

    def _require(self, table: TableLayout, **wanted: str | None) -> None:
        for meaning, name in wanted.items():
            if name is None:
                continue
            lacking = table.file_without(name)
            if lacking is not None:
                names = list(lacking.columns)
                hint = ""
                if names[:1] == ["column_1"]:
                    table_name = table.key.removeprefix("source.").partition("[")[0]
                    hint = (
                        " It has no header line: name its columns in "
                        f"source.formats.{table_name}.names."
                    )
                self._problems.append(
                    f"source.columns.{meaning}: {lacking.file.name} has no column {name!r}. Its "
                    f"columns are {listed(names)}.{hint}"
                )
            self._once(table, name)

    def _once(self, table: TableLayout, name: str) -> None:
        for layout in table.files:
            if name in layout.repeated:
                self._problems.append(
                    f"{table.key}: {layout.file.name} has the column {name!r} twice. Rename one "
                    "of them."
                )
                return

    def _features(self, side: str, tables: list[TableLayout]) -> dict[str, int]:
        """Return the columns of features, each with the number of the table that has it."""
        columns = self._columns
        apart = {columns.candidate_id, columns.title}
        if side == "query":
            apart = {columns.query_id, columns.candidate_id, columns.rating, columns.timestamp}
            apart |= {columns.event} | ({columns.title} if not self._tables.catalogues else set())
        if self._needs is None:
            found = self._all_columns(tables, apart)
        else:
            needed = self._needs.query if side == "query" else self._needs.candidate
            found = {}
            for name in needed:
                if name in apart:
                    continue
                at = next((n for n, table in enumerate(tables) if name in table.columns), None)
                if at is not None:
                    found[name] = at
                elif not (side == "query" and name in DERIVED):
                    self._problems.append(self._no_column(side, name, tables))
        for name, at in found.items():
            self._once(tables[at], name)
            lacking = tables[at].file_without(name)
            if lacking is not None:
                logger.info(
                    f"{tables[at].key}: {lacking.file.name} has no column {name!r}; its rows have "
                    "no value there"
                )
        self._refuse_reserved(side, list(found), tables[0].key)
        return found

    def _all_columns(self, tables: list[TableLayout], apart: set[str | None]) -> dict[str, int]:
        found: dict[str, int] = {}
        for at, table in enumerate(tables):
            types = self._types(table, {})
            for name in table.columns:
                if name in apart or name in found:
                    continue
                if types.kind(name) == "other":
                    logger.info(
                        f"{table.key}: the column {name!r} is not read: no feature can use its type"
                    )
                    continue
                found[name] = at
        return found

    def _no_column(self, side: str, name: str, tables: list[TableLayout]) -> str:
        keys = " and ".join(table.key for table in tables)
        names = list(dict.fromkeys(name for table in tables for name in table.columns))
        also = ""
        if tables[0].files[0].format == "jsonl":
            also = f" If only later lines have it, set source.dtypes.{name}."
        elif side == "query" and self._tables.users and name in self._tables.log.columns:
            also = " It is a column of the log: with source.users, users are described there only."
        return (
            f"features.{side}.{name}: {keys} has no column {name!r}. Its columns are "
            f"{listed(names)}.{also}"
        )

    def _title(self, tables: list[TableLayout]) -> int:
        """Return the number of the table that has the title."""
        title = self._columns.title
        if title is None:
            return 0
        for at, table in enumerate(tables):
            if title in table.columns:
                self._once(table, title)
                return at
        names = list(dict.fromkeys(name for table in tables for name in table.columns))
        self._problems.append(
            f"source.columns.title: {tables[0].files[0].file.name} has no column {title!r}. Its "
            f"columns are {listed(names)}."
        )
        return 0

    def _check_names(self) -> None:
        columns = self._columns
        for meanings in (
            ("query_id", "candidate_id", "rating", "timestamp", "event"),
            ("candidate_id", "title"),
        ):
            named: dict[str, str] = {}
            for meaning in meanings:
                name = getattr(columns, meaning)
                if name in named:
                    self._problems.append(
                        f"source.columns: {named[name]} and {meaning} are both {name!r}. Each "
                        "needs its own column; remove a setting that has no column."
                    )
                if name is not None:
                    named[name] = meaning

    def _refuse_reserved(self, side: str, names: Iterable[str], key: str) -> None:
        """Refuse names that would be those of two columns of the tables."""
        columns = self._columns
        reserved = reserved_names(side, columns.rating, columns.timestamp, columns.title)
        for name in names:
            meaning = reserved.get(name, name)
            if meaning is None:
                self._problems.append(
                    f"{key}: the column {name!r} has a name that ingest reserves. Rename it."
                )
            elif name in reserved:
                self._problems.append(
                    f"source.columns.{meaning} is not set, but there is a column {name!r}. "
                    f"Set it to {name!r} if that is what the column holds, or rename the "
                    "column."
                )


def reserved_names(
    side: str, rating: str | None, timestamp: str | None, title: str | None
) -> dict[str, str | None]:
    """Return the names that no feature's column can have, as the tables have others of them.

    Args:
        side: `query` or `candidate`.
        rating: The column of ratings, if there is one.
        timestamp: The column of times, if there is one.
        title: The column of titles, if there is one.

    Returns:
        By name, the setting that is absent, so that its column gets this name; None if
        the name is always reserved.
    """
    always = [FILE, ROW, *([CANDIDATE_INDEX] if side == "query" else [])]
    reserved: dict[str, str | None] = dict.fromkeys(always)
    if side == "candidate":
        return reserved | ({TITLE: "title"} if title is None else {})
    reserved |= {RATING: "rating"} if rating is None else {}
    return reserved | ({TIMESTAMP: "timestamp"} if timestamp is None else {})
