"""Trains and measures the models of several configs, changes and seeds, and the baselines."""

from collections.abc import Callable, Container
from dataclasses import replace

from components.shared.contracts.metric import Metric
from components.shared.contracts.training import Training
from components.train.config import stack_name
from pipeline.config.pipeline import PipelineConfig
from pipeline.experiments.comparison_file import BaselineNotes, Comparison, Row
from pipeline.experiments.metrics_files import BaselineMetrics
from pipeline.experiments.plan import UNCHANGED, Request, Variant, plan
from pipeline.experiments.trainings import Experiments, mean_and_spread


def compare(request: Request, output: str, say: Callable[[str], None] = print) -> Comparison:
    """Train and measure everything in a comparison, unless the result is there already.

    Args:
        request: The comparison to make.
        output: The output folder; trainings are kept in its subfolder
            `work/experiments`.
        say: Called with each line of progress.

    Raises:
        InputError: If a config cannot be used, before anything is trained.
    """
    variants = plan(request)
    experiments = Experiments(output, say)
    first = variants[0].config.seed
    seeds = list(range(first, first + request.seeds))
    rows: list[Row] = []
    measured: dict[str, BaselineMetrics] = {}
    unchanged: list[PipelineConfig] = []
    for variant in variants:
        config = variant.config
        if variant.change == UNCHANGED:
            measured[config.name] = experiments.baselines(config)
            rows += _baseline_rows(config.name, measured[config.name])
            say(f"{config.name}: baselines are measured")
            unchanged.append(config.fitted(measured[config.name].data.candidates))
        for layer_sizes in config.layer_stacks:
            row = _model_row(experiments, variant, layer_sizes, seeds)
            rows.append(row)
            say(f"{config.name}, {variant.change}, {row.name}: validation "
                f"{mean_and_spread(row.validation)}")  # fmt: skip
    return Comparison(
        seeds=seeds,
        monitors={config.name: str(config.train.monitor) for config in unchanged},
        data={name: found.data for name, found in measured.items()},
        columns={
            config.name: default_metrics(config, measured[config.name].metrics["most_popular"])
            for config in unchanged
        },
        baselines={
            name: BaselineNotes(settings=found.settings, left_out=found.left_out)
            for name, found in measured.items()
        },
        rows=rows,
    )


def default_metrics(config: PipelineConfig, measured: Container[str] = ()) -> list[str]:
    """Return the columns of a config that are shown unless others are asked for.

    Args:
        config: Its headline is a column by both protocols, and so are hit rate
            and NDCG at 10.
        measured: The metrics that were measured. If there are enough new users,
            the headline and NDCG for these are columns too.
    """
    headline = Metric.parse(str(config.evaluate.headline))
    shown = [headline.by("raw"), headline.by("filtered")]
    cold = [headline.by("filtered")]
    if 10 in config.evaluate.ks:
        shown += [Metric("hit_rate", 10, "filtered"), Metric("ndcg", 10, "filtered")]
        cold.append(Metric("ndcg", 10, "filtered"))
    names = [str(metric) for metric in shown]
    names += [name for metric in cold if (name := str(replace(metric, cold=True))) in measured]
    return list(dict.fromkeys(names))


def _baseline_rows(config: str, measured: BaselineMetrics) -> list[Row]:
    return [
        Row(
            config=config,
            name=baseline,
            change=UNCHANGED,
            validation=[],
            metrics={name: [value] for name, value in values.items()},
            queries=measured.data.queries,
        )
        for baseline, values in measured.metrics.items()
    ]


def _model_row(
    experiments: Experiments, variant: Variant, layer_sizes: list[int], seeds: list[int]
) -> Row:
    validation, measured = [], []
    for seed in seeds:
        model = experiments.trained(variant.config, layer_sizes, seed)
        validation.append(Training.read(model).validation)
        measured.append(experiments.measured(variant.config, layer_sizes, seed))
    return Row(
        config=variant.config.name,
        name=f"layers {stack_name(layer_sizes)}",
        change=variant.change,
        validation=validation,
        metrics={name: [of_seed.metrics[name] for of_seed in measured]
                 for name in measured[0].metrics},
        queries=measured[0].queries,
    )  # fmt: skip
