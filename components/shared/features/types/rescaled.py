"""The feature type `float_rescaled`."""

from typing import ClassVar, Literal

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType


class FloatRescaled(FeatureType):
    """value * scale + offset.

    Args:
        type: `float_rescaled`.
        scale: Factor.
        offset: Added after scaling.
    """

    COLUMN_TYPES: ClassVar = {"float_rescaled": ("float32", "int64")}

    type: Literal["float_rescaled"]
    scale: float = 1.0
    offset: float = 0.0

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        layer = keras.layers.Rescaling(self.scale, self.offset, name=data.layer_name)
        return self._preprocessed(data, layer, self._encoded(data, "float32"))
