from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from components.shared.contracts.metric import Metric


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("hit_rate_at_100_filtered", Metric("hit_rate", 100, "filtered")),
        ("ndcg_at_10_raw", Metric("ndcg", 10, "raw")),
        ("coverage_at_50", Metric("coverage", 50)),
        ("cold_recall_at_5_filtered", Metric("recall", 5, "filtered", cold=True)),
    ],
)
def test_a_name_is_read_and_written_back(name: str, metric: Metric) -> None:
    assert Metric.parse(name) == metric
    assert str(metric) == name


@pytest.mark.parametrize(
    "name",
    ["", "hit_rate", "hit_rate_at_", "hit_rate_at_0_raw", "hit_rate_at_010_raw", "auc_at_5_raw",
     "hit_rate_at_5_row", "hit_rate_at_5_", "hit_rate_at_5_raw ", "Hit_rate_at_5_raw"],
)  # fmt: skip
def test_what_is_not_a_metric_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. hit_rate_at_100_filtered"):
        Metric.parse(name)


def test_a_metric_by_another_protocol_is_a_new_one() -> None:
    metric = Metric.parse("hit_rate_at_100_filtered")

    assert str(metric.by("raw")) == "hit_rate_at_100_raw"
    assert metric.without_protocol == "hit_rate_at_100"
    assert str(metric) == "hit_rate_at_100_filtered"


class _Config(BaseModel):
    headline: Metric = Metric("hit_rate", 100, "filtered")


def test_a_config_reads_and_writes_it_by_its_name() -> None:
    config = _Config.model_validate({"headline": "mrr_at_20_raw"})

    assert config.headline == Metric("mrr", 20, "raw")
    assert config.model_dump(mode="json") == {"headline": "mrr_at_20_raw"}
    assert _Config.model_json_schema()["properties"]["headline"]["type"] == "string"


@pytest.mark.parametrize("value", ["coverage_at_5_raw", "cold_mrr_at_5_raw", "mrr_at_5", 7, None])
def test_a_config_takes_ranked_metrics_with_a_protocol_only(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"e\.g\. hit_rate_at_100_filtered"):
        _Config.model_validate({"headline": value})
