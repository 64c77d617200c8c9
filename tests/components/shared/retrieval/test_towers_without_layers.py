"""Towers without dense layers: they sum their features' embeddings."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TRAIN
from served import PlainServer, Reference, plain_server

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.files import read_json
from components.train.config import stack_name
from components.train.job import train
from components.train.warm_start import WarmStart, begin_from

RunStep = Callable[..., Any]
ROWS, DIMENSION, WIDE = 400, 16, 2


def _feature(name: str, **changes: Any) -> EncodedFeature:
    return EncodedFeature.model_validate(
        {"name": name, "type": "id", "dtype": "int32", "raw_columns": [name], **changes}
    )


def _number(name: str, width: int = 1) -> EncodedFeature:
    return _feature(name, type="float", dtype="float32", width=width)


USER = _feature("user", cardinality=9, oov_index=1)
TAGS = _feature("tags", type="multi_categorical", width=3, cardinality=6, padding_index=0)
AGE, PLACE = _number("age"), _number("place", WIDE)
# Numbers are not next to each other.
FEATURES = [AGE, USER, PLACE, TAGS]


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "user": rng.integers(2, 9, ROWS).astype(np.int32),
        "tags": rng.integers(0, 6, (ROWS, 3)).astype(np.int32),
        "age": rng.normal(size=ROWS).astype(np.float32),
        "place": rng.normal(size=(ROWS, WIDE)).astype(np.float32),
    }


def _tower(features: list[EncodedFeature] = FEATURES, seed: int = 4, **options: Any) -> QueryModel:
    """A tower; the same seed gives the same weights."""
    tower = QueryModel(features, [], DIMENSION, **options)
    rng = np.random.default_rng(seed)
    tower.set_weights([rng.normal(size=weight.shape) for weight in tower.get_weights()])
    return tower


def _slow_tower(tower: QueryModel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The sum in numpy, row by row."""
    users = np.asarray(tower.embeddings["user"].embeddings)
    tags = np.asarray(tower.embeddings["tags"].embedding.embeddings)
    assert tower.projection is not None
    (kernel,) = tower.projection.get_weights()
    rows = []
    for user, tag, age, place in zip(
        *(inputs[name] for name in ("user", "tags", "age", "place")), strict=True
    ):
        row = users[user] + age * kernel[0] + place[0] * kernel[1] + place[1] * kernel[2]
        rows.append(row + tags[tag[tag != 0]].mean(axis=0) if tag.any() else row)
    return np.stack(rows)


# --- the sum --------------------------------------------------------------------------------------


def test_the_output_is_the_sum_of_the_embeddings_and_of_the_numbers_projected(
    inputs: dict[str, np.ndarray],
) -> None:
    tower = _tower()

    outputs = np.asarray(tower(inputs))

    assert outputs.shape == (ROWS, DIMENSION)
    np.testing.assert_allclose(outputs, _slow_tower(tower, inputs), rtol=1e-4, atol=1e-5)


def test_one_embedding_alone_is_the_output(inputs: dict[str, np.ndarray]) -> None:
    tower = _tower([USER])

    outputs = np.asarray(tower({"user": inputs["user"]}))

    assert tower.projection is None
    assert (
        outputs.tobytes()
        == np.asarray(tower.embeddings["user"].embeddings)[inputs["user"]].tobytes()
    )


def test_numbers_alone_are_projected_without_a_bias(inputs: dict[str, np.ndarray]) -> None:
    tower = _tower([AGE, PLACE])

    outputs = np.asarray(tower({name: inputs[name] for name in ("age", "place")}))

    (kernel,) = tower.get_weights()[-1:]
    numbers = np.concatenate([inputs["age"][:, None], inputs["place"]], axis=1)
    np.testing.assert_allclose(outputs, numbers @ kernel, rtol=1e-4, atol=1e-5)
    zeros = {name: np.zeros_like(inputs[name]) for name in ("age", "place")}
    assert not np.asarray(tower(zeros)).any()


def test_the_weights_are_the_tables_and_the_projection() -> None:
    assert _tower().count_params() == (9 + 6 + 1 + WIDE) * DIMENSION
    assert _tower([USER, TAGS]).count_params() == (9 + 6) * DIMENSION
    # With layers, numbers go in as they are.
    assert QueryModel(FEATURES, [4], DIMENSION).projection is None


@pytest.mark.parametrize("name", ["user", "tags", "age", "place"])
def test_every_feature_contributes(name: str, inputs: dict[str, np.ndarray]) -> None:
    tower = _tower()
    other = {**inputs, name: np.roll(inputs[name], 1, axis=0)}

    assert np.abs(np.asarray(tower(inputs)) - np.asarray(tower(other))).max() > 0.1


