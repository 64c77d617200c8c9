"""The validation split, on which the baselines are tuned. The test split has no say in it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from components.evaluate.config import EvaluateConfig
from components.evaluate.popularity import most_frequent
from components.evaluate.test_data import TestData
from components.evaluate.user_items import Fitted, UserItems
from components.shared.contracts.metric import Metric
from components.shared.contracts.tables import CANDIDATE_INDEX, read_table
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError


@dataclass(frozen=True)
class Validation:
    """The validation split, on which settings are compared.

    Args:
        train: The training split.
        candidates: Number of items in the catalogue.
        queries: The distinct queries of the validation split.
        targets: Its relevant pairs.
        seen: The items that filtered lists leave out; None by the raw protocol.
        metric: What settings are compared in.
        labels_differ: Whether weighting by label differs from equal weights.
    """

    train: pa.Table
    candidates: int
    queries: QuerySet
    targets: Targets
    seen: SeenItems | None
    metric: Metric
    labels_differ: bool

    @classmethod
    def read(cls, data: TestData, settings: EvaluateConfig) -> "Validation":
        """Read the validation split.

        Args:
            data: The test split, for the interactions before it.
            settings: The headline metric.

        Raises:
            InputError: If no validation row is relevant.
        """
        metric = settings.headline
        train = data.known.slice(0, data.train_rows)
        validation = read_table(data.folder / "interactions" / "validation")
        queries = QuerySet.of(validation, data.spec.query)
        targets = Targets.of(validation, queries, data.spec.relevant_above)
        if not len(targets):
            raise InputError(
                f"features.label.relevant_above: no label in the validation split is above "
                f"{data.spec.relevant_above}, so baselines cannot be tuned. Lower it, or "
                f"remove recent_popular, ease and ials from evaluate.baselines."
            )
        seen = SeenItems.of(queries, train) if metric.protocol == "filtered" else None
        low, high = data.spec.label_range
        return cls(train, data.candidates, queries, targets, seen, metric, low < high)

    @cached_property
    def known(self) -> UserItems:
        """The training split as a matrix."""
        return UserItems.of(self.train, self.candidates)

    @cached_property
    def _popular(self) -> np.ndarray:
        counts = np.bincount(to_numpy(self.train[CANDIDATE_INDEX]), minlength=self.candidates)
        return self.most_frequent(counts)

    def most_frequent(self, counts: np.ndarray) -> np.ndarray:
        """Return the items with the greatest counts for each query, `(queries, k) int32`."""
        return most_frequent(counts, len(self.queries), self.metric.cutoff, self.seen)

    def value(self, fitted: Fitted) -> float:
        """Return the metric of a model that was fitted to `known`."""
        assert self.metric.protocol is not None  # a metric field has one
        popular = {self.metric.protocol: self._popular}
        (lists,) = self.known.rank(fitted, self.queries.ids, popular).values()
        return self.value_of(lists)

    def value_of(self, lists: np.ndarray) -> float:
        """Return the metric of lists, `(queries, k) int32`."""
        ranks = self.targets.ranks(lists)
        measures = ranking_metrics(ranks, self.targets.query, self.metric.cutoff)
        return measures[self.metric.measure]
