"""The baselines, on synthetic users with tastes."""

import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from components.evaluate import baselines, user_items
from components.evaluate.baselines import Baselines, baseline_lists
from components.evaluate.config import EvaluateConfig
from components.evaluate.ease import ease_weights, fitted_ease, gram
from components.evaluate.ials import fit_ials
from components.evaluate.popularity import most_frequent
from components.evaluate.recent import recent_counts
from components.evaluate.test_data import TestData as Data  # pytest would collect that name
from components.evaluate.user_items import Fitted, UserItems
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.metric import PROTOCOLS, Metric, Protocol
from components.shared.contracts.rankers import Baseline
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
    read_table,
    write_table,
)
from components.shared.contracts.tuned import IalsSettings, TunedEase, TunedIals, TunedRecent
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.seen_items import SeenItems
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.pace import Pace

USERS, ITEMS, GROUPS = 90, 60, 3
COLD = 1000  # a user who is only in the test split
K = 10
SETTINGS: dict[str, Any] = {"ks": [K], "headline": "hit_rate_at_10_filtered"}
Rows = list[tuple[int, int, float, int]]  # user, item, label, the user's mood


@dataclass(frozen=True)
class World:
    """Encoded tables in a folder."""

    folder: Path

    @property
    def data(self) -> Data:
        return Data.read(str(self.folder))

    def lists(self, k: int = K, **settings: Any) -> Baselines:
        config = EvaluateConfig(**{**SETTINGS, **settings})
        return baseline_lists(self.data, config, k)


def _write(folder: Path, parts: dict[str, Rows], *, relevant_above: float | None = 0.9) -> World:
    for split, rows in parts.items():
        user, item, label, mood = (list(column) for column in zip(*rows, strict=True))
        write_table(
            pa.table(
                {
                    QUERY_ID: pa.array(user, pa.int64()),
                    CANDIDATE_INDEX: pa.array(item, pa.int32()),
                    "mood": pa.array(mood, pa.int32()),
                    LABEL: pa.array(label, pa.float32()),
                    TIMESTAMP: pa.array(range(len(rows)), pa.int64()),
                }
            ),
            folder / "interactions" / split,
        )
    items = {CANDIDATE_ID: list(range(ITEMS)), TITLE: [f"Item {i}" for i in range(ITEMS)]}
    indices = pa.array(range(1, ITEMS + 1), pa.int32())
    write_table(pa.table({**items, "item": indices}), folder / "candidates")

    def feature(name: str, kind: str, cardinality: int) -> EncodedFeature:
        return EncodedFeature(
            name=name, type=kind, dtype="int32", cardinality=cardinality, raw_columns=[name]
        )

    labels = [row[2] for row in parts["train"]]
    FeatureSpec(
        query=[feature("mood", "integer_categorical", 4)],
        candidate=[feature("item", "id", ITEMS + 1)],
        query_inputs=[RawInput(name="mood", dtype="int64")],
        candidate_inputs=[RawInput(name="item", dtype="int64")],
        query_id_feature=None,
        query_id_dtype="int64",
        candidate_id_dtype="int64",
        label_scale=1,
        label_offset=0,
        relevant_above=relevant_above,
        label_range=(min(labels), max(labels)),
        warnings=[],
    ).write(folder)
    return World(folder)


def _planted(*, seed: int = 0, label: float | None = None) -> dict[str, Rows]:
    """Users of three groups, who interact with the items of their group, some more than others.

    Items that everybody takes are in front: the most popular ones tell nothing about a group.
    """
    rng = np.random.default_rng(seed)
    shared = 6
    parts: dict[str, Rows] = {"train": [], "validation": [], "test": []}
    for user in range(USERS):
        own = np.arange(shared + user % GROUPS, ITEMS, GROUPS)
        items = [*rng.permutation(shared)[:4], *rng.permutation(own)[:14]]
        labels = rng.choice([0.25, 0.5, 1.0], len(items)) if label is None else [label] * len(items)
        rows = [(user, int(i), float(x), user % 2) for i, x in zip(items, labels, strict=True)]
        parts["train"] += rows[:11]
        parts["validation"] += rows[11:14]
        parts["test"] += rows[14:]
    # A user with several queries, and one without an earlier interaction.
    parts["test"] += [(1, 8, 1.0, mood) for mood in (0, 1, 2)]
    parts["test"] += [(COLD, item, 1.0, 3) for item in (0, 20, 40)]
    return parts


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return _write(tmp_path_factory.mktemp("planted"), _planted())


