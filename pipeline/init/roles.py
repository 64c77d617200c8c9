"""Which table is the log, and which of its columns is the user, the item, the time, …"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from components.ingest.config import TimestampUnit
from components.ingest.times import parse_times, plain_numbers, unit_of
from components.shared.contracts.data_profile import ColumnProfile
from components.shared.runtime.errors import InputError
from pipeline.init.table_look import TableLook, depends_on

# Words in names of columns. A word counts as such: "reviewerID" is "reviewer" and "id".
_USER = {
    "user", "uid", "reviewer", "customer", "member", "visitor", "client", "listener", "reader",
    "person", "account", "author", "viewer", "player", "buyer", "shopper", "patient", "student",
    "subscriber", "session",
}  # fmt: skip
_ITEM = {
    "item", "iid", "product", "movie", "artist", "track", "song", "book", "isbn", "article",
    "asin", "sku", "business", "video", "game", "anime", "content", "offer", "recipe", "poi",
    "venue", "restaurant", "news", "course", "app", "show", "film", "place", "location",
    "beer", "joke", "doc", "document", "page", "listing", "hotel", "album",
}  # fmt: skip
_TIME = {"timestamp", "time", "ts", "date", "datetime", "at", "unix", "epoch", "when"}
_RATING = {"rating", "ratings", "stars", "star", "score", "overall", "rate", "vote", "grade"}
_COUNT = {
    "count", "counts", "plays", "playcount", "listens", "weight", "quantity", "qty", "duration",
    "seconds", "dwell", "clicks", "times", "frequency", "playtime", "hours", "minutes", "watch",
}  # fmt: skip
_EVENT = {"event", "action", "behavior", "behaviour", "activity", "interaction"}
_TITLE = {"title", "name", "headline", "label"}


@dataclass
class Roles:
    """The tables, and the meaning of their columns.

    Args:
        log: The table of interactions.
        query_id: The log's column of users.
        candidate_id: The log's column of items.
        catalogue: The table of items, if there is one.
        users: The table of users, if there is one.
        catalogue_id: The catalogue's column of items.
        users_id: The column of users in their table.
        rating: The log's column of ratings, counts or durations.
        is_count: Whether that column counts or measures, rather than rates.
        timestamp: The log's column of times.
        event: The log's column of kinds of events.
        title: The items' names, in the catalogue or the log.
        doubts: Guesses that the user should check, by setting.
        unused: Tables that are none of these, each with the reason.
    """

    log: TableLook
    query_id: str
    candidate_id: str
    catalogue: TableLook | None = None
    users: TableLook | None = None
    catalogue_id: str | None = None
    users_id: str | None = None
    rating: str | None = None
    is_count: bool = False
    timestamp: str | None = None
    event: str | None = None
    title: str | None = None
    doubts: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)

    @property
    def taken(self) -> set[str]:
        """The log's columns that have a meaning."""
        names = (self.query_id, self.candidate_id, self.rating, self.timestamp, self.event)
        return {name for name in names if name is not None}


def find_roles(tables: Sequence[TableLook]) -> Roles:
    """Find the log among tables, and the meaning of columns, by names and by values.

    Args:
        tables: At least one table.

    Raises:
        InputError: If no table has columns that could be users and items.
    """
    logs = [(found, table) for table in tables if (found := _user_and_item(table))]
    if not logs:
        described = "\n".join(f"  {table.path}: {', '.join(table.columns)}" for table in tables)
        raise InputError(
            "No table has a column of users and a column of items, each with values that "
            f"repeat. The columns are:\n{described}\nWrite the config by hand; "
            "docs/own-data.md shows how."
        )
    # The log is the table with the clearest names; of several, the one with most rows.
    (_, user, item, doubts), log = max(logs, key=lambda pair: (pair[0][0], pair[1].rows))
    roles = Roles(log, user, item, doubts=doubts)
    _find_interaction_columns(roles)
    for table in tables:
        if table is not log:
            _assign(roles, table)
    _find_title(roles)
    return roles


def words_of(name: str) -> list[str]:
    """Split a column's name into words.

    Example:
    ```python
    assert words_of("unixReviewTime") == ["unix", "review", "time"]
    assert words_of("reviewerID") == ["reviewer", "id"]
    assert words_of("user_id") == ["user", "id"]
    ```
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
    return [part for word in words for part in _without_id(word)]


def _without_id(word: str) -> list[str]:
    """Split "userid" into "user" and "id"."""
    stem = word.removesuffix("id")
    return [stem, "id"] if stem != word and stem in _USER | _ITEM else [word]


def _score(name: str, words: set[str]) -> int:
    """Return how well a name fits an id: 0 if not at all."""
    found = words_of(name)
    if not words & set(found):
        return 0
    if "id" in found or found in (["uid"], ["iid"], ["asin"], ["sku"], ["isbn"]):
        return 3
    # "movie_title" and "reviewer_name" describe the item or the user.
    return 1 if _TITLE & set(found) else 2


def _user_and_item(table: TableLook) -> tuple[int, str, str, dict[str, str]] | None:
    possible = [name for name in table.columns if _may_be_id(table, name)]
    users = sorted(possible, key=lambda name: -_score(name, _USER))
    items = sorted(possible, key=lambda name: -_score(name, _ITEM))
    doubts: dict[str, str] = {}
    user = users[0] if users and _score(users[0], _USER) else None
    item = next((name for name in items if _score(name, _ITEM) and name != user), None)
    score = (_score(user, _USER) if user else 0) + (_score(item, _ITEM) if item else 0)
    # By position: logs usually name the user first.
    rest = [name for name in possible if name not in (user, item) and not _is_value(table, name)]
    if user is None and rest:
        user = rest.pop(0)
        doubts["query_id"] = f"no column is named like a user; {user!r} is a guess"
    if item is None and rest:
        item = rest.pop(0)
        doubts["candidate_id"] = f"no column is named like an item; {item!r} is a guess"
    if user is None or item is None:
        return None
    return score, user, item, doubts


def _may_be_id(table: TableLook, name: str) -> bool:
    """Whether values repeat, as users and items of a log do."""
    column = table.columns[name]
    if column.kind not in ("text", "number") or not column.present:
        return False
    if column.numbers is not None and not column.numbers.whole:  # fractions
        return False
    if column.missing > 0.5 * column.rows or column.mean_length > 3:
        return False
    return 1 < table.distinct(name) < column.present


def _is_value(table: TableLook, name: str) -> bool:
    """Whether a column rather looks like a rating or a time."""
    return is_time(table, name) or table.distinct(name) <= 10


def is_time(table: TableLook, name: str) -> bool:
    """Return whether a column's values are plausible times."""
    column = table.columns[name]
    if column.kind == "time":
        return True
    if column.numbers is not None:
        # Ids may be numbers as large as times.
        return time_unit(column) is not None and not _named(name, _USER | _ITEM | {"id"})
    if column.kind != "text" or not column.present:
        return False
    texts = table.sample[name].drop_null()
    if not len(texts) or len(plain_numbers(texts)):
        return False
    times = parse_times(texts, name, "s").values
    return len(times) - times.null_count >= 0.99 * len(times)


