import math

import keras
import keras_rs
import numpy as np
import pytest

from components.shared.retrieval.metrics import per_query_metrics, ranking_metrics

QUERIES, ITEMS, LENGTH = 40, 30, 20
KS = (1, 2, 5, 13, LENGTH)
# Two relevant items of query 4, one of 7, two of 9; the second of query 4 is not in its list.
HAND_RANKS = np.array([0, 3, 2, 1, 2])
HAND_QUERIES = np.array([4, 4, 7, 9, 9])
SECOND = 1 / math.log2(3)  # the gain of an item in the second place


@pytest.fixture(scope="module")
def lists() -> np.ndarray:
    """A list of distinct items for each query."""
    rng = np.random.default_rng(3)
    return np.stack([rng.permutation(ITEMS)[:LENGTH] for _ in range(QUERIES)])


@pytest.fixture(scope="module")
def relevant() -> list[list[int]]:
    """One to six relevant items of each query, some of them in no list."""
    rng = np.random.default_rng(4)
    return [
        rng.choice(ITEMS, size=rng.integers(1, 7), replace=False).tolist() for _ in range(QUERIES)
    ]


def _flat(lists: np.ndarray, relevant: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The rank and the query of every relevant item."""
    ranks, query = [], []
    for number, items in enumerate(relevant):
        shown = lists[number].tolist()
        for item in items:
            ranks.append(shown.index(item) if item in shown else LENGTH)
            query.append(number)
    return np.array(ranks), np.array(query)


def _slow_metrics(lists: np.ndarray, relevant: list[list[int]], k: int) -> dict[str, float]:
    """The definitions, item by item."""
    found = rows = 0
    recall, ndcg, mrr = [], [], []
    for shown, items in zip(lists.tolist(), relevant, strict=True):
        first = shown[:k]
        hits = [item for item in items if item in first]
        found, rows = found + len(hits), rows + len(items)
        recall.append(len(hits) / len(items))
        gain = sum(1 / math.log2(place + 2) for place, item in enumerate(first) if item in items)
        best = sum(1 / math.log2(place + 2) for place in range(min(k, len(items))))
        ndcg.append(gain / best)
        places = [place for place, item in enumerate(first) if item in items]
        mrr.append(1 / (places[0] + 1) if places else 0.0)
    mean = {"recall": recall, "ndcg": ndcg, "mrr": mrr}
    return {"hit_rate": found / rows, **{name: sum(v) / len(v) for name, v in mean.items()}}


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, {"hit_rate": 1 / 5, "recall": 1 / 6, "ndcg": 1 / 3, "mrr": 1 / 3}),
        (
            3,
            {
                "hit_rate": 4 / 5,
                "recall": (1 / 2 + 1 + 1) / 3,
                "ndcg": (1 / (1 + SECOND) + 1 / 2 + (SECOND + 1 / 2) / (1 + SECOND)) / 3,
                "mrr": (1 + 1 / 3 + 1 / 2) / 3,
            },
        ),
    ],
)
def test_metrics_equal_those_computed_by_hand(k: int, expected: dict[str, float]) -> None:
    assert ranking_metrics(HAND_RANKS, HAND_QUERIES, k) == pytest.approx(expected)


def test_metrics_of_each_query_name_the_query_and_count_its_items() -> None:
    each = per_query_metrics(HAND_RANKS, HAND_QUERIES, 2)

    assert each["query"].tolist() == [4, 7, 9]
    assert each["targets"].tolist() == [2, 1, 2]
    assert each["hits"].tolist() == [1, 0, 1]
    assert each["recall"].tolist() == [0.5, 0, 0.5]
    assert each["mrr"].tolist() == [1, 0, 0.5]


def test_the_order_of_the_relevant_items_does_not_matter() -> None:
    order = np.array([3, 0, 4, 2, 1])

    shuffled = ranking_metrics(HAND_RANKS[order], HAND_QUERIES[order], 3)

    assert shuffled == pytest.approx(ranking_metrics(HAND_RANKS, HAND_QUERIES, 3))


@pytest.mark.parametrize("k", KS)
def test_metrics_equal_a_slow_reference(
    lists: np.ndarray, relevant: list[list[int]], k: int
) -> None:
    measured = ranking_metrics(*_flat(lists, relevant), k)

    assert measured == pytest.approx(_slow_metrics(lists, relevant, k))
    assert 0 < measured["hit_rate"] < 1


def test_the_best_order_of_all_relevant_items_has_a_perfect_score() -> None:
    ranks, query = np.array([0, 1, 2, 0]), np.array([0, 0, 0, 1])

    assert ranking_metrics(ranks, query, 3) == {
        "hit_rate": 1.0,
        "recall": 1.0,
        "ndcg": pytest.approx(1.0),
        "mrr": 1.0,
    }


def test_nothing_found_scores_zero() -> None:
    assert set(ranking_metrics(np.array([5, 5]), np.array([0, 1]), 5).values()) == {0.0}


def test_metrics_without_a_relevant_item_are_refused() -> None:
    with pytest.raises(ValueError, match="no relevant interaction"):
        ranking_metrics(np.empty(0, np.int64), np.empty(0, np.int64), 5)


@pytest.mark.parametrize("k", KS)
def test_hit_rate_is_the_top_k_accuracy_of_the_keras_example(
    lists: np.ndarray, relevant: list[list[int]], k: int
) -> None:
    ranks, query = _flat(lists, relevant)
    metric = keras.metrics.SparseTopKCategoricalAccuracy(k=k, from_sorted_ids=True)
    metric.update_state(np.concatenate(relevant), lists[query])

    assert ranking_metrics(ranks, query, k)["hit_rate"] == pytest.approx(float(metric.result()))


@pytest.mark.parametrize("k", [1, 5, LENGTH])
@pytest.mark.parametrize(
    ("name", "metric"),
    [("ndcg", keras_rs.metrics.NDCG), ("mrr", keras_rs.metrics.MeanReciprocalRank)],
)
def test_ndcg_and_mrr_are_those_of_keras_rs(
    lists: np.ndarray,
    relevant: list[list[int]],
    name: str,
    metric: type[keras.metrics.Metric],
    k: int,
) -> None:
    # keras_rs ranks the whole catalogue: items in no list get the lowest scores.
    scores = np.full((QUERIES, ITEMS), -1.0)
    np.put_along_axis(scores, lists, LENGTH - np.arange(LENGTH, dtype=float)[None, :], 1)
    labels = np.zeros((QUERIES, ITEMS))
    for number, items in enumerate(relevant):
        labels[number, items] = 1
    other = metric(k=k, shuffle_ties=False)
    other.update_state(labels, scores)

    measured = ranking_metrics(*_flat(lists, relevant), k)

    assert measured[name] == pytest.approx(float(other.result()), abs=1e-6)