@pytest.fixture(scope="module")
def found(world: World) -> Baselines:
    return world.lists()


def _hit_rate(world: World, lists: np.ndarray) -> float:
    data = world.data
    return float((data.targets.ranks(lists) < K).mean())


def _known(data: Data) -> dict[int, set[int]]:
    known: dict[int, set[int]] = {}
    for row in data.known.to_pylist():
        known.setdefault(row[QUERY_ID], set()).add(row[CANDIDATE_INDEX])
    return known


# --- EASE -----------------------------------------------------------------------------------------


def _matrix(seed: int = 3, users: int = 30, items: int = 7) -> np.ndarray:
    return (np.random.default_rng(seed).random((users, items)) < 0.4) * 1.0


@pytest.mark.parametrize("l2", [0.5, 50.0])
def test_ease_is_the_closed_form(l2: float) -> None:
    matrix = _matrix()
    inverse = np.linalg.inv(matrix.T @ matrix + l2 * np.eye(7))
    expected = np.eye(7) - inverse / np.diag(inverse)  # eq. 8

    weights = ease_weights(gram(csr_array(matrix)), l2)

    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    assert (np.diag(weights) == 0).all()


def test_each_column_of_ease_is_a_ridge_regression_on_the_other_items() -> None:
    matrix = _matrix() * np.random.default_rng(4).choice([0.25, 1.0, 2.0], 7)

    weights = ease_weights(gram(csr_array(matrix)), 3.0)

    for item in range(7):
        others = np.delete(np.arange(7), item)
        x = matrix[:, others]
        ridge = np.linalg.solve(x.T @ x + 3.0 * np.eye(6), x.T @ matrix[:, item])
        np.testing.assert_allclose(weights[others, item], ridge, atol=1e-5)


def test_ease_of_two_items_by_hand() -> None:
    # Three users have both, one has the first only: w = 3 / (4 + l2) from the first to the second.
    matrix = csr_array(np.array([[1.0, 1], [1, 1], [1, 1], [1, 0]]))

    weights = ease_weights(gram(matrix), 2.0)

    np.testing.assert_allclose(weights, [[0, 3 / 6], [3 / 5, 0]], rtol=1e-6)
    scores = fitted_ease(matrix, weights).scores(np.array([3, 0]))
    np.testing.assert_allclose(scores, [[0, 0.5], [0.6, 0.5]], rtol=1e-6)


def test_solving_does_not_change_the_gram_matrix() -> None:
    products = gram(csr_array(_matrix()))
    before = products.copy()

    first, second = (ease_weights(products, 5.0) for _ in range(2))

    assert (products == before).all()
    assert (first == second).all()


def test_ease_has_no_signal_for_users_whose_row_is_zero() -> None:
    matrix = csr_array(np.array([[1.0, 0], [0, 0], [-1, 0], [1, -1]]))

    assert fitted_ease(matrix, np.zeros((2, 2))).has_signal.tolist() == [True, False, True, True]


# --- iALS -----------------------------------------------------------------------------------------

IALS = IalsSettings(weighting="count", factors=8, regularization=1.0, alpha=3.0, iterations=30)


def test_ials_solves_the_papers_equations() -> None:
    # One factor, so that alternating by hand is a division.
    r = _matrix(7, 20, 6).astype(np.float32)
    confidence, wanted = 1 + 3.0 * r, (r > 0) * 1.0
    x, y = np.ones(20), np.ones(6)
    for _ in range(200):
        x = (confidence * wanted) @ y / (confidence @ y**2 + 1.0)
        y = (confidence * wanted).T @ x / (confidence.T @ x**2 + 1.0)

    settings = IALS.model_copy(update={"factors": 1, "iterations": 200})
    scores = fit_ials(csr_array(r), settings).scores(np.arange(20))

    np.testing.assert_allclose(scores, np.outer(x, y), atol=1e-3)


def test_ials_is_deterministic_and_does_not_warn() -> None:
    r = csr_array(_matrix(8, 50, 20).astype(np.float32))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (fit_ials(r, IALS).scores(np.arange(50)) for _ in range(2))

    assert (first == second).all()


