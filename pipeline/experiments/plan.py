"""Plans a comparison: checks a request, and lists the configs to train."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.shared.contracts.metric import (
    FURTHER_MEASURES,
    RANK_MEASURES,
    TOP_100_ACCURACY,
    Metric,
)
from components.shared.runtime.errors import InputError
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig

# Stands for no change.
UNCHANGED = "as it is"


@dataclass(frozen=True)
class Request:
    """A comparison to make.

    Args:
        configs: Configs, as `load_config` takes them.
        overrides: `key=value`, for all of them.
        changes: Lists of `key=value`. Each adds models, beside those of the
            unchanged config.
        seeds: Number of trainings of each model, with the config's seed and the
            ones that follow it. The split keeps the config's seed.
        metrics: The metrics to show; each config's own if empty.
    """

    configs: Sequence[str]
    overrides: Sequence[str] = ()
    changes: Sequence[Sequence[str]] = ()
    seeds: int = 3
    metrics: Sequence[str] = ()


@dataclass(frozen=True)
class Variant:
    """A config, with or without a change.

    Args:
        change: The change, `UNCHANGED` for none.
        config: The config with the change.
    """

    change: str
    config: PipelineConfig


def plan(request: Request) -> list[Variant]:
    """List the variants of a comparison: each config unchanged, then with each change.

    Raises:
        InputError: If the request cannot be carried out, or its rows could not be
            compared.
    """
    if request.seeds < 1:
        raise InputError(f"--seeds {request.seeds}: it must be at least 1.")
    for pair in (pair for change in request.changes for pair in change):
        if "=" not in pair:
            raise InputError(f"--change {pair}: write key=value, e.g. --change train.dropout=0.")
    variants = []
    for name in request.configs:
        unchanged = load_config(name, request.overrides)
        variants.append(Variant(UNCHANGED, unchanged))
        for change in request.changes:
            changed = Variant(shlex.join(change), load_config(name, [*request.overrides, *change]))
            _check_comparable(changed, unchanged)
            variants.append(changed)
    configs = [variant.config for variant in variants if variant.change == UNCHANGED]
    if len({config.name for config in configs}) < len(configs):
        raise InputError("--config: two configs have the same name. Change the name of one.")
    if len({config.seed for config in configs}) > 1:
        raise InputError("--config: the configs have different seeds. Add e.g. --set seed=42.")
    for metric in request.metrics:
        if not any(_is_measured(metric, variant.config.evaluate.ks) for variant in variants):
            raise InputError(
                f"--metric {metric}: it is not measured. Metrics are "
                f"{', '.join(RANK_MEASURES + FURTHER_MEASURES)}, then _at_ and one of evaluate.ks, "
                "then _raw or _filtered."
            )
    return variants


def _check_comparable(changed: Variant, unchanged: PipelineConfig) -> None:
    config = changed.config
    if (config.name, _test_split(config)) != (unchanged.name, _test_split(unchanged)):
        raise InputError(
            f"--change {changed.change}: it changes the name or the data, so its test split is not "
            "that of the other rows. Write it to a config of its own, and add that with --config."
        )
    if config.train.monitor != unchanged.train.monitor:
        raise InputError(
            f"--change {changed.change}: it changes train.monitor, so its validation is of another "
            "metric than that of the other rows. Use --set train.monitor=… for all of them."
        )


def _test_split(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings that decide on the rows of the test split, and which are relevant."""
    values = config.parameters()
    derived = ("history_length", "time_columns")  # they add columns, and leave the rows unchanged
    ingest = {key: value for key, value in values["ingest"].items() if key not in derived}
    return {
        "ingest": ingest,
        "label": values["features"]["label"],
        **{key: values[key] for key in ("source", "data_until", "seed")},
    }


def _is_measured(name: str, ks: Sequence[int]) -> bool:
    try:
        metric = Metric.parse(name)
    except ValueError:
        return False
    if metric.protocol is None or (metric.cold and metric.measure not in RANK_MEASURES):
        return False
    return metric.by(None) == TOP_100_ACCURACY or metric.cutoff in ks
