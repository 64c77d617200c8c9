"""The lookup of a user's items in the vocabulary of the items' ids."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.shared.features.feature_type import FeatureData
from components.shared.features.types.lookup import OOV_STRING


def item_lookup(data: FeatureData) -> tuple[Any, pa.Table]:
    """Return the preprocessor of a list of items, and its vocabulary.

    Args:
        data: What the feature is built from, with the items' ids.

    Returns:
        A layer that maps ids as strings to the indices of the candidate feature, and
        anything else to 0; `token`, `count` in the order of the indices, tokens as
        strings.
    """
    import keras

    assert data.items is not None
    counts = data.items.vocabulary
    known = counts.set_column(0, "token", pc.cast(counts["token"], pa.string()))
    # Lists are padded with "", which is in no vocabulary of ids: like every unknown item, it gets
    # index 0.
    layer = keras.layers.StringLookup(
        vocabulary=[OOV_STRING, *known["token"].to_pylist()],
        num_oov_indices=1,
        name=data.layer_name,
    )
    return layer, known
