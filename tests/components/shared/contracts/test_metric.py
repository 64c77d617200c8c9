from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from components.shared.contracts.metric import TOP_100_ACCURACY, AnyMetric, Metric


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("hit_rate_at_100_filtered", Metric("hit_rate", 100, "filtered")),
        ("ndcg_at_10_raw", Metric("ndcg", 10, "raw")),
        ("coverage_at_50", Metric("coverage", 50)),
        ("debiased_ndcg_at_50_raw", Metric("debiased_ndcg", 50, "raw")),
        ("cold_recall_at_5_filtered", Metric("recall", 5, "filtered", cold=True)),
        ("top_100_accuracy", TOP_100_ACCURACY),
        ("top_100_accuracy_raw", TOP_100_ACCURACY.by("raw")),
    ],
)
def test_a_name_is_read_and_written_back(name: str, metric: Metric) -> None:
    assert Metric.parse(name) == metric
    assert str(metric) == name


@pytest.mark.parametrize(
    "name",
    ["", "hit_rate", "hit_rate_at_", "hit_rate_at_0_raw", "hit_rate_at_010_raw", "auc_at_5_raw",
     "hit_rate_at_5_row", "hit_rate_at_5_", "hit_rate_at_5_raw ", "Hit_rate_at_5_raw",
     "top_100_accuracy_at_100", "top_10_accuracy",
     "precision_at_5_raw", "recall_at_5_seen", " recall_at_5_raw", "recall_at_5_raw\n"],
)  # fmt: skip
def test_a_name_that_is_no_metric_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. hit_rate_at_100_filtered"):
        Metric.parse(name)


def test_a_metric_by_another_protocol_or_for_cold_users_is_a_new_one() -> None:
    metric = Metric.parse("hit_rate_at_100_filtered")

    assert str(metric.by("raw")) == "hit_rate_at_100_raw"
    assert str(metric.by(None)) == "hit_rate_at_100"
    assert str(metric.for_cold_users()) == "cold_hit_rate_at_100_filtered"
    assert str(metric) == "hit_rate_at_100_filtered"


class _Config(BaseModel):
    headline: Metric = Metric("hit_rate", 100, "filtered")


def test_a_config_reads_and_writes_it_by_its_name() -> None:
    config = _Config.model_validate({"headline": "mrr_at_20_raw"})

    assert config.headline == Metric("mrr", 20, "raw")
    assert config.model_dump(mode="json") == config.model_dump() == {"headline": "mrr_at_20_raw"}
    assert _Config.model_json_schema()["properties"]["headline"]["type"] == "string"


@pytest.mark.parametrize(
    "value", ["coverage_at_5_raw", "top_100_accuracy_raw", "cold_mrr_at_5_raw", "mrr_at_5", 7, None]
)
def test_a_config_takes_only_ranked_metrics_with_a_protocol(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"e\.g\. hit_rate_at_100_filtered"):
        _Config.model_validate({"headline": value})


class _Values(BaseModel):
    values: dict[AnyMetric, float]


def test_any_metric_can_be_a_key() -> None:
    text = '{"values":{"coverage_at_5":0.5,"top_100_accuracy":0.25}}'

    values = _Values.model_validate_json(text)

    assert values.values == {Metric("coverage", 5): 0.5, TOP_100_ACCURACY: 0.25}
    assert values.model_dump_json() == text
