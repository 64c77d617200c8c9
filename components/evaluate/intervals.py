"""Bootstrap intervals: how much of a difference may be chance.

The test part's users are drawn anew with replacement, as many as there are, and
the metric is computed from them; over and over. Between the 2.5th and the 97.5th
percentile of these values is the 95% interval (percentile bootstrap: Efron &
Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13). All interactions of
a user are drawn together, since they are not independent of each other. For the
lead of one over the other both are computed from the same drawn users.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.shared.retrieval.metrics import per_query_metrics

LEVEL = 0.95
_SEED = 0
_DRAWS_AT_ONCE = 1 << 22  # 32 MiB of int64


@dataclass(frozen=True)
class Intervals:
    """The intervals of one metric.

    Args:
        samples: How often users were drawn anew.
        users: How many users there are.
        of: By who, the metric's interval.
        leads: By whom else, the lead of the first over them, and its interval.
    """

    samples: int
    users: int
    of: dict[str, tuple[float, float]]
    leads: dict[str, tuple[float, tuple[float, float]]]

    def summary(self) -> dict[str, Any]:
        """The same as JSON values, for `evaluation.json`."""
        return {
            "level": LEVEL,
            "samples": self.samples,
            "users": self.users,
            "of": {who: list(interval) for who, interval in self.of.items()},
            "leads": {
                who: {"value": value, "interval": list(interval)}
                for who, (value, interval) in self.leads.items()
            },
        }


def intervals(
    ranks: dict[str, np.ndarray],
    query: np.ndarray,
    user: np.ndarray,
    metric: str,
    k: int,
    samples: int,
) -> Intervals:
    """Computes the intervals of a metric, and of the first one's lead over the others.

    Args:
        ranks: By who, `(targets,)`, 0 for the best; `k` or more where the target is
            not found. All are of the same targets.
        query: `(targets,)`, the query of each target.
        user: `(queries,) int64` from 0, the user of each query.
        metric: `hit_rate`, `recall`, `ndcg` or `mrr`.
        k: How many of the first items count.
        samples: How often users are drawn anew.

    Raises:
        ValueError: If there is no target.
    """
    sums = {who: user_sums(of, query, user, metric, k) for who, of in ranks.items()}
    first = next(iter(sums))
    weights = sums[first][1]
    numerators = np.stack([numerator for numerator, _ in sums.values()], axis=1)
    values = dict(zip(sums, numerators.sum(0) / weights.sum(), strict=True))
    drawn = np.concatenate(list(_drawn(numerators, weights, samples)))
    by_who = dict(zip(sums, drawn.T, strict=True))
    return Intervals(
        samples,
        len(weights),
        {who: _interval(of) for who, of in by_who.items()},
        {
            who: (float(values[first] - values[who]), _interval(by_who[first] - of))
            for who, of in by_who.items()
            if who != first
        },
    )


def user_sums(
    ranks: np.ndarray, query: np.ndarray, user: np.ndarray, metric: str, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits a metric into users: it is the sum of the one by the sum of the other.

    The hit rate is hits by relevant interactions; the others are means over
    queries.

    Args:
        ranks: `(targets,)`, 0 for the best.
        query: `(targets,)`, the query of each target.
        user: `(queries,) int64` from 0, the user of each query.
        metric: `hit_rate`, `recall`, `ndcg` or `mrr`.
        k: How many of the first items count.

    Returns:
        `(users,) float64`, twice: of those users that have a target.

    Raises:
        ValueError: If there is no target.
    """
    if not len(ranks):
        raise ValueError("there is no relevant interaction to measure by")
    each = per_query_metrics(ranks, query, k)
    values, weights = (
        (each["hits"], each["targets"])
        if metric == "hit_rate"
        else (each[metric], np.ones(len(each["query"])))
    )
    users, index = np.unique(user[each["query"]], return_inverse=True)
    return np.bincount(index, values, len(users)), np.bincount(index, weights, len(users))


def _drawn(numerators: np.ndarray, weights: np.ndarray, samples: int) -> Iterator[np.ndarray]:
    """The values from users drawn anew: `(samples, who)`, some samples at a time."""
    rng = np.random.default_rng(_SEED)
    users = len(weights)
    step = max(_DRAWS_AT_ONCE // users, 1)
    sums = np.column_stack([numerators, weights])
    for first in range(0, samples, step):
        size = min(step, samples - first)
        draws = rng.integers(0, users, (size, users))
        draws += np.arange(size)[:, None] * users
        times = np.bincount(draws.reshape(-1), minlength=size * users).reshape(size, users)
        drawn = times @ sums
        yield drawn[:, :-1] / drawn[:, -1:]


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
