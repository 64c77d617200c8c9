"""Query columns derived from the log: the user's history before an interaction, and its time.

A derived column only uses what is known when the row's item is predicted. It does
not depend on the row's own item, on later interactions, or on rows of a split that is
predicted at the same time or later. Of interactions at the same time, none is known to
another, unless `ties: file_order` says which one is earlier.

Histories are made of the rows in the tables: with `duplicates: reject`, an
interaction that the user repeated later is not in the tables, nor in a history.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import IngestConfig
from components.ingest.shard_order import places
from components.ingest.splitting import TEST, TRAIN, VALIDATION
from components.shared.contracts.derived_columns import DERIVED, HISTORY, time_values
from components.shared.contracts.tables import CANDIDATE_INDEX, ROW_ORDER, Column, Schema
from components.shared.runtime.arrow import latest_first
from components.shared.runtime.errors import InputError

_LABELS: dict[str, tuple[int, tuple[str, ...]]] = {
    "day_of_week": (
        0,
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    ),
    "month_of_year": (
        1,
        (
            "January", "February", "March", "April", "May", "June", "July", "August", "September",
            "October", "November", "December",
        ),
    ),
}  # fmt: skip
_VALUES_AT_ONCE = 1 << 24


def with_context(schema: Schema, config: IngestConfig) -> Schema:
    """Add the derived columns to a source's columns.

    Args:
        schema: The source's columns.
        config: The columns to derive.

    Returns:
        The columns of the tables; derived columns are the last of their side.

    Raises:
        InputError: If the source already has a column of that name.
    """
    columns: list[Column] = []
    if config.history_length is not None:
        columns.append(
            Column(name=HISTORY, dtype="list<string>", derived=True, width=config.history_length)
        )
    for name in config.time_columns:
        first, labels = _LABELS.get(name, (0, ()))
        named = {str(value): label for value, label in enumerate(labels, first)}
        columns.append(Column(name=name, dtype="int64", labels=named or None, derived=True))
    order: list[Column] = []
    if config.ties == "file_order":
        order.append(Column(name=ROW_ORDER, dtype="int64", role="order", derived=True))
    taken = {column.name for column in [*schema.query, *schema.interaction]}
    for column in [*columns, *order]:
        if column.name in taken:
            raise InputError(
                f"{DERIVED.get(column.name, 'ingest.ties')} adds a column {column.name!r}, but the "
                "source already has one of that name. Rename the source's column, or remove the "
                "setting."
            )
    return schema.model_copy(
        update={
            "query": [*schema.query, *columns],
            "interaction": [*schema.interaction, *order],
        }
    )


def add_context(
    rows: pa.Table,
    splits: np.ndarray,
    schema: Schema,
    config: IngestConfig,
    candidate_ids: pa.Array,
) -> pa.Table:
    """Append the derived columns.

    Args:
        rows: All rows of some users, ordered by user and time, and as `ties` says.
        splits: `(rows,) int8`, each row's split; see `components.ingest.splitting`.
        schema: The tables' columns.
        config: The columns to derive.
        candidate_ids: `(candidates,)`, in the order of the candidates table.

    Returns:
        The rows with the columns appended: `list<string>` and `int64`.
    """
    timestamp = rows[schema.role("timestamp").name].to_numpy()
    user = pc.dictionary_encode(rows[schema.role("query_id").name]).combine_chunks().indices
    in_order = config.ties == "file_order"
    if config.history_length is not None:
        history = histories(
            user.to_numpy(),
            np.arange(rows.num_rows) if in_order else timestamp,
            splits,
            pc.cast(candidate_ids, pa.string()).take(rows[CANDIDATE_INDEX].combine_chunks()),
            config.history_length,
        )
        rows = rows.append_column(HISTORY, history)
    if config.time_columns:
        for name, values in time_values(timestamp, config.time_columns).items():
            rows = rows.append_column(name, pa.array(values))
    if in_order:
        rows = rows.append_column(ROW_ORDER, pa.array(places(user.to_numpy())))
    return rows


def histories(
    user: np.ndarray, timestamp: np.ndarray, splits: np.ndarray, item: pa.Array, length: int
) -> pa.ChunkedArray:
    """List the last items of each row's user before the row's time, latest first.

    The history of a test row contains items of the training and the validation
    split; that of other rows contains items of the training split only, because
    nothing else is known when the split is predicted. Among rows of the same
    earlier time, a later row counts as later. Repeated items appear repeatedly.

    Args:
        user: `(rows,)`, the same value for all rows of a user, which are adjacent.
        timestamp: `(rows,)`, ascending within a user; or the place of each row.
        splits: `(rows,) int8`.
        item: `(rows,)` strings.
        length: Maximum number of items of a list.

    Returns:
        `(rows,)` lists of strings.
    """
    new_user = np.diff(user, prepend=user[:1] - 1) != 0
    new_time = new_user | (np.diff(timestamp, prepend=timestamp[:1]) != 0)
    first_of_user = np.flatnonzero(new_user)[np.cumsum(new_user) - 1]
    first_of_time = np.flatnonzero(new_time)[np.cumsum(new_time) - 1]
    begin, end = np.empty((2, len(user)), np.int64)
    values: list[pa.Array] = []
    for known, of in (((TRAIN,), (TRAIN, VALIDATION)), ((TRAIN, VALIDATION), (TEST,))):
        is_known, asking = np.isin(splits, known), np.isin(splits, of)
        # The positions in `values` where a row's user and a row's time begin.
        place = sum(map(len, values)) + np.cumsum(is_known) - is_known
        begin[asking] = place[first_of_user[asking]]
        end[asking] = place[first_of_time[asking]]
        values.append(item.filter(pa.array(is_known)))
    all_values = pa.concat_arrays(values)
    step = max(
        _VALUES_AT_ONCE // length, 1
    )  # so that no array of strings exceeds its 32-bit offsets
    lists = [
        latest_first(all_values, begin[first : first + step], end[first : first + step], length)
        for first in range(0, len(user), step)
    ]
    return pa.chunked_array(lists, pa.list_(pa.string()))
