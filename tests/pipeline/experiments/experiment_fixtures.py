"""Fixtures for experiments: played jobs, and configs in files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from played_jobs import Steps
from tiny_config import tiny

from pipeline.experiments import trainings
from pipeline.experiments.trainings import Experiments


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(trainings, "code_fingerprint", str)
    monkeypatch.setattr(
        Experiments, "_run", lambda self, *names, **arguments: steps(*names, **arguments)
    )
    return steps


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    """Write a config and return its path."""

    def of(**changes: Any) -> str:
        values = tiny(**changes)
        path = tmp_path / f"{values.name}.yaml"
        path.write_text(values.to_yaml())
        return str(path)

    return of
