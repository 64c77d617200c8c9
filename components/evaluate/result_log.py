"""The results in the step's log."""

import logging
from collections.abc import Iterable

from components.shared.contracts.evaluation import ByProtocol, Evaluation, Metrics
from components.shared.contracts.metric import Metric
from components.shared.contracts.rankers import BASELINE_LABELS
from components.shared.contracts.standing import required, standing
from components.shared.contracts.tuned import Tuned

logger = logging.getLogger(__name__)


def log_results(evaluation: Evaluation) -> None:
    """Log how the model stands, then the metrics, the leads, and the verdict."""
    headline = evaluation.headline
    metric = headline.metric
    logger.info(standing(headline))
    for depth in evaluation.depths:
        mark = " (exported)" if depth.exported else ""
        logger.info(f"{depth.layer_sizes}: {metric} {_by_protocol(depth.test, metric)}{mark}")
    for baseline, tuned in evaluation.baselines.settings.items():
        logger.info(f"{baseline} was tuned: {', '.join(_settings(tuned))}")
    for baseline, reason in evaluation.baselines.left_out.items():
        logger.info(f"{baseline} is left out: {reason}")
    for ranker in evaluation.rankers:
        measured = ByProtocol[Metrics](
            raw=evaluation.metrics.raw[ranker], filtered=evaluation.metrics.filtered[ranker]
        )
        logger.info(f"{ranker}: {metric} {_by_protocol(measured, metric)}")
    for ranker, lead in headline.intervals.leads.items():
        low, high = lead.interval
        logger.info(
            f"lead over {ranker}: {metric} {headline.protocol} {lead.value:+.4f}, "
            f"95% interval {low:+.4f} to {high:+.4f}"
        )
    if headline.good_enough:
        leads = ", ".join(
            f"{headline.intervals.leads[who].value:+.4f} from {BASELINE_LABELS[who]}"
            for who in headline.must_beat
        )
        logger.info(f"good enough: {metric} {headline.protocol} is {leads}")
    logger.info(required(headline))
    for reason in headline.reasons:
        logger.info(f"not good enough: {reason}")


def _by_protocol(measured: ByProtocol[Metrics], metric: Metric) -> str:
    return f"raw {measured.raw[metric]:.4f}, filtered {measured.filtered[metric]:.4f}"


def _settings(tuned: Tuned) -> Iterable[str]:
    for name, value in tuned:
        yield f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
