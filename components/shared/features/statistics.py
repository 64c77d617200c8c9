"""Statistics of a column, mergeable across batches, from which preprocessors are built."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.features.quantiles import QuantileSummary


@dataclass
class ColumnStatistics:
    """Statistics of one feature's column.

    Args:
        counts: `token`, `count`: each distinct value and its number of rows.
        quantiles: The distribution of a number that is discretized, or of the
            rating.
        rows: Number of rows with a value.
        mean: Mean of the values.
        squares: Sum of squared deviations from the mean.
        longest: Length of the longest list.
        missing: Number of rows without a value.
    """

    counts: pa.Table | None = None
    quantiles: QuantileSummary | None = None
    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0
    longest: int = 0
    missing: int = 0

    @property
    def variance(self) -> float:
        """The population variance, as `keras.layers.Normalization` uses it."""
        return self.squares / self.rows if self.rows else 0.0


Moments: TypeAlias = tuple[int, float, float]


def merge_moments(one: Moments, other: Moments) -> Moments:
    """Merge the moments of disjoint values.

    See Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", 1979.

    Args:
        one: Number of values, their mean, and the sum of squared deviations from it.
        other: The same of other values.

    Example:
    ```python
    assert merge_moments((1, 2.0, 0.0), (1, 4.0, 0.0)) == (2, 3.0, 2.0)
    ```
    """
    (rows, mean, squares), (more, mean_of_more, squares_of_more) = one, other
    if not rows + more:
        return one
    difference = mean_of_more - mean
    squares += squares_of_more + difference**2 * rows * more / (rows + more)
    return rows + more, mean + difference * more / (rows + more), squares


def merge_statistics(parts: list[ColumnStatistics]) -> ColumnStatistics:
    """Merge statistics of disjoint rows."""
    merged = ColumnStatistics()
    for part in parts:
        merged.rows, merged.mean, merged.squares = merge_moments(
            (merged.rows, merged.mean, merged.squares), (part.rows, part.mean, part.squares)
        )
        merged.longest = max(merged.longest, part.longest)
        merged.missing += part.missing
    counts = [part.counts for part in parts if part.counts is not None]
    if counts:
        summed = pa.concat_tables(counts).group_by("token").aggregate([("count", "sum")])
        merged.counts = pa.table({"token": summed["token"], "count": summed["count_sum"]})
    quantiles = [part.quantiles for part in parts if part.quantiles is not None]
    if quantiles:
        merged.quantiles = QuantileSummary.merged(quantiles)
    return merged


def count_values(values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Count the distinct values of a column: `token`, `count`."""
    counted = pc.value_counts(values)
    return pa.table({"token": counted.field("values"), "count": counted.field("counts")})


def is_missing(column: pa.ChunkedArray) -> np.ndarray:
    """Return which rows of a column have no value.

    Args:
        column: Strings or numbers, without nulls; see `components.shared.contracts.missing`.

    Returns:
        `(rows,) bool`.
    """
    if pa.types.is_floating(column.type):
        return np.isnan(column.to_numpy())
    missing = "" if pa.types.is_string(column.type) else MISSING_INTEGER
    return pc.equal(column, pa.scalar(missing, column.type)).to_numpy()


def present_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return the numbers of a column without the missing ones, `(values,)` in its own type."""
    numbers, missing = column.to_numpy(), is_missing(column)
    return numbers[~missing] if missing.any() else numbers


def longest_list(column: pa.ChunkedArray) -> int:
    """Return the length of the longest list in a column."""
    return pc.max(pc.list_value_length(column)).as_py() or 0


def vocabulary(counts: pa.Table) -> pa.Table:
    """Order tokens as Keras's lookup layers do: by count, then by token, both descending.

    Args:
        counts: `token`, `count`.

    Returns:
        The same rows, in the order of the indices.
    """
    # Strings by their bytes, as numpy orders the bytes objects that Keras sorts.
    tokens = counts["token"]
    keys = pc.cast(tokens, pa.binary()) if pa.types.is_string(tokens.type) else tokens
    order = pc.sort_indices(
        pa.table({"count": counts["count"], "token": keys}),
        [("count", "descending"), ("token", "descending")],
    )
    return counts.take(order)
