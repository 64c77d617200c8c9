"""Names that the columns of the user's files cannot have."""

from collections.abc import Iterable, Iterator

from components.ingest.config import FileColumns
from components.ingest.sources.log import FILE, ROW
from components.shared.contracts.tables import CANDIDATE_INDEX, TIMESTAMP, TITLE

RATING = "rating"  # the column's name if the log has no ratings


def same_names(columns: FileColumns) -> list[str]:
    """Return why a column cannot have two meanings."""
    problems = []
    for meanings in (
        ("query_id", "candidate_id", "rating", "timestamp", "event"),
        ("candidate_id", "title"),
    ):
        named: dict[str, str] = {}
        for meaning in meanings:
            name = getattr(columns, meaning)
            if name in named:
                problems.append(
                    f"source.columns: {named[name]} and {meaning} are both {name!r}. Each "
                    "needs its own column; remove a setting that has no column."
                )
            if name is not None:
                named[name] = meaning
    return problems


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


def reserved_problems(
    columns: FileColumns, side: str, names: Iterable[str], key: str
) -> Iterator[tuple[str, str]]:
    """Find names that would be those of two columns of the tables.

    Args:
        columns: The meaning of the columns.
        side: `query` or `candidate`.
        names: The columns of features.
        key: The config key of their table.

    Yields:
        A name, and why it cannot be one.
    """
    reserved = reserved_names(side, columns.rating, columns.timestamp, columns.title)
    for name in names:
        meaning = reserved.get(name, name)
        if meaning is None:
            yield name, f"{key}: the column {name!r} has a name that ingest reserves. Rename it."
        elif name in reserved:
            yield (
                name,
                f"source.columns.{meaning} is not set, but there is a column {name!r}. Set it "
                f"to {name!r} if that is what the column holds, or rename the column.",
            )
