import json
import zipfile
from pathlib import Path

import jax
import keras
import numpy as np
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.embedding_tables import shared_embeddings
from components.shared.retrieval.mean_embedding import MeanEmbedding
from components.shared.retrieval.towers import CandidateModel, QueryModel

ROWS, DIMENSION = 6, 5
USER = EncodedFeature(name="user", type="id", dtype="int32", cardinality=7, raw_columns=["user"])
TAGS = EncodedFeature(
    name="tags",
    type="multi_categorical",
    dtype="int32",
    width=4,
    cardinality=9,
    padding_index=0,
    raw_columns=["tags"],
)
AGE = EncodedFeature(name="age", type="float", dtype="float32", raw_columns=["age"])
PLACE = EncodedFeature(name="place", type="float", dtype="float32", width=2, raw_columns=["place"])
FEATURES = [USER, TAGS, AGE, PLACE]


def _tower(layer_sizes: list[int], *, normalize: bool = False, l2: float = 0.0) -> QueryModel:
    keras.utils.set_random_seed(11)
    return QueryModel(
        FEATURES, layer_sizes, embedding_dimension=DIMENSION, normalize=normalize, l2=l2
    )


@pytest.fixture
def inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(12)
    return {
        "user": rng.integers(0, 7, ROWS).astype(np.int32),
        "tags": np.array(
            [[1, 0, 0, 0], [2, 3, 0, 0], [8, 8, 8, 8], [0, 0, 0, 0], [4, 5, 6, 0], [1, 2, 3, 4]],
            np.int32,
        ),
        "age": rng.normal(size=ROWS).astype(np.float32),
        "place": rng.normal(size=(ROWS, 2)).astype(np.float32),
    }


