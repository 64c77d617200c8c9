"""What the feature types share whose numbers stay numbers: `float` and its kin."""

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType
from components.shared.features.statistics import ColumnStatistics, present_numbers


class Numeric(FeatureType):
    """A number that stays a number.

    Args:
        missing: What happens to rows without a value. `mean`: the missing value is
            replaced by the mean of the training rows. `indicator`: it is replaced
            likewise, and the feature has a second value, 1 if the first is missing.
            `reject`: ingest rejects the row.
    """

    missing: Literal["mean", "indicator", "reject"] = "mean"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Compute the mean of the values and the squared deviations from it."""
        values = present_numbers(column).astype(np.float64)
        missing = len(column) - len(values)
        if not len(values):
            return ColumnStatistics(missing=missing)
        mean = float(values.mean())
        squares = float(((values - mean) ** 2).sum())
        return ColumnStatistics(rows=len(values), mean=mean, squares=squares, missing=missing)

    def _number(
        self,
        data: FeatureData,
        layer: Any,
        encoded: EncodedFeature,
        fill: float,
        warning: str | None = None,
    ) -> AdaptedFeature:
        """Return the feature whose missing values are filled before the layer sees them.

        They are filled for `reject` as well, since a query may have one.
        """
        from components.shared.features.number_layer import NumberOrMissing

        indicator = self.missing == "indicator"
        filled = NumberOrMissing(fill, layer, indicator=indicator, name=data.layer_name)
        encoded = encoded.model_copy(update={"width": 2}) if indicator else encoded
        return self._preprocessed(data, filled, encoded, warning=warning)
