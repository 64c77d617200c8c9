"""The tables, and the meaning of their columns."""

from dataclasses import dataclass, field

from components.ingest.config import POSITION
from pipeline.init.table_look import TableLook


@dataclass
class Roles:
    """The tables, and the meaning of their columns.

    Args:
        log: The table of interactions.
        query_id: The log's column of users.
        candidate_id: The log's column of items.
        catalogues: The tables of items, the first of which lists them.
        users: The table of users, if there is one.
        catalogue_id: The catalogues' column of items.
        users_id: The column of users in their table.
        rating: The log's column of ratings, counts or durations.
        is_count: Whether that column counts or measures, rather than rates.
        timestamp: The log's column of times.
        any_time: Whether times before 1990 or in the future are right.
        event: The log's column of kinds of events.
        title: The items' names, in a catalogue or the log.
        doubts: Guesses that the user should check, by setting.
        absent: Why there is no column for a setting, where that may surprise.
        unused: Tables that are none of these, each with the reason.
    """

    log: TableLook
    query_id: str
    candidate_id: str
    catalogues: list[TableLook] = field(default_factory=list)
    users: TableLook | None = None
    catalogue_id: str | None = None
    users_id: str | None = None
    rating: str | None = None
    is_count: bool = False
    timestamp: str | None = None
    any_time: bool = False
    event: str | None = None
    title: str | None = None
    doubts: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)

    @property
    def has_sequences(self) -> bool:
        """Whether the log has the order of each user's items, and no times."""
        return self.log.format.format == "sequences"

    @property
    def taken(self) -> set[str]:
        """The log's columns that have a meaning."""
        names = (self.query_id, self.candidate_id, self.rating, self.timestamp, self.event)
        order = {POSITION} if self.has_sequences else set()
        return order | {name for name in names if name is not None}
