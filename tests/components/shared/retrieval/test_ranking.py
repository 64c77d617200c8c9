from typing import Any, Literal

import jax
import numpy as np
import pyarrow as pa
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.metric import Protocol
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, QUERY_ID
from components.shared.retrieval import top_k as ranking
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.retrieval.top_k import NO_CANDIDATE, retrieve, retrieve_by_protocol
from components.shared.runtime.arrow import from_numpy

QUERIES, CANDIDATES, DIMENSION = 10, 23, 3
IDS: dict[str, list[Any]] = {"string": ["anna", "bob", "cleo"], "int64": [7, -3, 2**40]}
IdType = Literal["string", "int64"]


def _feature(name: str, dtype: Literal["int32", "float32"], width: int = 1) -> EncodedFeature:
    return EncodedFeature(name=name, type="test", dtype=dtype, width=width, raw_columns=[name])


def _interactions(
    ids: list[Any], items: list[int] | None = None, label: list[float] | None = None, **more: Any
) -> pa.Table:
    items = list(range(len(ids))) if items is None else items
    return pa.table(
        {
            QUERY_ID: pa.array(ids),
            CANDIDATE_INDEX: pa.array(items, pa.int32()),
            LABEL: pa.array(label or [1.0] * len(ids), pa.float32()),
            **{name: from_numpy(np.asarray(values)) for name, values in more.items()},
        }
    )


def _no_history(queries: int) -> SeenItems:
    return SeenItems(np.zeros(2, np.int64), np.empty(0, np.int32), np.zeros(queries, np.int64))


def _seen(lists: list[list[int]]) -> SeenItems:
    offsets = np.cumsum([0, *map(len, lists)])
    items = np.array([item for items in lists for item in items], np.int32)
    return SeenItems(offsets, items, np.arange(len(lists)))