def time_unit(column: ColumnProfile) -> TimestampUnit | None:
    """Return the unit in which all numbers are plausible times; None if they are in none."""
    if column.numbers is None:
        return None
    return unit_of(np.array([column.numbers.least, column.numbers.greatest]))


def _find_interaction_columns(roles: Roles) -> None:
    log = roles.log
    times = [name for name in log.columns if name not in roles.taken and is_time(log, name)]
    # A number is exact, and a name that says so is better than one that does not.
    roles.timestamp = _best(
        times, lambda name: (_named(name, _TIME), log.columns[name].numbers is not None)
    )
    numbers = _numbers(roles)
    ratings = [name for name in numbers if log.distinct(name) <= 201]
    roles.rating = _best([name for name in ratings if _named(name, _RATING)], lambda name: 0)
    if roles.rating is None:
        counts = [name for name in numbers if _named(name, _COUNT)]
        roles.rating = _best(counts, lambda name: 0)
        roles.is_count = roles.rating is not None
    if roles.rating is None:
        few = [name for name in ratings if log.distinct(name) <= 11 and not words_of_known(name)]
        roles.rating = _best(few, lambda name: 0)
        if roles.rating is not None:
            roles.doubts["rating"] = (
                f"{roles.rating!r} looks like a rating; remove it if it is none"
            )
    events = [
        name
        for name in log.columns
        if name not in roles.taken and _named(name, _EVENT)
        and log.columns[name].kind == "text" and log.distinct(name) <= 20
    ]  # fmt: skip
    roles.event = _best(events, lambda name: 0)


def words_of_known(name: str) -> bool:
    """Return whether a name says that a column is something other than a rating."""
    return bool(
        {"year", "age", "gender", "id", "type", "category", "month", "day"} & set(words_of(name))
    )


def _numbers(roles: Roles) -> list[str]:
    """Return columns of numbers that are not negative and vary between interactions."""
    log = roles.log
    return [
        name
        for name, column in log.columns.items()
        if name not in roles.taken
        and column.numbers is not None
        and column.numbers.least >= 0
        # A number that the user or the item decides describes them, not the interaction.
        and not depends_on(log.sample, name, roles.query_id)
        and not depends_on(log.sample, name, roles.candidate_id)
    ]


def _named(name: str, words: set[str]) -> bool:
    return bool(words & set(words_of(name)))


def _best(names: Sequence[str], key: Callable[[str], object]) -> str | None:
    return max(names, key=key, default=None)  # type: ignore[arg-type]


def _assign(roles: Roles, table: TableLook) -> None:
    """Make a table the catalogue or the table of users, if its ids are those of the log."""
    sides = [("catalogue", roles.candidate_id, _ITEM), ("users", roles.query_id, _USER)]
    if _is_named_after(table, _USER):  # ids that are numbers may be those of either
        sides.reverse()
    for side, id_, words in sides:
        key = _key(table, id_, roles.log.values(id_), words)
        if key is not None and getattr(roles, side) is None:
            setattr(roles, side, table)
            setattr(roles, f"{side}_id", key)
            return
    roles.unused[table.path] = (
        f"no column has the ids of {roles.query_id} or {roles.candidate_id}, each once"
    )


def _is_named_after(table: TableLook, words: set[str]) -> bool:
    """Return whether the name of a table's file contains one of some words, or its plural."""
    found = words_of(table.path.rstrip("/").rsplit("/", 1)[-1])
    return bool(words & {word.removesuffix("s") for word in found})


def _key(table: TableLook, id_: str, known: set[str], words: set[str]) -> str | None:
    """Return the column with the ids of the log, each in one row."""
    for name in table.columns:
        named = name == id_ or words_of(name) == ["id"] or _score(name, words) >= 2
        if named and table.is_unique(name) and table.covers(name, known):
            return name
    return None


def _find_title(roles: Roles) -> None:
    table = roles.catalogue or roles.log
    titles = [
        name
        for name, column in table.columns.items()
        if name not in roles.taken and column.kind == "text" and _named(name, _TITLE)
        and column.missing < 0.5 * column.rows and not _named(name, _USER)
    ]  # fmt: skip
    if roles.catalogue is None:
        titles = [name for name in titles if depends_on(table.sample, name, roles.candidate_id)]
    roles.title = _best(titles, lambda name: ("title" in words_of(name), table.distinct(name)))
