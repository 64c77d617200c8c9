"""Counts of rows, added up over batches and shards."""

from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel

from components.shared.contracts.split import Part


class Counts(BaseModel):
    """Counts of some rows; every part of the Beam pipeline makes its own.

    Args:
        rows: Number of interactions by split.
        users: Number of distinct users.
        ratings: Number of interactions by rating.
        times: First and last timestamp of each split that has rows.
        rejects: Number of rejected rows by reason.
        outside_window: Number of interactions outside the data window.
    """

    rows: dict[Part, int] = {}
    users: int = 0
    ratings: dict[float, int] = {}
    times: dict[Part, tuple[int, int]] = {}
    rejects: dict[str, int] = {}
    outside_window: int = 0

    @classmethod
    def added(cls, parts: Iterable["Counts"]) -> "Counts":
        """Return the counts of all rows of some parts, which share no row and no user."""
        rows: Counter[Part] = Counter()
        ratings: Counter[float] = Counter()
        rejects: Counter[str] = Counter()
        users = outside = 0
        times: dict[Part, tuple[int, int]] = {}
        for part in parts:
            rows.update(part.rows)
            ratings.update(part.ratings)
            rejects.update(part.rejects)
            users += part.users
            outside += part.outside_window
            for split, (first, last) in part.times.items():
                so_far = times.get(split, (first, last))
                times[split] = min(first, so_far[0]), max(last, so_far[1])
        return cls(
            rows=dict(rows), users=users, ratings=dict(ratings), times=times,
            rejects=dict(rejects), outside_window=outside,
        )  # fmt: skip
