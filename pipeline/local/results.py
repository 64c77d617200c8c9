"""The output folder of runs on this machine, and a run's results in it.

<output>/
    <name>/<time>/    a finished run's results
    latest            a link to the newest of them
    work/             artifacts and the cache
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.publication import Publication
from components.shared.contracts.run import Run, StepTime
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import written_aside
from pipeline.config.pipeline import PipelineConfig


@dataclass(frozen=True)
class RunResult:
    """The results of a run.

    Args:
        folder: Their folder: `report.html`, `export/`, `evaluation/`, `config.yaml`,
            `run.json`, `run.log`.
        evaluation: The content of `evaluation/evaluation.json`.
        run: The content of `run.json`.
    """

    folder: Path
    evaluation: Evaluation
    run: Run

    @property
    def publication(self) -> Publication:
        """The version that was published, or the reasons why none was."""
        return self.run.publication

    @property
    def steps(self) -> list[StepTime]:
        """The time of each task."""
        return self.run.steps

    @property
    def seconds(self) -> float:
        """Wall time of the whole run."""
        return self.run.seconds

    @property
    def id(self) -> str:
        """The name by which commands take the run: `<name>/<time>`."""
        return f"{self.run.name}/{self.run.started}"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def to_json(self) -> dict[str, Any]:
        """Return what `run --json` prints."""
        evaluation = self.evaluation.model_dump(mode="json")
        return {
            "folder": self.folder,
            "report": self.report,
            "export": self.folder / "export",
            "good_enough": self.evaluation.headline.good_enough,
            "headline": evaluation["headline"],
            "metrics": evaluation["metrics"],
            "publication": self.publication.model_dump(mode="json"),
            "steps": [step.model_dump() for step in self.steps],
            "seconds": self.seconds,
        }


def prepare_output(output: str) -> Path:
    """Make the output folder.

    Returns:
        Its absolute path.

    Raises:
        InputError: If it cannot be used.
    """
    root = Path(output).resolve()
    check_path(root)
    try:
        (root / "work").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {root}: {error.strerror}. Choose another folder.") from error
    if not os.access(root / "work", os.W_OK):
        raise InputError(f"--output {root}: the folder is not writable. Choose another folder.")
    return root


def check_path(root: Path) -> None:
    """Raise `InputError` if kfp cannot work in an output folder of this path."""
    if "python3" in str(root):
        # kfp 2.17 replaces that word in the whole command line of a step.
        raise InputError(
            f"--output {root}: kfp cannot work in a path that contains 'python3'. Choose another "
            "folder."
        )


def save_results(
    root: Path, run: Run, config: PipelineConfig, outputs: Mapping[str, Any], log: Path
) -> RunResult:
    """Gather a run's results and point `latest` at them.

    Args:
        root: The output folder.
        run: The run.
        config: Its config.
        outputs: The pipeline's outputs, as kfp returns them.
        log: The file with the run's output.
    """
    folder = root / run.name / run.started
    with written_aside(folder) as partial:
        shutil.copytree(outputs["export"].path, partial / "export")
        shutil.copytree(outputs["evaluation"].path, partial / "evaluation")
        shutil.copyfile(outputs["report"].path, partial / "report.html")
        shutil.copyfile(log, partial / "run.log")
        (partial / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        run.write(partial)
    _point(root / "latest", folder)
    return RunResult(folder, Evaluation.read(folder / "evaluation"), run)


def _point(link: Path, target: Path) -> None:
    """Make a symbolic link, or change its target, in one step."""
    aside = link.with_name(link.name + ".partial")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target.relative_to(link.parent))
    aside.replace(link)
