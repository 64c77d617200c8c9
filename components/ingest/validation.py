"""Typing and checking rows, a batch at a time: every bad row is rejected with a reason."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.rejects import rejects_of
from components.ingest.sources.log import FILE, ROW
from components.shared.contracts.tables import CANDIDATE_INDEX, Column, Schema
from components.shared.runtime.arrow import one_array

_FLOAT = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
_INTEGER = r"^\s*[+-]?\d{1,19}(\.0*)?\s*$"
_LARGEST = str(np.iinfo(np.int64).max)  # 19 digits


def parse_numbers(column: pa.ChunkedArray | pa.Array, dtype: pa.DataType) -> pa.Array:
    """Convert a column to numbers; invalid values become null.

    Args:
        column: Strings, numbers or booleans.
        dtype: `int64` or `float32`.

    Returns:
        `(rows,)` array of that type. A value is null if it is missing, not a
        number, not finite, or, for `int64`, not an integer of 64 bits.
    """
    integer = pa.types.is_integer(dtype)
    array = one_array(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if integer and (pa.types.is_decimal(array.type) or pa.types.is_uint64(array.type)):
        array = pc.cast(array, pa.string())  # may exceed the range of int64
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        is_number = pc.match_substring_regex(array, _INTEGER if integer else _FLOAT)
        array = pc.utf8_trim_whitespace(pc.if_else(is_number, array, None))
        array = pc.utf8_ltrim(array, "+")  # which a cast does not accept
        if integer:
            array = pc.replace_substring_regex(array, r"\.0*$", "")
            digits = pc.utf8_ltrim(array, "-")
            wide = pc.equal(pc.binary_length(digits), len(_LARGEST))
            too_large = pc.and_(wide, pc.greater(digits, _LARGEST))
            return pc.cast(pc.if_else(too_large, None, array), dtype)
        array = pc.cast(array, pa.float64())
    elif pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.int64())
    if pa.types.is_float16(array.type):
        array = pc.cast(array, pa.float32())
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_finite(array), array, None)
        if integer:
            whole = pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), 2.0**63))
            array = pc.if_else(whole, array, None)
    if pa.types.is_floating(dtype):
        array = pc.cast(array, dtype, safe=False)
        return pc.if_else(pc.is_finite(array), array, None)
    return pc.cast(array, dtype)


class _Reasons:
    """The first reason to reject each row, if there is one."""

    def __init__(self, rows: int):
        self._reason = np.full(rows, None, dtype=object)

    def add(self, mask: pa.Array, reason: str) -> None:
        wrong = pc.fill_null(mask, True).to_numpy(zero_copy_only=False)
        self._reason[wrong & (self._reason == None)] = reason  # noqa: E711 - elementwise

    @property
    def good(self) -> np.ndarray:
        """`(rows,) bool`."""
        return self._reason == None  # noqa: E711 - elementwise

    def rejects(self, table: pa.Table) -> pa.Table:
        bad = np.flatnonzero(~self.good)
        return rejects_of(table.take(pa.array(bad)), pa.array(self._reason[bad], pa.string()))


def _typed(values: pa.ChunkedArray, column: Column, reasons: _Reasons) -> pa.Array:
    array = one_array(values)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type):
        array = pc.cast(array, pa.string())
    if column.dtype == "list<string>":
        if pa.types.is_string(array.type):
            none = pa.scalar([], column.arrow_type)
            array = pc.if_else(pc.equal(array, ""), none, pc.split_pattern(array, "|"))
        array = pc.cast(array, column.arrow_type)
        reasons.add(pc.is_null(array), f"missing {column.name}")
        return array
    if column.dtype == "string":
        if not pa.types.is_string(array.type):
            array = pc.cast(array, pa.string())
        array = pc.utf8_trim_whitespace(array)
        reasons.add(pc.or_kleene(pc.is_null(array), pc.equal(array, "")), f"missing {column.name}")
        return array
    missing = pc.is_null(array, nan_is_null=True)
    if pa.types.is_string(array.type):
        missing = pc.or_kleene(missing, pc.equal(pc.utf8_trim_whitespace(array), ""))
    reasons.add(missing, f"missing {column.name}")
    number = parse_numbers(array, column.arrow_type)
    kind = "an integer" if column.dtype == "int64" else "a number"
    reasons.add(pc.is_null(number), f"{column.name} is not {kind}")
    return number


def check_rows(table: pa.Table, columns: list[Column]) -> tuple[pa.Table, pa.Table]:
    """Convert columns to their types and reject bad rows.

    Args:
        table: Rows from a source, with `_file` and `_row`.
        columns: The columns to check, with their types.

    Returns:
        The good rows with those columns and `_file` and `_row`; and a table of
        `REJECTS_SCHEMA`.
    """
    reasons = _Reasons(table.num_rows)
    typed = {column.name: _typed(table[column.name], column, reasons) for column in columns}
    rows = pa.table({**typed, FILE: table[FILE], ROW: table[ROW]})
    return rows.filter(pa.array(reasons.good)), reasons.rejects(table)


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
    reasons = _Reasons(table.num_rows)
    reasons.add(pa.array(repeated), f"duplicate {what}")
    return table.filter(pa.array(reasons.good)), reasons.rejects(table)


class InteractionChecker:
    """Check batches of interactions and join them to candidates and users.

    Args:
        schema: The tables' columns.
        candidate_ids: The candidates' ids, in the order of the candidates table.
        users: Checked query columns by query id; None if interactions contain
            them.
    """

    def __init__(self, schema: Schema, candidate_ids: pa.Array, users: pa.Table | None):
        self._schema = schema
        self._candidate_ids = candidate_ids
        self._users = users
        query_id = schema.role("query_id")
        query = [query_id] if users is not None else schema.query
        self._columns = [*query, schema.role("candidate_id"), *schema.interaction]

    def check(self, batch: pa.RecordBatch) -> tuple[pa.Table, pa.Table]:
        """Check a batch.

        Returns:
            The good rows with the columns of the interactions table, `_file` and
            `_row`; and a table of `REJECTS_SCHEMA`.
        """
        table = pa.Table.from_batches([batch])
        rows, rejects = check_rows(table, self._columns)
        candidate_id = self._schema.role("candidate_id").name
        query_id = self._schema.role("query_id").name
        reasons = _Reasons(rows.num_rows)
        index = pc.index_in(rows[candidate_id], self._candidate_ids)
        reasons.add(pc.is_null(index).combine_chunks(), "unknown item")
        if self._users is not None:
            user = pc.index_in(rows[query_id], self._users[query_id].combine_chunks())
            reasons.add(pc.is_null(user).combine_chunks(), "unknown user")
            described = self._users.drop_columns([FILE, ROW]).take(pc.fill_null(user, 0))
        else:
            described = rows
        joined = pa.table(
            {
                **{column.name: described[column.name] for column in self._schema.query},
                CANDIDATE_INDEX: pc.cast(index, pa.int32()),
                **{column.name: rows[column.name] for column in self._schema.interaction},
                FILE: rows[FILE],
                ROW: rows[ROW],
            }
        )
        return (
            joined.filter(pa.array(reasons.good)),
            pa.concat_tables([rejects, reasons.rejects(rows)]),
        )
