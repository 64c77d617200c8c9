"""The candidates of the user's files: one or several catalogues, or the items of the log."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.parsing import parse, plain, utf8
from components.ingest.sources.column_types import kind_of
from components.ingest.sources.joining import concat
from components.ingest.sources.layout import TableLayout
from components.ingest.sources.log import FILE, ROW
from components.ingest.sources.reading import parts_of, read_part
from components.ingest.sources.whole_tables import read_all
from components.ingest.times import parse_times
from components.shared.contracts.tables import REJECTS_SCHEMA, Column, DType
from components.shared.runtime.arrow import one_array
from components.shared.runtime.errors import InputError
from components.shared.runtime.number_text import numbers_in

logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 1_000_000


def id_text(rows: pa.Table, name: str) -> pa.Array:
    """Return ids as text, to compare those of different types; null if they are missing."""
    return parse(rows[name], Column(name=name, dtype="string"), separator="").values


def read_catalogues(
    tables: Sequence[tuple[TableLayout, Mapping[str, DType | None]]], candidate_id: str
) -> tuple[pa.Table, pa.Table]:
    """Read catalogues, and join the columns of all to the items of the first.

    Args:
        tables: The catalogues, each with the columns that it contributes and the id.
        candidate_id: The name of the items' id.

    Returns:
        The candidates with `_file` and `_row`; and a table of `REJECTS_SCHEMA`.
    """
    (first, wanted), *others = tables
    rows, rejects = read_all(first, wanted)
    all_rejects = [rejects]
    ids = id_text(rows, candidate_id)
    for table, wanted_of_table in others:
        more, rejects = read_all(table, wanted_of_table)
        more_ids = id_text(more, candidate_id)
        all_rejects += [rejects, _unused(more, more_ids, candidate_id)]
        position = pc.index_in(ids, pc.drop_null(more_ids)) if len(more_ids) else None
        valid = np.flatnonzero(pc.is_valid(more_ids).to_numpy(zero_copy_only=False))
        for name in wanted_of_table:
            if name == candidate_id:
                continue
            values = one_array(more[name])
            column = (
                pa.nulls(len(ids), values.type)
                if position is None
                else values.take(pa.array(valid)).take(position)
            )
            rows = rows.append_column(name, column)
        found = len(ids) - (position.null_count if position is not None else len(ids))
        logger.info(f"{table.key}: {found:,} of {len(ids):,} items have a row in it")
    return rows, pa.concat_tables(all_rejects)


def _unused(rows: pa.Table, ids: pa.Array, candidate_id: str) -> pa.Table:
    """Return the rows without an id, and those after the first of each id, as rejects."""
    _, first = np.unique(ids.fill_null("").to_numpy(zero_copy_only=False), return_index=True)
    is_first = np.zeros(len(ids), bool)
    is_first[first] = True
    unused = pc.or_(pc.is_null(ids), pa.array(~is_first))
    bad, texts = rows.filter(unused), ids.filter(unused)
    return pa.table(
        {
            "file": pc.cast(bad[FILE], pa.string()),
            "row": bad[ROW],
            "reason": pc.if_else(pc.is_null(texts), f"missing {candidate_id}", "duplicate item"),
            "record": texts.fill_null(""),
        },
        schema=REJECTS_SCHEMA,
    )


def items_of_log(
    table: TableLayout,
    wanted: Mapping[str, DType | None],
    candidate_id: str,
    timestamp: str | None,
    latest: bool,
) -> pa.Table:
    """Find the items of a log, each with the columns of one of its rows, in one pass.

    Args:
        table: The log.
        wanted: The id and the columns that describe an item.
        candidate_id: The name of the item's id.
        timestamp: The name of the time; by default, the order of the rows counts.
        latest: Whether an item's latest row describes it, or its first.

    Returns:
        `(items,)` rows with the wanted columns, `_file` and `_row`.
    """
    columns = dict(wanted) | ({timestamp: None} if timestamp else {})
    kept: list[pa.Table] = []
    pending = 0
    for part in parts_of(table.files):
        for records in read_part(part, columns):
            if not records.rows.num_rows:
                continue
            rows = _one_of_each(records.rows, candidate_id, timestamp, latest)
            kept.append(rows)
            pending += rows.num_rows
            if pending > _ROWS_AT_A_TIME + 2 * kept[0].num_rows:
                kept, pending = [_one_of_each(_joined(kept), candidate_id, timestamp, latest)], 0
    if not kept:
        raise InputError(f"{table.key} has no rows: there are no interactions to learn from.")
    rows = _one_of_each(_joined(kept), candidate_id, timestamp, latest)
    return rows if timestamp is None or timestamp in wanted else rows.drop_columns([timestamp])


def _joined(tables: list[pa.Table]) -> pa.Table:
    joined = concat(tables)
    assert joined is not None
    return joined


def _one_of_each(
    rows: pa.Table, candidate_id: str, timestamp: str | None, latest: bool
) -> pa.Table:
    codes = pc.dictionary_encode(id_text(rows, candidate_id)).indices
    code = codes.fill_null(-1).to_numpy(zero_copy_only=False)
    time = np.zeros(rows.num_rows) if timestamp is None else sortable_time(rows[timestamp])
    missing = np.isnan(time)
    time = np.where(missing, -np.inf if latest else np.inf, time)
    order = np.lexsort((np.arange(rows.num_rows), time, code))
    ordered = code[order]
    edge = ordered[1:] != ordered[:-1]
    chosen = np.append(edge, True) if latest else np.insert(edge, 0, True)
    chosen = order[chosen & (ordered >= 0)]
    return rows.take(pa.array(np.sort(chosen)))


def sortable_time(values: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Return numbers in the order of times: `(rows,) float64`, NaN for what is not a time.

    Args:
        values: Numbers, dates, timestamps, or text with numbers or ISO 8601.
    """
    array = plain(one_array(values))
    if pa.types.is_date(array.type):
        array = pc.cast(array, pa.timestamp("s"))
    if pa.types.is_timestamp(array.type):
        array = pc.cast(array.cast(pa.timestamp("us", array.type.tz), safe=False), pa.int64())
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    if kind_of(array.type) != "text":
        return pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    text = utf8(array)
    numbers = numbers_in(text)
    if numbers.null_count == text.null_count:
        return numbers.to_numpy(zero_copy_only=False)
    written = pa.chunked_array([pc.if_else(pc.is_valid(numbers), None, text)])
    seconds = pc.cast(parse_times(written, "timestamp", "s").values, pa.float64())
    return pc.coalesce(numbers, seconds).to_numpy(zero_copy_only=False)
