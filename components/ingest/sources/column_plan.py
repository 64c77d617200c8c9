"""Decides which columns of the user's files are read, and what they become."""

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from components.ingest.config import FilesSource
from components.ingest.sources.column_names import RATING, reserved_problems, same_names
from components.ingest.sources.column_types import ColumnTypes, Kind
from components.ingest.sources.layout import TableLayout, listed
from components.shared.contracts.derived_columns import DERIVED
from components.shared.contracts.table_needs import ColumnNeed, TableNeeds
from components.shared.contracts.tables import (
    TIMESTAMP,
    TITLE,
    Column,
    DType,
    Schema,
)
from components.shared.runtime.errors import InputError, raise_all

logger = logging.getLogger(__name__)

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

    def without(self, refused: Mapping[str, Collection[str]]) -> "Tables":
        """Hide columns, which are named by the keys of their tables."""

        def sound(table: TableLayout) -> TableLayout:
            return table.without(refused.get(table.key, ()))

        return Tables(
            sound(self.log),
            [sound(table) for table in self.catalogues],
            sound(self.users) if self.users else None,
        )


@dataclass(frozen=True)
class Plan:
    """The columns to read of each table, and what becomes of them.

    Args:
        schema: The columns of the tables that ingest writes.
        log: The columns to read of the log; see `reading.read_part`.
        items: The columns of the log that describe items, if there is no catalogue.
        catalogues: The columns to read of each catalogue.
        users: The columns to read of the table of users.
        problems: What is wrong with the columns.
        refused: The columns that the problems are about, by the key of their table.
        refused_features: The features, e.g. `features.query.age`.
    """

    schema: Schema
    log: Wanted
    items: Wanted
    catalogues: list[Wanted]
    users: Wanted
    problems: list[str]
    refused: Mapping[str, Collection[str]]
    refused_features: Collection[str]


