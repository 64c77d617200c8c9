"""Retrieval metrics from the ranks of relevant items.

- **hit rate@k**: share of the relevant interactions whose item is among the
  first k. For interactions with a label above 0.9 and k = 100 it is the top-100
  accuracy of the keras.io example (`SparseTopKCategoricalAccuracy`).
- **recall@k**: the same share computed for each query, then averaged.
- **NDCG@k**: sum of 1 / log2(rank + 2) over a query's relevant items among the
  first k (ranks from 0), divided by the best sum possible; averaged over
  queries (Järvelin & Kekäläinen, TOIS 2002, with binary gains).
- **MRR@k**: 1 / (rank + 1) of a query's first relevant item, 0 beyond k;
  averaged over queries.
"""

from typing import Annotated

import numpy as np
from pydantic import StringConstraints

# One cell of the table of metrics: which one, at which k, by which protocol.
MetricName = Annotated[
    str, StringConstraints(pattern=r"^(hit_rate|recall|ndcg|mrr)_at_[1-9]\d*_(raw|filtered)$")
]


def per_query_metrics(ranks: np.ndarray, query: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Computes metrics for each query that has a relevant item.

    Args:
        ranks: `(targets,)`, 0 for the best; `k` or more where it is not found.
        query: `(targets,)`, the query of each target.
        k: How many of the first items count.

    Returns:
        `query`, `targets` (how many relevant items), `hits` (how many found),
        `recall`, `ndcg` and `mrr`, each `(queries with targets,)`.
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
    """Computes `hit_rate`, `recall`, `ndcg` and `mrr` at k; see `per_query_metrics`.

    Raises:
        ValueError: If there is no target.
    """
    if not len(ranks):
        raise ValueError("there is no relevant interaction to measure by")
    each = per_query_metrics(ranks, query, k)
    return {
        "hit_rate": float(each["hits"].sum() / each["targets"].sum()),
        **{name: float(each[name].mean()) for name in ("recall", "ndcg", "mrr")},
    }
