"""A mergeable summary of a distribution, from which quantiles are computed in one pass."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MAX_POINTS = 65_536


@dataclass(frozen=True)
class QuantileSummary:
    """Distinct values in ascending order, each with the number of rows it represents.

    Exact for up to `MAX_POINTS` distinct values. Beyond that, neighbours are
    merged into `MAX_POINTS` points of about equal weight, which moves a
    quantile's rank by at most `2 / MAX_POINTS` per merge (the
    equi-depth histogram merge of Greenwald & Khanna, "Power-conserving
    computation of order-statistics over sensor networks", PODS 2004, sec. 3).
    The minimum and the maximum stay exact.

    Args:
        values: `(points,) float64`, strictly ascending.
        weights: `(points,) float64`, positive.
    """

    values: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "QuantileSummary":
        """Summarize an array of any shape, which must not contain NaN."""
        distinct, counts = np.unique(np.asarray(values, np.float64).ravel(), return_counts=True)
        return cls(distinct, counts.astype(np.float64))._compressed()

    @classmethod
    def weighted(cls, values: np.ndarray, rows: np.ndarray) -> "QuantileSummary":
        """Summarize values that stand for several rows each.

        Args:
            values: `(values,) float64`, which may repeat.
            rows: `(values,) float64`, the number of rows of each.
        """
        if (values[1:] > values[:-1]).all():
            return cls(values, rows)._compressed()
        distinct, group = np.unique(values, return_inverse=True)
        return cls(distinct, np.bincount(group, rows, len(distinct)))._compressed()

    @classmethod
    def merged(cls, summaries: Iterable["QuantileSummary"]) -> "QuantileSummary":
        """Merge the summaries of disjoint sets of rows."""
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
        between = MAX_POINTS - 2
        group = 1 + np.minimum((ends / ends[-1] * between).astype(np.int64), between - 1)
        group[0], group[-1] = 0, MAX_POINTS - 1
        weights = np.bincount(group, self.weights, MAX_POINTS)
        # A group is represented by its heaviest value: a frequent value must not move.
        by_weight = np.lexsort((self.weights, group))
        heaviest = by_weight[np.searchsorted(group, np.arange(MAX_POINTS), side="right") - 1]
        kept = weights > 0
        return QuantileSummary(self.values[heaviest[kept]], weights[kept])

    @property
    def rows(self) -> float:
        """Number of rows summarized."""
        return float(self.weights.sum())

    def value_at(self, share: float) -> float:
        """Return the smallest value that at least a `share` of the rows do not exceed."""
        ends = np.cumsum(self.weights)
        return float(self.values[min(np.searchsorted(ends, share * ends[-1]), len(ends) - 1)])

    def bin_boundaries(self, num_bins: int) -> list[float]:
        """Return boundaries that divide the rows into bins of about equal size.

        The boundaries are those of `keras.layers.Discretization` after `adapt`
        on all rows in one batch, without its rounding to an `epsilon` of the rows:
        Keras 3.15 interpolates the ordered rows linearly at 1/num_bins,
        2/num_bins, …. Equal boundaries (one value fills several bins) are kept
        once, so there may be fewer than `num_bins` bins.

        Args:
            num_bins: Number of bins.

        Returns:
            At most `num_bins - 1` boundaries, strictly ascending.
        """
        last = np.cumsum(self.weights)
        first = last - self.weights + 1  # a point has the ranks of all its rows
        shares = np.stack([first, last], axis=1).ravel() / last[-1]
        wanted = np.arange(1, num_bins) / num_bins
        boundaries = np.interp(wanted, shares, np.repeat(self.values, 2)).astype(np.float32)
        return [float(boundary) for boundary in np.unique(boundaries)]
