"""The plot of a comparison."""

import io
import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from pipeline.experiments.comparison_file import Comparison, Row


def plot(comparison: Comparison, metrics: Sequence[str] = ()) -> str:
    """Draw a panel for each config and metric, with a bar for each row and the seeds' range on it.

    Args:
        comparison: The comparison.
        metrics: The metrics to draw; each config's own if empty.

    Returns:
        SVG, the same for the same numbers.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "comparison"  # the ids of elements depend on it
    from matplotlib import pyplot

    panels = {config: comparison.shown(config, metrics) for config in comparison.data}
    columns = max(map(len, panels.values()))
    most_rows = max(len(comparison.of(config)) for config in panels)
    figure, axes = pyplot.subplots(
        len(panels),
        columns,
        figsize=(3.6 * columns, (0.9 + 0.28 * most_rows) * len(panels)),
        squeeze=False,
        layout="constrained",
    )
    for line, (config, shown) in zip(axes, panels.items(), strict=True):
        rows = comparison.of(config)[::-1]
        for number, axis in enumerate(line):
            if number >= len(shown):
                axis.set_visible(False)
                continue
            _draw(axis, rows, shown[number])
            axis.set_yticks(range(len(rows)), [row.label if number == 0 else "" for row in rows])
        line[0].set_ylabel(config, fontsize=8)
    svg = io.StringIO()
    figure.savefig(svg, metadata={"Date": None})
    pyplot.close(figure)
    return svg.getvalue()


def _draw(axis: Any, rows: Sequence[Row], metric: str) -> None:
    values = [row.metrics.get(metric, [math.nan]) for row in rows]
    means = [fmean(each) for each in values]
    ranges = [
        [mean - min(each) for mean, each in zip(means, values, strict=True)],
        [max(each) - mean for mean, each in zip(means, values, strict=True)],
    ]
    colours = ["0.7" if row.is_baseline else "tab:blue" for row in rows]
    axis.barh(range(len(rows)), means, xerr=ranges, color=colours, height=0.7)
    axis.set_title(metric, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
