"""An output folder with made-up runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from made_evaluation import EVALUATION
from tiny_config import tiny

from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.publication import Publication
from components.shared.contracts.run import Run, StepTime
from pipeline.local.results import RunResult, save_results

FIRST, SECOND = "2026-11-24T03-10-00-000Z", "2026-11-25T03-10-00-000Z"


def made_run(
    root: Path,
    started: str = FIRST,
    name: str = "tiny",
    *,
    headline: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    **config: Any,
) -> RunResult:
    """Save a run's results as `run` does.

    Args:
        root: The output folder.
        started: The time of the run.
        name: The config's name.
        headline: Changes to the evaluation's headline.
        data: Changes to the evaluation's counts.
        **config: Changes to the tiny config.
    """
    root = root.resolve()
    work = root / "work" / "made"
    for part in ("export", "evaluation"):
        (work / part).mkdir(parents=True, exist_ok=True)
    evaluation = Evaluation.model_validate(
        EVALUATION
        | {"headline": EVALUATION["headline"] | (headline or {})}
        | {"data": EVALUATION["data"] | (data or {})}
    )
    evaluation.write(work / "evaluation")
    (work / "report").write_text("<html>")
    (work / "log").write_text("all output")
    run = Run(
        name=name,
        started=started,
        runner="subprocess",
        seconds=63.0,
        good_enough=evaluation.headline.good_enough,
        publication=Publication(version="", location="", reasons=["publish.location is not set"]),
        steps=[StepTime(step="ingest", seconds=2.0, startup_seconds=1.5)],
    )
    outputs = {
        part: SimpleNamespace(path=str(work / part)) for part in ("export", "evaluation", "report")
    }
    return save_results(root, run, tiny(name=name, **config), outputs, work / "log")
