"""The feature type `float`."""

from typing import ClassVar, Literal

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType


class Float(FeatureType):
    """A number, unchanged.

    Args:
        type: `float`.
    """

    COLUMN_TYPES: ClassVar = {"float": ("float32", "int64")}

    type: Literal["float"]

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        return AdaptedFeature(
            keras.utils.FeatureSpace.float(name=data.name), self._encoded(data, "float32")
        )
