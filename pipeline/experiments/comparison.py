"""Models of several configs, changes and seeds, and the baselines, side by side in one table."""

import io
import json
import math
import shlex
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from components.shared.contracts.metric import (
    QUERY_MEANS,
    RANK_MEASURES,
    TOP_100_ACCURACY,
    Metric,
)
from components.shared.contracts.training import Training
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import replace_text
from components.train.config import stack_name
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig
from pipeline.experiments.trainings import Experiments, mean_and_spread

AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        config: Whose.
        name: A baseline's name, or a layer stack.
        change: What was changed of the config.
        validation: The monitored metric of each seed's validation; none for
            baselines.
        metrics: Each metric of each seed.
        queries: How many queries the test part is; of recall, NDCG and MRR the
            mean is over these.
    """

    config: str
    name: str
    change: str
    validation: list[float]
    metrics: dict[str, list[float]]
    queries: int

    @property
    def label(self) -> str:
        """What the table calls it."""
        return self.name if self.change == AS_IT_IS else f"{self.name}, {self.change}"

    @property
    def is_baseline(self) -> bool:
        """Whether it is no model of ours."""
        return not self.validation


@dataclass(frozen=True)
class Comparison:
    """What was compared.

    Args:
        rows: By config, baselines first.
        data: By config, how many rows each part has.
        monitors: By config, what validation measures.
        baselines: By config, their settings, and which were left out and why.
        seeds: The seeds.
        columns: By config, the metrics to show where none are asked for.
    """

    rows: list[Row]
    data: dict[str, dict[str, Any]]
    monitors: dict[str, str]
    baselines: dict[str, dict[str, Any]]
    seeds: list[int]
    columns: dict[str, list[str]]

    def shown(self, config: str, metrics: Sequence[str]) -> list[str]:
        """The metrics that are asked for and that this config has; its own, if none are."""
        measured = {name for row in self.of(config) for name in row.metrics}
        return [name for name in metrics or self.columns[config] if name in measured]

    def of(self, config: str) -> list[Row]:
        """The rows of a config."""
        return [row for row in self.rows if row.config == config]

    def chosen(self, config: str, change: str) -> Row | None:
        """The layer stack with the best mean validation metric, test metrics unseen.

        None where there is but one, and nothing to choose.
        """
        stacks = [row for row in self.of(config) if not row.is_baseline and row.change == change]
        return max(stacks, key=lambda row: fmean(row.validation)) if len(stacks) > 1 else None


def compare(
    names: Sequence[str],
    overrides: Sequence[str],
    changes: Sequence[Sequence[str]],
    seeds: int,
    output: str,
    metrics: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Comparison:
    """Trains and measures everything that is asked for, where that is not done already.

    Args:
        names: Configs, as `load_config` takes them.
        overrides: `key=value` for all of them.
        changes: Lists of `key=value`; each list gives models of its own, beside
            those of the config as it is.
        seeds: How many trainings of each model: the config's seed and those
            after it. The split stays that of the config.
        output: A folder; what is trained is kept in `work/experiments` in it.
        metrics: Those that will be shown; each has to be measured.
        say: Takes lines of progress.

    Raises:
        InputError: If a config cannot be used; before anything is trained.
    """
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: one seed at least.")
    for pair in (pair for change in changes for pair in change):
        if "=" not in pair:
            raise InputError(f"--change {pair}: write key=value, e.g. --change train.dropout=0.")
    variants = [
        (shlex.join(change) or AS_IT_IS, load_config(name, [*overrides, *change]))
        for name in names
        for change in ([], *changes)
    ]
    if len({config.name for change, config in variants if change == AS_IT_IS}) < len(names):
        raise InputError("--config: two of the configs have the same name.")
    if len({config.seed for change, config in variants if change == AS_IT_IS}) > 1:
        raise InputError("--config: the configs have different seeds. Add --set seed=42, say.")
    for number, (change, config) in enumerate(variants):
        of = variants[number - number % (len(changes) + 1)][1]
        if (config.name, _data(config)) != (of.name, _data(of)):
            raise InputError(
                f"--change {change}: it changes the name or the data, so the test part is not that "
                "of the other rows. Write it to a config of its own, and add that with --config."
            )
        if config.train.monitor != of.train.monitor:
            raise InputError(
                f"--change {change}: validation would be of another metric than in the other rows."
            )
    for metric in metrics:
        if not any(_is_measured(metric, config.evaluate.ks) for _, config in variants):
            raise InputError(
                f"--metric {metric}: nothing is measured by it. Metrics are hit_rate, recall, "
                "ndcg, mrr and coverage, _at_ one of evaluate.ks, _raw or _filtered."
            )
    experiments = Experiments(output, say)
    rows: list[Row] = []
    data, monitors, baselines, columns = {}, {}, {}, {}
    for change, config in variants:
        if change == AS_IT_IS:
            measured = experiments.baselines(config)
            data[config.name] = measured["data"]
            monitors[config.name] = str(config.train.monitor)
            columns[config.name] = default_metrics(config, measured["metrics"]["most_popular"])
            baselines[config.name] = {key: measured[key] for key in ("settings", "left_out")}
            say(f"{config.name}: baselines are measured")
            for baseline, values in measured["metrics"].items():
                one = {name: [value] for name, value in values.items()}
                queries = measured["data"]["queries"]
                rows.append(Row(config.name, baseline, AS_IT_IS, [], one, queries))
        for layer_sizes in config.layer_stacks:
            row = _row(experiments, config, change, layer_sizes, seeds)
            rows.append(row)
            say(f"{config.name}, {change}, {row.name}: validation "
                f"{mean_and_spread(row.validation)}")  # fmt: skip
    first = variants[0][1].seed
    seeds_used = list(range(first, first + seeds))
    return Comparison(rows, data, monitors, baselines, seeds_used, columns)


def _data(config: PipelineConfig) -> dict[str, Any]:
    """What the test part depends on, and which of its rows are relevant."""
    values = config.parameters()
    derived = ("history_length", "time_columns")  # columns, which leave the rows as they are
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


def _row(
    experiments: Experiments,
    config: PipelineConfig,
    change: str,
    layer_sizes: list[int],
    seeds: int,
) -> Row:
    validation, measured = [], []
    for seed in range(config.seed, config.seed + seeds):
        trained = experiments.trained(config, layer_sizes, seed)
        validation.append(Training.read(trained).validation)
        measured.append(experiments.measured(config, layer_sizes, seed))
    metrics = [of_seed["metrics"] for of_seed in measured]
    return Row(
        config.name,
        f"layers {stack_name(layer_sizes)}",
        change,
        validation,
        {name: [of_seed[name] for of_seed in metrics] for name in metrics[0]},
        measured[0]["queries"],
    )


def default_metrics(config: PipelineConfig, measured: Container[str] = ()) -> list[str]:
    """A config's columns where none are asked for.

    Args:
        config: Its headline is a column, raw and filtered, and hit rate and
            NDCG of the first 10.
        measured: What was measured of it; where new users are many enough, the
            headline and NDCG of these are columns, too.
    """
    headline = config.evaluate.headline
    metrics = [headline.by("raw"), headline.by("filtered")]
    cold = [headline.by("filtered").for_cold_users()]
    if 10 in config.evaluate.ks:
        ndcg = Metric("ndcg", 10, "filtered")
        metrics += [Metric("hit_rate", 10, "filtered"), ndcg]
        cold += [ndcg.for_cold_users()]
    names = [str(metric) for metric in metrics]
    names += [str(metric) for metric in cold if str(metric) in measured]
    return list(dict.fromkeys(names))


def render(comparison: Comparison, metrics: Sequence[str]) -> str:
    """The table as Markdown, which is readable as it is, too.

    Args:
        comparison: What was compared.
        metrics: Its columns, `hit_rate_at_100_filtered` say; each config's own,
            if there are none.

    Raises:
        InputError: If no row has a metric.
    """
    for name in metrics:
        if not any(name in row.metrics for row in comparison.rows):
            known = sorted({known for row in comparison.rows for known in row.metrics})
            raise InputError(
                f"--metric {name}: nothing was measured by it. There is {', '.join(known)}."
            )
    seeds = ", ".join(map(str, comparison.seeds))
    parts = [f"Mean ± standard deviation of models with seeds {seeds}. Of several layer stacks, "
             "**the one with the best validation** is in bold."]  # fmt: skip
    for config, data in comparison.data.items():
        shown = comparison.shown(config, metrics)
        header = ["", *shown, f"validation: {comparison.monitors[config]}"]
        lines = [
            f"{config}: {data['train']:,} training, {data['validation']:,} validation, "
            f"{data['test']:,} test rows, {data['relevant']:,} of them relevant; "
            f"{data['candidates']:,} candidates",
            "",
            _line(header),
            _line(["---", *["---:"] * (len(header) - 1)]),
        ]
        for row in comparison.of(config):
            bold = not row.is_baseline and row == comparison.chosen(config, row.change)
            spreads = [mean_and_spread(row.metrics.get(metric, [])) for metric in shown]
            marks = ["†" if cell and _is_other(row, metric, data) else ""
                     for metric, cell in zip(shown, spreads, strict=True)]  # fmt: skip
            cells = [row.label, *spreads]
            cells = [f"**{cell}**" if bold and cell else cell for cell in cells]
            cells = [cell + mark for cell, mark in zip(cells, ["", *marks], strict=True)]
            validated = mean_and_spread(row.validation)
            if validated and _is_other(row, comparison.monitors[config], data):
                validated += "†"
            lines.append(_line([*cells, validated]))
        others = {row.queries for row in comparison.of(config)} - {data["queries"]}
        if others and any("†" in line for line in lines):
            lines.append(
                f"\n† A mean over {', '.join(f'{other:,}' for other in sorted(others))} queries; "
                f"that of the rows without this mark is over {data['queries']:,}. Features of a "
                "user differ from row to row there. The two are not to be compared."
            )
        for name, reason in comparison.baselines[config]["left_out"].items():
            lines.append(f"\n{name} is left out: {reason}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _is_other(row: Row, metric: str, data: dict[str, Any]) -> bool:
    """Whether a metric is a mean over other queries than that of the baselines."""
    by_query = Metric.parse(metric).measure in QUERY_MEANS
    return by_query and row.queries != data["queries"]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write(comparison: Comparison, metrics: Sequence[str], folder: Path) -> None:
    """Writes `comparison.json`, `comparison.md` and `comparison.svg`, in place of former ones."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "seeds": comparison.seeds,
        "monitors": comparison.monitors,
        "data": comparison.data,
        "baselines": comparison.baselines,
        "rows": [vars(row) for row in comparison.rows],
    }
    replace_text(folder / "comparison.json", json.dumps(content, indent=2) + "\n")
    replace_text(folder / "comparison.md", render(comparison, metrics))
    replace_text(folder / "comparison.svg", _plot(comparison, metrics))


