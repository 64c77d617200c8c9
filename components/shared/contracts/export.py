"""`export.json`: what an export is and which queries it takes."""

from typing import ClassVar

from pydantic import Field

from components.shared.contracts.feature_spec import RawInput
from components.shared.contracts.json_file import JsonFile


class ExportInfo(JsonFile):
    """The description of an export.

    Args:
        candidates: Number of candidates.
        dimension: Width of their embeddings.
        query_inputs: The raw query features that the SavedModel takes.
        query_id: The input that is the user's id, None if the model takes no id.
        item_bias: Whether the last number of each embedding is the item's bias. It is
            part of the item's scores, but says nothing about which items are similar.
        popularity: Whether there is one more such number after it, the item's popularity.
        layer_sizes: The dense layers of both towers, e.g. `64-32`.
        monitor: The metric by which the model was selected.
        validation: Its value on the validation split.
    """

    FILE: ClassVar[str] = "export.json"

    candidates: int
    dimension: int
    query_inputs: list[RawInput]
    query_id: str | None
    item_bias: bool = Field(False, exclude_if=lambda item_bias: not item_bias)
    popularity: bool = Field(False, exclude_if=lambda popularity: not popularity)
    layer_sizes: str
    monitor: str
    validation: float

    @property
    def biases(self) -> int:
        """How many of an embedding's last numbers are no part of an item's direction."""
        return self.item_bias + self.popularity
