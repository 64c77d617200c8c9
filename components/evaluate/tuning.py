"""Tuning of EASE and iALS on the validation split.

Both have a small grid of settings. Each setting is fitted to the training split
and measured on the validation split, in the headline metric and by its protocol.
The test split has no say in it.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from components.evaluate.config import EvaluateConfig
from components.evaluate.ease import ease_weights, fitted_ease, gram
from components.evaluate.ials import fit_ials
from components.evaluate.measuring import Lists
from components.evaluate.popularity import most_frequent
from components.evaluate.test_data import TestData
from components.evaluate.user_items import Fitted, UserItems
from components.shared.contracts.evaluation import EaseSettings, IalsSettings, TunedEase, TunedIals
from components.shared.contracts.metric import Metric
from components.shared.contracts.rankers import BASELINE_LABELS, Baseline
from components.shared.contracts.tables import CANDIDATE_INDEX, read_table
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.pace import Pace

logger = logging.getLogger(__name__)

# Ordered by weighting: X^T X is computed once for each.
EASE_GRID = [
    EaseSettings(weighting=weighting, l2=l2)
    for weighting in ("equal", "label")
    for l2 in (50.0, 100.0, 200.0, 500.0, 1000.0)
]
# More confidence goes with more regularization.
IALS_GRID = [
    IalsSettings(
        weighting=weighting,
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=10,
    )
    for weighting in ("count", "label")
    for factors, regularization, alpha in (
        (32, 10.0, 5.0),
        (32, 30.0, 5.0),
        (64, 30.0, 5.0),
        (64, 60.0, 20.0),
    )
]
_Settings = TypeVar("_Settings", EaseSettings, IalsSettings)


def fit_ease_grid(known: UserItems, grid: Sequence[EaseSettings]) -> Iterator[Fitted]:
    """Fit EASE with each setting of a grid, one at a time."""
    for weighting, group in itertools.groupby(grid, key=lambda settings: settings.weighting):
        matrix = known.weighted(weighting)
        products = gram(matrix)
        for settings in group:
            yield fitted_ease(matrix, ease_weights(products, settings.l2))


def fit_ials_grid(known: UserItems, grid: Sequence[IalsSettings]) -> Iterator[Fitted]:
    """Fit iALS with each setting of a grid, one at a time."""
    for settings in grid:
        yield fit_ials(known.weighted(settings.weighting), settings)


@dataclass(frozen=True)
class Validation:
    """The validation split, on which settings are compared.

    Args:
        known: The training split.
        queries: The distinct queries of the validation split.
        targets: Its relevant pairs.
        metric: What settings are compared in.
        popular: By the protocol of the metric, `(queries, k) int32`, the most
            popular items, for users without an interaction.
        labels_differ: Whether weighting by label differs from equal weights.
    """

    known: UserItems
    queries: QuerySet
    targets: Targets
    metric: Metric
    popular: Lists
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
                f"{data.spec.relevant_above}, so ease and ials cannot be tuned. Lower it, or "
                f"remove them from evaluate.baselines."
            )
        counts = np.bincount(to_numpy(train[CANDIDATE_INDEX]), minlength=data.candidates)
        seen = SeenItems.of(queries, train) if metric.protocol == "filtered" else None
        return cls(
            UserItems.of(train, data.candidates),
            queries,
            targets,
            metric,
            {settings.protocol: most_frequent(counts, len(queries), metric.cutoff, seen)},
            data.spec.label_range[0] < data.spec.label_range[1],
        )

    def best_ease(self) -> TunedEase:
        """Return the EASE settings that do best, the first among equals."""
        grid = self._without_repetitions(EASE_GRID)
        best, value = self._best("ease", fit_ease_grid(self.known, grid), len(grid))
        return TunedEase(**vars(grid[best]), validation=value, tried=len(grid))

    def best_ials(self) -> TunedIals:
        """Return the iALS settings that do best, the first among equals."""
        grid = self._without_repetitions(IALS_GRID)
        best, value = self._best("ials", fit_ials_grid(self.known, grid), len(grid))
        return TunedIals(**vars(grid[best]), validation=value, tried=len(grid))

    def _without_repetitions(self, grid: list[_Settings]) -> list[_Settings]:
        return [each for each in grid if self.labels_differ or each.weighting != "label"]

    def _best(self, name: Baseline, fits: Iterator[Fitted], tried: int) -> tuple[int, float]:
        values: list[float] = []
        pace = Pace()
        for number in range(1, tried + 1):
            if number == 1 or pace.is_due():
                logger.info(f"{BASELINE_LABELS[name]}: tuning {number}/{tried}")
            values.append(self._value(next(fits)))
        best = int(np.argmax(values))
        return best, values[best]

    def _value(self, fitted: Fitted) -> float:
        (lists,) = self.known.rank(fitted, self.queries.ids, self.popular).values()
        ranks = self.targets.ranks(lists)
        measures = ranking_metrics(ranks, self.targets.query, self.metric.cutoff)
        return measures[self.metric.measure]
