"""The verdict: tables of values, margins and what follows from them."""

from typing import Any

import pytest

from components.evaluate.config import EvaluateConfig
from components.evaluate.published import Comparison
from components.evaluate.verdict import verdict
from components.shared.contracts.evaluation import ByProtocol, Headline, Intervals, Lead, Metrics
from components.shared.contracts.metric import Metric
from components.shared.contracts.rankers import Ranker
from components.shared.contracts.standing import required, standing

VERSION = "shop-0123456789ab"
NOTHING, MEASURED = Comparison(), Comparison(VERSION)
INCOMPARABLE = Comparison(VERSION, "it takes plan, which the log no longer has")


def _verdict(
    model: float,
    most_popular: float,
    published: float | None = None,
    *,
    comparison: Comparison | None = None,
    low: float | None = None,
    more: dict[Ranker, float] | None = None,
    **settings: Any,
) -> Headline:
    """The verdict on a headline; every other number would change it.

    By default the interval of the lead begins at the lead; over the baselines in `more`,
    it does in any case.
    """
    if comparison is None:
        comparison = NOTHING if published is None else MEASURED
    more = more or {}
    headline: dict[Ranker, float] = {"model": model, "most_popular": most_popular, **more}
    if published is not None:
        headline["published"] = published
    others: dict[Ranker, float] = {who: float(who != "model") for who in headline}
    raw, filtered = (
        {
            ranker: {
                Metric("ndcg", 20): value,
                Metric("ndcg", 10): others[ranker],
                Metric("recall", 20): others[ranker],
            }
            for ranker, value in of.items()
        }
        for of in ({ranker: others[ranker] for ranker in headline}, headline)
    )
    lead = model - most_popular
    interval = (lead if low is None else low, lead + 0.01)
    leads: dict[Ranker, Lead] = {"most_popular": Lead(value=lead, interval=interval)}
    for who, value in more.items():
        leads[who] = Lead(value=model - value, interval=(model - value, 1.0))
    if published is not None:
        # Far below 0: this interval does not count.
        leads["published"] = Lead(value=model - published, interval=(-1.0, 1.0))
    intervals = Intervals(
        level=0.95, samples=1000, users=50, of=dict.fromkeys(headline, (0.0, 1.0)), leads=leads
    )
    return verdict(
        EvaluateConfig(ks=[10, 20], headline="ndcg_at_20_filtered", **settings),
        ByProtocol[dict[Ranker, Metrics]](raw=raw, filtered=filtered),
        comparison,
        intervals,
    )


@pytest.mark.parametrize(
    ("model", "most_popular", "margin", "good_enough"),
    [
        (0.3, 0.2, 0.0, True),
        (0.2, 0.2, 0.0, False),  # no better than counting
        (0.2 + 1e-9, 0.2, 0.0, True),
        (0.1, 0.2, 0.0, False),
        (0.3, 0.1, 2.0, True),  # though 0.3 - 0.1 < 0.2 in binary fractions
        (0.3, 0.1, 2.0 + 1e-8, False),
        (0.3 - 1e-9, 0.1, 2.0, False),
        (0.0, 0.0, 0.0, False),
        (1.0, 0.0, 1.0, True),
        (1e-13, 0.0, 0.0, True),  # the slack is for the margin, not for the lead
    ],
)
def test_the_lead_over_most_popular_has_to_be_above_zero_and_reach_the_margin(
    model: float, most_popular: float, margin: float, good_enough: bool
) -> None:
    given = _verdict(model, most_popular, margin=margin)

    assert given.good_enough is good_enough
    assert bool(given.reasons) is not good_enough
    assert given.lead == model - most_popular


@pytest.mark.parametrize(
    ("low", "margin", "good_enough"),
    [
        (0.05, 0.25, True),  # a quarter of 0.2
        (0.05 - 1e-9, 0.25, False),
        (0.05 - 1e-13, 0.25, True),  # the slack of sums of floats
        (1e-9, 0.0, True),
        (0.0, 0.0, False),  # it may be chance
        (-0.01, 0.0, False),
        (-0.01, 0.25, False),
    ],
)
def test_the_lower_end_of_the_interval_decides_not_the_lead(
    low: float, margin: float, good_enough: bool
) -> None:
    given = _verdict(0.9, 0.2, low=low, margin=margin)

    assert given.good_enough is good_enough
    assert bool(given.reasons) is not good_enough


