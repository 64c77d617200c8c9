"""The order of a shard's rows: by user, and by time as far as the log tells it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.sources.log import FILE, ROW
from components.shared.contracts.tables import CANDIDATE_INDEX, Schema

_FILE_RANK = "_file_rank"


def time_order(rows: pa.Table, schema: Schema, ties: str) -> pa.Table:
    """Order rows by user and time.

    Of one time, rows are in the order of their files and rows; with `ties: hash`, those
    of one candidate are.

    Args:
        rows: All rows of some users, with `_file` and `_row`.
        schema: The tables' columns.
        ties: `ingest.ties`.
    """
    user, time = schema.role("query_id").name, schema.role("timestamp").name
    return _sorted(rows, [user, time, *([CANDIDATE_INDEX] if ties == "hash" else []), FILE, ROW])


def line_order(rows: pa.Table, schema: Schema, ties: str) -> pa.Table:
    """Order rows by user, line and position, and count positions over all lines of a user.

    Args:
        rows: All rows of some users, with `_file`, the number of their line in `_row`, and
            their positions on it as timestamps.
        schema: The tables' columns.
        ties: Not used: no two rows of a user have the same position.
    """
    user, position = schema.role("query_id").name, schema.role("timestamp").name
    ordered = _sorted(rows, [user, FILE, ROW, position])
    place = places(pc.dictionary_encode(ordered[user]).combine_chunks().indices.to_numpy())
    return ordered.set_column(ordered.column_names.index(position), position, pa.array(place + 1))


def places(user: np.ndarray) -> np.ndarray:
    """Return the place of each row among its user's.

    Args:
        user: `(rows,)`, the same value for all rows of a user, which are adjacent.

    Returns:
        `(rows,) int64`, from 0.
    """
    place = np.arange(len(user))
    is_first = np.diff(user, prepend=user[:1] - 1) != 0
    return place - np.maximum.accumulate(np.where(is_first, place, 0))


def _sorted(rows: pa.Table, columns: list[str]) -> pa.Table:
    """Sort rows by columns; files by their names."""
    rows = rows.unify_dictionaries().combine_chunks()
    names = [_FILE_RANK if column == FILE else column for column in columns]
    ranked = rows.append_column(_FILE_RANK, _file_rank(rows))
    return ranked.sort_by([(name, "ascending") for name in names]).drop_columns(_FILE_RANK)


def _file_rank(rows: pa.Table) -> pa.Array:
    """Return the rank of each row's file by name; Arrow cannot sort by a dictionary."""
    files = rows[FILE].combine_chunks()
    ranks = np.argsort(np.argsort(files.dictionary.to_numpy(zero_copy_only=False)))
    return pa.array(ranks[files.indices.to_numpy()].astype(np.int32))