def test_ials_ignores_pairs_of_zero_and_below() -> None:
    r = np.array([[1.0, 2, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]], np.float32)
    with_zeros = csr_array(
        (
            np.array([1, 2, 0, -1, 1, 1, 1, 1, 0], np.float32),
            np.array([0, 1, 2, 0, 1, 2, 0, 2, 1]),
            np.array([0, 3, 6, 8, 9]),
        ),
        shape=(4, 3),
    )

    fitted, plain = fit_ials(with_zeros, IALS), fit_ials(csr_array(r), IALS)

    assert fitted.has_signal.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(fitted.scores(np.arange(4)), plain.scores(np.arange(4)))
    assert with_zeros.data.tolist() == [1, 2, 0, -1, 1, 1, 1, 1, 0]


# --- Users and items ------------------------------------------------------------------------------


def _interactions(rows: list[tuple[str, int, float]]) -> pa.Table:
    user, item, label = zip(*rows, strict=True)
    columns = {QUERY_ID: user, CANDIDATE_INDEX: pa.array(item, pa.int32())}
    return pa.table({**columns, LABEL: pa.array(label, pa.float32())})


def test_repeated_pairs_are_counted_and_their_labels_averaged() -> None:
    table = _interactions(
        [("b", 2, 1.0), ("a", 0, 0.5), ("b", 2, 0.0), ("b", 1, 0.0), ("a", 3, 1.0)]
    )

    matrix = UserItems.of(table, 4)

    b, a = matrix.rows(pa.array(["b", "a"]))
    assert matrix.weighted("count").toarray()[[b, a]].tolist() == [[0, 1, 2, 0], [1, 0, 0, 1]]
    assert matrix.weighted("label").toarray()[[b, a]].tolist() == [[0, 0, 0.5, 0], [0.5, 0, 0, 1]]
    assert matrix.weighted("equal").toarray()[[b, a]].tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]
    assert matrix.rows(pa.array(["c", "a"])).tolist() == [-1, a]


