"""`metrics.json`: the metrics of a model, or of the baselines, on the test split."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from components.shared.contracts.json_file import JsonFile


class DataCounts(BaseModel):
    """The size of the data.

    Args:
        train: Rows of the training split.
        validation: Rows of the validation split.
        test: Rows of the test split.
        queries: Distinct queries of the test split.
        relevant: Relevant rows of the test split.
        candidates: Items in the catalogue.
        relevant_above: The label above which a row is relevant; None if every
            row is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: int
    validation: int
    test: int
    queries: int
    relevant: int
    candidates: int
    relevant_above: float | None = None


class ModelMetrics(JsonFile):
    """The metrics of a model.

    Args:
        queries: Number of queries over which recall, NDCG and MRR are means.
        metrics: The value of each metric, by its name with protocol.
    """

    FILE: ClassVar[str] = "metrics.json"

    queries: int
    metrics: dict[str, float]


class BaselineMetrics(JsonFile):
    """The metrics of the baselines.

    Args:
        data: The size of the data.
        metrics: By baseline, the value of each metric.
        settings: By baseline, the settings that the validation split chose.
        left_out: By baseline that was not measured, the reason.
    """

    FILE: ClassVar[str] = "metrics.json"

    data: DataCounts
    metrics: dict[str, dict[str, float]]
    settings: dict[str, Any]
    left_out: dict[str, str]
