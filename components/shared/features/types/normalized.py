"""The feature type `float_normalized`."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from components.shared.features.feature_type import (
    AdaptedFeature,
    FeatureData,
    FeatureType,
    one_value_warning,
)
from components.shared.features.statistics import ColumnStatistics


class FloatNormalized(FeatureType):
    """(value - mean) / standard deviation, over the training rows.

    Args:
        type: `float_normalized`.
    """

    COLUMN_TYPES: ClassVar = {"float_normalized": ("float32", "int64")}

    type: Literal["float_normalized"]

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Compute the mean and the squared deviations from it."""
        values = column.to_numpy().astype(np.float64)
        mean = float(values.mean())
        return ColumnStatistics(
            rows=len(column), mean=mean, squares=float(((values - mean) ** 2).sum())
        )

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        mean, variance = data.statistics.mean, data.statistics.variance
        warning = one_value_warning(data.name, f"{mean:g}") if variance == 0 else None
        if data.published is not None and data.published.encoded.mean is not None:
            mean, variance = data.published.encoded.mean, data.published.encoded.variance or 0.0
        layer = keras.layers.Normalization(
            axis=-1, mean=[mean], variance=[variance], name=data.layer_name
        )
        encoded = self._encoded(data, "float32", mean=mean, variance=variance)
        return self._preprocessed(data, layer, encoded, warning=warning)