# --- options --------------------------------------------------------------------------------------


def test_normalized_outputs_have_the_sum_s_direction(inputs: dict[str, np.ndarray]) -> None:
    expected = _slow_tower(_tower(), inputs)

    outputs = np.asarray(_tower(normalize=True)(inputs))

    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.01
    np.testing.assert_allclose(outputs, expected / lengths, rtol=1e-3, atol=1e-4)


def test_normalization_keeps_a_row_of_zeros() -> None:
    tower = _tower([AGE], normalize=True)

    outputs = np.asarray(tower({"age": np.array([0, 2], np.float32)}))

    assert not outputs[0].any()
    assert np.linalg.norm(outputs[1]) == pytest.approx(1, rel=1e-5)


def test_dropout_drops_a_share_of_the_sum_only_while_training(
    inputs: dict[str, np.ndarray],
) -> None:
    whole = np.asarray(_tower()(inputs))
    tower = _tower(dropout=0.25)

    outputs = np.asarray(tower(inputs, training=True))

    left_out = outputs == 0
    assert left_out.mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(outputs[~left_out], whole[~left_out] / 0.75, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(tower(inputs)), whole, rtol=1e-6)


def test_id_dropout_replaces_a_share_of_ids_only_while_training(
    inputs: dict[str, np.ndarray],
) -> None:
    whole = np.asarray(_tower()(inputs))
    unknown = np.asarray(_tower()({**inputs, "user": np.full(ROWS, USER.oov_index, np.int32)}))
    tower = _tower(id_dropout=0.4)

    outputs = np.asarray(tower(inputs, training=True))

    as_known = np.isclose(outputs, whole, atol=1e-4).all(axis=1)
    as_unknown = np.isclose(outputs, unknown, atol=1e-4).all(axis=1)
    assert (as_known ^ as_unknown).all()
    assert as_unknown.mean() == pytest.approx(0.4, abs=0.08)
    np.testing.assert_allclose(np.asarray(tower(inputs)), whole, rtol=1e-6)


def test_l2_is_a_penalty_on_tables_and_projection() -> None:
    tower = _tower(l2=0.01)

    penalty = float(sum(tower.losses))

    squares = sum(
        float((np.asarray(weight, np.float64) ** 2).sum()) for weight in tower.trainable_weights
    )
    assert penalty == pytest.approx(0.01 * squares, rel=1e-4)
    assert len(tower.trainable_weights) == 3
    assert not _tower().losses


# --- saved ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [FEATURES, [USER, TAGS], [AGE]], ids=len)
@pytest.mark.parametrize("kind", [QueryModel, CandidateModel])
def test_a_saved_tower_loads_in_safe_mode_with_the_same_outputs(
    inputs: dict[str, np.ndarray], tmp_path: Path, kind: type[Any], features: list[EncodedFeature]
) -> None:
    tower = kind(features, [], DIMENSION, normalize=True, dropout=0.3, id_dropout=0.3)
    given = {feature.name: inputs[feature.name] for feature in features}

    tower.save(tmp_path / "tower.keras")
    loaded = keras.models.load_model(tmp_path / "tower.keras", safe_mode=True)

    assert type(loaded) is kind
    assert embed(loaded, given).tobytes() == embed(tower, given).tobytes()
    assert loaded.layer_sizes == []
    assert (loaded.projection is None) == (tower.projection is None)


@pytest.mark.parametrize(("layer_sizes", "name"), [([], "none"), ([32], "32"), ([64, 32], "64-32")])
def test_a_stack_has_a_name(layer_sizes: list[int], name: str) -> None:
    assert stack_name(layer_sizes) == name


# --- warm start -----------------------------------------------------------------------------------


def _spec(query: list[EncodedFeature]) -> FeatureSpec:
    return FeatureSpec.model_validate(
        {
            "query": query, "candidate": [_feature("item", cardinality=5)],
            "query_inputs": [], "candidate_inputs": [], "query_id_feature": "user",
            "query_id_dtype": "string", "candidate_id_dtype": "string", "label_scale": 1,
            "label_offset": 0, "relevant_above": None, "label_range": (0, 1),
        }
    )  # fmt: skip


def _begun(
    folder: Path,
    query: list[EncodedFeature],
    former_query: list[EncodedFeature],
    *,
    layers: list[int] | None = None,
    former_layers: list[int] | None = None,
    former_dimension: int = DIMENSION,
) -> tuple[WarmStart, QueryModel, QueryModel]:
    """The layers taken over, the query tower, and the published one."""
    published, encoded = folder / "published", folder / "encoded"
    for path in (published / "features", published / "model", encoded):
        path.mkdir(parents=True, exist_ok=True)
    _spec(query).write(encoded)
    _spec(former_query).write(published / "features")
    keras.utils.set_random_seed(1)
    former = QueryModel(former_query, former_layers or [], former_dimension)
    item = [_feature("item", cardinality=5)]
    former.save(published / "model" / "query_tower.keras")
    CandidateModel(item, former_layers or [], former_dimension).save(
        published / "model" / "candidate_tower.keras"
    )
    keras.utils.set_random_seed(2)
    tower = QueryModel(query, layers or [], DIMENSION)
    candidate = CandidateModel(item, layers or [], DIMENSION)
    return begin_from(tower, candidate, str(encoded), str(published)), tower, former


