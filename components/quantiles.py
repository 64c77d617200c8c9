"""A mergeable summary of a distribution: what quantiles are computed from in one pass."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MAX_POINTS = 65_536


@dataclass(frozen=True)
class QuantileSummary:
    """Distinct values in ascending order, each with the number of rows it stands for.

    Exact while there are at most `MAX_POINTS` distinct values. Beyond that,
    neighbours are merged into `MAX_POINTS` points of about equal weight, which
    moves a quantile's rank by at most `1 / MAX_POINTS` a merge (the
    equi-depth histogram merge of Greenwald & Khanna, "Power-conserving
    computation of order-statistics over sensor networks", PODS 2004, sec. 3).

    Args:
        values: `(points,) float64`, strictly ascending.
        weights: `(points,) float64`, positive.
    """

    values: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "QuantileSummary":
        """Summarizes the rows of an array of any shape; it must not hold NaN."""
        distinct, counts = np.unique(np.asarray(values, np.float64).ravel(), return_counts=True)
        return cls(distinct, counts.astype(np.float64))._compressed()

    @classmethod
    def merged(cls, summaries: Iterable["QuantileSummary"]) -> "QuantileSummary":
        """Merges summaries of disjoint rows."""
        parts = list(summaries)
        if not parts:
            return cls(np.empty(0), np.empty(0))
        values = np.concatenate([part.values for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        distinct, group = np.unique(values, return_inverse=True)
        return cls(distinct, np.bincount(group, weights, len(distinct)))._compressed()

    def _compressed(self) -> "QuantileSummary":
        if len(self.values) <= MAX_POINTS:
            return self
        ends = np.cumsum(self.weights)
        group = np.minimum((ends / ends[-1] * MAX_POINTS).astype(np.int64), MAX_POINTS - 1)
        weights = np.bincount(group, self.weights, MAX_POINTS)
        last = np.searchsorted(group, np.arange(MAX_POINTS), side="right") - 1
        kept = weights > 0
        return QuantileSummary(self.values[last[kept]], weights[kept])

    @property
    def rows(self) -> float:
        """How many rows were summarized."""
        return float(self.weights.sum())

    def value_at(self, share: float) -> float:
        """The least value that at least a `share` of the rows do not exceed."""
        ends = np.cumsum(self.weights)
        return float(self.values[min(np.searchsorted(ends, share * ends[-1]), len(ends) - 1)])

    def bin_boundaries(self, num_bins: int) -> list[float]:
        """Cuts the rows into bins of about equal size.

        The boundaries are those of `keras.layers.Discretization` after `adapt`
        on all rows at once: Keras 3.15 interpolates the cumulative weights
        linearly at 1/num_bins, 2/num_bins, … and drops the last. Equal
        boundaries (a value that fills several bins) are kept once, so there
        may be fewer bins than asked for.

        Returns:
            At most `num_bins - 1` boundaries, strictly ascending.
        """
        shares = np.cumsum(self.weights) / self.weights.sum()
        wanted = np.arange(1, num_bins) / num_bins
        boundaries = np.interp(wanted, shares, self.values).astype(np.float32)
        return [float(boundary) for boundary in np.unique(boundaries)]
