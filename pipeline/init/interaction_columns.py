"""Which columns of the log are the rating, the time and the kind of event, and the title."""

from pipeline.init.log_table import best
from pipeline.init.roles import Roles
from pipeline.init.table_look import TableLook, depends_on
from pipeline.init.times import is_time, time_shares, unread_time
from pipeline.init.words import (
    COUNT,
    EVENT,
    GROUP,
    RATING,
    TIME,
    TITLE,
    USER,
    VOTE,
    event_weight,
    has_word,
    is_numbered,
    words_of,
)

# More times than this before 1990 or in the future are taken for right.
_MOST_IMPLAUSIBLE = 0.1
_MOST_RATINGS, _MOST_GUESSED_RATINGS, _MOST_EVENTS = 201, 11, 20
_NO_RATING = {
    "year", "age", "gender", "id", "type", "category", "month", "day", "week", "hour", "dow",
    "channel", "price", "discount", "amount", "number", "no", "code", "flag", "is", "has",
    "verified", "step", "position", "rank", "level", "class", "store", "shop", "region", "lat",
    "lon", "version",
}  # fmt: skip


def find_interaction_columns(roles: Roles) -> None:
    """Find the log's ratings, times and kinds of events, by their names and by values."""
    log = roles.log
    if roles.has_sequences:
        return
    _find_time(roles)
    numbers = _numbers(roles)
    ratings = [name for name in numbers if log.distinct(name) <= _MOST_RATINGS]
    named = [
        name for name in ratings
        if has_word(name, RATING | VOTE) and not has_word(name, COUNT | {"number"})
    ]  # fmt: skip
    # The first that is named most clearly.
    roles.rating = best(named, lambda name: has_word(name, RATING))
    if roles.rating is None:
        counts = [name for name in numbers if has_word(name, COUNT) and not has_word(name, GROUP)]
        least = {name: _least(log, name) for name in counts}
        # A share of the whole says more than a number of seconds.
        roles.rating = best(
            [name for name in counts if least[name] >= 0], lambda name: "ratio" in words_of(name)
        )
        roles.is_count = roles.rating is not None
        negative = next((name for name in counts if least[name] < 0), None)
        if roles.rating is None and negative is not None:
            roles.absent["rating"] = (
                f"{negative!r} has negative values; remove those rows, and it can be one"
            )
    text = next((n for n in log.columns if has_word(n, RATING) and log.columns[n].kind == "text"
                 and log.columns[n].numbers is None and log.columns[n].top), None)  # fmt: skip
    if roles.rating is None and text is not None and text not in roles.taken:
        shown = log.columns[text].top[0].value
        roles.absent.setdefault(
            "rating", f"{text!r} is text such as {shown[:40]!r}; write ratings as numbers"
        )
    if roles.rating is None and "rating" not in roles.absent:
        few = [
            name for name in ratings
            if 2 < log.distinct(name) <= _MOST_GUESSED_RATINGS and _least(log, name) >= 0
            and not has_word(name, _NO_RATING | GROUP | COUNT | EVENT)
        ]  # fmt: skip
        roles.rating = best(few, lambda name: 0)
        if roles.rating is not None:
            roles.doubts["rating"] = (
                f"{roles.rating!r} looks like a rating; remove it if it is none"
            )
    _doubt_least_rating(roles)
    roles.event = _find_event(roles)


def _find_time(roles: Roles) -> None:
    log = roles.log
    rest = [name for name in log.columns if name not in roles.taken]
    times = [name for name in rest if is_time(log, name) and log.columns[name].missing_share < 0.1]
    # A number is exact, and a name that says so is better than one that does not.
    roles.timestamp = best(
        times, lambda name: (has_word(name, TIME), log.columns[name].numbers is not None)
    )
    if roles.timestamp is not None:
        roles.any_time = time_shares(log, roles.timestamp).implausible > _MOST_IMPLAUSIBLE
        return
    for name in rest:
        shown = unread_time(log, name)
        if shown is not None:
            roles.absent["timestamp"] = (
                f"{name!r} seems to be one, but {shown[:40]!r} is in no form that is read; write "
                "it as 2024-05-01T12:30:00Z or seconds since 1970, and run init again"
            )
            return


