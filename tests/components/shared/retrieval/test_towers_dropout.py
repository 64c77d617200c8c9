"""Dropout of features and ids, which happens only in training."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.towers import CandidateModel, QueryModel

ROWS, WIDTH = 2000, 16
OOV = 1
USER = EncodedFeature(
    name="user", type="id", dtype="int32", cardinality=9, oov_index=OOV, raw_columns=["user"]
)
CITY = EncodedFeature(
    name="city",
    type="string_categorical",
    dtype="int32",
    cardinality=7,
    oov_index=OOV,
    raw_columns=["city"],
)
TAGS = EncodedFeature(
    name="tags",
    type="multi_categorical",
    dtype="int32",
    width=3,
    cardinality=6,
    padding_index=0,
    oov_index=OOV,
    raw_columns=["tags"],
)
PLACE = EncodedFeature(
    name="place", type="float", dtype="float32", width=WIDTH, raw_columns=["place"]
)
FEATURES = [USER, CITY, TAGS, PLACE]


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    """No value is out of vocabulary."""
    rng = np.random.default_rng(3)
    return {
        "user": rng.integers(2, 9, ROWS).astype(np.int32),
        "city": rng.integers(2, 7, ROWS).astype(np.int32),
        "tags": rng.integers(2, 6, (ROWS, 3)).astype(np.int32),
        "place": rng.uniform(1, 2, (ROWS, WIDTH)).astype(np.float32),
    }


def _tower(kind: type[Any] = QueryModel, **options: Any) -> Any:
    """A tower; all have the same weights."""
    tower = kind(FEATURES, [8, 4], 5, **options)
    rng = np.random.default_rng(4)
    tower.set_weights([rng.normal(size=weight.shape) for weight in tower.get_weights()])
    return tower


def _joined(**options: Any) -> QueryModel:
    """A tower whose output is the input of its dense layer: unchanged numbers."""
    tower = QueryModel([PLACE], [WIDTH], **options)
    tower.set_weights([np.eye(WIDTH), np.zeros(WIDTH)])
    return tower


def _training(tower: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(tower(inputs, training=True))


def _inference(tower: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(tower(inputs))


def _same_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.isclose(first, second, rtol=1e-5, atol=1e-5).all(axis=1)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_drops_its_fraction_of_the_features_and_scales_up_the_others(
    inputs: dict[str, np.ndarray], rate: float
) -> None:
    outputs = _training(_joined(dropout=rate), inputs)

    left_out = outputs == 0
    assert left_out.mean() == pytest.approx(rate, abs=0.02)
    scaled = inputs["place"][~left_out] / (1 - rate)
    np.testing.assert_allclose(outputs[~left_out], scaled, rtol=1e-5)
    # Each value independently, not whole rows or columns.
    assert 0 < left_out.mean(axis=0).min() <= left_out.mean(axis=0).max() < 1
    assert len(np.unique(left_out, axis=0)) > ROWS / 2


@pytest.mark.parametrize("option", ["dropout", "id_dropout"])
def test_every_training_step_drops_other_features(
    inputs: dict[str, np.ndarray], option: str
) -> None:
    tower = _tower(**{option: 0.5})

    first, second = _training(tower, inputs), _training(tower, inputs)

    assert not np.array_equal(first, second)


@pytest.mark.parametrize("option", ["dropout", "id_dropout"])
def test_dropout_depends_only_on_the_seed(inputs: dict[str, np.ndarray], option: str) -> None:
    outputs: list[np.ndarray] = []
    for seed in (5, 5, 6):
        keras.utils.set_random_seed(len(outputs))
        outputs.append(_training(_tower(**{option: 0.5}, seed=seed), inputs))

    assert np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize("kind", [QueryModel, CandidateModel])
@pytest.mark.parametrize("option", ["dropout", "id_dropout"])
def test_nothing_is_dropped_outside_training(
    inputs: dict[str, np.ndarray], kind: type[Any], option: str
) -> None:
    plain, tower = _tower(kind), _tower(kind, **{option: 0.9})

    assert np.array_equal(_inference(tower, inputs), _inference(plain, inputs))
    assert np.array_equal(_inference(tower, inputs), _inference(tower, inputs))
    assert np.array_equal(embed(tower, inputs), embed(plain, inputs))
    assert not np.allclose(_training(tower, inputs), _inference(plain, inputs))


def test_nothing_is_dropped_by_default(inputs: dict[str, np.ndarray]) -> None:
    tower = _tower()

    assert np.array_equal(_training(tower, inputs), _inference(tower, inputs))


def test_id_dropout_replaces_only_ids_by_out_of_vocabulary(
    inputs: dict[str, np.ndarray],
) -> None:
    tower = _tower(id_dropout=0.99)
    unknown = {**inputs, "user": np.full(ROWS, OOV, np.int32)}

    outputs = _training(tower, inputs)

    assert _same_rows(outputs, _inference(tower, unknown)).mean() > 0.97
    assert _same_rows(outputs, _inference(tower, inputs)).mean() < 0.03


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_id_dropout_replaces_its_fraction_of_the_ids(
    inputs: dict[str, np.ndarray], rate: float
) -> None:
    tower = _tower(id_dropout=rate)
    unknown = {**inputs, "user": np.full(ROWS, OOV, np.int32)}

    outputs = _training(tower, inputs)

    dropped = _same_rows(outputs, _inference(tower, unknown))
    kept = _same_rows(outputs, _inference(tower, inputs))
    assert dropped.mean() == pytest.approx(rate, abs=0.04)
    assert (dropped ^ kept).all()


def test_two_ids_of_a_tower_are_dropped_independently(inputs: dict[str, np.ndarray]) -> None:
    account = USER.model_copy(update={"name": "account", "raw_columns": ["account"]})
    tower = QueryModel([USER, account], [4], 5, id_dropout=0.5)
    rng = np.random.default_rng(6)
    tower.set_weights([rng.normal(size=weight.shape) for weight in tower.get_weights()])
    users, nobody = inputs["user"], np.full(ROWS, OOV, np.int32)

    outputs = _training(tower, {"user": users, "account": users[::-1].copy()})

    for user in (users, nobody):
        for other in (users[::-1].copy(), nobody):
            expected = _inference(tower, {"user": user, "account": other})
            assert _same_rows(outputs, expected).mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("kind", [QueryModel, CandidateModel])
@pytest.mark.parametrize(
    "options", [{"dropout": 0.5}, {"id_dropout": 0.5}, {"dropout": 0.3, "id_dropout": 0.3}]
)
def test_a_tower_with_dropout_loads_without_it(
    inputs: dict[str, np.ndarray], tmp_path: Path, kind: type[Any], options: dict[str, float]
) -> None:
    tower = _tower(kind, **options)
    _training(tower, inputs)
    tower.save(tmp_path / "tower.keras")

    loaded = keras.saving.load_model(tmp_path / "tower.keras", safe_mode=True)

    assert (loaded.dropout.rate, loaded.id_dropout) == (0, 0)
    assert np.array_equal(_inference(loaded, inputs), _inference(tower, inputs))
    assert np.array_equal(_training(loaded, inputs), _inference(tower, inputs))


def test_towers_with_and_without_dropout_have_the_same_weights() -> None:
    plain, tower = _tower(), _tower(dropout=0.5, id_dropout=0.5)

    assert [w.shape for w in tower.get_weights()] == [w.shape for w in plain.get_weights()]
