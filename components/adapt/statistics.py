"""What FeatureSpace has to know about a column, computed by mergeable combiners in one pass."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.adapt.config import (
    Categorical,
    Feature,
    FloatDiscretized,
    FloatNormalized,
    History,
    Id,
    MultiCategorical,
    Text,
)
from components.shared.features.quantiles import QuantileSummary

# The characters that TextVectorization's "lower_and_strip_punctuation" removes (Keras 3.15).
_PUNCTUATION = r"""[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']"""


def words(texts: pa.Array) -> pa.Array:
    """Splits texts as `keras.layers.TextVectorization` does by default.

    Lower case is ASCII only there (`tf.strings.lower`), so it is here.

    Args:
        texts: `(rows,)` strings.

    Returns:
        All words of all texts, one after the other.
    """
    cleaned = pc.replace_substring_regex(pc.ascii_lower(texts), _PUNCTUATION, "")
    tokens = pc.ascii_split_whitespace(cleaned).flatten()
    return tokens.filter(pc.not_equal(tokens, ""))


@dataclass
class ColumnStatistics:
    """What is known of one feature's column.

    Args:
        counts: `token`, `count`: each value and how often it is there.
        quantiles: Of a number that is discretized, or of the rating.
        rows: Rows seen, for the moments.
        mean: Their mean.
        squares: Sum of squared deviations from the mean.
        longest: The most values in one row, of lists.
    """

    counts: pa.Table | None = None
    quantiles: QuantileSummary | None = None
    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0
    longest: int = 0

    @property
    def variance(self) -> float:
        """The population's variance, which is what `Normalization` uses."""
        return self.squares / self.rows if self.rows else 0.0


def column_statistics(column: pa.ChunkedArray, feature: Feature | None) -> ColumnStatistics:
    """Computes the statistics that a feature needs from a batch.

    Args:
        column: The batch's values, without nulls.
        feature: The feature, or none for the rating.
    """
    statistics = ColumnStatistics(rows=len(column))
    if isinstance(feature, Id | Categorical):
        statistics.counts = _count(column)
    elif isinstance(feature, Text):
        statistics.counts = _count(words(column.combine_chunks()))
    elif isinstance(feature, MultiCategorical):
        values = pc.list_flatten(column)
        # An empty value is what lists are padded with: no value. Nulls go, too.
        statistics.counts = _count(values.filter(pc.not_equal(values, "")))
        statistics.longest = _longest(column)
    elif isinstance(feature, History):
        statistics.longest = _longest(column)
    elif feature is None or isinstance(feature, FloatDiscretized):
        # As float32, the type in which FeatureSpace will compare values with boundaries.
        statistics.quantiles = QuantileSummary.of(column.to_numpy().astype(np.float32))
    elif isinstance(feature, FloatNormalized):
        values = column.to_numpy().astype(np.float64)
        statistics.mean = float(values.mean())
        statistics.squares = float(((values - statistics.mean) ** 2).sum())
    return statistics


def _longest(column: pa.ChunkedArray) -> int:
    return pc.max(pc.list_value_length(column)).as_py() or 0


def _count(values: pa.Array | pa.ChunkedArray) -> pa.Table:
    counted = pc.value_counts(values)
    return pa.table({"token": counted.field("values"), "count": counted.field("counts")})


def merge_statistics(parts: list[ColumnStatistics]) -> ColumnStatistics:
    """Merges statistics of disjoint rows.

    Moments are merged pairwise (Chan, Golub & LeVeque, "Updating formulae and a
    pairwise algorithm for computing sample variances", 1979).
    """
    merged = ColumnStatistics()
    for part in parts:
        rows = merged.rows + part.rows
        if rows:
            apart = part.mean - merged.mean
            merged.squares += part.squares + apart**2 * merged.rows * part.rows / rows
            merged.mean += apart * part.rows / rows
        merged.rows = rows
        merged.longest = max(merged.longest, part.longest)
    counts = [part.counts for part in parts if part.counts is not None]
    if counts:
        summed = pa.concat_tables(counts).group_by("token").aggregate([("count", "sum")])
        merged.counts = pa.table({"token": summed["token"], "count": summed["count_sum"]})
    quantiles = [part.quantiles for part in parts if part.quantiles is not None]
    if quantiles:
        merged.quantiles = QuantileSummary.merged(quantiles)
    return merged


def vocabulary(counts: pa.Table) -> pa.Table:
    """Orders values as Keras's lookup layers do: by count, then by value, both descending.

    Args:
        counts: `token`, `count`.

    Returns:
        The same, in the order of the indices.
    """
    # Strings by their bytes, as numpy orders the bytes objects that Keras sorts.
    tokens = counts["token"]
    keys = pc.cast(tokens, pa.binary()) if pa.types.is_string(tokens.type) else tokens
    order = pc.sort_indices(
        pa.table({"count": counts["count"], "token": keys}),
        [("count", "descending"), ("token", "descending")],
    )
    return counts.take(order)


@dataclass
class TableStatistics:
    """Statistics by column; a column is there once for each kind of feature made of it."""

    columns: dict[str, ColumnStatistics] = field(default_factory=dict)


class ComputeStatistics(beam.CombineFn):
    """Combines batches of a table into the statistics of its features.

    Args:
        features: The features by column.
        rating: The rating's column, where the table has one.
    """

    def __init__(self, features: dict[str, Feature], rating: str | None = None):
        self._features: dict[str, Feature | None] = dict(features)
        if rating is not None:
            self._features[rating] = None

    def create_accumulator(self) -> TableStatistics:
        """Starts with nothing."""
        return TableStatistics()

    def add_input(self, accumulator: TableStatistics, batch: pa.Table) -> TableStatistics:
        """Adds a batch."""
        part = TableStatistics(
            {
                name: column_statistics(batch[name], feature)
                for name, feature in self._features.items()
            }
        )
        return self.merge_accumulators([accumulator, part])

    def merge_accumulators(self, accumulators: Iterable[TableStatistics]) -> TableStatistics:
        """Merges what workers found."""
        parts = [accumulator for accumulator in accumulators if accumulator.columns]
        return TableStatistics(
            {name: merge_statistics([part.columns[name] for part in parts])
             for name in (self._features if parts else ())}
        )  # fmt: skip

    def extract_output(self, accumulator: TableStatistics) -> TableStatistics:
        """Gives the result."""
        return accumulator
