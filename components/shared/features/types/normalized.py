"""The feature type `float_normalized`."""

from typing import ClassVar, Literal

from components.shared.features.feature_type import (
    AdaptedFeature,
    FeatureData,
    one_value_warning,
)
from components.shared.features.types.numeric import Numeric


class FloatNormalized(Numeric):
    """(value - mean) / standard deviation, over the training rows.

    Args:
        type: `float_normalized`.
        missing: What happens to rows without a value. `mean`: the missing value is
            replaced by the mean of the training rows. `indicator`: it is replaced
            likewise, and the feature has a second value, 1 if the first is missing.
            `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"float_normalized": ("float32", "int64")}

    type: Literal["float_normalized"]

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        mean, variance = data.statistics.mean, data.statistics.variance
        warning = one_value_warning(data.name, f"{mean:g}") if variance == 0 else None
        if data.published is not None and data.published.encoded.mean is not None:
            mean, variance = data.published.encoded.mean, data.published.encoded.variance or 0.0
        layer = keras.layers.Normalization(axis=-1, mean=[mean], variance=[variance])
        encoded = self._encoded(data, "float32", mean=mean, variance=variance)
        return self._number(data, layer, encoded, mean, warning)
