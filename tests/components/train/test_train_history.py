"""Histories in training: one table for both towers, and predictions from previous items."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from killed_training import Moment, signal_at
from walk_source import ITEMS, LAYERS, SEED, TRAIN, embedded, walk_encoded, walk_model

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import read_table
from components.shared.registry.history import HistoryEntry
from components.shared.registry.published import Published
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.embedding_tables import shared_embeddings
from components.shared.retrieval.mean_embedding import MeanEmbedding
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.targets import Targets
from components.shared.retrieval.top_k import retrieve
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.files import read_json
from components.train.config import TrainSettings
from components.train.job import train
from components.train.retrieval_model import RetrievalModel
from components.train.warm_start import begin_from

RunStep = Callable[..., Any]
ROWS, WIDTH, CARDINALITY = 600, 4, 12
USER = EncodedFeature(
    name="user", type="id", dtype="int32", cardinality=9, oov_index=0, raw_columns=["user"]
)
HISTORY = EncodedFeature(
    name="history",
    type="history",
    dtype="int32",
    width=WIDTH,
    cardinality=CARDINALITY,
    padding_index=0,
    oov_index=0,
    raw_columns=["history"],
    shared_with="item",
)
ITEM = USER.model_copy(update={"name": "item", "cardinality": CARDINALITY, "raw_columns": ["item"]})
QUERY, CANDIDATE = [HISTORY, USER], [ITEM]
# Items 10 and 11 are in histories, but never a candidate of the rows.
ONLY_IN_HISTORIES = (10, 11)


def towers(**options: Any) -> tuple[QueryModel, CandidateModel]:
    shared = shared_embeddings(QUERY, CANDIDATE, 5, options.get("l2", 0.0))
    return (
        QueryModel(QUERY, [8, 4], 5, shared=shared, **options),
        CandidateModel(CANDIDATE, [8, 4], 5, shared=shared, **options),
    )


def inputs(rows: int = ROWS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    history = rng.integers(0, CARDINALITY, (rows, WIDTH)).astype(np.int32)
    history[: rows // 10] = 0
    return {"user": rng.integers(1, 9, rows).astype(np.int32), "history": history}


def retrieval_model(**options: Any) -> RetrievalModel:
    rng = np.random.default_rng(4)
    interactions = {
        **inputs(64),
        "candidate_index": rng.integers(0, 9, 64).astype(np.int32),
        "label": np.ones(64, np.float32),
    }
    candidates = {"item": np.arange(1, CARDINALITY, dtype=np.int32)}
    return RetrievalModel(*towers(**options), interactions, candidates, TrainSettings(), 0)


def table(layer: Any) -> np.ndarray:
    return np.array((layer.embedding if isinstance(layer, MeanEmbedding) else layer).embeddings)


# --- one table ------------------------------------------------------------------------------------


def test_a_training_step_updates_the_candidate_embeddings_of_a_history() -> None:
    model = retrieval_model()
    model.compile(optimizer=keras.optimizers.SGD(0.5))
    items = model.candidate_model.embeddings["item"]
    before = table(items)

    model.fit(np.arange(64, dtype=np.int32), batch_size=64, epochs=1, shuffle=False, verbose=0)

    moved = np.abs(table(items) - before).max(axis=1) > 1e-7
    for item in ONLY_IN_HISTORIES:
        assert moved[item]
    assert not moved[0]  # padding
    assert np.array_equal(table(model.query_model.embeddings["history"]), table(items))


def test_separately_built_towers_share_no_table() -> None:
    """The counterpart, which shows that the test above can fail."""
    query = QueryModel(QUERY, [8, 4], 5)
    candidate = CandidateModel(CANDIDATE, [8, 4], 5)

    assert not np.array_equal(
        table(query.embeddings["history"]), table(candidate.embeddings["item"])
    )
    assert shared_embeddings([USER], CANDIDATE, 5) == {}


def test_the_optimizer_has_the_table_once() -> None:
    model = retrieval_model()
    shared = model.candidate_model.embeddings["item"].embeddings

    assert sum(variable is shared for variable in model.trainable_variables) == 1
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    slots = [v for v in optimizer.variables if v.shape == (CARDINALITY, 5)]
    assert len(slots) == 2  # both moments


def test_the_penalty_counts_the_table_once() -> None:
    penalty = 0.01
    model = retrieval_model(l2=penalty)

    weights = [
        table(model.candidate_model.embeddings["item"]),
        table(model.query_model.embeddings["user"]),
        *(np.asarray(layer.kernel) for tower in (model.query_model, model.candidate_model)
          for layer in tower.dense_layers),
    ]  # fmt: skip
    expected = penalty * sum(float((w.astype(np.float64) ** 2).sum()) for w in weights)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_a_history_is_the_mean_of_its_items_embeddings_and_zero_if_empty() -> None:
    query, candidate = towers()
    given = inputs()

    found = np.asarray(query.embeddings["history"](given["history"]))

    items = table(candidate.embeddings["item"])
    for row, mean in zip(given["history"], found, strict=True):
        expected = items[row[row > 0]].mean(axis=0) if row.any() else np.zeros(5)
        np.testing.assert_allclose(mean, expected, atol=1e-6)


# --- what is left out -----------------------------------------------------------------------------


def test_id_dropout_drops_items_of_a_history() -> None:
    query, _ = towers(id_dropout=0.4)
    given = {"user": np.zeros(ROWS, np.int32), "history": np.full((ROWS, 1), 3, np.int32)}
    empty = {**given, "history": np.zeros((ROWS, 1), np.int32)}

    outputs = np.asarray(query(given, training=True))

    left_out = np.isclose(outputs, np.asarray(query(empty))).all(axis=1)
    kept = np.isclose(outputs, np.asarray(query(given))).all(axis=1)
    assert (left_out ^ kept).all()
    assert left_out.mean() == pytest.approx(0.4, abs=0.06)


def test_id_dropout_drops_each_item_of_a_history_independently() -> None:
    query, _ = towers(id_dropout=0.5)
    rng = np.random.default_rng(1)
    query.set_weights([rng.normal(size=w.shape) for w in query.get_weights()])
    given = {"user": np.zeros(ROWS, np.int32), "history": np.tile([[3, 4]], (ROWS, 1))}

    outputs = np.asarray(query(given, training=True))

    for history in ([3, 4], [3, 0], [0, 4], [0, 0]):
        expected = np.asarray(query({**given, "history": np.tile([history], (ROWS, 1))}))
        share = np.isclose(outputs, expected, atol=1e-5).all(axis=1).mean()
        assert share == pytest.approx(0.25, abs=0.07)


# --- files ----------------------------------------------------------------------------------------


def test_the_query_tower_loads_alone_on_jax_and_on_tensorflow(
    tmp_path: Path, in_tensorflow: RunStep
) -> None:
    query, candidate = towers(l2=0.1, dropout=0.2, id_dropout=0.2)
    rng = np.random.default_rng(1)
    query.set_weights([rng.normal(size=w.shape) for w in query.get_weights()])
    query.save(tmp_path / "query.keras")
    candidate.save(tmp_path / "candidate.keras")
    given = inputs()

    here = embedded(str(tmp_path / "query.keras"), given)
    there = in_tensorflow(
        "walk_source:embedded", path=str(tmp_path / "query.keras"), features=given
    )

    assert np.array_equal(here, embed(query, given))
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)
    # Two files, two tables, of the same values.
    both = [keras.saving.load_model(tmp_path / f"{n}.keras") for n in ("query", "candidate")]
    tables = [table(both[0].embeddings["history"]), table(both[1].embeddings["item"])]
    assert np.array_equal(*tables)
    assert len(both[0].trainable_variables) == 6
    assert [w.shape for w in both[0].get_weights()] == [w.shape for w in query.get_weights()]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return walk_encoded(tmp_path_factory, in_tensorflow)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return walk_model(tmp_path_factory, in_tensorflow)


def saved_towers(folder: Path) -> list[Any]:
    return [keras.models.load_model(folder / f"{s}_tower.keras") for s in ("query", "candidate")]


def test_a_trained_pair_has_one_table_in_both_files(model: Path) -> None:
    query, candidate = saved_towers(model)

    items = table(candidate.embeddings["item_id"])
    assert items.shape == (ITEMS + 1, 32)
    assert np.array_equal(table(query.embeddings["history"]), items)


def test_a_stopped_training_with_a_history_ends_with_uninterrupted_weights(
    encoded: Path, model: Path, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "encoded": str(encoded), "config": TRAIN, "layer_sizes": LAYERS, "seed": SEED,
        "model": str(tmp_path / "model"), "checkpoints": str(tmp_path / "state"),
    }  # fmt: skip

    with signal_at(Moment(signal.SIGTERM, "step", 11, 3)), pytest.raises(SystemExit):
        train(**arguments)
    train(**arguments)

    for first, second in zip(saved_towers(model), saved_towers(tmp_path / "model"), strict=True):
        for some, other in zip(first.get_weights(), second.get_weights(), strict=True):
            assert np.array_equal(some, other)
    results = [read_json(folder / "training.json") for folder in (model, tmp_path / "model")]
    assert results[0]["validation"] == results[1]["validation"]
    assert list((tmp_path / "state").iterdir()) == []


# --- warm start -----------------------------------------------------------------------------------


def test_a_warm_start_takes_the_table_once_for_both_towers(
    encoded: Path, model: Path, tmp_path: Path
) -> None:
    features = tmp_path / "features"
    features.mkdir()
    shutil.copy(encoded / "feature_spec.json", features)
    shutil.copytree(encoded / "vocabularies", features / "vocabularies")
    shutil.copytree(model, tmp_path / "model")
    time = "2026-01-01T00:00:00+00:00"
    move = HistoryEntry(number=1, version="walks-1", previous=None, action="publish", time=time)
    Published(entry=move).write(tmp_path)
    spec = FeatureSpec.read(encoded)
    shared = shared_embeddings(spec.query, spec.candidate, 32)
    query = QueryModel(spec.query, [16], 32, shared=shared)
    candidate = CandidateModel(spec.candidate, [16], 32, shared=shared)

    begun = begin_from(query, candidate, str(encoded), str(tmp_path))

    assert begun.new == []
    assert begun.new_rows == 0
    assert sorted(begun.taken) == [
        "candidate dense 1", "candidate item_id", "candidate shape", "query dense 1",
        "query hour_of_day", "query user_id",
    ]  # fmt: skip
    assert query.embeddings["history"].embedding is candidate.embeddings["item_id"]
    for tower, published in zip((query, candidate), saved_towers(model), strict=True):
        for weight, wanted in zip(tower.get_weights(), published.get_weights(), strict=True):
            assert np.array_equal(weight, wanted)


# --- what it is good for --------------------------------------------------------------------------


def hit_rate(encoded: Path, model: Path, k: int = 3) -> float:
    """The metric on the test split, by which nothing was selected."""
    spec = FeatureSpec.read(encoded)
    test = read_table(encoded / "interactions" / "test")
    queries = QuerySet.of(test, spec.query)
    targets = Targets.of(test, queries, None)
    candidates = read_table(encoded / "candidates")
    query_tower, candidate_tower = saved_towers(model)
    found, _ = retrieve(
        embed(query_tower, queries.features),
        embed(candidate_tower, {f.name: to_numpy(candidates[f.name]) for f in spec.candidate}),
        k,
    )
    return float((targets.ranks(found) < k).mean())


def test_a_history_helps_if_the_next_item_depends_on_the_last_one(
    encoded: Path,
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    in_tensorflow: RunStep,
) -> None:
    without = hit_rate(
        walk_encoded(tmp_path_factory, in_tensorflow, history=False),
        walk_model(tmp_path_factory, in_tensorflow, history=False),
    )

    # Half of all steps follow from the one before; chance finds 3 of 40 items.
    assert hit_rate(encoded, model) > 0.3
    assert without < 0.12
