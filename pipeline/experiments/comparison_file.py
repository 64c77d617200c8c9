"""`comparison.json`: all numbers of a comparison."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from components.shared.contracts.evaluation import DataCounts
from components.shared.contracts.json_file import JsonFile
from pipeline.experiments.plan import UNCHANGED


class Row(BaseModel):
    """A row of the table.

    Args:
        config: The config's name.
        name: The baseline's name, or the layer stack.
        change: The changes to the config, `UNCHANGED` for none.
        validation: The monitored metric on the validation split, one value for
            each seed; empty for baselines.
        metrics: By metric, one value for each seed.
        queries: Number of test queries over which recall, NDCG and MRR are means.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str
    name: str
    change: str
    validation: list[float]
    metrics: dict[str, list[float]]
    queries: int

    @property
    def label(self) -> str:
        """The row's name in the table."""
        return self.name if self.change == UNCHANGED else f"{self.name}, {self.change}"

    @property
    def is_baseline(self) -> bool:
        """Whether it is a baseline, not a model."""
        return not self.validation


class BaselineNotes(BaseModel):
    """Notes on a config's baselines.

    Args:
        settings: By baseline, the settings that the validation split chose.
        left_out: By baseline that was not measured, the reason.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, Any]
    left_out: dict[str, str]


class Comparison(JsonFile):
    """Models and baselines of several configs, measured on the same test split.

    Args:
        seeds: The seeds of the models.
        monitors: By config, the metric that is monitored on the validation split.
        data: By config, the size of its data.
        columns: By config, the metrics that are shown unless others are asked for.
        baselines: By config, notes on its baselines.
        rows: By config, baselines first.
    """

    FILE: ClassVar[str] = "comparison.json"

    seeds: list[int]
    monitors: dict[str, str]
    data: dict[str, DataCounts]
    columns: dict[str, list[str]]
    baselines: dict[str, BaselineNotes]
    rows: list[Row]

    def shown(self, config: str, metrics: Sequence[str]) -> list[str]:
        """Return the metrics to show for a config.

        Args:
            config: The config.
            metrics: The metrics that were asked for; the config's own if empty.

        Returns:
            Those of them that were measured.
        """
        measured = {name for row in self.of(config) for name in row.metrics}
        return [name for name in metrics or self.columns[config] if name in measured]

    def of(self, config: str) -> list[Row]:
        """Return the rows of a config."""
        return [row for row in self.rows if row.config == config]

    def chosen(self, config: str, change: str) -> Row | None:
        """Return the layer stack with the best mean validation metric; the test split is unseen.

        None if there is only one, and nothing to choose.
        """
        stacks = [row for row in self.of(config) if not row.is_baseline and row.change == change]
        return max(stacks, key=lambda row: fmean(row.validation)) if len(stacks) > 1 else None
