"""Which table is the log, and which of its columns are the users and the items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.shared.runtime.errors import InputError
from pipeline.init.table_look import TableLook, depends_on
from pipeline.init.times import is_time, unread_time
from pipeline.init.words import (
    COUNT,
    EVENT,
    GROUP,
    ITEM,
    RATING,
    SESSION,
    TIME,
    USER,
    VOTE,
    has_word,
    score,
)

# Ids are short; only if nothing else is, names of items are ids.
_WORDS_OF_IDS, _WORDS_OF_NAMES = 3, 10


@dataclass(frozen=True)
class Ids:
    """The columns of users and items that a table may have as a log.

    Args:
        query_id: The column of users.
        candidate_id: The column of items.
        scores: How well their names fit.
        feedback: Whether there is a rating, a count or a kind of event beside them.
        doubts: What the user should check, by setting.
    """

    query_id: str
    candidate_id: str
    scores: tuple[int, int]
    feedback: bool
    doubts: dict[str, str]


def find_log(tables: Sequence[TableLook]) -> tuple[TableLook, Ids]:
    """Find the log among tables, and its columns of users and items.

    Args:
        tables: At least one table.

    Raises:
        InputError: If no table has columns that could be users and items.
    """
    logs = [(ids, table) for table in tables if (ids := _user_and_item(table, tables))]
    if not any(min(ids.scores) for ids, _ in logs):
        _refuse_divided_log(tables)
    if not logs:
        described = "\n".join(f"  {table.path}: {', '.join(table.columns)}" for table in tables)
        raise InputError(
            "No table has a column of users and a column of items, each with values that "
            f"repeat. The columns are:\n{described}\nA log has one interaction on each row, with "
            "the user and the item in columns of their own: convert or join the files first, or "
            "write the config by hand; docs/own-data.md shows how."
        )
    # The log is the table with the clearest names; of several, the one that says more of each
    # interaction, and then the one with most rows.
    ids, log = max(logs, key=lambda pair: (sum(pair[0].scores), pair[0].feedback, pair[1].rows))
    return log, ids


def is_log(table: TableLook) -> bool:
    """Return whether a table has columns of users and of items by their names."""
    ids = _user_and_item(table, [])
    return ids is not None and min(ids.scores) > 0


def _refuse_divided_log(tables: Sequence[TableLook]) -> None:
    """Raise an error if one table has the users, another the items, and a third column joins."""
    for people in tables:
        user = _best_named(people, USER)
        for things in tables:
            item = _best_named(things, ITEM)
            if people is things or user is None or item is None:
                continue
            shared = [
                name
                for name in people.columns
                if name in things.columns and name not in (user, item)
                and people.is_unique(name) and people.coverage(name, things.values(name))
            ]  # fmt: skip
            if shared:
                raise InputError(
                    f"{people.path} has the users ({user}), {things.path} the items ({item}), and "
                    f"{shared[0]} says which belong together. A log has both on each row: join "
                    f"the two on {shared[0]} into one file, and run init on that and the others."
                )


def _best_named(table: TableLook, words: set[str]) -> str | None:
    named = [name for name in table.columns if score(name, words) and _may_be_id(table, name)]
    return best(named, lambda name: score(name, words))


def _user_and_item(table: TableLook, tables: Sequence[TableLook]) -> Ids | None:
    possible = [name for name in table.columns if _may_be_id(table, name)]

    def fit(name: str, words: set[str]) -> int:
        named = score(name, words)
        is_key = named and any(_is_key(name, table, other) for other in tables)
        return named + 2 if is_key else named

    user = best([n for n in possible if fit(n, USER)], lambda name: fit(name, USER))
    items = [name for name in possible if fit(name, ITEM) and name != user]
    item = best(items, lambda name: fit(name, ITEM))
    scores = (score(user, USER) if user else 0, score(item, ITEM) if item else 0)
    doubts: dict[str, str] = {}
    if user is None:
        user = next((n for n in possible if n != item and has_word(n, SESSION)), None)
        if user is not None:
            doubts["query_id"] = f"no column has users, so each {user!r} counts as one"
            scores = (1, scores[1])
    # By position: logs usually name the user first.
    rest = [name for name in possible if name not in (user, item) and _may_be_guessed(table, name)]
    if user is None and rest:
        user = rest.pop(0)
        doubts["query_id"] = f"no column is named like a user; {user!r} is a guess"
    if item is None and not rest:  # users who follow users
        rest = [name for name in possible if name != user and score(name, USER)]
    if item is None and not rest:
        rest = [
            name
            for name in table.columns
            if name != user and _may_be_id(table, name, _WORDS_OF_NAMES)
            and _may_be_guessed(table, name)
        ]  # fmt: skip
    if item is None and rest:
        item = rest.pop(0)
        doubts["candidate_id"] = f"no column is named like an item; {item!r} is a guess"
    if user is None or item is None:
        return None
    feedback = any(
        has_word(name, RATING | VOTE | COUNT | EVENT) and name not in (user, item)
        and not depends_on(table.sample, name, item)
        for name in table.columns
    )  # fmt: skip
    return Ids(user, item, scores, feedback, doubts)


def _is_key(name: str, table: TableLook, other: TableLook) -> bool:
    """Return whether another table has one row for each value of a column of the same name."""
    return (
        other is not table and name in other.columns and other.is_unique(name)
        and other.coverage(name, table.values(name)) > 0
    )  # fmt: skip


def _may_be_id(table: TableLook, name: str, words: int = _WORDS_OF_IDS) -> bool:
    """Whether values repeat, as users and items of a log do."""
    column = table.columns[name]
    if column.kind not in ("text", "number") or not column.present:
        return False
    if column.numbers is not None and not column.numbers.whole:  # fractions
        return False
    if column.missing > 0.5 * column.rows or column.mean_length > words:
        return False
    return 1 < table.distinct(name) < column.present


def _may_be_guessed(table: TableLook, name: str) -> bool:
    """Whether a column without a telling name may be an id, rather than a rating or a time."""
    words = GROUP | SESSION | RATING | VOTE | COUNT | EVENT | TIME | {"price", "year"}
    return (
        table.distinct(name) > 10
        and not has_word(name, words) and not score(name, USER) and not score(name, ITEM)
        and not is_time(table, name) and unread_time(table, name) is None
    )  # fmt: skip


def best(names: Sequence[str], key: Callable[[str], object]) -> str | None:
    """Return the name with the largest key, the first of equals; None if there are no names."""
    return max(names, key=key, default=None)  # type: ignore[arg-type]
