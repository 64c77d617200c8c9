"""The feature type `id`."""

from typing import ClassVar, Literal

from pydantic import Field

from components.shared.features.types.lookup import Lookup


class Id(Lookup):
    """The id of a user or an item, a string or a 64-bit integer; each id has an embedding.

    Args:
        type: `id`.
        max_tokens: Limit on the number of indices, OOV included; the most frequent
            ids are kept. No limit by default.
        missing: What happens to rows without a value. `own_index`: the missing value is
            a value like any other; if no training row has it, it is OOV. `reject`:
            ingest rejects the row.
    """

    COLUMN_TYPES: ClassVar = {"id": ("string", "int64")}
    CROSSABLE: ClassVar = True
    HOLDS_IDS: ClassVar = True

    type: Literal["id"]
    max_tokens: int | None = Field(None, ge=2)
