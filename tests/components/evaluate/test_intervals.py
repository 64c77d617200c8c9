"""Bootstrap intervals: against a loop, against known results, and on simulated data."""

import numpy as np
import pytest

from components.evaluate import intervals as module
from components.evaluate.intervals import intervals, user_sums
from components.shared.contracts.evaluation import Lead
from components.shared.contracts.metric import Metric
from components.shared.contracts.rankers import Ranker
from components.shared.retrieval.metrics import ranking_metrics

METRICS = ("hit_rate", "recall", "ndcg", "mrr")


def _world(seed: int, users: int = 40) -> tuple[dict[Ranker, np.ndarray], np.ndarray, np.ndarray]:
    """Ranks of two rankers, the query of each target, and the user of each query.

    Some users have several queries, and some queries have no target.
    """
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, users, users * 2))
    query = np.sort(rng.choice(len(user) - 3, users * 5))
    good = rng.integers(0, 30, len(query))
    ranks: dict[Ranker, np.ndarray] = {
        "model": good,
        "ease": good + rng.integers(-2, 6, len(query)).clip(-good),
    }
    return ranks, query, user


def _naive(
    ranks: np.ndarray, query: np.ndarray, user: np.ndarray, metric: str, k: int, drawn: np.ndarray
) -> float:
    """The metric of some users, from the rows of each."""
    rows, queries = [], []
    for number, one in enumerate(drawn):
        of_user = np.flatnonzero(user[query] == one)
        rows.append(ranks[of_user])
        # The queries of a user who is drawn twice count twice.
        queries.append(query[of_user] + number * len(user))
    return ranking_metrics(np.concatenate(rows), np.concatenate(queries), k)[metric]


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_equal_a_loop_over_resampled_users(metric: str) -> None:
    ranks, query, user = _world(1)
    users = np.unique(user[query])
    draws = np.random.default_rng(0).integers(0, len(users), (150, len(users)))

    measured = intervals(ranks, query, user, Metric(metric, 10), 150)

    values = {
        who: np.array([_naive(of, query, user, metric, 10, users[draw]) for draw in draws])
        for who, of in ranks.items()
    }
    for who, of in values.items():
        assert measured.of[who] == pytest.approx(np.percentile(of, [2.5, 97.5]))
    lead = measured.leads["ease"]
    assert lead.interval == pytest.approx(
        np.percentile(values["model"] - values["ease"], [2.5, 97.5])
    )
    points = {who: ranking_metrics(of, query, 10)[metric] for who, of in ranks.items()}
    assert lead.value == pytest.approx(points["model"] - points["ease"])
    assert measured.users == len(users)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_the_ratio_of_its_sums_over_users(metric: str) -> None:
    ranks, query, user = _world(2)

    numerator, denominator = user_sums(ranks["model"], query, user, Metric(metric, 10))

    expected = ranking_metrics(ranks["model"], query, 10)[metric]
    assert numerator.sum() / denominator.sum() == pytest.approx(expected)
    assert len(numerator) == len(denominator) == len(np.unique(user[query]))


def test_the_hit_rate_weighs_users_by_their_targets_and_recall_does_not() -> None:
    # The first user's three targets are found, the second one's only target is not.
    ranks, query, user = np.array([0, 1, 2, 99]), np.array([0, 0, 0, 1]), np.array([0, 1])

    hits, targets = user_sums(ranks, query, user, Metric("hit_rate", 10))
    recall, queries = user_sums(ranks, query, user, Metric("recall", 10))

    assert hits.tolist() == [3, 0]
    assert targets.tolist() == [3, 1]
    assert recall.tolist() == [1, 0]
    assert queries.tolist() == [1, 1]


