"""Explains why a run has failed."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.local.output import RunOutput, without_colours
from pipeline.local.step_times import step_of


class RunFailed(Exception):
    """A step failed. The message names it and says why."""


def explain_failure(error: str, output: RunOutput, log: Path, containers: Sequence[str]) -> str:
    """Describe a failed run.

    Args:
        error: The error as kfp reports it.
        output: The run's output.
        log: The file with all of it.
        containers: How the containers that failed have ended.

    Returns:
        The step and its own error message; if it has none, its last output.
    """
    failed = without_colours(error).partition("Inner task failed: ")[2] or error
    step = output.failed_step or step_of(failed.strip("'. ").split("'")[0])
    if output.errors:
        return f"{step}: " + "\n".join(output.errors)
    reason = f": {containers[0]}." if containers else " failed unexpectedly."
    lines = "\n".join(line for seen in output.last_lines.values() for line in seen)
    return f"{step}{reason} Its last output:\n{lines}\nThe whole log: {log}"
