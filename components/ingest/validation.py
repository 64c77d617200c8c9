"""Typing and checking rows, a batch at a time: every bad row is rejected with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.parsing import Parsed, expected, parse
from components.ingest.rejects import BUT_IS, quoted, rejects_of, shown_values
from components.ingest.sources.log import FILE, ROW
from components.ingest.times import EXPECTED_TIME, SECONDS, Times, parse_times
from components.shared.contracts.missing import missing_value
from components.shared.contracts.table_needs import ColumnNeed
from components.shared.contracts.tables import Column
from components.shared.runtime.arrow import one_array
from components.shared.runtime.errors import InputError

_FILES = 3  # so many are named in a message


@dataclass(frozen=True)
class Rules:
    """What is accepted in the rows of a table.

    Args:
        missing: What happens to a row without a value, by column. A row without a value
            in another column is rejected.
        separator: What separates the values of a list in text.
        times: How times are read.
    """

    missing: Mapping[str, Literal["keep", "reject"]] = field(default_factory=dict)
    separator: str = "|"
    times: Times = SECONDS

    @classmethod
    def of(
        cls, needs: Mapping[str, ColumnNeed] | None, separator: str = "|", times: Times = SECONDS
    ) -> "Rules":
        """Return the rules for the columns that features need; none are needed by default."""
        missing = {name: need.missing for name, need in (needs or {}).items()}
        return cls(missing, separator, times)


class Reasons:
    """The first reason to reject each row, if there is one."""

    def __init__(self, rows: int):
        self._reason = np.full(rows, None, dtype=object)

    def add(self, mask: pa.Array, reason: str) -> None:
        """Reject the rows where the mask is true or null."""
        if not mask.true_count and not mask.null_count:
            return  # nearly always
        self._reason[self._new(mask)] = reason

    def add_showing(self, mask: pa.Array, reason: str, values: pa.Array) -> None:
        """Reject the rows where the mask is true; the reason shows the row's value."""
        if not mask.true_count and not mask.null_count:
            return
        rows = np.flatnonzero(self._new(mask))
        if len(rows):
            shown = shown_values(values.take(pa.array(rows)))
            self._reason[rows] = [f"{reason}{BUT_IS}{quoted(value)}" for value in shown]

    def _new(self, mask: pa.Array) -> np.ndarray:
        wrong = pc.fill_null(mask, True).to_numpy(zero_copy_only=False)
        return np.asarray(wrong & (self._reason == None))  # noqa: E711 - elementwise

    @property
    def good(self) -> np.ndarray:
        """`(rows,) bool`."""
        return np.asarray(self._reason == None)  # noqa: E711 - elementwise

    def rejects(self, table: pa.Table) -> pa.Table:
        """Return the rejected ones of the rows as a table of `REJECTS_SCHEMA`."""
        bad = np.flatnonzero(~self.good)
        return rejects_of(table.take(pa.array(bad)), pa.array(self._reason[bad], pa.string()))


def check_rows(table: pa.Table, columns: list[Column], rules: Rules) -> tuple[pa.Table, pa.Table]:
    """Convert columns to their types and reject bad rows.

    Args:
        table: Rows from a source, with `_file` and `_row`.
        columns: The columns to check, with their types. A missing title becomes the
            candidate's id.
        rules: What is accepted.

    Returns:
        The good rows with those columns and `_file` and `_row`; and a table of
        `REJECTS_SCHEMA`.

    Raises:
        InputError: If a column is of a type that cannot become the wanted one.
    """
    try:
        return _check_rows(table, columns, rules)
    except InputError as error:
        files = ", ".join(table[FILE].unique().to_pylist()[:_FILES])
        raise InputError(f"{files}: {error}") from error


def _check_rows(table: pa.Table, columns: list[Column], rules: Rules) -> tuple[pa.Table, pa.Table]:
    reasons = Reasons(table.num_rows)
    typed: dict[str, pa.Array] = {}
    for column in columns:
        if column.role == "timestamp":
            typed[column.name] = _time(table[column.name], column, rules.times, reasons)
            continue
        parsed = parse(table[column.name], column, rules.separator)
        if column.role == "title":
            ids = next(typed[other.name] for other in columns if other.role == "candidate_id")
            title = pc.coalesce(parsed.values, pc.cast(ids, pa.string()))
            typed[column.name] = title  # also for a title that is not UTF-8
            continue
        typed[column.name] = _checked(parsed, table[column.name], column, rules, reasons)
    rows = pa.table({**typed, FILE: table[FILE], ROW: table[ROW]})
    return rows.filter(pa.array(reasons.good)), reasons.rejects(table)


def _checked(
    parsed: Parsed, raw: pa.ChunkedArray, column: Column, rules: Rules, reasons: Reasons
) -> pa.Array:
    values, missing = parsed.values, parsed.missing
    policy = rules.missing.get(column.name) if column.role == "feature" else None
    if policy == "reject" and column.dtype == "list<string>":
        missing = pc.or_(missing, pc.fill_null(pc.equal(pc.list_value_length(values), 0), False))
    if policy != "keep":
        reasons.add(missing, f"missing {column.name}")
    wrong = pc.and_not(pc.is_null(values), missing)
    reasons.add_showing(wrong, f"{column.name} must be {expected(column)}", one_array(raw))
    if policy == "keep" and missing.true_count:
        values = pc.if_else(
            missing, pa.scalar(missing_value(column.dtype), column.arrow_type), values
        )
    return values


def _time(raw: pa.ChunkedArray, column: Column, times: Times, reasons: Reasons) -> pa.Array:
    parsed = parse_times(raw, column.name, times.unit)
    reasons.add(parsed.missing, f"missing {column.name}")
    wrong = pc.is_null(parsed.values)
    reasons.add_showing(wrong, f"{column.name} must be {EXPECTED_TIME}", one_array(raw))
    if times.limited:
        early = pc.less(parsed.values, times.earliest)
        late = pc.greater(parsed.values, times.latest)
        reasons.add_showing(
            pc.fill_null(pc.or_(early, late), False),
            f"{column.name} must be a time from 1990 to tomorrow, unless "
            "source.columns.timestamp_unit is set",
            one_array(raw),
        )
    return parsed.values


def first_of_each(table: pa.Table, key: str, what: str) -> tuple[pa.Table, pa.Table]:
    """Keep the first row of each id.

    Args:
        table: Rows with `_file` and `_row`.
        key: The id's column.
        what: What the id identifies, for the reason: `item` or `user`.

    Returns:
        The kept rows, and the rejects.
    """
    _, first = np.unique(table[key].to_numpy(zero_copy_only=False), return_index=True)
    repeated = np.ones(table.num_rows, bool)
    repeated[first] = False
    reasons = Reasons(table.num_rows)
    reasons.add(pa.array(repeated), f"duplicate {what}")
    return table.filter(pa.array(reasons.good)), reasons.rejects(table)