class Planner:
    """Decides which columns of which table are read, and collects what is wrong with them."""

    def __init__(self, config: FilesSource, needs: TableNeeds | None, tables: Tables):
        self._config = config
        self._columns = config.columns
        self._needs = needs
        self._tables = tables
        self._problems: list[str] = []
        self._refused: defaultdict[str, set[str]] = defaultdict(set)
        self._refused_features: set[str] = set()

    def plan(self) -> Plan:
        """Return the plan, whose `problems` are the columns that are missing or unusable.

        Raises:
            InputError: If two columns are one.
        """
        columns, log = self._columns, self._tables.log
        one_name_twice = same_names(columns)
        self._problems += one_name_twice
        self._require(log, query_id=columns.query_id, candidate_id=columns.candidate_id,
                      rating=columns.rating, timestamp=columns.timestamp,
                      event=columns.event)  # fmt: skip
        item_tables = self._tables.catalogues or [log]
        for table in item_tables:
            self._require(table, candidate_id=columns.candidate_id)
        people = self._tables.users or log
        self._require(people, query_id=columns.query_id)
        query = self._features("query", [people])
        has_item_features = self._tables.catalogues or self._needs is not None
        candidate = self._features("candidate", item_tables) if has_item_features else {}
        title = self._title(item_tables)
        if one_name_twice:
            raise_all(self._problems)
        self._check_log()
        schema = self._schema(people, query, item_tables, candidate, title)
        self._check_ids(schema, people, item_tables)
        return self._planned(schema, candidate, title)

    def _schema(
        self,
        people: TableLayout,
        query: dict[str, int],
        item_tables: list[TableLayout],
        candidate: dict[str, int],
        title: int,
    ) -> Schema:
        """Give the columns their types; features whose columns cannot have one are left out."""
        columns, needs = self._columns, self._needs or TableNeeds()
        people_types = self._types(people, needs.query)
        item_types = [self._types(table, needs.candidate) for table in item_tables]
        if columns.title is not None:
            item_types[title].check(columns.title, _TEXTS, "title", "a title is text")
        schema = Schema(
            query=[
                Column(name=columns.query_id, dtype=people_types.an_id(columns.query_id),
                       role="query_id"),
                *self._feature_columns("query", query, [people_types]),
            ],
            interaction=[
                Column(name=columns.rating or RATING, dtype="float32", role="rating"),
                Column(name=columns.timestamp or TIMESTAMP, dtype="int64", role="timestamp"),
            ],
            candidate=[
                Column(name=columns.candidate_id, dtype=item_types[0].an_id(columns.candidate_id),
                       role="candidate_id"),
                Column(name=columns.title or TITLE, dtype="string", role="title"),
                *self._feature_columns("candidate", candidate, item_types),
            ],
        )  # fmt: skip
        self._note(people, people_types)
        for table, types in zip(item_tables, item_types, strict=True):
            self._note(table, types)
        return schema

    def _feature_columns(
        self, side: str, found: dict[str, int], types: list[ColumnTypes]
    ) -> list[Column]:
        columns = []
        for name, at in found.items():
            column = Column(name=name, dtype=types[at].feature(name))
            if name in types[at].problems:
                self._refused_features.add(f"features.{side}.{name}")
            else:
                columns.append(column)
        return columns

    def _note(self, table: TableLayout, types: ColumnTypes) -> None:
        """Collect the problems of a table's columns; that of an id is said once."""
        refused = self._refused[table.key]
        ids = {self._columns.query_id, self._columns.candidate_id}
        for name, problem in types.problems.items():
            if name not in ids & refused:
                self._problems.append(problem)
            refused.add(name)

    def _check_ids(
        self, schema: Schema, people: TableLayout, item_tables: list[TableLayout]
    ) -> None:
        try:
            schema.id_dtypes  # noqa: B018 - raises if an id is neither a string nor an integer
        except InputError as error:
            self._problems.append(str(error))
            for column in (self._columns.query_id, self._columns.candidate_id):
                for table in (self._tables.log, people, *item_tables):
                    self._refused[table.key].add(column)

    def _planned(self, schema: Schema, candidate: dict[str, int], title: int) -> Plan:
        columns = self._columns
        of_query: Wanted = {column.name: column.dtype for column in schema.query}
        of_candidate: Wanted = {column.name: column.dtype for column in schema.candidate}
        log: Wanted = {columns.query_id: None, columns.candidate_id: None}
        if self._tables.users is None:
            log = of_query | {columns.candidate_id: None}
        for name in (columns.rating, columns.timestamp, columns.event):
            if name is not None:
                log[name] = None
        places = {name: at for name, at in candidate.items() if name in of_candidate}
        if columns.title is not None:
            places[columns.title] = title
        catalogues = [
            {columns.candidate_id: None}
            | {name: of_candidate[name] for name, place in places.items() if place == at}
            for at in range(max(1, len(self._tables.catalogues)))
        ]
        return Plan(
            schema, log, catalogues[0], catalogues, of_query,
            self._problems, self._refused, self._refused_features,
        )  # fmt: skip

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
        self._note(log, types)

    def _require(self, table: TableLayout, **wanted: str | None) -> None:
        for meaning, name in wanted.items():
            if name is None:
                continue
            lacking = table.file_without(name)
            if lacking is not None:
                self._refused[table.key].add(name)
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

    def _once(self, table: TableLayout, name: str) -> bool:
        """Return whether a table has a column once in each file."""
        for layout in table.files:
            if name in layout.repeated:
                self._problems.append(
                    f"{table.key}: {layout.file.name} has the column {name!r} twice. Rename one "
                    "of them."
                )
                self._refused[table.key].add(name)
                return False
        return True

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
                    self._refused_features.add(f"features.{side}.{name}")
        unusable = {name for name, at in found.items() if not self._once(tables[at], name)}
        for name, at in found.items():
            lacking = tables[at].file_without(name)
            if lacking is not None:
                logger.info(
                    f"{tables[at].key}: {lacking.file.name} has no column {name!r}; its rows have "
                    "no value there"
                )
        for name, problem in reserved_problems(columns, side, found, tables[0].key):
            unusable.add(name)
            self._problems.append(problem)
        self._refused_features |= {f"features.{side}.{name}" for name in unusable}
        return {name: at for name, at in found.items() if name not in unusable}

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
