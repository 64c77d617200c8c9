"""The summary at the end of a local run."""

from collections.abc import Iterable

from components.shared.contracts.evaluation import Evaluation, Interval
from components.shared.contracts.metric import PROTOCOLS, Protocol
from components.shared.contracts.publication import Publication
from components.shared.contracts.rankers import (
    BASELINE_LABELS,
    MODEL,
    PUBLISHED,
    Ranker,
)
from components.shared.contracts.run import StepTime
from components.shared.contracts.standing import required, standing
from pipeline.local.results import RunResult


def summarize(result: RunResult) -> str:
    """Return the metrics, the times and the path of the report, as text for a terminal."""
    parts = [
        _depths(result.evaluation),
        _leads(result.evaluation),
        *(_metrics(result.evaluation, protocol) for protocol in PROTOCOLS),
        _times(result.steps, result.seconds),
        _verdict(result.evaluation) + "\n" + _publication(result.publication),
        f"report   {result.folder / 'report.html'}\nresults  {result.folder}",
    ]
    return "\n" + "\n\n".join(parts)


def describe(result: RunResult) -> str:
    """Return what `summarize` does, after the name, the time and the data of the run."""
    data, run = result.evaluation.data, result.run
    above = "" if data.relevant_above is None else f" (label above {data.relevant_above:g})"
    facts = {
        "config": f"{run.name} ({result.folder / 'config.yaml'})",
        "started": f"{run.started} by the {run.runner} runner",
        "data": f"{data.train:,} training, {data.validation:,} validation, {data.test:,} test rows",
        "test": f"{data.queries:,} queries, {data.relevant:,} relevant pairs{above}",
        "catalogue": f"{data.candidates:,} items",
    }
    lines = [f"{name:<10} {fact}" for name, fact in facts.items()]
    lines += [f"{'warning':<10} {warning}" for warning in result.evaluation.warnings]
    return "\n".join(lines) + "\n" + summarize(result)


def _table(rows: Iterable[Iterable[str]]) -> str:
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def _depths(evaluation: Evaluation) -> str:
    metric = evaluation.headline.metric
    rows = [[f"{metric}, test split", "raw", "filtered", "validation"]]
    for depth in evaluation.depths:
        rows.append(
            [
                f"layers {depth.layer_sizes}" + (" (exported)" if depth.exported else ""),
                *(f"{depth.test.by(protocol)[metric]:.4f}" for protocol in PROTOCOLS),
                f"{depth.validation:.4f}",
            ]
        )
    for ranker, label in _others(evaluation).items():
        values = [evaluation.metrics.by(protocol)[ranker][metric] for protocol in PROTOCOLS]
        rows.append([label, *(f"{value:.4f}" for value in values), ""])
    return _table(rows)


def _others(evaluation: Evaluation) -> dict[Ranker, str]:
    """Return the label of each ranker beside the model."""
    labels = {**BASELINE_LABELS, PUBLISHED: "published model"}
    return {ranker: label for ranker, label in labels.items() if ranker in evaluation.rankers}


def _leads(evaluation: Evaluation) -> str:
    headline = evaluation.headline
    intervals = headline.intervals
    rows = [
        [
            f"{headline.metric} {headline.protocol}",
            "value", "95% interval", "model's lead", "95% interval",
        ],
        ["exported model", f"{headline.model:.4f}", _interval(intervals.of[MODEL]), "", ""],
    ]  # fmt: skip
    for ranker, label in _others(evaluation).items():
        lead = intervals.leads[ranker]
        rows.append(
            [
                label,
                f"{headline.values[ranker]:.4f}",
                _interval(intervals.of[ranker]),
                f"{lead.value:+.4f}",
                _interval(lead.interval, sign="+"),
            ]
        )
    left_out = evaluation.baselines.left_out.items()
    notes = [f"{BASELINE_LABELS[baseline]} is left out: {reason}" for baseline, reason in left_out]
    return "\n".join([_table(rows), *notes])


def _interval(ends: Interval, sign: str = "") -> str:
    return " to ".join(f"{end:{sign}.4f}" for end in ends)


def _metrics(evaluation: Evaluation, protocol: Protocol) -> str:
    labels = {MODEL: "exported model", **_others(evaluation)}
    metrics = evaluation.metrics.by(protocol)
    rows = [[f"{protocol}, test split", *labels.values()]]
    for metric in metrics[MODEL]:
        rows.append([str(metric), *(f"{metrics[ranker][metric]:.4f}" for ranker in labels)])
    return _table(rows)


def _times(steps: list[StepTime], seconds: float) -> str:
    rows = [["step", "seconds", "of it start-up"]]
    for step in steps:
        reused = ["reused", ""]
        rows.append(
            [
                step.step,
                *(
                    reused
                    if step.reused
                    else [f"{step.seconds:.1f}", f"{step.startup_seconds:.1f}"]
                ),
            ]
        )
    rows.append(["whole run", f"{seconds:.1f}", ""])
    return _table(rows)


def _verdict(evaluation: Evaluation) -> str:
    headline = evaluation.headline
    word = "GOOD ENOUGH" if headline.good_enough else "NOT GOOD ENOUGH"
    leads = ", ".join(
        f"{headline.intervals.leads[who].value:+.4f} from {BASELINE_LABELS[who]}'s "
        f"{headline.values[who]:.4f} (95% interval "
        f"{_interval(headline.intervals.leads[who].interval, sign='+')})"
        for who in headline.must_beat
    )
    line = f"{word}: {headline.metric} {headline.protocol} is {headline.model:.4f}, {leads}"
    if headline.published is not None:
        lead = headline.model - headline.published
        line += f" and {lead:+.4f} from the published model's {headline.published:.4f}"
    reasons = (f"  {reason}" for reason in headline.reasons)
    return "\n".join([standing(headline), required(headline), line, *reasons])


def _publication(publication: Publication) -> str:
    if publication.version:
        return f"published {publication.version} at {publication.location}"
    return f"nothing was published: {'; '.join(publication.reasons)}"
