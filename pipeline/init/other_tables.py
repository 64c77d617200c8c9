"""Which tables list the items and the users, and why others are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.init.log_table import is_log
from pipeline.init.roles import Roles
from pipeline.init.table_look import TableLook
from pipeline.init.words import ITEM, USER, named_after, score, words_of


def assign_tables(roles: Roles, tables: Sequence[TableLook]) -> None:
    """Make tables those of items or users if their ids are those of the log."""
    catalogues: list[_Side] = []
    users: list[_Side] = []
    for table in tables:
        if table is roles.log:
            continue
        side = _side(roles, table)
        if side is None:
            roles.unused[table.path] = _reason(roles, table)
        else:
            (users if side.is_users else catalogues).append(side)
    _take_catalogues(roles, sorted(catalogues, key=lambda side: -side.coverage))
    for side in sorted(users, key=lambda side: -side.coverage):
        if roles.users is None:
            roles.users, roles.users_id = side.table, side.key
        else:
            roles.unused[side.table.path] = (
                f"{roles.users.path} is the table of users, and there is one; join them first"
            )


@dataclass(frozen=True)
class _Side:
    """A table with one row for each item or user.

    Args:
        table: The table.
        key: Its column of ids.
        coverage: Share of the log's ids that it has.
        is_users: Whether its rows are users.
    """

    table: TableLook
    key: str
    coverage: float
    is_users: bool = False


def _side(roles: Roles, table: TableLook) -> _Side | None:
    """Find out whether a table lists items or users; ids that are numbers may be of either."""
    found: list[tuple[tuple[bool, bool, float], _Side]] = []
    for is_users, id_, words in ((False, roles.candidate_id, ITEM), (True, roles.query_id, USER)):
        known = roles.log.values(id_)
        for name in table.columns:
            exact = name == id_ and table.has_header
            # A table that has the log's very column may repeat a few rows.
            if not table.is_unique(name, 0.9 if exact else 0.99) or name in table.repeated:
                continue
            if not (exact or _names(name, words) or not table.has_header):
                continue
            coverage = table.coverage(name, known)
            if coverage:
                order = (exact, named_after(table.path, words), coverage)
                found.append((order, _Side(table, name, coverage, is_users)))
    # The first of equals: items are more often in a table of their own.
    return max(found, key=lambda pair: pair[0], default=(None, None))[1]


def _names(name: str, words: set[str]) -> bool:
    """Return whether a column is named like the ids of items or users."""
    return words_of(name) == ["id"] or score(name, words) >= 2


def _take_catalogues(roles: Roles, sides: Sequence[_Side]) -> None:
    """Take the tables of items that one config can join: the first lists the items."""
    if not sides:
        return
    first = sides[0]
    roles.catalogue_id = first.key
    for side in sides:
        if side.key not in (first.key, roles.candidate_id):
            roles.unused[side.table.path] = (
                f"its items are in {side.key!r}, but in {first.key!r} in {first.table.path}; name "
                "both columns alike"
            )
        elif side is not first and (side.table.format != first.table.format):
            roles.unused[side.table.path] = (
                f"it is written otherwise than {first.table.path}, which has the items as well; "
                "convert one of them"
            )
        else:
            roles.catalogues.append(side.table)


def _reason(roles: Roles, table: TableLook) -> str:
    """Say why a table is neither the log, nor one of items or users."""
    log = roles.log
    if set(table.columns) == set(log.columns):
        return (
            f"it has the columns of {log.path}; to use both, put the files into a folder of their "
            "own, or name them by a glob"
        )
    if is_log(table):
        return f"it has interactions as well, and {log.path} is the log"
    for id_, what in ((roles.candidate_id, "item"), (roles.query_id, "user")):
        if id_ in table.columns and table.coverage(id_, log.values(id_)):
            return f"{id_!r} repeats in it, but a table of {what}s has one row for each {what}"
    return f"no column has the ids of {roles.query_id} or {roles.candidate_id}, each once"
