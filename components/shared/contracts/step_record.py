"""What every step records about itself in its output, from which publish writes the lineage.

A step calls `record_step` once for each output folder. The folder then holds the step's own
arguments and the records of all steps before it, each once, so the records that arrive at publish
are the complete history of a model. A record has no time and no path of the machine's work
folder: the same step with the same inputs writes the same bytes.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, JsonValue

from components.shared.contracts.json_file import JsonFile
from components.shared.storage.credentials import refuse_credentials

# The git revision of the code: set by the images, and by the local runner.
REVISION = "DEEP_RETRIEVAL_REVISION"


class StepRecord(BaseModel):
    """One execution of a step.

    Args:
        step: The step's name.
        arguments: The job's arguments as JSON values, without the paths of
            inputs and outputs.
        revision: The git revision of the code, `unknown` if the environment
            does not say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    arguments: dict[str, JsonValue]
    revision: str


class StepRecords(JsonFile):
    """The step that wrote a folder, and all steps before it.

    Args:
        steps: Each execution once, after those that it depends on; the last one
            wrote the folder.
        unrecorded: Inputs without a record, as `<step>.<input>`: made by hand, or
            by a version of this pipeline that wrote none.
    """

    FILE: ClassVar[str] = "step_records.json"

    steps: list[StepRecord]
    unrecorded: list[str]

    @classmethod
    def of_inputs(cls, step: str, inputs: Mapping[str, str | Iterable[str] | None]) -> Self:
        """Merge the records of a step's inputs.

        Args:
            step: The step that takes them, for `unrecorded`.
            inputs: Folders by the name of the input; a list of folders, or None
                for an input that the step does without.

        Raises:
            InputError: If a record cannot be read.
        """
        steps: list[StepRecord] = []
        unrecorded: list[str] = []
        for name, folders in inputs.items():
            for folder in [folders] if isinstance(folders, str) else folders or []:
                if not (Path(folder) / cls.FILE).is_file():
                    unrecorded.append(f"{step}.{name}")
                    continue
                records = cls.read(folder)
                steps += [record for record in records.steps if record not in steps]
                unrecorded += records.unrecorded
        return cls(steps=steps, unrecorded=list(dict.fromkeys(unrecorded)))

    def of(self, step: str) -> list[StepRecord]:
        """Return the executions of a step."""
        return [record for record in self.steps if record.step == step]


def record_step(
    folder: str | os.PathLike[str],
    step: str,
    arguments: Mapping[str, Any],
    inputs: Mapping[str, str | Iterable[str] | None] | None = None,
) -> None:
    """Record a step in its output folder.

    Args:
        folder: The output folder.
        step: The step's name.
        arguments: The job's arguments as JSON values, without the paths of
            inputs and outputs.
        inputs: The input folders by the job's names for them; see
            `StepRecords.of_inputs`.

    Raises:
        InputError: If an argument is a URL with credentials, or an input's
            record cannot be read.

    Example:
    ```python
    record_step(folder, "ingest", {"seed": 7})
    assert StepRecords.read(folder).steps[-1].arguments == {"seed": 7}
    ```
    """
    refuse_credentials(dict(arguments), step)
    before = StepRecords.of_inputs(step, inputs or {})
    own = StepRecord(
        step=step, arguments=dict(arguments), revision=os.environ.get(REVISION, "unknown")
    )
    StepRecords(steps=[*before.steps, own], unrecorded=before.unrecorded).write(folder)