def _slow_retrieve(
    queries: np.ndarray, candidates: np.ndarray, k: int, seen: list[list[int]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    for row, items in enumerate(seen or []):
        scores[row, items] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    top = np.take_along_axis(scores, order, 1)
    return np.where(np.isneginf(top), NO_CANDIDATE, order), top


@pytest.fixture
def embeddings() -> tuple[np.ndarray, np.ndarray]:
    """Small whole numbers: their scores are exact, and many are equal."""
    rng = np.random.default_rng(5)
    queries = rng.integers(-2, 3, (QUERIES, DIMENSION)).astype(np.float32)
    candidates = rng.integers(-2, 3, (CANDIDATES, DIMENSION)).astype(np.float32)
    return queries, candidates


@pytest.fixture
def seen_lists() -> list[list[int]]:
    """No, one, or many seen items, in turn."""
    rng = np.random.default_rng(6)
    lengths = [0, 1, 5, 12, 0, 3, 20, 2, 0, 7]
    return [rng.choice(CANDIDATES, length, replace=False).tolist() for length in lengths]


@pytest.mark.parametrize("k", [1, 4, CANDIDATES])
def test_retrieval_equals_a_sort_of_all_scores(
    embeddings: tuple[np.ndarray, np.ndarray], k: int
) -> None:
    indices, scores = retrieve(*embeddings, k)

    expected, expected_scores = _slow_retrieve(*embeddings, k)
    assert indices.tolist() == expected.tolist()
    assert scores.tolist() == expected_scores.tolist()
    assert (indices.dtype, scores.dtype) == (np.int32, np.float32)


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    candidates = np.array([[1.0], [3.0], [1.0], [3.0], [3.0], [2.0]], np.float32)

    indices, _ = retrieve(np.ones((2, 1), np.float32), candidates, 6)

    assert indices.tolist() == [[1, 3, 4, 5, 0, 2]] * 2


def test_random_floats_are_ranked_as_numpy_ranks_them() -> None:
    rng = np.random.default_rng(8)
    queries, candidates = rng.normal(size=(17, 8)), rng.normal(size=(50, 8))

    indices, scores = retrieve(queries.astype(np.float32), candidates.astype(np.float32), 10)

    expected, expected_scores = _slow_retrieve(queries, candidates, 10)
    assert indices.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)


def test_seen_items_are_left_out(
    embeddings: tuple[np.ndarray, np.ndarray], seen_lists: list[list[int]]
) -> None:
    indices, scores = retrieve(*embeddings, 10, _seen(seen_lists))

    expected, expected_scores = _slow_retrieve(*embeddings, 10, seen_lists)
    assert indices.tolist() == expected.tolist()
    assert scores.tolist() == expected_scores.tolist()
    assert indices.tolist() != retrieve(*embeddings, 10)[0].tolist()


def test_an_empty_history_leaves_nothing_out(
    embeddings: tuple[np.ndarray, np.ndarray],
) -> None:
    indices, _ = retrieve(*embeddings, 10, _no_history(QUERIES))

    assert indices.tolist() == retrieve(*embeddings, 10)[0].tolist()


def test_places_without_a_remaining_candidate_are_marked(
    embeddings: tuple[np.ndarray, np.ndarray],
) -> None:
    queries, candidates = embeddings
    lists = [list(range(CANDIDATES)), list(range(1, CANDIDATES))]

    indices, scores = retrieve(queries[:2], candidates, 3, _seen(lists))

    assert indices.tolist() == [[NO_CANDIDATE] * 3, [0, NO_CANDIDATE, NO_CANDIDATE]]
    assert np.isneginf(scores).tolist() == [[True] * 3, [False, True, True]]


@pytest.mark.parametrize("at_once", [1, CANDIDATES, 4 * CANDIDATES, 5 * CANDIDATES])
@pytest.mark.parametrize("filtered", [False, True])
def test_chunks_do_not_change_the_result(
    embeddings: tuple[np.ndarray, np.ndarray],
    seen_lists: list[list[int]],
    at_once: int,
    filtered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = _seen(seen_lists) if filtered else None
    whole = retrieve(*embeddings, 7, seen)
    monkeypatch.setattr(ranking, "_SCORES_AT_ONCE", at_once)

    chunked = retrieve(*embeddings, 7, seen)

    assert chunked[0].tolist() == whole[0].tolist()
    assert chunked[1].tolist() == whole[1].tolist()


@pytest.mark.parametrize("at_once", [1, 4 * CANDIDATES, 1 << 24])
@pytest.mark.parametrize("k", [1, 7, CANDIDATES])
def test_one_ranking_gives_the_lists_of_both_protocols(
    embeddings: tuple[np.ndarray, np.ndarray], k: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(k)
    lists = [sorted(rng.choice(CANDIDATES, n, replace=False)) for n in (0, 1, 2, 5, 9, 16, 22)]
    lists += [list(range(CANDIDATES)), [3, 3, 3, 4], []]  # all of them; repeated ones
    seen = _seen(lists)
    monkeypatch.setattr(ranking, "_SCORES_AT_ONCE", at_once)

    indices, scores = retrieve_by_protocol(*embeddings, k, seen)

    cases: dict[Protocol, SeenItems | None] = {"raw": None, "filtered": seen}
    for protocol, left_out in cases.items():
        expected, expected_scores = retrieve(*embeddings, k, left_out)
        assert indices[protocol].tolist() == expected.tolist()
        assert scores[protocol].tolist() == expected_scores.tolist()


def test_chunks_have_one_shape_even_if_the_last_is_shorter(
    embeddings: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    top_k = ranking._top_k

    def noted(queries: jax.Array, candidates: jax.Array, seen: jax.Array, k: int) -> Any:
        shapes.append((queries.shape, seen.shape))
        return top_k(queries, candidates, seen, k)

    monkeypatch.setattr(ranking, "_top_k", noted)
    monkeypatch.setattr(ranking, "_SCORES_AT_ONCE", 4 * CANDIDATES)

    retrieve(*embeddings, 5)

    assert shapes == [((4, DIMENSION), (4, 1))] * 3  # 10 queries: 4, 4, and 2 padded to 4


@pytest.mark.parametrize("id_type", ["string", "int64"])
def test_rows_of_the_same_user_and_features_are_one_query(id_type: IdType) -> None:
    anna, bob, _ = IDS[id_type]
    table = _interactions([bob, anna, bob, anna], age=np.array([30, 20, 30, 20], np.int32))

    queries = QuerySet.of(table, [_feature("age", "int32")])

    assert queries.ids.to_pylist() == [bob, anna]  # in order of appearance
    assert queries.features["age"].tolist() == [30, 20]
    assert queries.row_query.tolist() == [0, 1, 0, 1]
    assert len(queries) == 2


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("int32", [[1, 2], [1, 3], [1, 2]]), ("float32", [[0.5, 0.25], [0.5, 0.125], [0.5, 0.25]])],
)
def test_a_user_with_other_features_is_another_query(
    dtype: Literal["int32", "float32"], values: list[list[float]]
) -> None:
    table = _interactions(["anna"] * 3, tags=np.array(values, dtype))

    queries = QuerySet.of(table, [_feature("tags", dtype, width=2)])

    assert queries.ids.to_pylist() == ["anna", "anna"]
    assert queries.features["tags"].tolist() == values[:2]
    assert queries.row_query.tolist() == [0, 1, 0]


@pytest.mark.parametrize("id_type", ["string", "int64"])
def test_two_users_with_equal_features_are_two_queries(id_type: IdType) -> None:
    anna, bob, _ = IDS[id_type]
    table = _interactions([anna, bob], age=np.array([30, 30], np.int32))

    queries = QuerySet.of(table, [_feature("age", "int32")])

    assert queries.ids.to_pylist() == [anna, bob]
    assert queries.row_query.tolist() == [0, 1]


def test_queries_are_found_across_the_chunks_of_a_table() -> None:
    part = _interactions(["anna", "bob"], age=np.array([1, 2], np.int32))

    queries = QuerySet.of(pa.concat_tables([part, part.slice(1), part]), [_feature("age", "int32")])

    assert queries.ids.to_pylist() == ["anna", "bob"]
    assert queries.row_query.tolist() == [0, 1, 1, 0, 1]


def test_every_row_has_the_query_with_its_features() -> None:
    rng = np.random.default_rng(9)
    ids = rng.integers(0, 6, 200)
    age, tags = rng.integers(0, 3, 200), rng.integers(0, 2, (200, 2))
    table = _interactions(ids.tolist(), age=age.astype(np.float32), tags=tags.astype(np.int32))

    queries = QuerySet.of(table, [_feature("age", "float32"), _feature("tags", "int32", 2)])

    rows = queries.row_query
    assert queries.ids.to_numpy()[rows].tolist() == ids.tolist()
    assert queries.features["age"][rows].tolist() == age.tolist()
    assert queries.features["tags"][rows].tolist() == tags.tolist()
    distinct = {(i, a, *t) for i, a, t in zip(ids, age, tags.tolist(), strict=True)}
    assert len(queries) == len(distinct)


def _items_of(seen: SeenItems) -> list[list[int]]:
    return [seen.of_query(query).tolist() for query in range(len(seen.user))]


@pytest.mark.parametrize("id_type", ["string", "int64"])
def test_seen_items_are_those_of_the_querys_user_in_all_tables(id_type: IdType) -> None:
    anna, bob, cleo = IDS[id_type]
    test = _interactions([bob, anna, bob], age=np.array([1, 1, 2], np.int32))
    queries = QuerySet.of(test, [_feature("age", "int32")])
    train = _interactions([anna, cleo, bob, anna], [5, 9, 2, 1])
    validation = _interactions([bob, cleo], [0, 3])

    seen = SeenItems.of(queries, train, validation)

    # bob's two queries share his history, which is stored once; cleo has no query.
    assert _items_of(seen) == [[0, 2], [1, 5], [0, 2]]
    assert seen.counts.tolist() == [2, 2, 2]
    assert len(seen.items) == 4
    assert seen.padded(1, 3, padding=-1).tolist() == [[1, 5], [0, 2]]


@pytest.mark.parametrize("id_type", ["string", "int64"])
def test_users_without_history_have_seen_nothing(id_type: IdType) -> None:
    anna, bob, cleo = IDS[id_type]
    queries = QuerySet.of(_interactions([cleo, anna, bob]), [])

    seen = SeenItems.of(queries, _interactions([anna], [4]))

    assert _items_of(seen) == [[], [4], []]


@pytest.mark.parametrize("rows", [0, 2])
def test_the_history_of_other_users_is_ignored(rows: int) -> None:
    queries = QuerySet.of(_interactions(["anna", "bob"]), [])

    seen = SeenItems.of(queries, _interactions(["cleo", "dora"]).slice(0, rows))

    assert _items_of(seen) == [[], []]
    assert seen.padded(0, 2, padding=99).tolist() == [[99], [99]]


def test_seen_items_are_padded_to_a_power_of_two() -> None:
    seen = _seen([[1], [], [4, 5, 6], [7]])

    assert seen.padded(0, 4, padding=9).tolist() == [
        [1, 9, 9, 9],
        [9, 9, 9, 9],
        [4, 5, 6, 9],
        [7, 9, 9, 9],
    ]
    assert seen.padded(3, 4, padding=9).tolist() == [[7]]


def test_targets_are_the_rows_whose_label_is_above_the_threshold() -> None:
    table = _interactions(["anna", "bob", "anna", "bob"], [3, 1, 2, 0], [0.9, 1.0, 0.95, 0.2])
    queries = QuerySet.of(table, [])

    targets = Targets.of(table, queries, 0.9)

    assert targets.query.tolist() == [1, 0]
    assert targets.candidate.tolist() == [1, 2]


def test_all_rows_are_targets_without_a_threshold() -> None:
    table = _interactions(["anna", "bob"], [3, 1], [-5.0, 0.0])

    targets = Targets.of(table, QuerySet.of(table, []), None)

    assert targets.candidate.tolist() == [3, 1]


def test_a_repeated_item_is_one_target() -> None:
    table = _interactions(["bob", "anna", "bob", "bob"], [3, 3, 1, 3])

    targets = Targets.of(table, QuerySet.of(table, []), None)

    assert targets.query.tolist() == [0, 1, 0]
    assert targets.candidate.tolist() == [3, 3, 1]


def test_a_repeated_item_does_not_lift_ndcg_above_one() -> None:
    table = _interactions(["bob", "bob"], [3, 3])
    targets = Targets.of(table, QuerySet.of(table, []), None)

    metrics = ranking_metrics(targets.ranks(np.array([[3, 1]], np.int32)), targets.query, 2)

    assert metrics["ndcg"] == pytest.approx(1.0)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_ranks_are_places_in_the_list_of_the_query(at_once: int) -> None:
    retrieved = np.array([[4, 2, 9], [2, 4, NO_CANDIDATE]], np.int32)
    targets = Targets(np.array([0, 0, 0, 1, 1]), np.array([9, 4, 7, 4, 9], np.int32))

    ranks = targets.ranks(retrieved, at_once=at_once)

    assert ranks.tolist() == [2, 0, 3, 1, 3]
