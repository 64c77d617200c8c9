"""Checking batches of interactions, and joining them to candidates and users."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.catalogue import Catalogue
from components.ingest.config import Feedback, IngestConfig
from components.ingest.parsing import parse
from components.ingest.sources import InteractionLog
from components.ingest.sources.log import FILE, ROW
from components.ingest.validation import Reasons, Rules, check_rows
from components.shared.contracts.missing import missing_value
from components.shared.contracts.tables import CANDIDATE_INDEX, REJECTS_SCHEMA, Column, Schema
from components.shared.runtime.arrow import one_array
from components.shared.runtime.clean_text import one_line

UNKNOWN_ITEM = "unknown item"
# The log is right; the catalogue is what has to be corrected.
REJECTED_ITEM = "unknown item, as the catalogue's row of it was rejected"

# Of a table of users, if a feature of users needs a value.
UNKNOWN_USER = "unknown user"

_EVENT_CHARACTERS = 40


@dataclass(frozen=True)
class CheckedBatch:
    """A batch of interactions after its checks.

    Args:
        rows: The good rows with the columns of the interactions table, `_file` and
            `_row`.
        rejects: The bad rows, with `REJECTS_SCHEMA`.
        dropped: Number of rows that are left out as configured, by reason.
        unknown_users: Number of good rows whose user the table of users does not have.
    """

    rows: pa.Table
    rejects: pa.Table
    dropped: Mapping[str, int]
    unknown_users: int


class InteractionChecker:
    """Check batches of interactions and join them to candidates and users.

    Args:
        log: The log, for its columns and the config of the user's files.
        schema: The columns of the tables, without those that are derived.
        catalogue: The candidates and users.
        settings: What happens to unknown items.
        rules: What is accepted.
    """

    def __init__(
        self,
        log: InteractionLog,
        schema: Schema,
        catalogue: Catalogue,
        settings: IngestConfig,
        rules: Rules,
    ):
        self._schema = schema
        self._candidate_ids = catalogue.candidate_ids
        self._rejected_ids = catalogue.rejected_ids
        self._users = catalogue.users
        self._keeps_unknown_users = all(
            rules.missing.get(column.name) == "keep"
            for column in schema.query
            if column.role == "feature"
        )
        self._drops_unknown = settings.unknown_items == "drop"
        self._rules = rules
        query_id = schema.role("query_id")
        query = [query_id] if catalogue.users is not None else schema.query
        self._columns = [*query, schema.role("candidate_id"), *schema.interaction]
        self._feedback = log.files.feedback if log.files else Feedback()
        self._event = None
        if self._feedback.weights and log.files and log.files.columns.event:
            self._event = Column(name=log.files.columns.event, dtype="string")

    def check(self, batch: pa.RecordBatch) -> CheckedBatch:
        """Check a batch.

        Raises:
            InputError: If a column is of a type that cannot become the wanted one.
        """
        table = pa.Table.from_batches([batch])
        dropped = Counter[str]()
        columns = self._columns
        if self._event is not None:
            table = self._of_known_events(table, self._event, dropped)
            if self._event.name not in {column.name for column in columns}:
                columns = [*columns, self._event]
        rows, bad = check_rows(table, columns, self._rules)
        rows, badly_rated = self._rated(rows)
        joined, unknown, unknown_users = self._joined(rows, dropped)
        rejects = pa.concat_tables([bad, badly_rated, unknown])
        return CheckedBatch(joined, rejects, dropped, unknown_users)

    def _of_known_events(self, table: pa.Table, column: Column, dropped: Counter[str]) -> pa.Table:
        """Leave out the events that have no weight; missing ones are rejected later."""
        event = parse(table[column.name], column, self._rules.separator).values
        other = pc.and_(
            pc.is_valid(event), pc.invert(pc.is_in(event, pa.array(self._feedback.weights)))
        )
        for entry in pc.value_counts(event.filter(other)).to_pylist():
            name = one_line(entry["values"], _EVENT_CHARACTERS)
            dropped[f"{column.name} {name}"] += entry["counts"]
        return table.filter(pc.invert(other))

    def _rated(self, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Turn implicit feedback into ratings."""
        feedback = self._feedback
        rating = self._schema.role("rating")
        reasons = Reasons(rows.num_rows)
        values = one_array(rows[rating.name])
        if feedback.scale == "log":
            reasons.add_showing(
                pc.less(values, 0),
                f"{rating.name} must be at least 0 with source.feedback.scale log",
                values,
            )
            values = pc.log1p(pc.max_element_wise(values, pa.scalar(0, pa.float32())))
        if self._event is not None:
            event = one_array(rows[self._event.name])
            names, weights = zip(*feedback.weights.items(), strict=True)
            index = pc.index_in(event, pa.array(names, pa.string()))
            reasons.add(pc.is_null(index), f"missing {self._event.name}")
            weight = pa.array(weights, pa.float32()).take(index)
            values = pc.multiply(values, pc.fill_null(weight, 0))
        if feedback == Feedback():
            return rows, REJECTS_SCHEMA.empty_table()
        place = rows.column_names.index(rating.name)
        rated = rows.set_column(place, rating.name, pc.cast(values, pa.float32()))
        return rated.filter(pa.array(reasons.good)), reasons.rejects(rows)

    def _joined(self, rows: pa.Table, dropped: Counter[str]) -> tuple[pa.Table, pa.Table, int]:
        """Join rows to their candidates and users; set those without a candidate aside.

        Returns:
            The good rows; the rejects; and the number of good rows with an unknown user.
        """
        candidate_id = self._schema.role("candidate_id").name
        index = one_array(pc.index_in(rows[candidate_id], self._candidate_ids))
        if self._drops_unknown and index.null_count:
            dropped[UNKNOWN_ITEM] += index.null_count
            rows, index = rows.filter(pc.is_valid(index)), pc.drop_null(index)
        reasons = Reasons(rows.num_rows)
        if index.null_count:
            bad = pc.is_in(rows[candidate_id], self._rejected_ids)
            reasons.add(pc.and_(pc.is_null(index), one_array(bad)), REJECTED_ITEM)
            reasons.add(pc.is_null(index), UNKNOWN_ITEM)
        described, is_unknown = self._described(rows)
        if not self._keeps_unknown_users:
            reasons.add(is_unknown, UNKNOWN_USER)
        joined = pa.table(
            {
                **described,
                CANDIDATE_INDEX: pc.cast(index, pa.int32()),
                **{column.name: rows[column.name] for column in self._schema.interaction},
                FILE: rows[FILE],
                ROW: rows[ROW],
            }
        )
        good = pa.array(reasons.good)
        unknown_users = pc.and_(is_unknown, good).true_count
        return joined.filter(good), reasons.rejects(rows), unknown_users

    def _described(self, rows: pa.Table) -> tuple[dict[str, pa.Array], pa.Array]:
        """Return the query columns of rows, and whether the table of users lacks the user.

        Features of such a user are missing.
        """
        columns, users = self._schema.query, self._users
        if users is None:
            found = {column.name: one_array(rows[column.name]) for column in columns}
            return found, pa.repeat(False, rows.num_rows)
        query_id = self._schema.role("query_id").name
        place = one_array(pc.index_in(rows[query_id], one_array(users[query_id])))
        is_unknown, place = pc.is_null(place), pc.fill_null(place, 0)
        found = {}
        for column in columns:
            if column.name == query_id:
                found[column.name] = one_array(rows[query_id])
                continue
            values = one_array(users[column.name]).take(place)
            if is_unknown.true_count:
                missing = pa.scalar(missing_value(column.dtype), column.arrow_type)
                values = pc.if_else(is_unknown, missing, values)
            found[column.name] = values
        return found, is_unknown
