"""Jobs that are played, so that experiments take no time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_training import made_training

from components.shared.runtime.files import read_json, write_json
from components.train.config import stack_name

DATA = {
    "train": 1200, "validation": 100, "test": 90, "queries": 30, "relevant": 40, "candidates": 38
}  # fmt: skip


class Steps:
    """Plays the jobs: their results depend on their arguments."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.arguments: list[dict[str, Any]] = []
        self.validation: Callable[[dict[str, Any]], float] = lambda training: 0.5
        self.test: Callable[[dict[str, Any]], float] = lambda training: 0.25
        self.queries = DATA["queries"]

    def __call__(self, module: str, job: str, **arguments: Any) -> Any:
        step = "evaluate" if job.startswith("measure") else job
        assert module.rpartition(".")[0] == f"components.{step}"
        self.jobs.append(job)
        self.arguments.append(arguments)
        if job in ("ingest", "adapt"):
            Path(arguments[{"ingest": "tables", "adapt": "encoded"}[job]]).mkdir()
            return None
        if job == "train":
            Path(arguments["model"]).mkdir()
            write_json(arguments, Path(arguments["model"]) / "arguments.json")
            made_training(
                layer_sizes=stack_name(arguments["layer_sizes"]),
                seed=arguments["seed"],
                validation=self.validation(arguments),
                best_epoch=3,
            ).write(arguments["model"])
            return None
        names = [f"{metric}_{p}" for metric in ("hit_rate_at_20", "ndcg_at_20")
                 for p in ("raw", "filtered")]  # fmt: skip
        if job == "measure_model":
            value = self.test(read_json(Path(arguments["model"]) / "arguments.json"))
            return {"queries": self.queries, "metrics": dict.fromkeys(names, value)}
        return {
            "data": DATA,
            "metrics": {"most_popular": dict.fromkeys(names, 0.125)},
            "settings": {},
            "left_out": {"ease": "too many candidates"},
        }

    def took(self) -> list[str]:
        """Return the jobs since the last call."""
        jobs, self.jobs = self.jobs, []
        return jobs
