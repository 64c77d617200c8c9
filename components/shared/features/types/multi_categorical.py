"""The feature type `multi_categorical`."""

from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType
from components.shared.features.statistics import ColumnStatistics, count_values, longest_list
from components.shared.features.types.lookup import (
    OOV,
    OOV_STRING,
    PADDING,
    PADDING_STRING,
)


class MultiCategorical(FeatureType):
    """Several categories per row, padded; their embeddings are averaged.

    Args:
        type: `multi_categorical`.
        max_tokens: Limit on the number of indices, padding and OOV included; the
            most frequent values are kept. No limit by default.
        max_values: Maximum number of values that are kept of a row; by default,
            that of the longest row.
        missing: What happens to rows without a value. `empty`: it is an empty list.
            `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"multi_categorical": ("list<string>",)}

    type: Literal["multi_categorical"]
    max_tokens: int | None = Field(None, ge=3)
    max_values: int | None = Field(None, ge=1)
    missing: Literal["empty", "reject"] = "empty"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Count the values, and find the longest list."""
        values = pc.list_flatten(column)
        # Lists are padded with the empty string, so it is not a value. This drops nulls as well.
        counts = count_values(values.filter(pc.not_equal(values, PADDING_STRING)))
        return ColumnStatistics(rows=len(column), counts=counts, longest=longest_list(column))

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        special = PADDING + OOV
        known = data.vocabulary(self.max_tokens, special)
        layer = keras.layers.StringLookup(
            vocabulary=[PADDING_STRING, OOV_STRING, *known["token"].to_pylist()],
            mask_token=PADDING_STRING,
            num_oov_indices=1,
            name=data.layer_name,
        )
        encoded = self._encoded(
            data,
            "int32",
            width=self.max_values or max(data.statistics.longest, data.published_width),
            cardinality=known.num_rows + special,
            padding_index=0,
            oov_index=1,
        )
        return self._preprocessed(data, layer, encoded, known)
