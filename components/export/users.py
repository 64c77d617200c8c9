"""The users of an export: their latest raw features and the items that they have seen."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.derived_columns import HISTORY
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    QUERY_ID,
    SPLITS,
    Schema,
    read_table,
    table_files,
)
from components.shared.runtime.arrow import latest_first

SEEN = "seen"


def latest_users(tables: Path, schema: Schema, candidates: pa.Table) -> pa.Table:
    """Return each user's latest raw features, and the ids of all items in their log.

    A history is the one that an interaction after the user's last one would have.
    Columns that tell the time of an interaction are left out, as the next one has its
    own.

    Args:
        tables: The tables from ingest.
        schema: Their schema.
        candidates: The encoded candidates.

    Returns:
        One row per user: `query_id`, the raw query features, `seen`.
    """
    rows, user = _rows_by_user(tables, schema)
    first = np.flatnonzero(np.diff(user, prepend=-1))
    last = np.append(first[1:], len(user)) - 1
    ids = candidates[CANDIDATE_ID].combine_chunks()
    seen = pa.ListArray.from_arrays(
        pa.array(np.append(first, len(user)), pa.int32()),
        ids.take(rows[CANDIDATE_INDEX].combine_chunks()),
    )
    latest = rows.take(pa.array(last)).select(
        [column.name for column in schema.query if not column.derived]
    )
    for column in schema.query:
        if column.derived and column.name == HISTORY:
            history = latest_first(
                pc.cast(seen.values, pa.string()), first, last + 1, column.width or len(user)
            )
            latest = latest.append_column(HISTORY, history)
    query_id = schema.role("query_id").name
    latest = latest.rename_columns([QUERY_ID if n == query_id else n for n in latest.column_names])
    return latest.append_column(SEEN, seen)


def _rows_by_user(tables: Path, schema: Schema) -> tuple[pa.Table, np.ndarray]:
    """Return all interactions by user and in order, and the number of each row's user."""
    parts = [
        read_table(tables / "interactions" / split)
        for split in SPLITS
        if table_files(tables / "interactions" / split)
    ]
    query_id = schema.role("query_id").name
    rows = pa.concat_tables(parts).sort_by(
        [(name, "ascending") for name in (query_id, *schema.order)]
    )
    return rows, pc.dictionary_encode(rows[query_id]).combine_chunks().indices.to_numpy()