def test_tables_and_projection_are_taken_over_if_they_fit(
    inputs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    begun, tower, former = _begun(tmp_path, FEATURES, FEATURES)

    assert embed(tower, inputs).tobytes() == embed(former, inputs).tobytes()
    assert begun == WarmStart(
        ["query user", "query tags", "query projection of numbers", "candidate item"], [], 0
    )


@pytest.mark.parametrize(
    "former_query",
    [
        [PLACE, USER, AGE, TAGS],
        [USER, PLACE, TAGS],
        [_number("age").model_copy(update={"mean": 3.0}), USER, PLACE, TAGS],
    ],
    ids=["other order", "less numbers", "other scale"],
)
def test_a_projection_of_different_numbers_is_not_taken_but_tables_are(
    tmp_path: Path, former_query: list[EncodedFeature]
) -> None:
    begun, tower, former = _begun(tmp_path, FEATURES, former_query)

    assert begun.new == ["query projection of numbers"]
    assert begun.taken == ["query user", "query tags", "candidate item"]
    assert tower.projection is not None
    assert former.projection is not None
    assert tower.projection.kernel.shape[1] == former.projection.kernel.shape[1]
    kernel, old = (np.asarray(t.projection.kernel) for t in (tower, former))
    assert kernel.shape != old.shape or not np.allclose(kernel, old)


def test_a_table_that_grew_keeps_its_rows(tmp_path: Path) -> None:
    less = USER.model_copy(update={"type": "string_categorical"})
    grown = less.model_copy(update={"cardinality": 12})
    for folder, tokens in (("encoded", 11), ("published/features", 8)):
        vocabularies = tmp_path / folder / "vocabularies"
        vocabularies.mkdir(parents=True)
        pq.write_table(
            pa.table({"token": [f"token {number}" for number in range(tokens)]}),
            vocabularies / "user.parquet",
        )

    begun, tower, former = _begun(tmp_path, [grown], [less])

    assert begun.new_rows == 3
    table, old = (np.asarray(t.embeddings["user"].embeddings) for t in (tower, former))
    assert table[:9].tobytes() == old.tobytes()
    assert len(table) == 12


@pytest.mark.parametrize(("layers", "former_layers"), [([], [4]), ([4], [])])
def test_only_tables_are_taken_between_towers_with_and_without_layers(
    tmp_path: Path, layers: list[int], former_layers: list[int]
) -> None:
    begun, _, _ = _begun(tmp_path, FEATURES, FEATURES, layers=layers, former_layers=former_layers)

    assert begun.taken == ["query user", "query tags", "candidate item"]
    assert begun.new == (
        ["query dense 1", "candidate dense 1"] if layers else ["query projection of numbers"]
    )


def test_nothing_of_a_different_dimension_is_taken(tmp_path: Path) -> None:
    begun, _, _ = _begun(tmp_path, FEATURES, FEATURES, former_dimension=DIMENSION + 1)

    assert begun.taken == []
    assert len(begun.new) == 4


# --- exported -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    with plain_server(tmp_path_factory.mktemp("plain")) as server:
        yield server


def test_the_saved_model_of_towers_without_layers_serves_their_scores(
    sample_tables: Path,
    sample_encoded: Path,
    tmp_path: Path,
    in_tensorflow: RunStep,
    server: PlainServer,
) -> None:
    model = tmp_path / "model"
    summary = train(
        encoded=str(sample_encoded), config={**TRAIN, "epochs": 2}, layer_sizes=[], seed=7,
        model=str(model),
    )  # fmt: skip
    assert summary["layer_sizes"] == "none"
    assert read_json(model / "training.json")["layer_sizes"] == "none"

    in_tensorflow(
        "components.export.job:export",
        tables=str(sample_tables), encoded=str(sample_encoded), model=str(model),
        export=str(tmp_path / "export"),
    )  # fmt: skip

    reference = Reference.read(sample_tables, sample_encoded, tmp_path / "export")
    assert reference.tower.layer_sizes == []
    assert reference.vectors.shape[1] == 32  # the embeddings' default width
    reference.assert_same(server.ask(tmp_path / "export", reference.raw, 20), 20)
