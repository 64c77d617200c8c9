"""The verdict: whether the model is good enough to replace the published one."""

from components.evaluate.config import EvaluateConfig
from components.evaluate.published import Comparison
from components.shared.contracts.evaluation import ByProtocol, Headline, Intervals, Metrics
from components.shared.contracts.rankers import (
    BASELINE_LABELS,
    BASELINES,
    MODEL,
    MOST_POPULAR,
    PUBLISHED,
    Baseline,
    Ranker,
)

# Margins are no binary fractions: 0.3 - 0.1 is less than 0.2.
_SLACK = 1e-12


def verdict(
    settings: EvaluateConfig,
    metrics: ByProtocol[dict[Ranker, Metrics]],
    comparison: Comparison,
    intervals: Intervals,
) -> Headline:
    """Compare the headline metric of the model with that of the other rankers.

    The model has to exceed each baseline of `must_beat` by the margin, and not by
    chance: the lower end of the lead's 95% interval counts. A baseline that could
    not be measured is not required.

    If a model is published, the model must also reach its value on the same test
    split, so that a worse model never replaces a better one; if the two cannot be
    compared, the model is not good enough. Here the values count, not the
    interval: a retrained model that is just as good must be able to replace the
    old one.

    Args:
        settings: The headline metric and the margins.
        metrics: The metrics of each ranker.
        comparison: The published model, or why it cannot be measured.
        intervals: The intervals of the headline metric and of the model's leads.
    """
    metric = settings.headline.by(None)
    values = {who: of[metric] for who, of in metrics.by(settings.protocol).items()}
    must_beat = _must_beat(settings, values)
    reasons = [
        reason
        for reason in (
            *(_behind(who, settings, values, intervals) for who in must_beat),
            _behind_published(settings, values, comparison),
        )
        if reason is not None
    ]
    return Headline.model_validate(
        {
            "metric": metric,
            "protocol": settings.protocol,
            **values,
            "lead": values[MODEL] - values[MOST_POPULAR],
            "intervals": intervals,
            "must_beat": must_beat,
            "not_measured": [
                who for who in settings.must_beat if who != "strongest" and who not in values
            ],
            "margin": settings.margin,
            "published_margin": settings.published_margin,
            "published_version": comparison.version,
            "compared": settings.compare_with_published and PUBLISHED in values,
            "good_enough": not reasons,
            "reasons": reasons,
        }
    )


def _named(settings: EvaluateConfig) -> str:
    return f"{settings.headline.by(None)} {settings.protocol}"


def _must_beat(settings: EvaluateConfig, values: dict[Ranker, float]) -> list[Baseline]:
    measured: list[Baseline] = [who for who in BASELINES if who in values]
    strongest = max(measured, key=lambda who: values[who])
    return [
        who
        for who in measured
        if who in settings.must_beat or ("strongest" in settings.must_beat and who == strongest)
    ]


def _behind(
    who: Baseline, settings: EvaluateConfig, values: dict[Ranker, float], intervals: Intervals
) -> str | None:
    low, high = intervals.leads[who].interval
    margin = settings.margin * values[who]
    if low > 0 and low >= margin - _SLACK:
        return None
    lead = values[MODEL] - values[who]
    return (
        f"{_named(settings)} is {values[MODEL]:.4f}, {lead:+.4f} from {BASELINE_LABELS[who]} "
        f"({values[who]:.4f}), 95% interval {low:+.4f} to {high:+.4f}; its lower end must be above "
        f"0 and reach the margin, {100 * settings.margin:g}% of that value ({margin:+.4f})"
    )


def _behind_published(
    settings: EvaluateConfig, values: dict[Ranker, float], comparison: Comparison
) -> str | None:
    if not settings.compare_with_published or comparison.version is None:
        return None
    if comparison.reason is not None:
        return (
            f"it cannot be compared with the published {comparison.version}: "
            f"{comparison.reason}. To publish it anyway, set "
            "evaluate.compare_with_published to false"
        )
    if values[MODEL] >= values[PUBLISHED] + settings.published_margin - _SLACK:
        return None
    return (
        f"{_named(settings)} is {values[MODEL]:.4f}, but the published {comparison.version} has "
        f"{values[PUBLISHED]:.4f} on the same test split; the margin is "
        f"{settings.published_margin:g}"
    )