def _doubt_least_rating(roles: Roles) -> None:
    """Doubt a lowest rating that is far from the others and frequent: it may mean "no rating"."""
    if roles.rating is None or roles.is_count or "rating" in roles.doubts:
        return
    counts = roles.log.counts.get(roles.rating)
    column = roles.log.columns[roles.rating]
    if counts is None or column.numbers is None or column.numbers.least > 0:
        return
    rows = {float(row["value"]): row["rows"] for row in counts.to_pylist() if row["value"].strip()}
    least = min(rows)
    if len(rows) > 2 and rows[least] >= 0.1 * column.present:
        roles.doubts["rating"] = (
            f"{rows[least] / column.present:.0%} of the ratings are {least:g}, which may mean that "
            "there is none"
        )


def _find_event(roles: Roles) -> str | None:
    """Return the column of kinds of events, by its name or by the names of the kinds."""
    log = roles.log
    few = [
        name
        for name, column in log.columns.items()
        if name not in roles.taken and column.kind in ("text", "number")
        and 1 < log.distinct(name) <= _MOST_EVENTS and column.missing_share < 0.01
        and (column.numbers is None or column.numbers.whole)
    ]  # fmt: skip

    def known(name: str) -> float:
        values = [top.value for top in log.columns[name].top]
        return sum(event_weight(value) is not None for value in values) / max(len(values), 1)

    named = [name for name in few if has_word(name, EVENT)]
    telling = [
        name for name in few
        if log.columns[name].numbers is None and log.columns[name].mean_length < 2
        and known(name) > 0.5
        and (is_numbered(name) or not depends_on(log.sample, name, roles.candidate_id))
    ]  # fmt: skip
    event = best(named, known) or best(telling, known)
    if event is not None and not known(event):
        roles.doubts["event"] = "the names of the kinds do not say what they are worth"
    return event


def _numbers(roles: Roles) -> list[str]:
    """Return columns of numbers that vary between interactions."""
    log = roles.log
    return [
        name
        for name, column in log.columns.items()
        if name not in roles.taken and name not in log.repeated
        and column.numbers is not None and column.missing_share < 0.5
        # A number that the user or the item decides describes them, not the interaction.
        and not depends_on(log.sample, name, roles.query_id)
        and not depends_on(log.sample, name, roles.candidate_id)
    ]  # fmt: skip


def _least(table: TableLook, name: str) -> float:
    numbers = table.columns[name].numbers
    return numbers.least if numbers is not None else 0.0


def _may_be_title(table: TableLook, name: str) -> bool:
    """Return whether a column of text is named like a title, or without a name, like one."""
    column = table.columns[name]
    if column.numbers is not None:
        return False
    if is_numbered(name):
        return column.mean_length >= 1.5 and table.is_unique(name)
    return has_word(name, TITLE) and not has_word(name, USER)


def find_title(roles: Roles) -> None:
    """Find the items' names, in a catalogue or in the log."""
    tables = roles.catalogues or [roles.log]
    taken = roles.taken
    if roles.catalogues:  # where numbers of columns are not those of the log
        named = {roles.candidate_id} if roles.log.has_header else set()
        taken = named | ({roles.catalogue_id} if roles.catalogue_id else set())
    found: dict[str, tuple[bool, int]] = {}
    for table in tables:
        for name, column in table.columns.items():
            usable = column.kind == "text" and column.missing < 0.5 * column.rows
            if not usable or name in taken | found.keys() or name in table.repeated:
                continue
            if not _may_be_title(table, name):
                continue
            if roles.catalogues or depends_on(table.sample, name, roles.candidate_id):
                found[name] = ("title" in words_of(name), table.distinct(name))
    roles.title = best(list(found), lambda name: found[name])
