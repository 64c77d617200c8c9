"""What a run says at its end."""

from collections.abc import Iterable
from typing import Any

from components.evaluate.config import BASELINE_LABELS
from components.shared.contracts.run import StepTime
from pipeline.local.results import RunResult


def summarize(result: RunResult) -> str:
    """Puts the metrics, the times and the report's path into a few lines."""
    parts = [
        _depths(result.evaluation),
        _leads(result.evaluation),
        *(_metrics(result.evaluation, protocol) for protocol in ("raw", "filtered")),
        _times(result.steps, result.seconds),
        _verdict(result.evaluation) + "\n" + _publication(result.publication),
        f"report   {result.folder / 'report.html'}\nresults  {result.folder}",
    ]
    return "\n" + "\n\n".join(parts)


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


def _depths(evaluation: dict[str, Any]) -> str:
    metric = evaluation["headline"]["metric"]
    rows = [[f"{metric}, test part", "raw", "filtered", "validation"]]
    for depth in evaluation["depths"]:
        rows.append(
            [
                f"layers {depth['layer_sizes']}" + (" (exported)" if depth["exported"] else ""),
                *(f"{depth['test'][protocol][metric]:.4f}" for protocol in ("raw", "filtered")),
                f"{depth['validation']:.4f}",
            ]
        )
    for who, name in _others(evaluation).items():
        values = [evaluation["metrics"][p][who][metric] for p in ("raw", "filtered")]
        rows.append([name, *(f"{value:.4f}" for value in values), ""])
    return _table(rows)


def _others(evaluation: dict[str, Any]) -> dict[str, str]:
    """Who is measured beside the model, and how to call them."""
    names = {**BASELINE_LABELS, "published": "published model"}
    return {who: name for who, name in names.items() if who in evaluation["headline"]}


def _leads(evaluation: dict[str, Any]) -> str:
    headline = evaluation["headline"]
    intervals = headline["intervals"]
    rows = [
        [
            f"{headline['metric']} {headline['protocol']}",
            "value", "95% interval", "model's lead", "95% interval",
        ],
        ["exported model", f"{headline['model']:.4f}", _interval(intervals["of"]["model"]), "", ""],
    ]  # fmt: skip
    for who, name in _others(evaluation).items():
        lead = intervals["leads"][who]
        rows.append(
            [
                name,
                f"{headline[who]:.4f}",
                _interval(intervals["of"][who]),
                f"{lead['value']:+.4f}",
                _interval(lead["interval"], sign="+"),
            ]
        )
    left_out = evaluation["baselines"]["left_out"].items()
    notes = [f"{BASELINE_LABELS[who]} is left out: {reason}" for who, reason in left_out]
    return "\n".join([_table(rows), *notes])


def _interval(ends: list[float], sign: str = "") -> str:
    return " to ".join(f"{end:{sign}.4f}" for end in ends)


def _metrics(evaluation: dict[str, Any], protocol: str) -> str:
    who = {"model": "exported model", **_others(evaluation)}
    metrics = evaluation["metrics"][protocol]
    rows = [[f"{protocol}, test part", *who.values()]]
    rows += [[name, *(f"{metrics[w][name]:.4f}" for w in who)] for name in metrics["model"]]
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


def _verdict(evaluation: dict[str, Any]) -> str:
    headline = evaluation["headline"]
    word = "GOOD ENOUGH" if headline["good_enough"] else "NOT GOOD ENOUGH"
    interval = _interval(headline["intervals"]["leads"]["most_popular"]["interval"], sign="+")
    line = (
        f"{word}: {headline['metric']} {headline['protocol']} is {headline['model']:.4f}, "
        f"{headline['lead']:+.4f} from most-popular's {headline['most_popular']:.4f} "
        f"(95% interval {interval}, margin {headline['margin']:g})"
    )
    if "published" in headline:
        lead = headline["model"] - headline["published"]
        line += f" and {lead:+.4f} from the published model's {headline['published']:.4f}"
    return "\n".join([line, *(f"  {reason}" for reason in headline["reasons"])])


def _publication(publication: dict[str, Any]) -> str:
    if publication["version"]:
        return f"published {publication['version']} at {publication['location']}"
    return f"nothing was published: {'; '.join(publication['reasons'])}"
