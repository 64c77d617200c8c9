"""The feature types `integer_hashed` and `string_hashed`."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType
from components.shared.features.statistics import ColumnStatistics, is_missing


class Hashed(FeatureType):
    """A category, hashed into a fixed number of indices: no vocabulary, some collisions.

    Args:
        type: `integer_hashed` or `string_hashed`, as the column's type.
        num_bins: Number of indices.
        missing: What happens to rows without a value. `own_index`: the missing value is
            hashed like any other. `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"integer_hashed": ("int64",), "string_hashed": ("string",)}
    CROSSABLE: ClassVar = True

    type: Literal["integer_hashed", "string_hashed"]
    num_bins: int = Field(ge=2)
    missing: Literal["own_index", "reject"] = "own_index"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Count the rows with and without a value."""
        missing = int(is_missing(column).sum())
        return ColumnStatistics(rows=len(column) - missing, missing=missing)

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        layer = keras.layers.Hashing(num_bins=self.num_bins, name=data.layer_name)
        return self._preprocessed(
            data, layer, self._encoded(data, "int32", cardinality=self.num_bins)
        )
