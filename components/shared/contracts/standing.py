"""How the model stands against the baselines: in a sentence, and what it needs."""

from components.shared.contracts.evaluation import Headline
from components.shared.contracts.rankers import BASELINE_LABELS, MODEL, Ranker

WHAT_TO_TRY = (
    "To improve them: try another train.loss (quadratic, softmax), a query feature of type profile "
    "(what the user did), and train.tune: small"
)


def standing(headline: Headline, metric: str | None = None) -> str:
    """Say how the towers compare with the strongest baseline, and what to try if they do not win.

    Args:
        headline: The verdict.
        metric: How to write the metric; by default, its name and protocol.
    """
    who = headline.strongest
    lead = headline.intervals.leads[who]
    low, high = lead.interval
    name = BASELINE_LABELS[who]
    if low > 0:
        outcome = f"The towers beat the strongest baseline, {name}"
    elif high < 0:
        outcome = f"The towers lose to the strongest baseline, {name}"
    else:
        outcome = f"The towers do not beat the strongest baseline, {name}, beyond chance"
    metric = metric or f"{headline.metric} {headline.protocol}"
    sentence = (
        f"{outcome}: {metric} is {headline.values[MODEL]:.4f} against {headline.values[who]:.4f} "
        f"({lead.value:+.4f}, 95% interval {low:+.4f} to {high:+.4f})."
    )
    return sentence if low > 0 else f"{sentence} {WHAT_TO_TRY}."


def required(headline: Headline) -> str:
    """Say which leads are required, and which are not because the baseline was not measured."""
    names = [BASELINE_LABELS[who] for who in headline.must_beat]
    reach = f" and reach {100 * headline.margin:g}% of its value" if headline.margin else ""
    text = (
        f"To be good enough, the model must beat {_listed(names)}: the lower end of the lead's 95% "
        f"interval must be above 0{reach}."
    )
    if headline.not_measured:
        verb = "was" if len(headline.not_measured) == 1 else "were"
        missing = _listed([BASELINE_LABELS[who] for who in headline.not_measured])
        text += f" {missing[0].upper()}{missing[1:]} {verb} not measured, so not required."
    return text


def needed(headline: Headline) -> tuple[Ranker, float]:
    """Return the value that would beat every required baseline, and the one that demands it.

    The distance from a lead to the lower end of its interval is taken as it is.
    """
    values: dict[Ranker, float] = {}
    for who in headline.must_beat:
        lead = headline.intervals.leads[who]
        values[who] = headline.values[who] * (1 + headline.margin) + lead.value - lead.interval[0]
    most = max(values, key=lambda who: values[who])
    return most, values[most]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
