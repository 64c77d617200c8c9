"""Bootstrap intervals: how much of a difference may be chance.

The users of the test split are resampled with replacement, as many as there are,
and the metric is computed for each resample. The 95% interval lies between the
2.5th and the 97.5th percentile of these values (percentile bootstrap: Efron &
Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13). All interactions of
a user are resampled together, since they are not independent of each other. Both
values of a lead are computed from the same resample.
"""

import logging
from collections.abc import Iterator

import numpy as np

from components.shared.contracts.evaluation import Interval, Intervals, Lead
from components.shared.contracts.metric import Metric
from components.shared.contracts.rankers import Ranker
from components.shared.retrieval.metrics import per_query_metrics
from components.shared.runtime.pace import Pace

logger = logging.getLogger(__name__)

LEVEL = 0.95
_SEED = 0
_DRAWS_AT_ONCE = 1 << 22  # 32 MiB of int64


def intervals(
    ranks: dict[Ranker, np.ndarray],
    query: np.ndarray,
    user: np.ndarray,
    metric: Metric,
    samples: int,
) -> Intervals:
    """Return the intervals of a metric, and of the first ranker's lead over each other one.

    Args:
        ranks: By ranker, `(targets,) int64`: 0 for the best place; the cut-off or
            more for a target that is not found. All for the same targets.
        query: `(targets,)`, the query of each target.
        user: `(queries,) int64` from 0, the user of each query.
        metric: A metric of `RANK_MEASURES`.
        samples: Number of bootstrap resamples.

    Raises:
        ValueError: If there is no target.
    """
    sums = {who: user_sums(of, query, user, metric) for who, of in ranks.items()}
    first = next(iter(sums))
    weights = sums[first][1]
    numerators = np.stack([numerator for numerator, _ in sums.values()], axis=1)
    values = dict(zip(sums, numerators.sum(0) / weights.sum(), strict=True))
    resampled = np.concatenate(list(_resampled(numerators, weights, samples)))
    by_ranker = dict(zip(sums, resampled.T, strict=True))
    return Intervals(
        level=LEVEL,
        samples=samples,
        users=len(weights),
        of={who: _interval(of) for who, of in by_ranker.items()},
        leads={
            who: Lead(
                value=float(values[first] - values[who]),
                interval=_interval(by_ranker[first] - of),
            )
            for who, of in by_ranker.items()
            if who != first
        },
    )


def user_sums(
    ranks: np.ndarray, query: np.ndarray, user: np.ndarray, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Split a metric by user into numerators and denominators.

    The metric is the sum of the numerators divided by the sum of the
    denominators: of hits by relevant interactions for the hit rate; of values by
    queries for the others.

    Args:
        ranks: `(targets,) int64`, 0 for the best place.
        query: `(targets,)`, the query of each target.
        user: `(queries,) int64` from 0, the user of each query.
        metric: A metric of `RANK_MEASURES`.

    Returns:
        `(users,) float64` twice, for the users that have a target.

    Raises:
        ValueError: If there is no target.
    """
    if not len(ranks):
        raise ValueError("there is no relevant interaction to measure")
    each = per_query_metrics(ranks, query, metric.cutoff)
    values, weights = (
        (each["hits"], each["targets"])
        if metric.measure == "hit_rate"
        else (each[metric.measure], np.ones(len(each["query"])))
    )
    users, index = np.unique(user[each["query"]], return_inverse=True)
    return np.bincount(index, values, len(users)), np.bincount(index, weights, len(users))


def _resampled(numerators: np.ndarray, weights: np.ndarray, samples: int) -> Iterator[np.ndarray]:
    """Yield the metric of each resample, `(samples, rankers)`, some resamples at a time."""
    rng = np.random.default_rng(_SEED)
    users = len(weights)
    step = max(_DRAWS_AT_ONCE // users, 1)
    sums = np.column_stack([numerators, weights])
    pace = Pace()
    for first in range(0, samples, step):
        if pace.is_due():
            logger.info(f"bootstrap intervals: {first}/{samples} resamples")
        size = min(step, samples - first)
        draws = rng.integers(0, users, (size, users))
        draws += np.arange(size)[:, None] * users
        times = np.bincount(draws.reshape(-1), minlength=size * users).reshape(size, users)
        drawn = times @ sums
        yield drawn[:, :-1] / drawn[:, -1:]


def _interval(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
