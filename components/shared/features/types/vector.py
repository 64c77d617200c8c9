"""The feature type `vector`."""

from typing import ClassVar, Literal

import pyarrow as pa

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType
from components.shared.features.statistics import ColumnStatistics, longest_list


class Vector(FeatureType):
    """A list of numbers from a text or image model, the same number of them in each row.

    The numbers stay as they are; the tower projects them. So an item without a training
    row is near the items whose vectors are like its own.

    Args:
        type: `vector`.
        unit_length: Whether vectors are divided by their length (L2 norm).
        missing: What happens to rows without a list, or with an empty one. `zeros`: the
            vector is 0. `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"vector": ("list<float32>",)}

    type: Literal["vector"]
    unit_length: bool = False
    missing: Literal["zeros", "reject"] = "zeros"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Find the length of the vectors, all of which have the same or are missing."""
        return ColumnStatistics(rows=len(column), longest=longest_list(column))

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        width = data.column.width or data.statistics.longest
        if not width:
            raise data.no_value_error()
        layer = (
            keras.layers.UnitNormalization(name=data.layer_name)
            if self.unit_length
            else keras.layers.Identity(name=data.layer_name)
        )
        warning = (
            None
            if data.statistics.longest
            else f"{data.name} has no vector in any training row: the model cannot learn from it."
        )
        return self._preprocessed(
            data, layer, self._encoded(data, "float32", width=width), warning=warning
        )
