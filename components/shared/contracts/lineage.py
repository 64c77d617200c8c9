"""`lineage.json`: what a published version was made from."""

from typing import ClassVar

from pydantic import JsonValue

from components.shared.contracts.json_file import JsonFile
from components.shared.contracts.step_record import StepRecord


class Lineage(JsonFile):
    """The lineage of a published version.

    Args:
        run: The name of the run.
        config: The name of the config.
        images: Each step's image.
        parameters: The pipeline's parameters, by the config's keys.
        steps: The record of each step that the version depends on.
        unrecorded: Inputs without a record; see
            `components.shared.contracts.step_record.StepRecords`.
        revision: The git revision of the code of publish.
        data: The statistics of the tables from ingest: counts, time ranges,
            fingerprint.
        compared_with: The published version that evaluate compared it with, None
            if there was none.
        time: When it was published: ISO 8601, UTC.
    """

    FILE: ClassVar[str] = "lineage.json"

    run: str
    config: str
    images: dict[str, str]
    parameters: dict[str, JsonValue]
    steps: list[StepRecord]
    unrecorded: list[str]
    revision: str
    data: dict[str, JsonValue]
    compared_with: str | None
    time: str
