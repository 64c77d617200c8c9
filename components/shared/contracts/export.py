"""`export.json`: what an export is and which queries it takes."""

from typing import ClassVar

from components.shared.contracts.feature_spec import RawInput
from components.shared.contracts.json_file import JsonFile


class ExportInfo(JsonFile):
    """The description of an export.

    Args:
        candidates: Number of candidates.
        dimension: Width of their embeddings.
        query_inputs: The raw query features that the SavedModel takes.
        query_id: The input that is the user's id, None if the model takes no id.
        layer_sizes: The dense layers of both towers, e.g. `64-32`.
        monitor: The metric by which the model was selected.
        validation: Its value on the validation split.
    """

    FILE: ClassVar[str] = "export.json"

    candidates: int
    dimension: int
    query_inputs: list[RawInput]
    query_id: str | None
    layer_sizes: str
    monitor: str
    validation: float
