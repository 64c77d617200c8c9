"""Retrieval metrics from the ranks of relevant items.

- **hit rate@k**: the fraction of relevant interactions whose item is among the
  first k. For interactions with a label above 0.9 and k = 100 it is the top-100
  accuracy of the keras.io example (`SparseTopKCategoricalAccuracy`).
- **recall@k**: the same fraction computed for each query, then averaged.
- **NDCG@k**: the sum of 1 / log2(rank + 2) over a query's relevant items among
  the first k (ranks from 0), divided by the largest possible sum; averaged over
  queries (Järvelin & Kekäläinen, TOIS 2002, with binary gains).
- **MRR@k**: 1 / (rank + 1) of a query's first relevant item, 0 beyond k;
  averaged over queries.
"""

import numpy as np

from components.shared.contracts.metric import QUERY_MEANS


def per_query_metrics(ranks: np.ndarray, query: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Return the metrics of each query that has a relevant item.

    Args:
        ranks: `(targets,) int64`, 0 for the best place; `k` or more for a target
            that is not found.
        query: `(targets,)`, the query of each target.
        k: The cut-off.

    Returns:
        `query`, `targets` (number of relevant items), `hits` (number of them
        among the first k), `recall`, `ndcg` and `mrr`, each `(queries with
        targets,)`.
    """
    queries, index, targets = np.unique(query, return_inverse=True, return_counts=True)
    found = ranks < k
    hits = np.bincount(index, found, len(queries))
    discounts = 1 / np.log2(np.arange(k) + 2)
    gains = np.where(found, discounts[np.minimum(ranks, k - 1)], 0.0)
    dcg = np.bincount(index, gains, len(queries))
    ideal = np.cumsum(discounts)[np.minimum(targets, k) - 1]
    first = np.full(len(queries), np.inf)
    np.minimum.at(first, index[found], ranks[found])
    return {
        "query": queries,
        "targets": targets,
        "hits": hits,
        "recall": hits / targets,
        "ndcg": dcg / ideal,
        "mrr": 1 / (first + 1),
    }


def ranking_metrics(ranks: np.ndarray, query: np.ndarray, k: int) -> dict[str, float]:
    """Return `hit_rate`, `recall`, `ndcg` and `mrr` at k; see `per_query_metrics`.

    Raises:
        ValueError: If there is no target.
    """
    if not len(ranks):
        raise ValueError("there is no relevant interaction to measure")
    each = per_query_metrics(ranks, query, k)
    return {
        "hit_rate": float(each["hits"].sum() / each["targets"].sum()),
        **{name: float(each[name].mean()) for name in QUERY_MEANS},
    }
