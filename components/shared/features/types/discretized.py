"""The feature type `float_discretized`."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.feature_type import (
    MISSING_NAME,
    AdaptedFeature,
    FeatureData,
    FeatureType,
    one_value_warning,
)
from components.shared.features.quantiles import QuantileSummary
from components.shared.features.statistics import ColumnStatistics, present_numbers


class FloatDiscretized(FeatureType):
    """A number, cut into bins that hold about the same number of training rows.

    Args:
        type: `float_discretized`.
        num_bins: Number of bins; fewer if values repeat.
        missing: What happens to rows without a value. `own_index`: missing values have
            a bin of their own, after the others; if no training row has any, they
            are in the median's bin. `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"float_discretized": ("float32", "int64")}
    CROSSABLE: ClassVar = True
    HAS_VALUE_NAMES: ClassVar = True

    type: Literal["float_discretized"]
    num_bins: int = Field(ge=2)
    missing: Literal["own_index", "reject"] = "own_index"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Summarize the distribution."""
        # As float32, the type in which FeatureSpace will compare values with boundaries.
        values = present_numbers(column).astype(np.float32)
        return ColumnStatistics(
            rows=len(values),
            quantiles=QuantileSummary.of(values),
            missing=len(column) - len(values),
        )

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        from components.shared.features.number_layer import NumberOrMissing

        quantiles = data.statistics.quantiles
        assert quantiles is not None
        boundaries = quantiles.bin_boundaries(self.num_bins)
        if data.published is not None and data.published.encoded.bin_boundaries is not None:
            boundaries = data.published.encoded.bin_boundaries
        bins = len(boundaries) + 1
        missing_index = bins if data.statistics.missing or _has_missing_bin(data) else None
        layer = NumberOrMissing(
            quantiles.value_at(0.5),
            keras.layers.Discretization(bin_boundaries=boundaries),
            missing_index=missing_index,
            name=data.layer_name,
        )
        warning = (
            one_value_warning(data.name, f"{quantiles.values[0]:g}")
            if len(quantiles.values) == 1
            else None
        )
        encoded = self._encoded(
            data,
            "int32",
            cardinality=bins if missing_index is None else bins + 1,
            bin_boundaries=boundaries,
            missing_index=missing_index,
        )
        return self._preprocessed(data, layer, encoded, warning=warning)

    @classmethod
    def value_names(
        cls, feature: EncodedFeature, tokens: Sequence[Any], labels: Mapping[str, str]
    ) -> list[str]:
        """Name the bins by their boundaries."""
        ends = [f"{boundary:.4g}" for boundary in feature.bin_boundaries or []]
        missing = [MISSING_NAME] if feature.missing_index is not None else []
        if not ends:
            return ["all", *missing]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
        return [f"below {ends[0]}", *between, f"{ends[-1]} and above", *missing]


def _has_missing_bin(data: FeatureData) -> bool:
    """Return whether the published feature has a bin for missing values, which stays."""
    return data.published is not None and data.published.encoded.missing_index is not None
