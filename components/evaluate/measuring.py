"""Metrics of recommended lists on the test split."""

from dataclasses import dataclass

import numpy as np

from components.evaluate.config import EvaluateConfig
from components.evaluate.popularity_bias import novelty
from components.evaluate.test_data import TestData
from components.shared.contracts.evaluation import ByProtocol, Metrics
from components.shared.contracts.metric import PROTOCOLS, TOP_100_ACCURACY, Metric, Protocol
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.runtime.errors import InputError

# The lists of a ranker by protocol: `(queries, k) int32` candidate indices, best first, -1 where
# fewer than k candidates are left.
Lists = dict[Protocol, np.ndarray]


def check(settings: EvaluateConfig, data: TestData) -> None:
    """Check that every cut-off fits the catalogue and that a test row is relevant.

    Raises:
        InputError: If a cut-off is larger than the catalogue, or no test row is
            relevant.
    """
    too_large = [k for k in settings.ks if k > data.candidates]
    if too_large:
        raise InputError(
            f"evaluate.ks: {too_large[0]} is larger than the catalogue, which has "
            f"{data.candidates} candidates. Choose a smaller k."
        )
    if not len(data.targets):
        raise InputError(
            f"features.label.relevant_above: no label in the test split is above "
            f"{data.spec.relevant_above}; training labels are {data.spec.label_range[0]:g} to "
            f"{data.spec.label_range[1]:g}. Lower it."
        )


def list_length(ks: list[int], candidates: int) -> int:
    """Return the length of the lists that every cut-off, and the example's measure, need."""
    example = [TOP_100_ACCURACY.cutoff] if candidates >= TOP_100_ACCURACY.cutoff else []
    return max([*ks, *example])


@dataclass(frozen=True)
class Ranked:
    """The lists of a ranker, and the places of the targets in them.

    Args:
        lists: `(queries, k) int32` by protocol.
        ranks: `(targets,) int64` by protocol: 0 for the best place, k for a
            target that is not in the list of its query.
    """

    lists: Lists
    ranks: dict[Protocol, np.ndarray]

    @classmethod
    def of(cls, data: TestData, lists: Lists) -> "Ranked":
        """Find the test split's targets in the lists of its queries."""
        return cls(lists, {by: data.targets.ranks(found) for by, found in lists.items()})

    def measure(self, data: TestData, ks: list[int]) -> ByProtocol[Metrics]:
        """Return the metrics of the lists by both protocols; see `measure`."""
        raw, filtered = (
            measure(data, self.lists[protocol], self.ranks[protocol], ks) for protocol in PROTOCOLS
        )
        return ByProtocol[Metrics](raw=raw, filtered=filtered)


def measure(data: TestData, retrieved: np.ndarray, ranks: np.ndarray, ks: list[int]) -> Metrics:
    """Measure lists.

    Args:
        data: The test split.
        retrieved: `(queries, length) int32`, the list of each query.
        ranks: `(targets,) int64`, each target's place in the list of its query.
        ks: Cut-offs, each at most `length`.

    Returns:
        `hit_rate`, `recall`, `ndcg`, `mrr`, `coverage`, `novelty`, `debiased_hit_rate`
        and `debiased_ndcg` at each cut-off. `components.shared.retrieval.metrics` and
        `components.evaluate.popularity_bias` define them; coverage is the share of
        the catalogue that is in at least one list. `top_100_accuracy` as
        well, if the lists are long enough and the keras.io example counts any
        pair.

    Raises:
        ValueError: If there is no target.
    """
    metrics = {
        Metric(measure, k): value
        for k in ks
        for measure, value in ranking_metrics(ranks, data.targets.query, k).items()
    }
    for k in ks:
        metrics[Metric("coverage", k)] = _coverage(retrieved[:, :k], data.candidates)
        metrics[Metric("novelty", k)] = novelty(retrieved[:, :k], data.item_novelty)
        kept = data.debiased
        on_kept = ranking_metrics(ranks[kept], data.targets.query[kept], k)
        for measure in ("hit_rate", "ndcg"):
            metrics[Metric(f"debiased_{measure}", k)] = on_kept[measure]
    if len(data.example_targets) and retrieved.shape[1] >= TOP_100_ACCURACY.cutoff:
        ranks = data.example_targets.ranks(retrieved)
        metrics[TOP_100_ACCURACY] = float((ranks < TOP_100_ACCURACY.cutoff).mean())
    return metrics


def _coverage(retrieved: np.ndarray, candidates: int) -> float:
    """Return the share of the catalogue that is in at least one list."""
    shown = np.zeros(candidates + 1, bool)
    shown[retrieved] = True  # an empty place, -1, is the additional last one
    return float(shown[:-1].sum() / candidates)
