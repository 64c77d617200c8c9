"""The table of a comparison, in Markdown."""

from collections.abc import Iterator, Sequence

from components.shared.contracts.metric import Metric
from components.shared.runtime.errors import InputError
from pipeline.experiments.comparison_file import Comparison, Row
from pipeline.experiments.trainings import mean_and_spread

# Means over queries, which differ if the features of a user differ from row to row.
_QUERY_MEANS = ("recall", "ndcg", "mrr")
_MARK = "†"


def render(comparison: Comparison, metrics: Sequence[str] = ()) -> str:
    """Return the table as Markdown that also reads well as plain text.

    Args:
        comparison: The comparison.
        metrics: Its columns, e.g. `hit_rate_at_100_filtered`; each config's own
            if empty.

    Raises:
        InputError: If no row has a metric.
    """
    for name in metrics:
        if not any(name in row.metrics for row in comparison.rows):
            known = sorted({known for row in comparison.rows for known in row.metrics})
            raise InputError(
                f"--metric {name}: it was not measured. Measured metrics: {', '.join(known)}."
            )
    seeds = ", ".join(map(str, comparison.seeds))
    parts = [
        f"Mean ± standard deviation over models with seeds {seeds}. Among several layer stacks, "
        "**the one with the best validation metric** is bold."
    ]
    for config in comparison.data:
        parts.append("\n".join(_config_lines(comparison, config, metrics)))
    return "\n\n".join(parts) + "\n"


def _config_lines(comparison: Comparison, config: str, metrics: Sequence[str]) -> Iterator[str]:
    data = comparison.data[config]
    shown = comparison.shown(config, metrics)
    monitor = comparison.monitors[config]
    yield (
        f"{config}: {data.train:,} training, {data.validation:,} validation, "
        f"{data.test:,} test rows, {data.relevant:,} of them relevant; "
        f"{data.candidates:,} candidates"
    )
    yield ""
    header = ["", *shown, f"validation: {monitor}"]
    yield _line(header)
    yield _line(["---", *["---:"] * (len(header) - 1)])
    marked = False
    for row in comparison.of(config):
        bold = not row.is_baseline and row == comparison.chosen(config, row.change)
        cells = [f"**{row.label}**" if bold else row.label]
        for metric in shown:
            cell = mean_and_spread(row.metrics.get(metric, []))
            cell = f"**{cell}**" if bold and cell else cell
            cells.append(cell + _mark(cell, row, metric, data.queries))
        validated = mean_and_spread(row.validation)
        cells.append(validated + _mark(validated, row, monitor, data.queries))
        marked = marked or any(cell.endswith(_MARK) for cell in cells)
        yield _line(cells)
    if marked:
        others = {row.queries for row in comparison.of(config)} - {data.queries}
        yield (
            f"\n{_MARK} A mean over {', '.join(f'{other:,}' for other in sorted(others))} queries "
            f"instead of over {data.queries:,}, because features of a user differ from row to row. "
            "It cannot be compared with values without this mark."
        )
    for name, reason in comparison.baselines[config].left_out.items():
        yield f"\n{name} is left out: {reason}"


def _mark(cell: str, row: Row, metric: str, queries: int) -> str:
    """Return the mark of a value that is a mean over other queries than the baselines' values."""
    return _MARK if cell and row.queries != queries and _is_query_mean(metric) else ""


def _is_query_mean(name: str) -> bool:
    try:
        return Metric.parse(name).measure in _QUERY_MEANS
    except ValueError:  # the keras.io example's top_100_accuracy
        return False


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
