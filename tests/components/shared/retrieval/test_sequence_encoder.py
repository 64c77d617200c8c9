"""Sequences of items, encoded by causal self-attention."""

from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.retrieval.sequence_encoder import SequenceEncoder
from components.shared.retrieval.towers import QueryModel

ITEMS, DIMENSION, LENGTH = 20, 8, 6


@pytest.fixture(scope="module")
def encoder() -> SequenceEncoder:
    keras.utils.set_random_seed(3)
    return SequenceEncoder(ITEMS, DIMENSION, LENGTH, blocks=2, heads=2)


def test_a_position_sees_only_the_items_up_to_it(encoder: SequenceEncoder) -> None:
    items = np.array([[3, 9, 4, 7], [3, 9, 11, 2]])

    first, second = np.asarray(encoder.after_each(items))

    np.testing.assert_allclose(first[:2], second[:2], rtol=1e-5, atol=1e-6)
    assert np.abs(first[2:] - second[2:]).min(axis=1).max() > 1e-3


def test_a_history_is_encoded_like_the_last_position_of_its_sequence(
    encoder: SequenceEncoder,
) -> None:
    sequence = np.array([[3, 9, 4, 7]])
    after = np.asarray(encoder.after_each(sequence))[0]

    for count in range(1, 5):
        history = np.zeros((1, LENGTH), int)
        history[0, :count] = sequence[0, :count][::-1]
        np.testing.assert_allclose(encoder(history)[0], after[count - 1], rtol=1e-4, atol=1e-5)


def test_order_matters_and_an_empty_history_is_zero(encoder: SequenceEncoder) -> None:
    histories = np.array([[3, 9, 0], [9, 3, 0], [0, 0, 0]])

    some, other, none = np.asarray(encoder(histories))

    assert np.abs(some - other).max() > 1e-2
    assert not none.any()


def test_an_unknown_item_within_a_history_is_ignored_by_others(encoder: SequenceEncoder) -> None:
    encoded = np.asarray(encoder(np.array([[7, 0, 3, 9], [7, 0, 0, 9]])))

    assert np.isfinite(encoded).all()
    assert np.abs(encoded[0] - encoded[1]).max() > 1e-3


def test_dropout_is_for_training_only() -> None:
    encoder = SequenceEncoder(ITEMS, DIMENSION, LENGTH, dropout=0.5)
    history = np.array([[3, 9, 4]])

    assert np.array_equal(encoder(history), encoder(history))
    assert not np.array_equal(encoder(history, training=True), encoder(history, training=True))


def _tower(**options: object) -> QueryModel:
    def item_list(name: str, width: int) -> EncodedFeature:
        return EncodedFeature(
            name=name, type=name, dtype="int32", width=width, cardinality=ITEMS, padding_index=0,
            oov_index=0, raw_columns=[name],
        )  # fmt: skip

    keras.utils.set_random_seed(5)
    user = EncodedFeature(
        name="user", type="id", dtype="int32", cardinality=5, oov_index=0, raw_columns=["user"]
    )
    features = [user, item_list("history", LENGTH), item_list("profile", 7)]
    return QueryModel(features, [], DIMENSION, history_blocks=1, item_bias="item", **options)


def test_each_position_of_a_sequence_is_the_query_of_a_user_with_the_items_before_it() -> None:
    tower = _tower()
    items = np.array([[3, 9, 4, 0], [5, 0, 0, 0]])
    user = np.array([2, 2, 2, 2, 4, 4, 4, 4])

    positions = np.asarray(tower.rows({"user": user}, items))

    assert positions.shape == (8, DIMENSION + 1)
    for row, count in ((0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 1)):
        history = np.zeros((1, LENGTH), int)
        history[0, :count] = items[row // 4, :count][::-1]
        profile = np.pad(history, ((0, 0), (0, 1)))
        inputs = {"user": user[row : row + 1], "history": history, "profile": profile}
        np.testing.assert_allclose(tower(inputs)[0], positions[row], rtol=1e-4, atol=1e-5)


def test_a_saved_tower_encodes_histories_and_profiles_as_before(tmp_path: Path) -> None:
    tower = _tower(profile_power=0.3)
    inputs = {
        "user": np.array([1]),
        "history": np.array([[3, 9, 0, 0, 0, 0]]),
        "profile": np.array([[9, 3, 4, 0, 0, 0, 0]]),
    }

    tower.save(tmp_path / "tower.keras")
    loaded = keras.models.load_model(tmp_path / "tower.keras")

    np.testing.assert_allclose(loaded(inputs), tower(inputs), rtol=1e-5)
    assert np.asarray(tower(inputs))[0, -1] == 1