@pytest.mark.parametrize(
    ("model", "published", "published_margin", "good_enough"),
    [
        (0.3, 0.3, 0.0, True),  # as good is good enough
        (0.3 - 1e-9, 0.3, 0.0, False),
        (0.3 - 1e-13, 0.3, 0.0, True),  # sums of floats in another order
        (0.31, 0.3, 0.0, True),
        (0.3, 0.1, 0.2, True),
        (0.1 + 0.2, 0.2, 0.1, True),
        (0.3, 0.2, 0.1, True),  # though 0.2 + 0.1 > 0.3 in binary fractions
        (0.3, 0.2, 0.1 + 1e-9, False),
        (0.3, 0.3, 0.01, False),
        (0.3, 0.31, -0.01, True),  # a little worse may pass, where somebody says so
        (0.3, 0.31 + 1e-9, -0.01, False),
        (0.3, 0.9, -1.0, True),
    ],
)
def test_the_model_must_reach_the_published_model_plus_the_margin(
    model: float, published: float, published_margin: float, good_enough: bool
) -> None:
    given = _verdict(model, 0.0, published, published_margin=published_margin)

    assert given.good_enough is good_enough
    assert bool(given.reasons) is not good_enough


def test_a_reason_names_the_metric_the_values_and_the_margin() -> None:
    given = _verdict(0.25, 0.2, low=0.03, margin=0.2)

    assert given.reasons == [
        "ndcg_at_20 filtered is 0.2500, +0.0500 from most-popular (0.2000), 95% interval +0.0300 "
        "to +0.0600; its lower end must be above 0 and reach the margin, 20% of that value "
        "(+0.0400)"
    ]


def test_a_reason_says_how_far_the_model_is_behind_most_popular() -> None:
    (reason,) = _verdict(0.15, 0.2).reasons

    assert "0.1500, -0.0500 from most-popular (0.2000), 95% interval -0.0500 to" in reason
    assert reason.endswith("reach the margin, 2% of that value (+0.0040)")


def test_a_reason_names_the_published_version_and_its_value() -> None:
    given = _verdict(0.25, 0.0, 0.3, published_margin=-0.01)

    assert given.reasons == [
        f"ndcg_at_20 filtered is 0.2500, but the published {VERSION} has 0.3000 on the same test "
        "split; the margin is -0.01"
    ]


def test_a_model_behind_both_gets_both_reasons() -> None:
    given = _verdict(0.1, 0.2, 0.3)

    popular, published = given.reasons
    assert "most-popular (0.2000)" in popular
    assert f"{VERSION} has 0.3000" in published
    assert given.good_enough is False


def test_a_published_model_that_cannot_be_measured_blocks_with_a_way_out() -> None:
    given = _verdict(0.9, 0.2, comparison=INCOMPARABLE)

    assert given.good_enough is False
    assert given.reasons == [
        f"it cannot be compared with the published {VERSION}: it takes plan, which the log no "
        "longer has. To publish it anyway, set evaluate.compare_with_published to false"
    ]


def test_most_popular_counts_even_if_the_published_model_cannot_be_measured() -> None:
    popular, published = _verdict(0.1, 0.2, comparison=INCOMPARABLE).reasons

    assert "most-popular" in popular
    assert "cannot be compared" in published


@pytest.mark.parametrize(
    ("published", "comparison"), [(0.9, MEASURED), (None, INCOMPARABLE)], ids=["better", "unknown"]
)
def test_without_the_comparison_only_most_popular_counts(
    published: float | None, comparison: Comparison
) -> None:
    def given(model: float) -> Headline:
        return _verdict(model, 0.2, published, comparison=comparison, compare_with_published=False)

    assert given(0.3).good_enough is True
    assert given(0.3).reasons == []
    assert given(0.3).published_version == VERSION
    (reason,) = given(0.1).reasons
    assert "most-popular" in reason