def _slow_tower(tower: QueryModel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The forward pass in numpy, row by row where lists are padded."""
    users = np.asarray(tower.embeddings["user"].embeddings)
    tags = np.asarray(tower.embeddings["tags"].embedding.embeddings)
    means = [
        tags[row[row != 0]].mean(0) if row.any() else np.zeros(DIMENSION) for row in inputs["tags"]
    ]
    outputs = np.concatenate(
        [users[inputs["user"]], np.stack(means), inputs["age"][:, None], inputs["place"]], axis=1
    )
    for number, layer in enumerate(tower.dense_layers):
        kernel, bias = layer.get_weights()
        outputs = outputs @ kernel + bias
        if number < len(tower.dense_layers) - 1:
            outputs = np.maximum(outputs, 0)
    return outputs


def test_a_mean_embedding_averages_the_values_without_padding() -> None:
    layer = MeanEmbedding(cardinality=9, dimension=3, padding_index=2)
    table = np.asarray(layer.embedding.embeddings)

    outputs = np.asarray(layer(np.array([[4, 7, 2, 2], [0, 2, 2, 2], [5, 5, 1, 3]])))

    expected = [(table[4] + table[7]) / 2, table[0], (2 * table[5] + table[1] + table[3]) / 4]
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)


@pytest.mark.parametrize("padding", [0, 3])
def test_more_padding_changes_nothing(padding: int) -> None:
    layer = MeanEmbedding(cardinality=9, dimension=4, padding_index=padding)
    short = np.array([[4, 7], [1, padding]])
    longer = np.pad(short, ((0, 0), (0, 5)), constant_values=padding)

    np.testing.assert_allclose(np.asarray(layer(longer)), np.asarray(layer(short)), rtol=1e-6)


def test_a_row_of_padding_only_gives_zeros() -> None:
    layer = MeanEmbedding(cardinality=9, dimension=4)

    assert np.asarray(layer(np.zeros((2, 3), np.int32))).tolist() == [[0.0] * 4] * 2


def test_a_padded_feature_of_width_one_is_its_embedding() -> None:
    layer = MeanEmbedding(cardinality=9, dimension=4)

    outputs = np.asarray(layer(np.array([[3], [0]])))

    assert outputs[0].tolist() == np.asarray(layer.embedding.embeddings)[3].tolist()
    assert not outputs[1].any()


def test_embedding_tables_are_sized_by_the_spec() -> None:
    tower = _tower([8])

    assert sorted(tower.embeddings) == ["tags", "user"]
    assert tower.embeddings["user"].embeddings.shape == (7, DIMENSION)
    assert tower.embeddings["tags"].embedding.embeddings.shape == (9, DIMENSION)
    assert tower.dense_layers[0].kernel.shape == (2 * DIMENSION + 1 + 2, 8)
    assert tower.count_params() == 16 * DIMENSION + (2 * DIMENSION + 3) * 8 + 8


@pytest.mark.parametrize("layer_sizes", [[8], [16, 8], [32, 16, 4]])
def test_a_tower_equals_its_formula(layer_sizes: list[int], inputs: dict[str, np.ndarray]) -> None:
    tower = _tower(layer_sizes)

    outputs = np.asarray(tower(inputs))

    assert outputs.shape == (ROWS, layer_sizes[-1])
    np.testing.assert_allclose(outputs, _slow_tower(tower, inputs), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer_sizes", [[8], [16, 8]])
def test_only_the_last_layer_has_no_relu(
    layer_sizes: list[int], inputs: dict[str, np.ndarray]
) -> None:
    tower = _tower(layer_sizes)

    activations = [layer.activation.__name__ for layer in tower.dense_layers]

    assert activations == ["relu"] * (len(layer_sizes) - 1) + ["linear"]
    assert (np.asarray(tower(inputs)) < 0).any()


@pytest.mark.parametrize("name", ["user", "tags", "age", "place"])
def test_every_feature_changes_the_output(name: str, inputs: dict[str, np.ndarray]) -> None:
    tower = _tower([8])
    other = {**inputs, name: np.roll(inputs[name], 1, axis=0)}

    assert not np.allclose(np.asarray(tower(inputs)), np.asarray(tower(other)))


def test_normalized_outputs_have_length_one(inputs: dict[str, np.ndarray]) -> None:
    plain, normalized = _tower([16, 8]), _tower([16, 8], normalize=True)
    normalized.set_weights(plain.get_weights())

    outputs, expected = np.asarray(normalized(inputs)), np.asarray(plain(inputs))

    np.testing.assert_allclose(np.linalg.norm(outputs, axis=1), 1, rtol=1e-5)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert not np.allclose(lengths, 1, atol=0.01)
    np.testing.assert_allclose(outputs, expected / lengths, rtol=1e-4, atol=1e-6)


def test_an_output_of_zeros_has_a_finite_gradient_when_normalized(
    inputs: dict[str, np.ndarray],
) -> None:
    tower = _tower([8], normalize=True)
    tower.dense_layers[-1].set_weights([np.zeros((2 * DIMENSION + 3, 8)), np.zeros(8)])

    def total(age: jax.Array) -> jax.Array:
        return tower({**inputs, "age": age}).sum()

    assert not np.asarray(tower(inputs)).any()
    assert np.isfinite(np.asarray(jax.grad(total)(inputs["age"]))).all()


def test_an_l2_penalty_is_on_every_table_and_kernel() -> None:
    tower = _tower([16, 8], l2=0.1)

    squares = sum(
        float((np.asarray(weight) ** 2).sum())
        for weight in tower.trainable_weights
        if weight.name != "bias"
    )
    assert float(sum(tower.losses)) == pytest.approx(0.1 * squares, rel=1e-5)
    assert _tower([16, 8]).losses == []


@pytest.mark.parametrize("kind", [QueryModel, CandidateModel])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_saved_tower_loads_in_safe_mode_and_computes_the_same(
    kind: type[keras.Model], normalize: bool, inputs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    tower = kind(FEATURES, [16, 8], DIMENSION, normalize=normalize, l2=0.01, name="a_tower")
    tower.save(tmp_path / "tower.keras")

    loaded = keras.saving.load_model(tmp_path / "tower.keras", safe_mode=True)

    assert type(loaded) is kind
    assert loaded.name == "a_tower"
    assert loaded.features == FEATURES
    assert loaded.losses == []  # the penalty was for training
    np.testing.assert_array_equal(np.asarray(loaded(inputs)), np.asarray(tower(inputs)))


@pytest.mark.parametrize("module", ["components.towers", "components.shared.retrieval.towers"])
@pytest.mark.parametrize("kind", [QueryModel, CandidateModel])
def test_a_tower_that_was_saved_from_another_module_still_loads(
    kind: type[keras.Model], module: str, inputs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Like models that were published before the module was renamed or split."""
    tower = kind(FEATURES, [16, 8], DIMENSION)
    tower.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        config = json.loads(new.read("config.json"))
        config["module"] = module
        assert config["registered_name"] == f"deep_retrieval>{kind.__name__}"
        old.writestr("config.json", json.dumps(config))
        for name in ("metadata.json", "model.weights.h5"):
            old.writestr(name, new.read(name))

    loaded = keras.saving.load_model(tmp_path / "old.keras", safe_mode=True)

    assert type(loaded) is kind
    np.testing.assert_array_equal(np.asarray(loaded(inputs)), np.asarray(tower(inputs)))


def test_the_layers_registered_names_are_those_in_published_models() -> None:
    names = [
        keras.saving.get_registered_name(c) for c in (MeanEmbedding, QueryModel, CandidateModel)
    ]

    assert names == [
        f"deep_retrieval>{n}" for n in ("MeanEmbedding", "QueryModel", "CandidateModel")
    ]


@pytest.mark.parametrize("history_blocks", [0, 1])
def test_a_history_and_a_profile_with_one_table_are_loaded_with_one(
    history_blocks: int, tmp_path: Path
) -> None:
    lists = [
        EncodedFeature(
            name=name, type=name, dtype="int32", width=3, cardinality=9, padding_index=0,
            oov_index=0, raw_columns=[name], shared_with="item",
        )
        for name in ("history", "profile")
    ]  # fmt: skip
    item = EncodedFeature(
        name="item", type="id", dtype="int32", cardinality=9, raw_columns=["item"]
    )
    tower = QueryModel(
        lists, [], 4, history_blocks=history_blocks, shared=shared_embeddings(lists, [item], 4)
    )
    inputs = {"history": np.array([[3, 5, 0]]), "profile": np.array([[8, 3, 5]])}
    tower.save(tmp_path / "tower.keras")

    loaded = keras.models.load_model(tmp_path / "tower.keras")

    assert len(loaded.weights) == len(tower.weights)
    tables = [loaded.embeddings[name].embedding for name in ("history", "profile")]
    assert tables[0] is tables[1]
    np.testing.assert_array_equal(loaded(inputs), tower(inputs))


def test_a_saved_tower_holds_no_code(tmp_path: Path) -> None:
    _tower([16, 8]).save(tmp_path / "tower.keras")

    with zipfile.ZipFile(tmp_path / "tower.keras") as archive:
        config = archive.read("config.json").decode()
        assert set(archive.namelist()) == {"config.json", "metadata.json", "model.weights.h5"}
    assert json.loads(config)["registered_name"] == "deep_retrieval>QueryModel"
    for code in ("lambda", "pickle", "marshal"):
        assert code not in config.lower()


def test_embedding_many_rows_equals_calling_the_tower(inputs: dict[str, np.ndarray]) -> None:
    tower = _tower([8])

    outputs = embed(tower, inputs)

    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, np.asarray(tower(inputs)), rtol=1e-5, atol=1e-6)
