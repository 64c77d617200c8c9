"""The feature types `integer_categorical` and `string_categorical`."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.feature_type import shown_token
from components.shared.features.types.lookup import Lookup


class Categorical(Lookup):
    """A category. Index 0 is OOV; after it, the most frequent value has the lowest index.

    Args:
        type: `integer_categorical` or `string_categorical`, as the column's type.
        max_tokens: Limit on the number of indices, OOV included; the most frequent
            values are kept. No limit by default.
        missing: What happens to rows without a value. `own_index`: the missing value is
            a category like any other; if no training row has it, it is OOV. `reject`:
            ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {
        "integer_categorical": ("int64",),
        "string_categorical": ("string",),
    }
    CROSSABLE: ClassVar = True
    HAS_VALUE_NAMES: ClassVar = True

    type: Literal["integer_categorical", "string_categorical"]
    max_tokens: int | None = Field(None, ge=2)

    @classmethod
    def value_names(
        cls, feature: EncodedFeature, tokens: Sequence[Any], labels: Mapping[str, str]
    ) -> list[str]:
        """Name the indices by the values' labels, or the values themselves."""
        return ["not seen in training", *(labels.get(str(t), shown_token(t)) for t in tokens)]
