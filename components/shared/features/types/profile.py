"""The feature type `profile`."""

from typing import ClassVar, Literal

from pydantic import Field

from components.shared.features.feature_type import AdaptedFeature, FeatureData, FeatureType
from components.shared.features.types.item_lookup import item_lookup
from components.shared.features.types.lookup import OOV

_MOST_VALUES = 1000


class Profile(FeatureType):
    """The set of the items that a user interacted with; its name must be `profile`.

    It is not a column of the log: it consists of the user's interactions in the splits
    before. The profile of a training row is the user's training split without the row's own
    item; in validation it is the training split, in the test the training and the
    validation split, and in the SavedModel an input. A user whom the training
    has not seen is thus served by their items, without a new training.

    It shares the vocabulary of the candidate feature of type `id`. Items that are not in
    this vocabulary are left out.

    Args:
        type: `profile`.
        max_values: Maximum number of items that are kept of a user, the latest ones; by
            default the number of items in the longest profile of the training split, at
            most 1000.
        missing: `empty`: the profile of a user without interactions is empty.
    """

    COLUMN_TYPES: ClassVar = {"profile": ("list<string>",)}
    HAS_COLUMN: ClassVar = False
    QUERY_ONLY: ClassVar = "it holds a user's items; for an item, use multi_categorical"

    type: Literal["profile"]
    max_values: int | None = Field(None, ge=1)
    missing: Literal["empty"] = "empty"

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        assert data.items is not None
        layer, known = item_lookup(data)
        encoded = self._encoded(
            data,
            "int32",
            width=self.max_values or min(data.statistics.longest, _MOST_VALUES),
            cardinality=known.num_rows + OOV,
            padding_index=0,
            oov_index=0,
        )
        return self._preprocessed(data, layer, encoded, known)
