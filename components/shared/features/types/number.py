"""The feature type `float`."""

from typing import ClassVar, Literal

from components.shared.features.feature_type import AdaptedFeature, FeatureData
from components.shared.features.types.numeric import Numeric


class Float(Numeric):
    """A number, unchanged.

    Args:
        type: `float`.
        missing: What happens to rows without a value. `mean`: the missing value is
            replaced by the mean of the training rows. `indicator`: it is replaced
            likewise, and the feature has a second value, 1 if the first is missing.
            `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"float": ("float32", "int64")}

    type: Literal["float"]

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        return self._number(data, None, self._encoded(data, "float32"), data.statistics.mean)
