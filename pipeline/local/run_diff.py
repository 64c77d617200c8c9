"""The difference between two runs: their metrics side by side, and their configs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.shared.contracts.metric import PROTOCOLS, QUERY_MEANS
from components.shared.contracts.rankers import MODEL
from components.shared.runtime.errors import InputError
from pipeline.local.results import RunResult

# Sections of the config that say what is measured, and on what.
_MEASURED_ON = ("source", "data_until", "ingest", "seed", "features.label")
# Keys of these sections that change features only.
_ONLY_FEATURES = ("ingest.history_length", "ingest.time_columns", "ingest.shards",
                  "ingest.batch_rows", "ingest.beam_options")  # fmt: skip
# Not written into a config; a key that one of the two does not have has this value.
MISSING = object()


@dataclass(frozen=True)
class MetricChange:
    """A metric of two runs.

    Args:
        metric: Its name, with the protocol.
        first: Its value in the first run; None if it was not measured there.
        second: Its value in the second run.
    """

    metric: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        """Second minus first; None if one of them is missing."""
        if self.first is None or self.second is None:
            return None
        return self.second - self.first


@dataclass(frozen=True)
class ConfigChange:
    """A value that differs between two configs.

    Args:
        key: The dotted path.
        first: The value in the first config, `MISSING` if it is not there.
        second: The value in the second config.
    """

    key: str
    first: Any
    second: Any


@dataclass(frozen=True)
class RunDiff:
    """The difference between two runs.

    Args:
        metrics: The exported models' metrics, the headline of the second run first.
        config: The keys whose values differ.
        doubts: Why the metrics cannot be compared; empty if they can.
    """

    metrics: list[MetricChange]
    config: list[ConfigChange]
    doubts: list[str]


def diff_runs(first: RunResult, second: RunResult) -> RunDiff:
    """Compare two runs.

    Raises:
        InputError: If a config cannot be read.
    """
    config = list(_config_changes(_config(first.folder), _config(second.folder)))
    return RunDiff(_metrics(first, second), config, list(_doubts(first, second, config)))


def _metrics(first: RunResult, second: RunResult) -> list[MetricChange]:
    values = [_values_of(first), _values_of(second)]
    headline = second.evaluation.headline
    names = [str(headline.metric.by(headline.protocol)), *values[0], *values[1]]
    return [
        MetricChange(name, values[0].get(name), values[1].get(name))
        for name in dict.fromkeys(names)
        if name in values[0] or name in values[1]
    ]


def _values_of(run: RunResult) -> dict[str, float]:
    return {
        str(metric.by(protocol)): value
        for protocol in reversed(PROTOCOLS)
        for metric, value in run.evaluation.metrics.by(protocol)[MODEL].items()
    }


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist: somebody has removed it since the run."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: somebody has changed it.") from error
    return dict(_flat("", values if isinstance(values, dict) else {}))


def _flat(prefix: str, values: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _flat(f"{path}.", value)
        else:
            yield path, value


def _config_changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[ConfigChange]:
    for key in dict.fromkeys([*first, *second]):
        change = ConfigChange(key, first.get(key, MISSING), second.get(key, MISSING))
        if change.first != change.second:
            yield change


def _doubts(first: RunResult, second: RunResult, config: list[ConfigChange]) -> Iterator[str]:
    data = [run.evaluation.data.model_dump() for run in (first, second)]
    counts = {key: f"{data[0][key]} and {data[1][key]}" for key in data[0]
              if data[0][key] != data[1][key]}  # fmt: skip
    keys = [change.key for change in config if _says_what_is_measured(change.key)]
    if counts.keys() - {"queries"}:
        found = ", ".join(f"{key} {values}" for key, values in counts.items())
        yield f"the data differs ({found}), so the metrics cannot be compared"
    elif counts:
        yield (
            f"{', '.join(QUERY_MEANS)} are means over queries, {counts['queries']} of them, as the "
            "users' features differ from row to row in one run only: compare the hit rates instead"
        )
    elif keys:
        yield f"{', '.join(keys)} may change the data that is measured on: compare with care"


def _says_what_is_measured(key: str) -> bool:
    measured = any(f"{key}.".startswith(f"{section}.") for section in _MEASURED_ON)
    return measured and key not in _ONLY_FEATURES