@pytest.mark.parametrize("at_once", [1, 5, 1 << 24])
def test_ranking_is_by_score_then_index_without_the_users_items(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(user_items, "_SCORES_AT_ONCE", at_once)
    rows = [("a", 1, 1.0), ("b", 0, 1.0), ("b", 2, 0.0), ("c", 3, 1.0), ("d", 0, 1.0)]
    matrix = UserItems.of(_interactions(rows), 4)
    scores = np.array([[1, 2, 3, 3], [5, 0, 5, 5], [1, 1, 1, 1], [0, 0, 0, 0]], np.float32)
    fitted = Fitted(lambda of: scores[of].copy(), np.array([True, True, True, False]))
    ids = pa.array(["b", "x", "a", "b", "d", "c"])
    instead = np.full((6, 3), 9, np.int32)

    lists = matrix.rank(fitted, ids, {"raw": instead, "filtered": instead})
    raw, filtered = lists["raw"], lists["filtered"]

    nothing_known = [9, 9, 9]
    b = [0, 2, 3]
    assert raw.tolist() == [b, nothing_known, [2, 3, 1], b, nothing_known, [0, 1, 2]]
    b = [3, 1, -1]
    assert filtered.tolist() == [b, nothing_known, [2, 3, 0], b, nothing_known, [0, 1, 2]]
    assert raw.dtype == filtered.dtype == np.int32
    assert (instead == 9).all()


# --- All of them ----------------------------------------------------------------------------------


def test_collaborative_filtering_finds_planted_tastes(world: World, found: Baselines) -> None:
    rates = {name: _hit_rate(world, lists["filtered"]) for name, lists in found.lists.items()}

    assert list(rates) == ["most_popular", "most_liked", "ease", "ials"]
    assert min(rates["ease"], rates["ials"]) > 1.5 * max(rates["most_popular"], rates["most_liked"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_popularity_equals_a_loop_that_counts(
    world: World, found: Baselines, protocol: Protocol
) -> None:
    data, known = world.data, _known(world.data)
    thresholds: dict[Baseline, float] = {"most_popular": -1.0, "most_liked": 0.9}
    for name, above in thresholds.items():
        counts = [0] * ITEMS
        for row in data.known.to_pylist():
            counts[row[CANDIDATE_INDEX]] += row[LABEL] > above
        order = sorted(range(ITEMS), key=lambda item: (-counts[item], item))
        for query, user in enumerate(data.queries.ids.to_pylist()):
            left_out = known.get(user, set()) if protocol == "filtered" else set()
            expected = [item for item in order if item not in left_out][:K]
            assert found.lists[name][protocol][query].tolist() == expected


def test_popular_lists_end_where_a_user_has_seen_the_rest_and_repeated_pairs_count_once() -> None:
    counts = np.array([3, 5, 5, 0, 1])  # the order is 1, 2, 0, 4, 3
    seen = SeenItems(
        offsets=np.array([0, 0, 3, 8]),
        items=np.array([1, 1, 0, 0, 1, 2, 3, 4], np.int32),
        user=np.array([1, 2, 0, 1]),
    )

    lists = most_frequent(counts, 4, 4, seen)

    assert lists.tolist() == [[2, 4, 3, -1], [-1] * 4, [1, 2, 0, 4], [2, 4, 3, -1]]
    assert lists.dtype == np.int32
    assert most_frequent(counts, 2, 3, None).tolist() == [[1, 2, 0]] * 2


@pytest.mark.parametrize("name", ["ease", "ials"])
def test_lists_have_the_best_scores_of_the_model_fitted_to_both_splits(
    world: World, found: Baselines, name: Baseline
) -> None:
    data, chosen = world.data, found.notes.settings[name]
    assert not isinstance(chosen, TunedRecent)
    matrix = UserItems.of(data.known, ITEMS)
    weighted = matrix.weighted(chosen.weighting)
    if isinstance(chosen, TunedEase):
        dense = weighted.toarray().astype(np.float64)
        inverse = np.linalg.inv(dense.T @ dense + chosen.l2 * np.eye(ITEMS))
        scores = dense @ (np.eye(ITEMS) - inverse / np.diag(inverse))
    else:
        scores = fit_ials(weighted, chosen).scores(np.arange(USERS))
    row = dict(zip(matrix.users.to_pylist(), range(USERS), strict=True))
    known = _known(data)
    for query, user in enumerate(data.queries.ids.to_pylist()):
        if user == COLD:
            continue
        of_user = scores[row[user]].copy()
        raw, filtered = (found.lists[name][protocol][query] for protocol in PROTOCOLS)
        np.testing.assert_allclose(of_user[raw], np.sort(of_user)[::-1][:K], atol=1e-5)
        of_user[list(known[user])] = -np.inf
        np.testing.assert_allclose(of_user[filtered], np.sort(of_user)[::-1][:K], atol=1e-5)
        assert len(set(filtered.tolist()) - known[user]) == K


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_users_without_an_interaction_get_the_most_popular_items(
    world: World, found: Baselines, protocol: Protocol
) -> None:
    (cold,) = np.flatnonzero(to_numpy(world.data.queries.ids) == COLD)

    popular = found.lists["most_popular"][protocol][cold].tolist()

    names: tuple[Baseline, ...] = ("ease", "ials")
    for name in names:
        assert found.lists[name][protocol][cold].tolist() == popular
        assert (found.lists[name][protocol] != found.lists["most_popular"][protocol]).any()


def test_every_query_of_a_user_gets_the_users_list(world: World, found: Baselines) -> None:
    queries = np.flatnonzero(to_numpy(world.data.queries.ids) == 1)

    assert len(queries) == 3
    for lists in found.lists.values():
        for protocol in PROTOCOLS:
            assert len(np.unique(lists[protocol][queries], axis=0)) == 1


def test_baselines_are_deterministic(world: World, found: Baselines) -> None:
    again = world.lists()

    assert again.notes == found.notes
    for name, lists in found.lists.items():
        for protocol in PROTOCOLS:
            assert (again.lists[name][protocol] == lists[protocol]).all()


# --- Tuning ---------------------------------------------------------------------------------------


def test_the_test_split_does_not_influence_the_baselines(
    world: World, found: Baselines, tmp_path: Path
) -> None:
    parts = _planted()
    rng = np.random.default_rng(9)
    # The same queries, but other items with other labels.
    parts["test"] = [
        (user, int(rng.integers(ITEMS)), float(rng.random()), mood)
        for user, _, _, mood in parts["test"]
    ]

    other = _write(tmp_path, parts).lists()

    assert other.notes == found.notes
    for name, lists in found.lists.items():
        for protocol in PROTOCOLS:
            assert (other.lists[name][protocol] == lists[protocol]).all()


def test_the_validation_split_influences_the_settings(found: Baselines, tmp_path: Path) -> None:
    parts = _planted()
    rng = np.random.default_rng(10)
    parts["validation"] = [
        (user, int(rng.integers(ITEMS)), 1.0, mood) for user, _, _, mood in parts["validation"]
    ]

    other = _write(tmp_path, parts).lists()

    for name, tuned in found.notes.settings.items():
        assert other.notes.settings[name].validation < tuned.validation


@pytest.mark.parametrize("headline", ["hit_rate_at_10_filtered", "ndcg_at_30_raw"])
@pytest.mark.parametrize("name", ["ease", "ials"])
def test_the_value_of_the_settings_is_that_of_a_fit_to_the_training_split(
    tmp_path: Path, name: Baseline, headline: str
) -> None:
    """With the validation split as the test split, and only the training split before it."""
    parts = _planted()
    world = _write(tmp_path / "tuned", parts)
    as_test = _write(tmp_path / "as_test", {**parts, "test": parts["validation"]}).data
    as_test = replace(as_test, known=as_test.known.slice(0, as_test.train_rows))
    metric = Metric.parse(headline)
    names = ["most_popular", name]

    chosen = world.lists(ks=[metric.cutoff], headline=headline, baselines=names)

    settings = chosen.notes.settings[name]
    matrix = UserItems.of(as_test.known, ITEMS)
    if isinstance(settings, TunedEase):
        weighted = matrix.weighted(settings.weighting)
        fitted = fitted_ease(weighted, ease_weights(gram(weighted), settings.l2))
    else:
        assert isinstance(settings, TunedIals)
        fitted = fit_ials(matrix.weighted(settings.weighting), settings)
    assert metric.protocol is not None
    instead = {metric.protocol: np.zeros((len(as_test.queries), metric.cutoff), np.int32)}
    lists = matrix.rank(fitted, as_test.queries.ids, instead)
    ranks = as_test.targets.ranks(lists[metric.protocol])
    measures = ranking_metrics(ranks, as_test.targets.query, metric.cutoff)
    assert settings.validation == measures[metric.measure]
    assert settings.tried > 3
    assert not settings.cut


def test_equal_labels_are_not_tried_as_a_weighting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = _write(tmp_path, _planted(label=1.0))

    with caplog.at_level(logging.INFO, "components"):
        settings = world.lists().notes.settings

    assert settings["ease"].tried < 10  # not the whole grid
    assert not [line for line in caplog.messages if "weighting='label'" in line]


def test_without_time_the_first_settings_are_tried_and_the_result_says_so(world: World) -> None:
    settings = world.lists(tuning_seconds=0).notes.settings

    ease, ials = settings["ease"], settings["ials"]
    assert [(tuned.tried, tuned.cut) for tuned in (ease, ials)] == [(1, True)] * 2
    assert isinstance(ease, TunedEase)
    assert ease.l2 == 200


def test_each_try_is_logged_with_its_value(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Pace, "is_due", lambda pace: True)

    with caplog.at_level(logging.INFO, "components"):
        settings = world.lists().notes.settings

    names: dict[str, Baseline] = {"EASE": "ease", "iALS": "ials"}
    for label, name in names.items():
        lines = [line for line in caplog.messages if line.startswith(f"{label}: tuning")]
        assert len(lines) == settings[name].tried
        assert any(f": {settings[name].validation:.4f} (" in line for line in lines)
    assert "most-popular: ranked 93 test queries" in caplog.messages
    assert "iALS: iteration 10/10" in caplog.messages


# --- Recent popularity ----------------------------------------------------------------------------

DAY = 24 * 60 * 60


def _moving(folder: Path) -> World:
    """A log by time in which another item is popular every ten days, and four always are a bit."""
    rng = np.random.default_rng(3)
    rows = []
    for day in range(85):
        for user in rng.choice(USERS, 12, replace=False):
            fashion = 4 + (day + 5) // 10 if rng.random() < 0.5 else int(rng.integers(4))
            rows.append((int(user), fashion, 1.0, day * DAY))
    cuts = {
        "train": (0, 80),
        "validation": (80, 82),
        "test": (82, 85),
    }
    world = _write(folder, {split: [(u, i, x, 0) for u, i, x, t in rows if low <= t // DAY < high]
                            for split, (low, high) in cuts.items()})  # fmt: skip
    for split, (low, high) in cuts.items():
        table = read_table(folder / "interactions" / split)
        times = pa.array([t for *_, t in rows if low <= t // DAY < high], pa.int64())
        position = table.schema.get_field_index(TIMESTAMP)
        write_table(table.set_column(position, TIMESTAMP, times), folder / "interactions" / split)
    return world


def test_recent_popularity_counts_the_days_before_the_boundary() -> None:
    known = pa.table(
        {
            CANDIDATE_INDEX: pa.array([0, 0, 0, 1, 1, 2], pa.int32()),
            TIMESTAMP: pa.array([0, 0, 8 * DAY, 9 * DAY, 9 * DAY + 1, 10 * DAY], pa.int64()),
        }
    )

    def order(days: int | None) -> list[int]:
        return np.argsort(-recent_counts(known, 4, days), kind="stable").tolist()

    assert order(None) == [0, 1, 2, 3]
    assert order(1) == [1, 2, 0, 3]  # of item 1, one; the count of all times orders equal ones
    assert order(7) == [1, 0, 2, 3]


def test_the_days_are_tuned_on_validation_and_beat_popularity_of_all_times(tmp_path: Path) -> None:
    world = _moving(tmp_path)

    found = world.lists(
        k=1, ks=[1], headline="hit_rate_at_1_raw", baselines=["most_popular", "recent_popular"]
    )

    tuned = found.notes.settings["recent_popular"]
    assert isinstance(tuned, TunedRecent)
    assert tuned.days in (1, 3, 7, 14)
    assert tuned.tried == 6  # all times; 1, 3, 7, 14 and 30 days of the 80 in training
    rates = {
        name: float((world.data.targets.ranks(lists["raw"]) < 1).mean())
        for name, lists in found.lists.items()
    }
    assert rates["recent_popular"] > rates["most_popular"]


def test_recent_popularity_is_left_out_without_times(world: World) -> None:
    found = world.lists(baselines=["most_popular", "recent_popular"])

    assert list(found.lists) == ["most_popular"]
    assert "the log has no times" in found.notes.left_out["recent_popular"]


def test_nothing_can_be_tuned_without_a_relevant_validation_row(tmp_path: Path) -> None:
    parts = _planted()
    parts["validation"] = [(u, item, 0.25, mood) for u, item, _, mood in parts["validation"]]
    world = _write(tmp_path, parts)

    with pytest.raises(InputError, match=r"validation split is above 0\.9.*evaluate\.baselines"):
        world.lists()

    assert list(world.lists(baselines=["most_popular", "most_liked"]).lists) == [
        "most_popular",
        "most_liked",
    ]


# --- What is left out -----------------------------------------------------------------------------


def test_ease_is_left_out_for_a_large_catalogue_with_a_way_to_include_it(world: World) -> None:
    large = world.lists(ease_max_candidates=ITEMS - 1, baselines=["most_popular", "ease"])
    enough = world.lists(ease_max_candidates=ITEMS, baselines=["most_popular", "ease"])

    assert list(large.lists) == ["most_popular"]
    assert large.notes.settings == {}
    assert "the catalogue has 60 candidates" in large.notes.left_out["ease"]
    assert "evaluate.ease_max_candidates (59)" in large.notes.left_out["ease"]
    assert "Raise that setting" in large.notes.left_out["ease"]
    assert list(enough.lists) == ["most_popular", "ease"]
    assert enough.notes.left_out == {}


def test_ials_is_left_out_for_a_large_log_with_a_way_to_include_it(world: World) -> None:
    rows = world.data.known.num_rows
    large = world.lists(ials_max_interactions=rows - 1, baselines=["most_popular", "ials"])
    enough = world.lists(ials_max_interactions=rows, baselines=["most_popular", "ials"])

    assert list(large.lists) == ["most_popular"]
    assert f"the log has {rows:,} interactions" in large.notes.left_out["ials"]
    assert "Raise that setting" in large.notes.left_out["ials"]
    assert list(enough.lists) == ["most_popular", "ials"]
    assert enough.notes.left_out == {}


def test_ease_is_left_out_where_memory_is_too_small(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "available_memory", lambda: 16 * ITEMS**2 - 1)

    small = world.lists(baselines=["most_popular", "ease"])

    assert list(small.lists) == ["most_popular"]
    assert "GiB of memory, but 0.0 GiB are available" in small.notes.left_out["ease"]


def test_most_liked_is_left_out_if_every_interaction_is_relevant(tmp_path: Path) -> None:
    parts = _planted()
    world = _write(tmp_path, parts, relevant_above=None)

    found = world.lists(baselines=["most_popular", "most_liked"])

    assert list(found.lists) == ["most_popular"]
    assert "relevant_above is not set" in found.notes.left_out["most_liked"]


def test_baselines_that_were_not_requested_are_not_listed_as_left_out(world: World) -> None:
    found = world.lists(ease_max_candidates=1, baselines=["most_popular"])

    assert list(found.lists) == ["most_popular"]
    assert found.notes.left_out == {}
