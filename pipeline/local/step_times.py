"""Reads the steps' times from the task outputs that kfp stores."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from components.shared.contracts.run import StepTime

# kfp 2.17 writes it for every task that runs, to <task>/ or, in a loop, <iteration>/<task>/.
_EXECUTOR_OUTPUT = "executor_output.json"


class Reuse(NamedTuple):
    """A task whose result was reused.

    Args:
        step: Its step.
        time: The time of the reuse, in seconds since 1970.
    """

    step: str
    time: float


class _Artifact(BaseModel):
    metadata: dict[str, Any] = {}


class _Artifacts(BaseModel):
    artifacts: list[_Artifact] = []


class _ExecutorOutput(BaseModel):
    """The parts of a task's outputs that can hold its times."""

    parameters: dict[str, Any] = Field({}, alias="parameterValues")
    artifacts: dict[str, _Artifacts] = {}

    def times(self) -> dict[str, float] | None:
        """Return `seconds` and `startup_seconds`, as `run_step` returned them to the component."""
        metadata = [found.metadata for each in self.artifacts.values() for found in each.artifacts]
        keys = ("seconds", "startup_seconds")
        for values in (self.parameters, *metadata):
            if all(key in values for key in keys):
                return {key: values[key] for key in keys}
        return None


def step_of(task: str) -> str:
    """Return the step of a task: kfp numbers the second task of a step, `fetch-published-2`."""
    return re.sub(r"_\d+$", "", task.replace("-", "_"))


def step_times(tasks: Path, reused: Iterable[Reuse]) -> list[StepTime]:
    """List the times of a run's tasks, in the order in which they ended.

    Args:
        tasks: kfp's folder of the run's tasks.
        reused: The tasks that did not run.

    Raises:
        ValueError: If a component does not pass its step's times on.
    """
    ended = [(found.time, StepTime(step=found.step, seconds=0, startup_seconds=0, reused=True))
             for found in reused]  # fmt: skip
    for pattern in (f"*/{_EXECUTOR_OUTPUT}", f"*/*/{_EXECUTOR_OUTPUT}"):
        for path in tasks.glob(pattern):
            times = _ExecutorOutput.model_validate_json(path.read_bytes()).times()
            step = step_of(path.parent.name)
            if times is None:
                raise ValueError(
                    f"{path}: no output has the step's times. The component of {step} must return "
                    "what run_step returns, as parameters or as metadata of an artifact."
                )
            ended.append((path.stat().st_mtime, StepTime(step=step, **times)))
    return [step for _, step in sorted(ended, key=lambda each: each[0])]
