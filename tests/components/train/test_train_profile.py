"""Models whose users are what they did: a profile, and a history as a sequence."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import PLAIN
from run_adapt import run_adapt
from walk_source import walk_tables as make_walks

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    read_table,
    write_table,
)
from components.shared.contracts.training import Training
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.build import begin_biases
from components.train.config import TrainSettings
from components.train.data import EncodedData
from components.train.job import train
from components.train.retrieval_model import RECENCY, SHARE, USER, RetrievalModel
from components.train.training_rows import TrainingRows

ITEMS, WIDTH = 12, 4
ITEM = EncodedFeature(
    name="item", type="id", dtype="int32", cardinality=ITEMS + 1, oov_index=0, raw_columns=["item"]
)
PROFILE = EncodedFeature(
    name="profile", type="profile", dtype="int32", width=WIDTH, cardinality=ITEMS + 1,
    padding_index=0, oov_index=0, raw_columns=["profile"],
)  # fmt: skip
CATALOGUE = {"item": np.arange(1, ITEMS + 1, dtype=np.int32)}
# Candidates by user: the items of their profile are one higher.
PROFILES = np.array([[3, 2, 1, 0], [9, 0, 0, 0]], np.int32)
ROWS: dict[str, np.ndarray] = {
    CANDIDATE_INDEX: np.array([0, 1, 2, 8], np.int32),
    LABEL: np.ones(4, np.float32),
    USER: np.array([0, 0, 0, 1], np.int32),
}
GROUPS = np.array([[0, 1, 2, -1], [3, -1, -1, -1]], np.int32)


def _model(**config: Any) -> RetrievalModel:
    keras.utils.set_random_seed(1)  # a sum may be as small as its rounding
    settings = TrainSettings.model_validate({"negatives": "catalogue", **config})
    return RetrievalModel(
        QueryModel([PROFILE], [], 8), CandidateModel([ITEM], [], 8), ROWS, CATALOGUE, settings,
        profiles=PROFILES, item_id="item",
    )  # fmt: skip


def _table(model: RetrievalModel) -> np.ndarray:
    return np.asarray(model.query_model.embeddings["profile"].embedding.embeddings)


def test_a_row_has_its_users_profile_without_its_own_item_as_its_query() -> None:
    model = _model()
    table = _table(model)

    queries = np.asarray(model(GROUPS)["query_embeddings"]).reshape(2, 4, 8)

    for place, others in enumerate(([2, 3], [1, 3], [1, 2])):
        np.testing.assert_allclose(queries[0, place], table[others].sum(0) / 2**0.5, rtol=1e-5)
    # The only item of its user leaves nothing.
    assert (queries[1, 0] == 0).all()


def test_an_item_that_the_profile_does_not_hold_is_not_taken_from_it() -> None:
    model = _model()
    table = _table(model)
    shortened = model.profiles.columns["profile"]
    shortened.assign(np.array([[3, 2, 0, 0], [0, 0, 0, 0]], np.int32))

    queries = np.asarray(model(GROUPS)["query_embeddings"]).reshape(2, 4, 8)

    np.testing.assert_allclose(queries[0, 0], table[[2, 3]].sum(0) / 2**0.5, rtol=1e-5)
    np.testing.assert_allclose(queries[0, 1], table[3], rtol=1e-5)
    assert (queries[1, 0] == 0).all()


def test_profile_dropout_drops_the_same_items_for_all_rows_of_a_user_in_training_only() -> None:
    model = _model(profile_dropout=0.5)

    drawn = [np.asarray(model._profile(GROUPS, training=True)) for _ in range(20)]

    assert (np.asarray(model._profile(GROUPS, training=False)) == PROFILES).all()
    assert all(((profile == PROFILES) | (profile == 0)).all() for profile in drawn)
    kept = np.mean([profile[0, :3] > 0 for profile in drawn])
    assert 0.25 < kept < 0.75


def test_id_dropout_drops_whole_profiles_in_training_only() -> None:
    model = _model(id_dropout=0.5)

    drawn = [np.asarray(model._profile(GROUPS, training=True)) for _ in range(20)]

    assert (np.asarray(model._profile(GROUPS, training=False)) == PROFILES).all()
    kept = [[(row == full).all() for row, full in zip(p, PROFILES, strict=True)] for p in drawn]
    assert 0.25 < np.mean(kept) < 0.75
    assert all((row == 0).all() or (row == full).all()
               for p in drawn for row, full in zip(p, PROFILES, strict=True))  # fmt: skip
    assert [True, False] in kept


def test_every_row_counts_and_padding_does_not() -> None:
    weight = np.asarray(_model(profile_dropout=0.5)(GROUPS, training=True)["weight"])

    assert weight.tolist() == (GROUPS >= 0).astype(float).reshape(-1).tolist()


@pytest.mark.parametrize("loss", ["softmax", "quadratic"])
def test_biases_begin_at_the_popularity_that_a_model_without_features_would_learn(
    loss: str,
) -> None:
    counts = np.array([0, 1, 5, 20])
    columns = {
        CANDIDATE_INDEX: np.repeat(np.arange(4), counts),
        SHARE: np.full(26, 40 / 26, np.float32),  # forty queries
    }
    tower = CandidateModel([ITEM], [], 8, item_bias="item", popularity=True)
    settings = TrainSettings(loss=loss, unobserved_weight=0.5, temperature=2)
    recent = np.array([0.0, 1, 5, 2])
    rows = TrainingRows(columns, None, None, settings, recent)

    begin_biases(tower, np.array([1, 2, 3, 4]), rows)

    assert tower.bias is not None
    assert tower.of_popularity is not None
    for table, rows_of in ((tower.bias, counts), (tower.of_popularity, recent)):
        values = np.asarray(table.embeddings)[1:5, 0]
        if loss == "softmax":
            expected = np.log1p(rows_of) / 0.5
            np.testing.assert_allclose(np.diff(values), np.diff(expected), rtol=1e-5)
        else:
            expected = rows_of / (rows_of + 0.5 * (40 - rows_of))
            np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_a_query_without_items_is_scored_by_popularity_and_others_by_the_bias() -> None:
    query = QueryModel([PROFILE], [], 8, item_bias="item", popularity=True)
    candidates = CandidateModel([ITEM], [], 8, item_bias="item", popularity=True)
    assert candidates.bias is not None
    assert candidates.of_popularity is not None
    places = np.arange(ITEMS + 1, dtype=np.float32)[:, None]
    candidates.bias.embeddings.assign(places)
    candidates.of_popularity.embeddings.assign(-places)
    profiles = np.zeros((2, WIDTH), np.int32)
    profiles[0, 0] = 4

    known, unknown = np.asarray(query({"profile": profiles}))

    vectors = np.asarray(candidates(CATALOGUE))
    assert (known[-2:].tolist(), unknown[-2:].tolist()) == ([1, 0], [0, 1])
    np.testing.assert_allclose(vectors @ unknown, -CATALOGUE["item"], rtol=1e-6)
    np.testing.assert_allclose(
        vectors @ known - vectors[:, :-2] @ known[:-2], CATALOGUE["item"], rtol=1e-4
    )
    assert [layer.path for layer in candidates.non_trainable_weights if "popularity" in layer.path]


# --- trainings ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoded(ids_only_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with a profile instead of the user's id."""
    folder = tmp_path_factory.mktemp("profile") / "encoded"
    shutil.copytree(ids_only_encoded, folder)
    spec = FeatureSpec.read(folder)
    cardinality = spec.candidate[0].cardinality
    profile = PROFILE.model_copy(update={"cardinality": cardinality, "width": 40})
    spec.model_copy(update={"query": [profile], "query_id_feature": None}).write(folder)
    return folder


