"""What the rows of a log show, if something else is wrong: all of it belongs in one message."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import IngestConfig
from components.ingest.parsing import parse
from components.ingest.settings import (
    ONE_USER,
    candidate_problems,
    equal_ratings,
    short_histories,
)
from components.ingest.sources import InteractionLog
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import Role, Schema
from components.shared.runtime.errors import InputError

_MOST_ROWS = 1_000_000


def rows_show(
    log: InteractionLog, schema: Schema, settings: IngestConfig, needs: TableNeeds | None
) -> list[str]:
    """Return what cannot work with any part of a log's rows.

    The log is not read otherwise, as something else is wrong. Most logs show in their
    first batch that this can work; after a million rows, it is left open.

    Args:
        log: The log.
        schema: The columns of the tables.
        settings: How the log is split.
        needs: What the later steps need of the tables.
    """
    if log.files is None or log.batches is None:
        return []
    doubts = _Doubts(log, schema, settings, needs or TableNeeds())
    rows = 0
    try:
        for batch in log.batches(doubts.columns):
            rows += batch.num_rows
            doubts.look(batch)
            if rows > _MOST_ROWS or not doubts.any:
                return []
    except InputError as error:
        return [str(error)]
    return doubts.problems()


class _Doubts:
    """What may not work, until rows show that it can."""

    def __init__(
        self, log: InteractionLog, schema: Schema, settings: IngestConfig, needs: TableNeeds
    ):
        files = log.files
        assert files is not None
        self._schema = schema
        self._needs = needs
        self._users: Counter[object] = Counter()
        self._ratings: set[object] = set()
        self._items: set[object] = set()
        self._interactions = 3 if settings.split == "leave_last_out" else 1
        given = files.columns.rating is not None and not files.feedback.weights
        self._are_ratings_open = needs.distinct_ratings and given
        self._are_items_open = files.candidates is None
        self._are_users_open = True
        self.columns = [schema.role("query_id").name]
        if self._are_ratings_open:
            self.columns.append(schema.role("rating").name)
        if self._are_items_open:
            self.columns.append(schema.role("candidate_id").name)

    @property
    def any(self) -> bool:
        """Whether something is still open."""
        return self._are_users_open or self._are_ratings_open or self._are_items_open

    def look(self, rows: pa.Table) -> None:
        """Look at some rows."""
        if self._are_users_open:
            self._users.update(self._counts(rows, "query_id"))
            most = max(self._users.values(), default=0)
            self._are_users_open = len(self._users) < 2 or most < self._interactions
        if self._are_ratings_open:
            self._ratings |= self._counts(rows, "rating").keys()
            self._are_ratings_open = len(self._ratings) < 2
        if self._are_items_open:
            self._items |= self._counts(rows, "candidate_id").keys()
            self._are_items_open = len(self._items) < self._needs.candidates

    def _counts(self, rows: pa.Table, role: Role) -> dict[object, int]:
        column = self._schema.role(role)
        found = pc.value_counts(pc.drop_null(parse(rows[column.name], column, "").values))
        values, counts = found.field("values").to_pylist(), found.field("counts").to_pylist()
        return dict(zip(values, counts, strict=True))

    def problems(self) -> list[str]:
        """Return what cannot work with these rows; columns without values show nothing."""
        problems = []
        if len(self._users) == 1:
            problems.append(ONE_USER)
        elif self._users and self._are_users_open:
            problems.append(short_histories(len(self._users)))
        if self._are_ratings_open:
            problems += [equal_ratings(f"{rating:g}") for rating in self._ratings]
        if self._items and self._are_items_open:
            problems += candidate_problems(len(self._items), self._needs)
        return problems