def test_an_interval_that_barely_leaves_zero_is_not_enough_by_default() -> None:
    assert _verdict(0.3, 0.2, low=0.001).good_enough is False
    assert _verdict(0.3, 0.2, low=0.004).good_enough is True  # 2% of 0.2


def test_recent_popularity_must_be_beaten_as_well_where_it_is_measured() -> None:
    stronger = _verdict(0.3, 0.2, more={"recent_popular": 0.35, "ials": 0.4})
    weaker = _verdict(0.3, 0.2, more={"recent_popular": 0.25, "ials": 0.4})
    missing = _verdict(0.3, 0.2, more={"ials": 0.4})

    (reason,) = stronger.reasons
    assert "-0.0500 from recent-popular (0.3500)" in reason
    assert weaker.good_enough is True
    assert weaker.must_beat == ["most_popular", "recent_popular"]
    assert missing.good_enough is True
    assert (missing.must_beat, missing.not_measured) == (["most_popular"], ["recent_popular"])
    assert required(missing).endswith("Recent-popular was not measured, so not required.")
    assert "most-popular and recent-popular: the lower end" in required(weaker)


def test_the_strongest_baseline_can_be_required() -> None:
    given = _verdict(0.3, 0.2, more={"ease": 0.35, "ials": 0.25}, must_beat=["strongest"])

    assert given.must_beat == ["ease"]
    assert given.not_measured == []
    (reason,) = given.reasons
    assert "from EASE (0.3500)" in reason


def test_baselines_that_are_not_measured_are_not_required_by_default() -> None:
    settings = EvaluateConfig(baselines=["most_popular", "ials"])

    assert settings.must_beat == ["most_popular"]
    assert EvaluateConfig.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("model", "low", "outcome", "hint"),
    [
        (0.5, 0.1, "beat the strongest baseline, most-popular: ndcg_at_20 filtered is", False),
        (0.3, -0.01, "do not beat the strongest baseline, most-popular, beyond chance", True),
        (0.1, -0.2, "lose to the strongest baseline, most-popular: ndcg_at_20", True),
    ],
)  # fmt: skip
def test_a_sentence_says_how_the_towers_stand_and_what_to_try(
    model: float, low: float, outcome: str, hint: bool
) -> None:
    said = standing(_verdict(model, 0.3, low=low))

    assert said.startswith(f"The towers {outcome}")
    assert ("train.loss" in said and "profile" in said and "train.tune: small" in said) is hint


def test_the_published_margin_counts_only_if_a_model_is_published() -> None:
    assert _verdict(0.3, 0.2, published_margin=0.5).good_enough is True
    assert _verdict(0.3, 0.2, 0.0, published_margin=0.5).good_enough is False


def test_the_headline_has_these_keys_and_values_in_json() -> None:
    given = _verdict(0.5, 0.25, 0.375, margin=0.125, published_margin=0.0625)

    assert given.model_dump(mode="json") == {
        "metric": "ndcg_at_20",
        "protocol": "filtered",
        "model": 0.5,
        "most_popular": 0.25,
        "published": 0.375,
        "lead": 0.25,
        "intervals": {
            "level": 0.95,
            "samples": 1000,
            "users": 50,
            "of": {ranker: [0.0, 1.0] for ranker in ("model", "most_popular", "published")},
            "leads": {
                "most_popular": {"value": 0.25, "interval": [0.25, 0.26]},
                "published": {"value": 0.125, "interval": [-1.0, 1.0]},
            },
        },
        "not_measured": ["recent_popular"],
        "margin": 0.125,
        "published_margin": 0.0625,
        "published_version": VERSION,
        "compared": True,
        "good_enough": True,
        "reasons": [],
    }
    alone = _verdict(0.5, 0.25).model_dump(mode="json")
    assert "published" not in alone
    assert alone["published_version"] is None
    assert alone["compared"] is False
