"""Measure models and baselines outside a pipeline run, for experiments."""

from pathlib import Path
from typing import Any

from components.evaluate.baselines import baseline_lists
from components.evaluate.config import EvaluateConfig
from components.evaluate.measuring import Lists, Ranked, check, list_length
from components.evaluate.test_data import TestData
from components.evaluate.tower_lists import model_lists
from components.shared.contracts.metric import PROTOCOLS, Metric
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.runtime.keras_backend import require_jax

LEAST_TARGETS = 20


def measure_model(encoded: str, model: str, config: dict[str, Any]) -> dict[str, Any]:
    """Measure a trained model.

    Args:
        encoded: The output of adapt.
        model: The output of train.
        config: An `EvaluateConfig`.

    Returns:
        `queries`, the number of queries over which recall, NDCG and MRR are
        averaged; and `metrics`, each by its name with the protocol, e.g.
        `hit_rate_at_100_raw`. Metrics of users without any interaction before
        the test split are prefixed with `cold_`; they are included if these users
        have at least 20 relevant interactions.
    """
    require_jax()
    data = TestData.read(encoded)
    settings = EvaluateConfig.model_validate(config).fitted(data.candidates)
    check(settings, data)
    k = list_length(settings.ks, data.candidates)
    return {
        "queries": len(data.queries),
        "metrics": _metrics(data, model_lists(data, Path(model), k), settings),
    }


def measure_baselines(encoded: str, config: dict[str, Any]) -> dict[str, Any]:
    """Measure the baselines on the same test split.

    Args:
        encoded: The output of adapt.
        config: An `EvaluateConfig`.

    Returns:
        `data` (see `DataCounts`), `metrics` by baseline, as in `measure_model`,
        `settings` (chosen on the validation split), and `left_out`, with reasons.
    """
    require_jax()
    data = TestData.read(encoded)
    settings = EvaluateConfig.model_validate(config).fitted(data.candidates)
    check(settings, data)
    k = list_length(settings.ks, data.candidates)
    baselines = baseline_lists(data, settings, k)
    return {
        "data": data.counts().model_dump(),
        "metrics": {
            name: _metrics(data, lists, settings) for name, lists in baselines.lists.items()
        },
        **baselines.notes.model_dump(),
    }


def _metrics(data: TestData, lists: Lists, settings: EvaluateConfig) -> dict[str, float]:
    metrics = {}
    ranked = Ranked.of(data, lists)
    measured = ranked.measure(data, settings.ks)
    query = data.targets.query
    cold = data.seen.counts[query] == 0
    for protocol in PROTOCOLS:
        for metric, value in measured.by(protocol).items():
            metrics[str(metric.by(protocol))] = value
        if cold.sum() < LEAST_TARGETS:
            continue
        for k in settings.ks:
            measures = ranking_metrics(ranked.ranks[protocol][cold], query[cold], k)
            for measure, value in measures.items():
                metrics[str(Metric(measure, k, protocol, cold=True))] = value
    return metrics
