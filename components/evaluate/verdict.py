"""The verdict: is the model good enough to take the place of what is there?"""

from typing import Any

from components.evaluate.config import EvaluateConfig
from components.evaluate.intervals import Intervals
from components.evaluate.published import Comparison

MODEL, MOST_POPULAR, PUBLISHED = "model", "most_popular", "published"


def verdict(
    settings: EvaluateConfig,
    metrics: dict[str, Any],
    comparison: Comparison,
    intervals: Intervals,
) -> dict[str, Any]:
    """Compares the headline metric of the model with those of the others.

    The model has to exceed most-popular by the margin, and not by chance: the
    lower end of the lead's 95% interval counts. The other baselines do not.

    If a model is published, it also has to reach what that one has on the same
    test part, so that a worse model never replaces a better one; where the two
    cannot be compared, it does not. Here the values count, not the interval: a
    retrained model that is just as good has to be able to replace the old one.

    Args:
        settings: The headline and the margins.
        metrics: By protocol, by who, by name.
        comparison: The published model, or why it cannot be measured.
        intervals: Of the headline metric, and of the model's leads.

    Returns:
        The headline metric, who has how much of it with its interval,
        `good_enough`, and `reasons` why not.
    """
    values = {
        who: values[settings.headline_metric]
        for who, values in metrics[settings.headline_protocol].items()
    }
    named = f"{settings.headline_metric} {settings.headline_protocol}"
    lead = values[MODEL] - values[MOST_POPULAR]
    _, (low, high) = intervals.leads[MOST_POPULAR]
    reasons = []
    # The slack is for margins that are no binary fractions: 0.3 - 0.1 is less than 0.2.
    if low <= 0 or low < settings.margin - 1e-12:
        reasons.append(
            f"{named} is {values[MODEL]:.4f}, {lead:+.4f} from most-popular "
            f"({values[MOST_POPULAR]:.4f}), 95% interval {low:+.4f} to {high:+.4f}; its lower "
            f"end has to be above 0 and reach the margin; the margin is {settings.margin:g}"
        )
    if settings.compare_with_published and comparison.version is not None:
        if comparison.reason is not None:
            reasons.append(
                f"it cannot be compared with the published {comparison.version}: "
                f"{comparison.reason}. To publish nevertheless, set "
                "evaluate.compare_with_published to false"
            )
        elif values[MODEL] < values[PUBLISHED] + settings.published_margin - 1e-12:
            reasons.append(
                f"{named} is {values[MODEL]:.4f}, but the published {comparison.version} has "
                f"{values[PUBLISHED]:.4f} on the same test part; the margin is "
                f"{settings.published_margin:g}"
            )
    return {
        "metric": settings.headline_metric,
        "protocol": settings.headline_protocol,
        **values,
        "lead": lead,
        "intervals": intervals.summary(),
        "margin": settings.margin,
        "published_margin": settings.published_margin,
        "published_version": comparison.version,
        "compared": settings.compare_with_published and PUBLISHED in values,
        "good_enough": not reasons,
        "reasons": reasons,
    }
