"""The HTML report: one page that needs nothing but itself, for a person to read."""

import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from components.evaluate.config import BASELINE_LABELS

_TEMPLATE = "report.html.j2"
_MISSING = "\N{EN DASH}"
_METRIC_NAMES = {
    "hit_rate": "hit rate",
    "recall": "recall",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "coverage": "coverage",
}
_PROTOCOLS = ("raw", "filtered")

# Matplotlib draws in these colours; the page's variables take their place, so that a chart
# follows light and dark mode as the text around it does.
_INK, _GRID, _POPULAR = "#1f2430", "#e3e6eb", "#7d8695"
_SERIES = ("#2462a8", "#c2620c", "#0f8272", "#7a4fa3", "#b5365c", "#76730f")
_PAGE_COLOURS = {
    _INK: "currentColor",
    _GRID: "var(--line)",
    _POPULAR: "var(--popular)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, start=1)},
}
# Lines differ by marker and dashes too, for who cannot tell the colours apart. With 6 colours,
# 5 markers and 4 dashes, the first line to look like another is the 61st.
_MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", ":", "-.")
# Colour, marker and dashes of a chart's line for each baseline.
_BASELINE_LINES = {
    "most_popular": (_POPULAR, "s", "--"),
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
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class _Line:
    """A line of a chart; `ringed` is the x of the point to point out."""

    label: str
    x: list[float]
    y: list[float]
    colour: str
    marker: str = ""
    dashes: str = "-"
    width: float = 1.5
    ringed: float | None = None


@dataclass(frozen=True)
class _Chart:
    title: str
    svg: Markup


def render_report(results: dict[str, Any]) -> str:
    """Renders what evaluate measured as a web page.

    The page loads nothing: styles and charts are part of it, and there are no
    scripts. The same results give the same page.

    Args:
        results: What `evaluation.json` holds; see `components.evaluate.job`.

    Returns:
        The HTML.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # titles and feature values are other people's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        metric_label=_metric_label,
        metric_value=_metric_value,
        signed=_signed,
        signed_interval=_signed_interval,
        interval=_interval,
        count=_count,
        device=_device,
        percent=_percent,
        score=_score,
    )
    depths = results["depths"]
    baselines = {who: name for who, name in BASELINE_LABELS.items() if who in results["headline"]}
    # Some settings count when a chart is made, some when it is saved.
    with matplotlib.style.context(["default", _STYLE]):
        history_charts = _history_charts(depths)
        metric_charts = {
            protocol: _metric_charts(protocol, results["metrics"][protocol], results["ks"])
            for protocol in _PROTOCOLS
        }
    return environment.get_template(_TEMPLATE).render(
        **results,
        protocols=_PROTOCOLS,
        metric_names=_METRIC_NAMES,
        sorted_ks=sorted(set(results["ks"])),
        baseline_names=baselines,
        values_of={
            protocol: {
                key: [by_who["model"][key], *(by_who[who][key] for who in baselines)]
                for key in by_who["model"]
            }
            for protocol, by_who in results["metrics"].items()
        },
        setting_texts={who: _settings(chosen) for who, chosen in _chosen(results)},
        left_out={BASELINE_LABELS[w]: r for w, r in results["baselines"]["left_out"].items()},
        exported=next((depth for depth in depths if depth["exported"]), None),
        history_charts=history_charts,
        metric_charts=metric_charts,
        slice_groups=_slice_groups(results["slices"]),
    )


def _metric_label(name: str) -> str:
    """Writes `hit_rate_at_100_filtered` as `hit rate@100, filtered`."""
    metric, _, rest = name.partition("_at_")
    k, _, protocol = rest.partition("_")
    label = _METRIC_NAMES.get(metric, metric) + (f"@{k}" if k else "")
    return f"{label}, {protocol}" if protocol else label


def _metric_value(value: float | None) -> str:
    return f"{value:.4f}" if _is_number(value) else _MISSING


def _signed(value: float) -> str:
    # A real minus sign is as wide as the plus sign, so columns stay aligned.
    return f"{value:+.4f}".replace("-", "\N{MINUS SIGN}") if _is_number(value) else _MISSING


def _interval(ends: list[float]) -> str:
    return f"{_metric_value(ends[0])} to {_metric_value(ends[1])}"


def _signed_interval(ends: list[float]) -> str:
    return f"{_signed(ends[0])} to {_signed(ends[1])}"


def _chosen(results: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    return results["baselines"]["settings"].items()


def _settings(chosen: dict[str, Any]) -> str:
    """Writes the settings that were chosen for a baseline."""
    told = {name: value for name, value in chosen.items() if name not in ("validation", "tried")}
    values = ", ".join(
        f"{name} {value:g}" if isinstance(value, float | int) else f"{name} by {value}"
        for name, value in told.items()
    )
    return f"{values}; {chosen['validation']:.4f} on validation, the best of {chosen['tried']}"


def _count(value: int | None) -> str:
    return f"{value:,}" if _is_number(value) else _MISSING


def _score(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}") if _is_number(value) else _MISSING


def _device(device: str) -> str:
    """Writes JAX's `backend: kind` once where both are the same, as on a CPU."""
    backend, _, kind = device.partition(": ")
    return backend if backend == kind else device


def _percent(share: float) -> str:
    """The length of a bar, for CSS."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%" if _is_number(share) else "0%"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _slice_groups(slices: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for part in slices:
        groups.setdefault(part["by"], []).append(part)
    return groups


def _history_charts(depths: list[dict[str, Any]]) -> list[_Chart]:
    """Draws validation metrics and loss by epoch, a line for each layer stack."""
    keys = {key for depth in depths for entry in depth["history"] for key in entry}
    validated = sorted(
        (key for key in keys if key.startswith("val_")),
        key=lambda key: (not key.endswith("_raw"), key),
    )
    charts = [
        _epoch_chart(key, f"Validation {_metric_label(key.removeprefix('val_'))}", depths)
        for key in validated
    ]
    return [*charts, _epoch_chart("loss", "Training loss", depths)] if depths else []


def _epoch_chart(key: str, title: str, depths: list[dict[str, Any]]) -> _Chart:
    lines = []
    for number, depth in enumerate(depths):
        points = [(e["epoch"], e[key]) for e in depth["history"] if _is_number(e.get(key))]
        monitored = key == f"val_{depth['monitor']}"
        lines.append(
            _Line(
                depth["layer_sizes"] + (" (exported)" if depth["exported"] else ""),
                [epoch for epoch, _ in points],
                [value for _, value in points],
                _SERIES[number % len(_SERIES)],
                # The loss has a point for every epoch: a marker helps only where it is alone.
                _MARKERS[number % len(_MARKERS)] if key != "loss" or len(points) == 1 else "",
                _DASHES[number % len(_DASHES)],
                2.2 if depth["exported"] else 1.3,
                depth["best_epoch"] if monitored else None,
            )
        )
    figure, axes = _figure(4.6, 3.0)
    _draw(axes, lines)
    axes.set_xlabel("epoch")
    # The same epochs in every panel, whether they have a value or not.
    last = max((entry["epoch"] for depth in depths for entry in depth["history"]), default=1)
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if any(line.x for line in lines):
        axes.legend(loc="best", handlelength=2.6)
    described = f"{title} by epoch. " + " ".join(_describe_history(line) for line in lines)
    return _Chart(title, _svg(figure, key, described))


def _describe_history(line: _Line) -> str:
    if not line.x:
        return f"{line.label}: no values."
    kept = f"; epoch {line.ringed} was kept" if line.ringed else ""
    return (
        f"{line.label}: {line.y[0]:.4f} in epoch {line.x[0]}, "
        f"{line.y[-1]:.4f} in epoch {line.x[-1]}{kept}."
    )


def _metric_charts(protocol: str, metrics: dict[str, Any], ks: Iterable[int]) -> list[_Chart]:
    """Draws each metric by k, the model beside the baselines."""
    return [
        _metric_chart(metric, name, protocol, metrics, sorted(set(ks)))
        for metric, name in _METRIC_NAMES.items()
    ]


def _metric_chart(
    metric: str, name: str, protocol: str, metrics: dict[str, Any], ks: list[int]
) -> _Chart:
    baselines = [who for who in BASELINE_LABELS if who in metrics]
    values = {who: [metrics[who][f"{metric}_at_{k}"] for k in ks] for who in ("model", *baselines)}
    x = [float(k) for k in ks]
    figure, axes = _figure(2.7, 2.1)
    lines = [
        _Line(BASELINE_LABELS[who], x, values[who], *_BASELINE_LINES[who], 1.3) for who in baselines
    ]
    # The model's line last: on top of the others.
    _draw(axes, [*lines, _Line("model", x, values["model"], _SERIES[0], "o", "-", 2.0)])
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
    names = {"model": "model", **BASELINE_LABELS}
    described = f"{name}, {protocol}, by k. " + " ".join(
        f"At {k}: "
        + ", ".join(f"{names[who]} {of[number]:.4f}" for who, of in values.items())
        + "."
        for number, k in enumerate(ks)
    )
    return _Chart(name, _svg(figure, f"{metric}_{protocol}", described))


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Begins a chart of a size in inches.

    It is a `Figure` of its own: pyplot would keep every figure of the process.
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
    """Writes a chart as an element of the page.

    Args:
        figure: The chart.
        name: One for each chart of the page: ids inside are made from it.
        described: What the chart shows, for who cannot see it.

    Returns:
        The `<svg>` element.
    """
    written = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=metadata)
    # What stands before is for files: XML declaration, DOCTYPE, namespaces.
    inner = written.getvalue().partition("<svg")[2].partition(">")[2]
    # Matplotlib's style rule is for all elements, and would be so for the whole page.
    inner = re.sub(r"<style.*?</style>", "", inner, flags=re.DOTALL)
    # Ids such as axes_1 are the same in every chart, and nothing refers to them.
    inner = re.sub(r' id="[\w.]+_\d+"', "", inner)
    # Without a font of its own, text has that of the page.
    inner = re.sub(r"font-family: [^;\"]*;? ?", "", inner)
    for drawn, on_page in _PAGE_COLOURS.items():
        inner = inner.replace(drawn, on_page)
    width, height = figure.get_size_inches() * 72
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(described)}">'
        f"{inner.rstrip()}"
    )
