"""The same items for everybody: those with the greatest counts."""

import numpy as np

from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.top_k import retrieve


def most_frequent(counts: np.ndarray, queries: int, k: int, seen: SeenItems | None) -> np.ndarray:
    """Return the items with the greatest counts for each query.

    Args:
        counts: `(candidates,)`.
        queries: Number of queries.
        k: Length of the lists.
        seen: Items to leave out.

    Returns:
        `(queries, k) int32` candidate indices, best first, the lower index first
        among equals; -1 where fewer than k candidates are left.
    """
    # The inner product of a query of 1 and an item of its count is the count.
    ones = np.ones((queries, 1), np.float32)
    return retrieve(ones, counts[:, None].astype(np.float32), k, seen)[0]
