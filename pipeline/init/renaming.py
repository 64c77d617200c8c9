"""Names for columns that have none, or one that no feature can have, where files allow it."""

import re

from components.adapt.columns import name_problem
from components.shared.features.config import Side
from components.shared.runtime.errors import InputError
from pipeline.init.roles import Roles
from pipeline.init.table_look import TableLook
from pipeline.init.words import is_numbered


def rename_columns(roles: Roles) -> None:
    """Name the columns of delimited text without header, and those with impossible names.

    Raises:
        InputError: If the column of users or items has a name that no feature can have,
            and its files cannot be read with another one.
    """
    _rename_log(roles)
    if len(roles.catalogues) == 1:
        roles.catalogues[0], roles.catalogue_id, names = _renamed(
            roles.catalogues[0], roles.catalogue_id, roles.candidate_id, "candidate", roles.title
        )
        roles.title = names.get(roles.title or "", roles.title)
    if roles.users is not None:
        roles.users, roles.users_id, _ = _renamed(
            roles.users, roles.users_id, roles.query_id, "query", None
        )


def _renamed(
    table: TableLook, key: str | None, id_: str, side: Side, title: str | None
) -> tuple[TableLook, str | None, dict[str, str]]:
    """Return a table with names that features can have, its column of ids, and the new names.

    Args:
        table: The table of items or users.
        key: Its column of ids.
        id_: The log's column of ids.
        side: The side that it describes.
        title: Its column of titles.
    """
    names = _new_names(table, side, "item_" if side == "candidate" else "user_")
    if not names or key is None:
        return table, key, {}
    if id_ not in table.columns or id_ == key:
        names[key] = id_
    if title is not None and is_numbered(title):
        names[title] = "title"
    return table.renamed(names), names.get(key, key), names


def _rename_log(roles: Roles) -> None:
    log = roles.log
    sides: dict[str, Side] = {roles.query_id: "query", roles.candidate_id: "candidate"}
    impossible = [name for name, side in sides.items() if name_problem(name, side)]
    if impossible and not log.names:
        raise InputError(
            f"{log.path} calls a column {impossible[0]!r}, but it has to be a feature, and no "
            "feature can have that name: rename it in the file, with letters, digits and _ only."
        )
    if not impossible and log.has_header:
        return
    names = _new_names(log, "query", "")
    meanings = {
        roles.query_id: "user",
        roles.candidate_id: "item",
        roles.rating: "count" if roles.is_count else "rating",
        roles.timestamp: "timestamp",
        roles.event: "event",
    }
    if not roles.catalogues:
        meanings[roles.title] = "title"
    names |= {
        column: meaning
        for column, meaning in meanings.items()
        if column is not None and is_numbered(column)
    }
    roles.log = log.renamed(names)

    def new(name: str | None) -> str | None:
        return None if name is None else names.get(name, name)

    roles.query_id, roles.candidate_id = (
        names.get(roles.query_id, roles.query_id),
        names.get(roles.candidate_id, roles.candidate_id),
    )
    roles.rating, roles.timestamp, roles.event = map(
        new, (roles.rating, roles.timestamp, roles.event)
    )
    if not roles.catalogues:
        roles.title = new(roles.title)


def _new_names(table: TableLook, side: Side, of: str) -> dict[str, str]:
    """Return new names for a table's columns that need one, if its files allow it.

    Args:
        table: The table.
        side: The side whose features its columns become.
        of: What comes before the numbers of columns without names, so that those of two
            tables differ.
    """
    names: dict[str, str] = {}
    taken = set(table.names)
    for name in table.names:
        if is_numbered(name) and not table.has_header:
            names[name] = f"{of}{name}"
        elif name_problem(name, side) is not None:
            new = re.sub("[^A-Za-z0-9]+", "_", name).strip("_") or "column"
            new = new if new[0].isalpha() else f"column_{new}"
            while new in taken or name_problem(new, side) is not None:
                new += "_"
            names[name] = new
            taken.add(new)
    return names
