"""Counts of rows, added up over batches and shards."""

from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from components.shared.contracts.split import Part

_RATINGS = 100
_REASONS = 100
OTHER = "other reasons"


def lowest(ratings: Mapping[float, int]) -> dict[float, int]:
    """Return the counts of the lowest ratings, so that durations do not fill the memory."""
    return dict(sorted(ratings.items())[:_RATINGS])


def most_frequent(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons; the others are counted as one."""
    if len(reasons) <= _REASONS:
        return dict(reasons)
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    kept = {name: count for name, count in ordered[:_REASONS] if name != OTHER}
    return {**kept, OTHER: sum(reasons.values()) - sum(kept.values())}


class Counts(BaseModel):
    """Counts of some rows; every part of the Beam pipeline makes its own.

    Args:
        rows: Number of interactions by split.
        users: Number of distinct users.
        ratings: Number of interactions by rating, for the 100 lowest ratings.
        times: First and last timestamp of each split that has rows.
        rejects: Number of rejected rows by reason.
        dropped: Number of rows that are left out as configured, by reason.
        outside_window: Number of interactions outside the data window.
        unknown_users: Number of good rows whose user the table of users does not have.
    """

    rows: dict[Part, int] = {}
    users: int = 0
    ratings: dict[float, int] = {}
    times: dict[Part, tuple[int, int]] = {}
    rejects: dict[str, int] = {}
    dropped: dict[str, int] = {}
    outside_window: int = 0
    unknown_users: int = 0

    @classmethod
    def added(cls, parts: Iterable["Counts"]) -> "Counts":
        """Return the counts of all rows of some parts, which share no row and no user."""
        rows: Counter[Part] = Counter()
        ratings: Counter[float] = Counter()
        rejects: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        users = outside = unknown = 0
        times: dict[Part, tuple[int, int]] = {}
        for part in parts:
            rows.update(part.rows)
            ratings.update(part.ratings)
            rejects.update(part.rejects)
            dropped.update(part.dropped)
            users += part.users
            outside += part.outside_window
            unknown += part.unknown_users
            for split, (first, last) in part.times.items():
                so_far = times.get(split, (first, last))
                times[split] = min(first, so_far[0]), max(last, so_far[1])
        return cls(
            rows=dict(rows), users=users, ratings=lowest(ratings), times=times,
            rejects=most_frequent(rejects), dropped=most_frequent(dropped), outside_window=outside,
            unknown_users=unknown,
        )  # fmt: skip
