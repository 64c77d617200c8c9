"""The feature type `float_rescaled`."""

from typing import ClassVar, Literal

from components.shared.features.feature_type import AdaptedFeature, FeatureData
from components.shared.features.types.numeric import Numeric


class FloatRescaled(Numeric):
    """value * scale + offset.

    Args:
        type: `float_rescaled`.
        scale: Factor.
        offset: Added after scaling.
        missing: What happens to rows without a value. `mean`: the missing value is
            replaced by the mean of the training rows. `indicator`: it is replaced
            likewise, and the feature has a second value, 1 if the first is missing.
            `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"float_rescaled": ("float32", "int64")}

    type: Literal["float_rescaled"]
    scale: float = 1.0
    offset: float = 0.0

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        layer = keras.layers.Rescaling(self.scale, self.offset)
        return self._number(data, layer, self._encoded(data, "float32"), data.statistics.mean)
