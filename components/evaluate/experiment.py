"""Measuring models and baselines apart from a run of the pipeline."""

from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate.baselines import baseline_lists
from components.evaluate.config import EvaluateConfig
from components.evaluate.measuring import check, list_length, measure, model_lists
from components.evaluate.test_data import PROTOCOLS, TestData
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.runtime.keras_backend import require_jax

LEAST_TARGETS = 20


def measure_model(encoded: str, model: str, config: dict[str, Any]) -> dict[str, Any]:
    """Measures a model that train wrote.

    Args:
        encoded: What adapt wrote.
        model: What train wrote.
        config: An `EvaluateConfig`.

    Returns:
        `queries`, how many recall, NDCG and MRR are means of; and `metrics`,
        each by its name and protocol, `hit_rate_at_100_raw` say; those of users
        without any interaction before the test part with `cold_` before it, if
        they have 20 relevant interactions or more.
    """
    require_jax()
    settings = EvaluateConfig.model_validate(config)
    data = TestData.read(encoded)
    check(settings, data)
    k = list_length(settings.ks, data.candidates)
    return {
        "queries": len(data.queries),
        "metrics": _metrics(data, model_lists(data, Path(model), k), settings),
    }


def measure_baselines(encoded: str, config: dict[str, Any]) -> dict[str, Any]:
    """Measures the baselines on the same test part.

    Args:
        encoded: What adapt wrote.
        config: An `EvaluateConfig`.

    Returns:
        `data` (rows of each part), `metrics` by baseline as those of `measure_model`,
        `settings` that were chosen on the validation part, and `left_out`, with
        reasons.
    """
    require_jax()
    settings = EvaluateConfig.model_validate(config)
    data = TestData.read(encoded)
    check(settings, data)
    k = list_length(settings.ks, data.candidates)
    baselines = baseline_lists(data, settings, Path(encoded), k)
    return {
        "data": data.summary(),
        "metrics": {
            name: _metrics(data, lists, settings) for name, lists in baselines.lists.items()
        },
        "settings": baselines.settings,
        "left_out": baselines.left_out,
    }


def _metrics(
    data: TestData, lists: dict[str, np.ndarray], settings: EvaluateConfig
) -> dict[str, float]:
    metrics = {}
    cold = data.seen.counts[data.targets.query] == 0
    for protocol in PROTOCOLS:
        for name, value in measure(data, lists[protocol], settings.ks).items():
            metrics[f"{name}_{protocol}"] = value
        if cold.sum() < LEAST_TARGETS:
            continue
        ranks = data.targets.ranks(lists[protocol])[cold]
        for k in settings.ks:
            for name, value in ranking_metrics(ranks, data.targets.query[cold], k).items():
                metrics[f"cold_{name}_at_{k}_{protocol}"] = value
    return metrics
