"""The quadratic loss over the whole catalogue, exact and with an estimated Gramian."""

from typing import Any

import jax
import keras
import numpy as np
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.config import TrainSettings
from components.train.device_table import DeviceTable
from components.train.gramian import Gramian
from components.train.losses import quadratic_loss
from components.train.retrieval_model import SHARE, RetrievalModel

ITEMS, USERS, DIMENSION = 40, 6, 4
UNOBSERVED = 0.3
# Users have 3, 1 and 2 items; one of them twice.
ITEM = np.array([[2, 5, 0], [7, -1, -1], [1, 1, -1]], np.int32)
WEIGHT = np.array([[1.0, 0.25, 0.5], [0.75, 0, 0], [2.0, 0.6, 0]], np.float32)


def _vectors(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, DIMENSION)).astype(np.float32)


def _slow(queries: np.ndarray, catalogue: np.ndarray) -> float:
    """The objective pair by pair: every item of the catalogue, observed or not."""
    total = 0.0
    for query, items, weights in zip(queries, ITEM, WEIGHT, strict=True):
        scores = catalogue.astype(np.float64) @ query
        total += UNOBSERVED * (scores**2).sum()
        for item, weight in zip(items[items >= 0], weights, strict=False):
            total += weight * (scores[item] - 1) ** 2 - UNOBSERVED * scores[item] ** 2
    return total / WEIGHT.sum()


def _shares() -> np.ndarray:
    is_row = ITEM >= 0
    return (is_row / is_row.sum(1, keepdims=True)).astype(np.float32)


def test_the_loss_equals_the_objective_over_all_pairs() -> None:
    queries, catalogue = _vectors(3, 1), _vectors(ITEMS, 2)
    own = catalogue[np.maximum(ITEM, 0)]

    loss = quadratic_loss(queries, own, catalogue.T @ catalogue, WEIGHT, _shares(), UNOBSERVED)

    assert float(loss) == pytest.approx(_slow(queries, catalogue), rel=1e-5)


def _feature(name: str, cardinality: int) -> EncodedFeature:
    return EncodedFeature(
        name=name,
        type="id",
        dtype="int32",
        cardinality=cardinality,
        oov_index=0,
        raw_columns=[name],
    )


def _towers() -> tuple[QueryModel, CandidateModel]:
    towers = (
        QueryModel([_feature("user", USERS + 1)], [], DIMENSION),
        CandidateModel([_feature("item", ITEMS + 1)], [], DIMENSION),
    )
    for seed, tower in enumerate(towers):
        tower.set_weights([_vectors(len(tower.get_weights()[0]), seed)])
    return towers


CATALOGUE = {"item": np.arange(1, ITEMS + 1, dtype=np.int32)}


def _model(**config: Any) -> RetrievalModel:
    rng = np.random.default_rng(3)
    user = np.repeat(np.arange(1, USERS + 1), 5).astype(np.int32)
    rows = {
        "user": user,
        CANDIDATE_INDEX: rng.integers(0, ITEMS, len(user)).astype(np.int32),
        LABEL: np.ones(len(user), np.float32),
        SHARE: np.full(len(user), 1 / 5, np.float32),
    }
    settings = TrainSettings.model_validate({"loss": "quadratic", **config})
    return RetrievalModel(*_towers(), rows, CATALOGUE, settings)


def _loss(model: RetrievalModel, rows: np.ndarray, **options: Any) -> float:
    return float(model.compute_loss(y_pred=model(rows), **options))


def test_a_users_rows_in_one_group_have_the_loss_of_single_rows() -> None:
    model = _model()
    grouped = np.arange(30, dtype=np.int32).reshape(USERS, 5)

    assert _loss(model, grouped) == pytest.approx(_loss(model, grouped.reshape(-1)), rel=1e-5)


def test_the_unobserved_weight_has_an_effect() -> None:
    rows = np.arange(30, dtype=np.int32)

    light, heavy = (_loss(_model(unobserved_weight=w), rows) for w in (0.01, 1.0))

    assert heavy > light + 1


def _gramian(block: int | None, seed: int = 0) -> tuple[Gramian, Any]:
    tower = _towers()[1]
    table = DeviceTable(CATALOGUE)
    return Gramian(tower, table, block, None, keras.random.SeedGenerator(seed)), tower


def test_the_estimate_approaches_the_exact_gramian() -> None:
    exact, tower = _gramian(None)
    everything = np.asarray(tower(CATALOGUE))
    expected = everything.T @ everything
    assert np.allclose(
        exact.value(exact.candidates(np.array([3]), False), True), expected, rtol=1e-5
    )

    estimated, _ = _gramian(8)
    errors = []
    for _ in range(60):
        value = estimated.value(estimated.candidates(np.array([3]), True), True)
        errors.append(np.linalg.norm(value - expected) / np.linalg.norm(expected))

    # A single block of 8 of 40 candidates, and the running average of many.
    assert np.mean(errors[-20:]) < 0.3 < errors[0]


def test_the_gradient_of_the_estimate_is_that_of_its_block() -> None:
    gramian, _ = _gramian(8)
    embedded = np.asarray(gramian.candidates(np.array([3]), True))
    query = _vectors(1, 5)[0]

    def unobserved(candidates: Any) -> Any:
        return query @ gramian.value(candidates, False) @ query

    gradient = np.asarray(jax.grad(unobserved)(embedded))

    block = embedded[1:, :-1]
    expected = ITEMS / 8 * 2 * (block @ query)[:, None] * query
    assert np.allclose(gradient[1:, :-1], expected, rtol=1e-4)
    assert not gradient[0].any()


def test_items_without_a_row_do_not_count_if_they_have_other_features() -> None:
    tower = _towers()[1]
    ignored = np.arange(ITEMS) >= 10
    gramian = Gramian(tower, DeviceTable(CATALOGUE), None, ignored, keras.random.SeedGenerator(0))
    known = np.asarray(tower(CATALOGUE))[:10]

    value = gramian.value(gramian.candidates(np.array([3]), False), False)

    assert np.allclose(value, known.T @ known, rtol=1e-5)


@pytest.mark.parametrize("block", [None, 10])
def test_training_lowers_the_exact_loss(block: int | None) -> None:
    model = _model(gramian_block=block, optimizer="adam")
    model.compile(optimizer=keras.optimizers.Adam(0.05))
    rows = np.arange(30, dtype=np.int32).reshape(USERS, 5)
    exact = _model()

    def value() -> float:
        exact.query_model.set_weights(model.query_model.get_weights())
        exact.candidate_model.set_weights(model.candidate_model.get_weights())
        return _loss(exact, rows)

    before = value()
    model.fit(rows, batch_size=USERS, epochs=40, verbose=0)

    assert value() < 0.5 * before
