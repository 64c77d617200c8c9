"""Lookup of one value per row in a vocabulary: what ids and categories have in common."""

from typing import Literal

import numpy as np
import pyarrow as pa

from components.shared.features.feature_type import (
    AdaptedFeature,
    FeatureData,
    FeatureType,
    one_value_warning,
    shown_token,
)
from components.shared.features.statistics import ColumnStatistics, count_values, is_missing

# Keras's names for special tokens. Vocabularies include them: a lookup layer of Keras 3.15 that
# gets a vocabulary without them takes a first value of -1 or "[UNK]" for its OOV token.
OOV_INTEGER, OOV_STRING, PADDING_STRING = -1, "[UNK]", ""
# Indices that max_tokens counts, as in Keras.
OOV, PADDING = 1, 1


class Lookup(FeatureType):
    """A value per row, looked up in a vocabulary; index 0 is OOV.

    Args:
        max_tokens: Limit on the number of indices, OOV included; the most frequent
            values are kept. No limit by default.
        missing: What happens to rows without a value. `own_index`: the missing value is
            a value like any other; if no training row has it, it is OOV. `reject`:
            ingest rejects the row.
    """

    max_tokens: int | None = None
    missing: Literal["own_index", "reject"] = "own_index"

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Count the values, the missing one as well."""
        missing = int(is_missing(column).sum())
        return ColumnStatistics(
            rows=len(column) - missing, counts=count_values(column), missing=missing
        )

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        known = data.vocabulary(self.max_tokens, OOV)
        tokens = known["token"].to_numpy(zero_copy_only=False)
        if data.column.dtype == "string":
            layer = keras.layers.StringLookup(
                vocabulary=[OOV_STRING, *tokens], num_oov_indices=1, name=data.layer_name
            )
        else:
            layer = keras.layers.IntegerLookup(
                vocabulary=np.concatenate([[OOV_INTEGER], tokens]).astype(np.int64),
                num_oov_indices=1,
                name=data.layer_name,
            )
        warning = (
            one_value_warning(data.name, shown_token(tokens[0])) if known.num_rows == 1 else None
        )
        encoded = self._encoded(data, "int32", cardinality=known.num_rows + OOV, oov_index=0)
        return self._preprocessed(data, layer, encoded, known, warning)
