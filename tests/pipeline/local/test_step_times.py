"""The steps' times, as kfp keeps them with the outputs of each task."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.shared.contracts.run import StepTime
from pipeline.local.step_times import Reuse, step_times

TIMES = {"seconds": 2.5, "startup_seconds": 1.0}


def task(folder: Path, ended: float, **content: Any) -> None:
    folder.mkdir(parents=True)
    path = folder / "executor_output.json"
    path.write_text(json.dumps(content))
    os.utime(path, (ended, ended))


def artifact(**metadata: Any) -> dict[str, Any]:
    found = {"artifacts": [{"name": "a", "uri": "/work/a", "metadata": metadata}]}
    return {"artifacts": {"other": {"artifacts": [{"name": "b"}]}, "main": found}}


def test_times_are_metadata_or_parameters_and_tasks_come_as_they_ended(tmp_path: Path) -> None:
    task(tmp_path / "resolve", 1, parameterValues={"data_until": "", **TIMES})
    task(tmp_path / "for-loop-1-iteration-0" / "train", 4, **artifact(**TIMES, epochs=3))
    task(tmp_path / "for-loop-1-iteration-1" / "train", 3, **artifact(**TIMES))
    task(tmp_path / "fetch-published-2", 5, **artifact(**TIMES))
    times = step_times(tmp_path, [Reuse("ingest", 2)])
    assert [time.step for time in times] == [
        "resolve", "ingest", "train", "train", "fetch_published"
    ]  # fmt: skip
    assert times[0] == StepTime(step="resolve", **TIMES)
    assert times[1] == StepTime(step="ingest", seconds=0, startup_seconds=0, reused=True)


def test_a_component_that_drops_its_times_is_named(tmp_path: Path) -> None:
    task(tmp_path / "select-model", 1, **artifact(epochs=3))
    with pytest.raises(ValueError, match="component of select_model must return"):
        step_times(tmp_path, [])
