"""The lineage of a version, composed from the records that come with publish's inputs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue

from components.shared.contracts.lineage import Lineage
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.step_record import REVISION, StepRecords

# The pipeline's parameters by the config's keys: the step that takes each, and its argument.
_PARAMETERS = {
    "source": ("ingest", "source"),
    "source_fingerprint": ("ingest", "source_fingerprint"),
    "data_until": ("ingest", "data_until"),
    "ingest": ("ingest", "config"),
    "table_needs": ("ingest", "needs"),
    "drift": ("check_data", "config"),
    "features": ("adapt", "features"),
    "adapt": ("adapt", "config"),
    "train": ("train", "config"),
    "evaluate": ("evaluate", "config"),
    "seed": ("ingest", "seed"),
}


@dataclass(frozen=True)
class Origin:
    """The facts about a run that are in none of its artifacts.

    Args:
        run: The name of the run.
        config: The name of the config.
        images: Each step's image.
        warm_start: Whether the run was to begin from the published model; the
            artifacts of a run with nothing published look the same either way.
    """

    run: str
    config: str
    images: dict[str, str]
    warm_start: bool


def compose_lineage(
    artifacts: Mapping[str, str], origin: Origin, compared_with: str | None
) -> Lineage:
    """Compose the lineage of the version that publish is about to add.

    Args:
        artifacts: The folders that publish takes, by name; `tables` is one of
            them.
        origin: The facts about the run.
        compared_with: The published version that evaluate compared it with.

    Raises:
        InputError: If a record cannot be read.
    """
    records = StepRecords.of_inputs("publish", artifacts)
    return Lineage(
        run=origin.run,
        config=origin.config,
        images=origin.images,
        parameters={**_parameters(records), "warm_start": origin.warm_start},
        steps=records.steps,
        unrecorded=records.unrecorded,
        revision=os.environ.get(REVISION, "unknown"),
        data=Statistics.read(artifacts["tables"]).model_dump(mode="json"),
        compared_with=compared_with,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _parameters(records: StepRecords) -> dict[str, JsonValue]:
    parameters = {
        name: executed[0].arguments[argument]
        for name, (step, argument) in _PARAMETERS.items()
        if (executed := records.of(step))
    }
    stacks = [record.arguments["layer_sizes"] for record in records.of("train")]
    return {**parameters, "layer_stacks": stacks}