def _plot(comparison: Comparison, metrics: Sequence[str]) -> str:
    """An SVG: a panel for each config and metric: a bar for each row, the seeds' range on it."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "comparison"  # the same file each time
    from matplotlib import pyplot

    configs = list(comparison.data)
    panels = {config: comparison.shown(config, metrics) for config in configs}
    most = max(len(comparison.of(config)) for config in configs)
    figure, axes = pyplot.subplots(
        len(configs),
        max(map(len, panels.values())),
        figsize=(3.6 * max(map(len, panels.values())), (0.9 + 0.28 * most) * len(configs)),
        squeeze=False,
        layout="constrained",
    )
    for line, config in zip(axes, configs, strict=True):
        rows = comparison.of(config)[::-1]
        for number, axis in enumerate(line):
            if number >= len(panels[config]):
                axis.set_visible(False)
                continue
            metric = panels[config][number]
            values = [row.metrics.get(metric, [math.nan]) for row in rows]
            means = [fmean(each) for each in values]
            ranges = [
                [mean - min(each) for mean, each in zip(means, values, strict=True)],
                [max(each) - mean for mean, each in zip(means, values, strict=True)],
            ]
            colours = ["0.7" if row.is_baseline else "tab:blue" for row in rows]
            names = [row.label for row in rows]
            axis.barh(range(len(rows)), means, xerr=ranges, color=colours, height=0.7)
            axis.set_yticks(range(len(rows)), names if number == 0 else [""] * len(rows))
            axis.set_title(metric, fontsize=9)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(config, fontsize=8)
    svg = io.StringIO()
    figure.savefig(svg, metadata={"Date": None})
    pyplot.close(figure)
    return svg.getvalue()
