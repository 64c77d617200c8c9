"""The recommended lists as a table, with ids instead of indices."""

import numpy as np
import pyarrow as pa

from components.evaluate.measuring import Lists
from components.shared.contracts.metric import PROTOCOLS, Protocol
from components.shared.contracts.tables import CANDIDATE_ID, QUERY_ID


def recommendations(
    users: pa.Array, catalogue: pa.Table, lists: Lists, scores: dict[Protocol, np.ndarray]
) -> pa.Table:
    """Return the lists of every query, best item first.

    Args:
        users: `(queries,)`, the user's id of each query.
        catalogue: The catalogue; `candidate_id` is used.
        lists: By protocol, `(queries, k) int32` candidate indices, -1 where fewer
            than k candidates are left.
        scores: By protocol, `(queries, k) float32`, -inf there.

    Returns:
        A row for each query: `query_id`; for each protocol the candidate ids
        (`raw`) and the scores (`raw_scores`), both without the empty places.
    """
    ids = {protocol: _id_lists(lists[protocol], catalogue) for protocol in PROTOCOLS}
    kept = {
        f"{protocol}_scores": pa.array([row[np.isfinite(row)] for row in scores[protocol]])
        for protocol in PROTOCOLS
    }
    return pa.table({QUERY_ID: users, **ids, **kept})


def _id_lists(retrieved: np.ndarray, catalogue: pa.Table) -> pa.Array:
    found = retrieved >= 0
    offsets = np.concatenate([[0], np.cumsum(found.sum(1))])
    ids = catalogue[CANDIDATE_ID].combine_chunks().take(pa.array(retrieved[found]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), ids)