def test_queries_of_a_user_are_resampled_together() -> None:
    # 50 users with 20 identical queries each: there is as much information as in 50 queries.
    hit = np.random.default_rng(3).integers(0, 2, 50)
    user = np.repeat(np.arange(50), 20)
    ranks = {"model": np.where(hit[user] == 1, 0, 99)}

    together = intervals(ranks, np.arange(1000), user, Metric("recall", 10), 400)
    apart = intervals(ranks, np.arange(1000), np.arange(1000), Metric("recall", 10), 400)
    few = intervals(
        {"model": ranks["model"][::20]}, np.arange(50), np.arange(50), Metric("recall", 10), 400
    )

    assert together.of["model"] == pytest.approx(few.of["model"])
    wide, narrow = (high - low for low, high in (together.of["model"], apart.of["model"]))
    assert wide > 3 * narrow


def test_both_values_of_a_lead_are_from_the_same_resample() -> None:
    # Users differ a lot, but the model is ahead by one item of ten for each of them.
    rng = np.random.default_rng(4)
    query = np.repeat(np.arange(100), 10)
    place = np.tile(np.arange(10), 100)
    found = rng.integers(1, 11, 100)[query]
    ranks = {
        "model": np.where(place < found, 0, 99),
        "ease": np.where(place < found - 1, 0, 99),
        "ials": np.where(place < found, 0, 99),
    }

    measured = intervals(ranks, query, np.arange(100), Metric("hit_rate", 10), 500)

    low, high = measured.of["model"]
    assert high - low > 0.08
    ahead = measured.leads["ease"]
    assert [ahead.value, *ahead.interval] == pytest.approx([0.1, 0.1, 0.1])
    assert measured.leads["ials"] == Lead(value=0, interval=(0, 0))


def test_the_interval_covers_the_true_value_about_as_often_as_its_level() -> None:
    # Each user has a rate around 0.3, and 1 to 6 targets.
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        query = np.repeat(np.arange(120), rng.integers(1, 7, 120))
        rate = rng.beta(3, 7, 120)
        ranks = {"model": np.where(rng.random(len(query)) < rate[query], 0, 99)}
        low, high = intervals(ranks, query, np.arange(120), Metric("hit_rate", 10), 300).of["model"]
        held += low <= 0.3 <= high

    # 285 are expected; the standard deviation of the count is 4.
    assert 269 <= held <= 298


def test_the_same_ranks_give_the_same_intervals() -> None:
    ranks, query, user = _world(6)

    first, again = (intervals(ranks, query, user, Metric("ndcg", 10), 200) for _ in range(2))

    assert first == again
    assert first != intervals(ranks, query, user, Metric("ndcg", 10), 201)


def test_the_number_of_draws_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks, query, user = _world(7)
    at_once = intervals(ranks, query, user, Metric("hit_rate", 10), 200)

    monkeypatch.setattr(module, "_DRAWS_AT_ONCE", 100)

    in_parts = intervals(ranks, query, user, Metric("hit_rate", 10), 200)
    assert in_parts.of["ease"] == pytest.approx(at_once.of["ease"])
    assert in_parts.leads["ease"].interval == pytest.approx(at_once.leads["ease"].interval)


def test_users_without_a_target_do_not_count() -> None:
    ranks, query, user = _world(8)
    more = np.concatenate([user, np.arange(100, 160)])

    assert intervals(ranks, query, more, Metric("mrr", 10), 100) == intervals(
        ranks, query, user, Metric("mrr", 10), 100
    )


def test_a_single_user_has_no_spread() -> None:
    ranks = {"model": np.array([0, 99]), "ease": np.array([99, 99])}

    measured = intervals(ranks, np.array([0, 0]), np.array([0]), Metric("hit_rate", 10), 100)

    assert measured.of == {"model": (0.5, 0.5), "ease": (0.0, 0.0)}
    assert measured.leads == {"ease": Lead(value=0.5, interval=(0.5, 0.5))}


def test_metrics_without_a_target_are_refused() -> None:
    nothing = np.empty(0, np.int64)

    with pytest.raises(ValueError, match="no relevant interaction"):
        intervals({"model": nothing}, nothing, nothing, Metric("hit_rate", 10), 100)
