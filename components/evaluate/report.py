"""The HTML report: one self-contained page for people."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.evaluate import labels
from components.evaluate.charts import chart_style, history_charts, metric_charts
from components.shared.contracts.drift import Drift
from components.shared.contracts.evaluation import Evaluation, Slice
from components.shared.contracts.metric import PROTOCOLS, TOP_100_ACCURACY, Metric
from components.shared.contracts.rankers import BASELINE_LABELS, MODEL
from components.shared.contracts.standing import needed, required, standing

_TEMPLATE = "report.html.j2"
_FILTERS = {
    "count": labels.count,
    "device": labels.device,
    "interval": labels.interval,
    "metric_label": labels.metric_label,
    "metric_value": labels.metric_value,
    "percent": labels.percent,
    "score": labels.score,
    "settings": labels.settings,
    "signed": labels.signed,
    "signed_interval": labels.signed_interval,
}


def render_report(evaluation: Evaluation, drift: Drift | None = None) -> str:
    """Render an evaluation as a web page.

    The page loads nothing: it contains its styles and charts, and no scripts.
    The same evaluation gives the same page.

    Args:
        evaluation: What was measured.
        drift: How the data differs from that of the published model. Nothing is shown
            if it was not compared.

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
    environment.filters.update(_FILTERS)
    metrics = {protocol: evaluation.metrics.by(protocol) for protocol in PROTOCOLS}
    baselines = evaluation.baseline_labels
    left_out = evaluation.baselines.left_out
    # Some settings count when a chart is made, some when it is saved.
    headline = evaluation.headline
    needed_by, needed_value = needed(headline)
    metric = f"{labels.metric_label(headline.metric)} ({headline.protocol})"
    with chart_style():
        charts_of_metrics = {
            protocol: metric_charts(protocol, metrics[protocol], evaluation.ks)
            for protocol in PROTOCOLS
        }
        charts_of_history = history_charts(evaluation.depths)
    return environment.get_template(_TEMPLATE).render(
        evaluation=evaluation,
        drift=drift if drift is not None and drift.compared else None,
        data=evaluation.data,
        headline=headline,
        standing=standing(headline, metric),
        required=required(headline),
        needed_by=BASELINE_LABELS[needed_by],
        over_baselines=needed_value,
        depths=evaluation.depths,
        metrics=metrics,
        protocols=PROTOCOLS,
        measures=labels.MEASURE_LABELS,
        metric_at=Metric,
        top_100_accuracy=TOP_100_ACCURACY,
        ks=sorted(set(evaluation.ks)),
        baselines=baselines,
        values_of={
            protocol: {
                key: [by_ranker[who][key] for who in (MODEL, *baselines)]
                for key in by_ranker[MODEL]
            }
            for protocol, by_ranker in metrics.items()
        },
        tuned=evaluation.baselines.settings,
        left_out={BASELINE_LABELS[who]: reason for who, reason in left_out.items()},
        exported=next((depth for depth in evaluation.depths if depth.exported), None),
        history_charts=charts_of_history,
        metric_charts=charts_of_metrics,
        slice_groups=_slice_groups(evaluation.slices),
    )


def _slice_groups(slices: list[Slice]) -> dict[str, list[Slice]]:
    groups: dict[str, list[Slice]] = {}
    for part in slices:
        groups.setdefault(part.by, []).append(part)
    return groups