SEQUENCE: dict[str, Any] = {
    "query": {"history": {"type": "history"}},
    "candidate": {"item_id": {"type": "id"}},
}


@pytest.fixture(scope="module")
def walk_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walks(tmp_path_factory)


TRAIN: dict[str, Any] = {
    **PLAIN,
    "negatives": "catalogue",
    "embedding_dimension": 16,
    "item_bias": True,
    "learning_rate": 0.01,
    "epochs": 6,
    "monitor": "hit_rate_at_10_filtered",
}


def _trained(encoded: Path, model: Path, **config: Any) -> Training:
    settings = {**TRAIN, **config}
    train(encoded=str(encoded), config=settings, layer_sizes=[], seed=5, model=str(model))
    return Training.read(model)


@pytest.mark.parametrize(
    "config",
    [
        {"loss": "softmax", "profile_dropout": 0.3, "profile_embeddings": "shared"},
        {"loss": "softmax", "negatives": "in_batch", "profile_dropout": 0.5},
        {"loss": "quadratic", "profile_embeddings": "own", "recency_half_life": 200.0},
    ],
    ids=lambda config: "+".join(map(str, config.values())),
)
def test_profile_models_train_and_beat_what_they_began_with(
    encoded: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    training = _trained(encoded, tmp_path / "model", **config)
    begun = _trained(encoded, tmp_path / "begun", **{**config, "epochs": 1, "learning_rate": 1e-9})

    assert training.validation > begun.validation
    tower = keras.models.load_model(tmp_path / "model" / "query_tower.keras")
    assert tower.count_params() > 0
    assert tower.item_bias == "movie_id"


def test_the_same_seed_gives_the_same_profile_model(encoded: Path, tmp_path: Path) -> None:
    config = {"profile_dropout": 0.5, "epochs": 2}
    for name in ("one", "two"):
        _trained(encoded, tmp_path / name, **config)

    one, two = (
        keras.models.load_model(tmp_path / name / "query_tower.keras").get_weights()
        for name in ("one", "two")
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_older_rows_count_less_with_a_half_life(encoded: Path) -> None:
    data = EncodedData.read(str(encoded))

    rows = TrainingRows.read(data, TrainSettings(recency_half_life=30))

    time = data.train["timestamp"].to_numpy()
    expected = 0.5 ** ((time.max() - time) / (30 * 86_400))
    np.testing.assert_allclose(rows.columns[RECENCY], expected, rtol=1e-4)
    assert rows.columns[RECENCY].max() == 1 > rows.columns[RECENCY].min()


def test_a_transformer_learns_what_follows_what(
    walk_tables: Path, tmp_path: Path, in_tensorflow: Any
) -> None:
    encoded = run_adapt(in_tensorflow, walk_tables, SEQUENCE, tmp_path / "encoded")
    config = {"epochs": 12, "monitor": "hit_rate_at_3_raw", "batch_size": 64}

    mean = _trained(encoded, tmp_path / "mean", **config)
    transformer = _trained(
        encoded, tmp_path / "transformer", **config, history_encoder="transformer"
    )

    # Half of the steps follow from the one before; a mean of three items does not tell which it is.
    assert transformer.validation > mean.validation + 0.1


@pytest.mark.parametrize("refit", [False, True])
def test_new_items_get_what_id_dropout_trained_for_unknown_ones(
    sample_encoded: Path, tmp_path: Path, refit: bool
) -> None:
    encoded = tmp_path / "encoded"
    shutil.copytree(sample_encoded, encoded)
    new = np.arange(5)
    for split in ("train", "validation"):
        folder = encoded / "interactions" / split
        rows = read_table(folder)
        shutil.rmtree(folder)
        write_table(rows.filter(~np.isin(rows[CANDIDATE_INDEX].to_numpy(), new)), folder)
    _trained(encoded, tmp_path / "model", id_dropout=0.1, refit=refit, epochs=1)
    data = EncodedData.read(str(encoded))
    known = np.unique(data.train[CANDIDATE_INDEX].to_numpy())

    tower = keras.models.load_model(tmp_path / "model" / "candidate_tower.keras")

    ids = data.candidates["movie_id"]
    for layer in (tower.embeddings["movie_id"], tower.bias):
        table = np.asarray(layer.embeddings)
        assert (table[ids[new]] == table[0]).all()
        assert not (table[ids[known]] == table[0]).all(axis=1).any()
