"""The feature type `float_discretized`."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.feature_type import (
    AdaptedFeature,
    FeatureData,
    FeatureType,
    one_value_warning,
)
from components.shared.features.quantiles import QuantileSummary
from components.shared.features.statistics import ColumnStatistics


class FloatDiscretized(FeatureType):
    """A number, cut into bins that hold about the same number of training rows.

    Args:
        type: `float_discretized`.
        num_bins: Number of bins; fewer if values repeat.
    """

    COLUMN_TYPES: ClassVar = {"float_discretized": ("float32", "int64")}
    CROSSABLE: ClassVar = True
    HAS_VALUE_NAMES: ClassVar = True

    type: Literal["float_discretized"]
    num_bins: int = Field(ge=2)

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Summarize the distribution."""
        # As float32, the type in which FeatureSpace will compare values with boundaries.
        values = column.to_numpy().astype(np.float32)
        return ColumnStatistics(rows=len(column), quantiles=QuantileSummary.of(values))

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        quantiles = data.statistics.quantiles
        assert quantiles is not None
        boundaries = quantiles.bin_boundaries(self.num_bins)
        if data.published is not None and data.published.encoded.bin_boundaries is not None:
            boundaries = data.published.encoded.bin_boundaries
        layer = keras.layers.Discretization(bin_boundaries=boundaries, name=data.layer_name)
        warning = (
            one_value_warning(data.name, f"{quantiles.values[0]:g}")
            if len(quantiles.values) == 1
            else None
        )
        encoded = self._encoded(
            data, "int32", cardinality=len(boundaries) + 1, bin_boundaries=boundaries
        )
        return self._preprocessed(data, layer, encoded, warning=warning)

    @classmethod
    def value_names(
        cls, feature: EncodedFeature, tokens: Sequence[Any], labels: Mapping[str, str]
    ) -> list[str]:
        """Name the bins by their boundaries."""
        ends = [f"{boundary:.4g}" for boundary in feature.bin_boundaries or []]
        if not ends:
            return ["all"]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
        return [f"below {ends[0]}", *between, f"{ends[-1]} and above"]
