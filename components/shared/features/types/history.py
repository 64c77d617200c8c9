"""The feature type `history`."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType
from components.shared.features.statistics import ColumnStatistics, longest_list
from components.shared.features.types.item_lookup import item_lookup
from components.shared.features.types.lookup import OOV


class History(FeatureType):
    """A user's previous items; the candidate tower's embeddings of them are averaged.

    It shares the vocabulary of the candidate feature of type `id`, so that an index
    means the same item in both towers. Items that are not in this vocabulary count
    as padding.

    Args:
        type: `history`.
        max_values: Maximum number of items that are kept of a row, the latest
            first; by default `ingest.history_length`, or the length of the longest
            row if the column is the log's own.
        missing: What happens to rows without a value. `empty`: it is an empty history.
            `reject`: ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"history": ("list<string>",)}
    HOLDS_IDS: ClassVar = True
    QUERY_ONLY: ClassVar = "it holds a user's items; for an item, use multi_categorical"

    type: Literal["history"]
    max_values: int | None = Field(None, ge=1)
    missing: Literal["empty", "reject"] = "empty"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Find the longest list."""
        return ColumnStatistics(rows=len(column), longest=longest_list(column))

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        assert data.items is not None
        layer, known = item_lookup(data)
        longest = max(data.statistics.longest, data.published_width, 1)
        encoded = self._encoded(
            data,
            "int32",
            width=self.max_values or data.column.width or longest,
            cardinality=known.num_rows + OOV,
            padding_index=0,
            oov_index=0,
            shared_with=data.items.name,
        )
        warning = (
            None
            if data.statistics.longest
            else f"{data.name} has no item in any training row: it cannot tell rows apart."
        )
        return self._preprocessed(data, layer, encoded, known, warning)
