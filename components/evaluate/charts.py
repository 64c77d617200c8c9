"""The charts of the report: SVG elements in the colours and the font of the page."""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib
import matplotlib.style
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from components.evaluate.labels import MEASURE_LABELS, metric_label
from components.shared.contracts.evaluation import Depth, Metrics
from components.shared.contracts.metric import Metric, Protocol
from components.shared.contracts.rankers import BASELINE_LABELS, MODEL, Ranker
from components.shared.contracts.training import Epoch

# Matplotlib draws in these colours. CSS variables then replace them, so that a chart follows light
# and dark mode like the text around it.
_INK, _GRID, _POPULAR = "#1f2430", "#e3e6eb", "#7d8695"
_SERIES = ("#2462a8", "#c2620c", "#0f8272", "#7a4fa3", "#b5365c", "#76730f")
_PAGE_COLOURS = {
    _INK: "currentColor",
    _GRID: "var(--line)",
    _POPULAR: "var(--popular)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, start=1)},
}
# Lines also differ by marker and dashes, for readers who cannot tell the colours apart. With 6
# colours, 5 markers and 4 dashes, the first line to look like another is the 61st.
_MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", ":", "-.")
# Colour, marker and dashes of each baseline's line.
_BASELINE_LINES: dict[Ranker, tuple[str, str, str]] = {
    "most_popular": (_POPULAR, "s", "--"),
    "recent_popular": (_SERIES[4], "o", "-."),
    "most_liked": (_SERIES[5], "v", ":"),
    "ease": (_SERIES[1], "^", "-."),
    "ials": (_SERIES[2], "D", "--"),
}
_STYLE = {
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class _Line:
    """A line of a chart; `ringed` is the x of the point to mark."""

    label: str
    x: list[float]
    y: list[float]
    colour: str
    marker: str = ""
    dashes: str = "-"
    width: float = 1.5
    ringed: float | None = None


@dataclass(frozen=True)
class Chart:
    """A chart and its title."""

    title: str
    svg: Markup


@contextlib.contextmanager
def chart_style() -> Iterator[None]:
    """Draw and save charts in the style of the page, whatever the process has set."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def history_charts(depths: list[Depth]) -> list[Chart]:
    """Draw validation metrics and training loss by epoch, one line for each layer stack."""
    if not depths:
        return []
    validated = {m for depth in depths for epoch in depth.history for m in epoch.validation}
    charts = [
        _epoch_chart(metric, depths)
        for metric in sorted(validated, key=lambda metric: (metric.protocol != "raw", str(metric)))
    ]
    return [*charts, _epoch_chart(None, depths)]


def _epoch_chart(metric: Metric | None, depths: list[Depth]) -> Chart:
    """Draw a validation metric by epoch; the training loss if there is no metric."""
    title = f"Validation {metric_label(metric)}" if metric else "Training loss"
    lines = []
    for number, depth in enumerate(depths):
        points = list(_points(metric, depth.history))
        lines.append(
            _Line(
                depth.layer_sizes + (" (exported)" if depth.exported else ""),
                [epoch for epoch, _ in points],
                [value for _, value in points],
                _SERIES[number % len(_SERIES)],
                # The loss has a point for every epoch: a marker helps only if it is the only one.
                _MARKERS[number % len(_MARKERS)] if metric or len(points) == 1 else "",
                _DASHES[number % len(_DASHES)],
                2.2 if depth.exported else 1.3,
                depth.best_epoch if metric == depth.monitor else None,
            )
        )
    figure, axes = _figure(4.6, 3.0)
    _draw(axes, lines)
    axes.set_xlabel("epoch")
    # The same epochs in every panel, whether they have a value or not.
    last = max((entry.epoch for depth in depths for entry in depth.history), default=1)
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if any(line.x for line in lines):
        axes.legend(loc="best", handlelength=2.6)
    described = f"{title} by epoch. " + " ".join(_describe_history(line) for line in lines)
    return Chart(title, _svg(figure, f"val_{metric}" if metric else "loss", described))


def _points(metric: Metric | None, history: list[Epoch]) -> Iterator[tuple[int, float]]:
    for entry in history:
        value = entry.validation.get(metric) if metric else entry.loss
        if value is not None:
            yield entry.epoch, value


def _describe_history(line: _Line) -> str:
    if not line.x:
        return f"{line.label}: no values."
    kept = f"; epoch {line.ringed} was kept" if line.ringed else ""
    return (
        f"{line.label}: {line.y[0]:.4f} in epoch {line.x[0]}, "
        f"{line.y[-1]:.4f} in epoch {line.x[-1]}{kept}."
    )


def metric_charts(protocol: Protocol, metrics: dict[Ranker, Metrics], ks: list[int]) -> list[Chart]:
    """Draw each measure by cut-off, the model beside the baselines.

    Args:
        protocol: The protocol of the metrics.
        metrics: The metrics of each ranker.
        ks: The cut-offs.
    """
    return [
        _metric_chart(measure, protocol, metrics, sorted(set(ks))) for measure in MEASURE_LABELS
    ]


def _metric_chart(
    measure: str, protocol: Protocol, metrics: dict[Ranker, Metrics], ks: list[int]
) -> Chart:
    baselines = [who for who in BASELINE_LABELS if who in metrics]
    values = {who: [metrics[who][Metric(measure, k)] for k in ks] for who in (MODEL, *baselines)}
    x = [float(k) for k in ks]
    figure, axes = _figure(2.7, 2.1)
    lines = [
        _Line(BASELINE_LABELS[who], x, values[who], *_BASELINE_LINES[who], 1.3) for who in baselines
    ]
    # The model's line last: on top of the others.
    _draw(axes, [*lines, _Line("model", x, values[MODEL], _SERIES[0], "o", "-", 2.0)])
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(x))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticklabels([str(k) for k in ks])
    axes.set_xlabel("k")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylim(0, 1.12 * max(0.01, *(value for of in values.values() for value in of)))
    if len(ks) == 1:
        axes.set_xlim(ks[0] / 2, ks[0] * 2)
    label, names = MEASURE_LABELS[measure], {MODEL: "model", **BASELINE_LABELS}
    described = f"{label}, {protocol}, by k. " + " ".join(
        f"At {k}: "
        + ", ".join(f"{names[who]} {of[number]:.4f}" for who, of in values.items())
        + "."
        for number, k in enumerate(ks)
    )
    return Chart(label, _svg(figure, f"{measure}_{protocol}", described))


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a new chart of a size in inches.

    The `Figure` is created directly, as pyplot would keep every figure of the
    process.
    """
    figure = Figure((width, height), layout="constrained")
    return figure, figure.add_subplot()


def _draw(axes: Axes, lines: list[_Line]) -> None:
    for line in lines:
        axes.plot(
            line.x,
            line.y,
            color=line.colour,
            linestyle=line.dashes,
            linewidth=line.width,
            marker=line.marker,
            markersize=4,
            label=line.label,
            clip_on=False,
        )
        ringed = [point for point in zip(line.x, line.y, strict=True) if point[0] == line.ringed]
        for x, y in ringed:
            axes.plot(x, y, "o", markersize=10, color="none", markeredgecolor=line.colour)


def _svg(figure: Figure, name: str, described: str) -> Markup:
    """Return a chart as an element of the page.

    Args:
        figure: The chart.
        name: A name that no other chart of the page has; the ids in the element
            are derived from it.
        described: What the chart shows, for readers who cannot see it.

    Returns:
        The `<svg>` element.
    """
    written = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=metadata)
    # The text before it is for files: XML declaration, DOCTYPE, namespaces.
    inner = written.getvalue().partition("<svg")[2].partition(">")[2]
    # Matplotlib's style rule is for all elements: it would apply to the whole page.
    inner = re.sub(r"<style.*?</style>", "", inner, flags=re.DOTALL)
    # Ids such as axes_1 are the same in every chart; nothing refers to them.
    inner = re.sub(r' id="[\w.]+_\d+"', "", inner)
    # Without a font of its own, text has the font of the page.
    inner = re.sub(r"font-family: [^;\"]*;? ?", "", inner)
    for drawn, on_page in _PAGE_COLOURS.items():
        inner = inner.replace(drawn, on_page)
    width, height = figure.get_size_inches() * 72
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(described)}">'
        f"{inner.rstrip()}"
    )
