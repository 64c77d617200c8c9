"""The statistics of the tables from ingest."""

from typing import ClassVar

from pydantic import Field

from components.shared.contracts.json_file import JsonFile
from components.shared.contracts.split import Part


class Statistics(JsonFile):
    """The counts of the tables from ingest, and a fingerprint of their content.

    Args:
        rows: Number of interactions by split.
        users: Number of distinct users.
        candidates: Number of candidates.
        ratings: Number of interactions by rating, for the 100 lowest ratings.
        times: First and last timestamp of each split that has rows, in seconds
            since 1970.
        rejects: Number of rejected rows by reason.
        dropped: Number of rows that were left out as configured, by reason: interactions
            with unknown items, other kinds of events, repeated interactions that are in
            histories only.
        outside_window: Number of interactions outside the data window.
        unknown_users: Number of interactions whose user is not in the table of users: they
            stay, without values of the user's features.
        fingerprint: 16 hexadecimal digits of a hash of all tables.
    """

    FILE: ClassVar[str] = "statistics.json"

    rows: dict[Part, int]
    users: int
    candidates: int
    ratings: dict[str, int]
    times: dict[Part, tuple[int, int]]
    rejects: dict[str, int]
    # Omitted without any, so that the file is the same as before this field existed.
    dropped: dict[str, int] = Field({}, exclude_if=lambda dropped: not dropped)
    outside_window: int
    unknown_users: int = Field(0, exclude_if=lambda rows: not rows)
    fingerprint: str
