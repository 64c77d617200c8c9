"""`metrics.json`: the metrics of a model, or of the baselines, on the test split."""

from typing import Any, ClassVar

from components.shared.contracts.evaluation import DataCounts
from components.shared.contracts.json_file import JsonFile


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
