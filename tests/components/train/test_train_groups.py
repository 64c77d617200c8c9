"""Rows of one query that share a softmax train like single rows."""

import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
from conftest import TRAIN
from killed_training import Moment, signal_at
from pydantic import ValidationError

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, QUERY_ID, read_table
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.files import read_json
from components.train.config import TrainSettings
from components.train.groups import GroupBatches, RowGroups
from components.train.job import train
from components.train.losses import SoftmaxLoss
from components.train.resumable_fit import ResumableFit
from components.train.retrieval_model import RetrievalModel

Columns = dict[str, np.ndarray]
SIZES = [1, 2, 3, 7, 1000]
SEED = 7


# --- grouping -------------------------------------------------------------------------------------


def _interactions(seed: int = 0, rows: int = 300) -> Columns:
    """Queries of four features, including lists and numbers; rows in random order."""
    rng = np.random.default_rng(seed)
    age = rng.choice([np.nan, -0.5, 0.25, 31.0], rows).astype(np.float32)
    return {
        "user": rng.integers(0, 9, rows).astype(np.int32),
        "tags": rng.integers(0, 2, (rows, 2)).astype(np.int32),
        "age": age,
        "place": rng.choice([0.0, 1.5], (rows, 2)).astype(np.float32),
        CANDIDATE_INDEX: rng.integers(0, 20, rows).astype(np.int32),
        LABEL: rng.choice([0.0, 0.25, 1.0], rows).astype(np.float32),
    }


def _key(columns: Columns) -> np.ndarray:
    return columns["user"]


def _groups(key: np.ndarray, size: int, time: np.ndarray | None = None) -> list[list[int]]:
    """The row numbers of each group."""
    groups = RowGroups.of(key, size, time)
    table = groups.padded(np.arange(len(groups)), min(size, len(key)))
    return [row[row >= 0].tolist() for row in table]


@pytest.mark.parametrize("size", SIZES)
def test_every_row_is_in_one_group_of_its_key(size: int) -> None:
    key = _key(_interactions())

    groups = _groups(key, size)

    assert sorted(row for group in groups for row in group) == list(range(len(key)))
    assert all(len({int(key[row]) for row in group}) == 1 for group in groups)


@pytest.mark.parametrize("size", SIZES)
def test_groups_are_as_few_as_their_size_allows(size: int) -> None:
    key = _key(_interactions())

    groups = RowGroups.of(key, size)

    assert len(groups) == sum(-(-rows // size) for rows in Counter(key.tolist()).values())
    assert groups.lengths.max() <= size


def test_rows_of_a_key_keep_their_order_or_are_in_order_of_time() -> None:
    key = np.array([1, 0, 1, 1, 0, 1])
    time = np.array([50, 7, 40, 50, 6, 10])

    assert _groups(key, 3) == [[1, 4], [0, 2, 3], [5]]
    assert _groups(key, 3, time) == [[4, 1], [5, 2, 0], [3]]


def test_keys_of_several_columns_are_compared_as_a_whole() -> None:
    key = np.array([[1, 2], [1, 3], [1, 2], [2, 2]])

    assert _groups(key, 9) == [[0, 2], [1], [3]]


def test_buckets_hold_each_group_once_and_are_as_wide_as_needed() -> None:
    rng = np.random.default_rng(3)
    key = np.repeat(np.arange(60), rng.integers(1, 90, 60))
    groups = RowGroups.of(key, 1000)
    needed = np.where(np.arange(60) < 5, 200, 0)

    buckets = groups.by_length(400, needed)

    rows = np.concatenate([bucket.rows.reshape(-1) for bucket in buckets])
    assert sorted(rows[rows >= 0].tolist()) == list(range(len(key)))
    assert 1 < len(buckets) < 6
    for bucket in buckets:
        users = key[bucket.rows[:, 0]]
        width = np.maximum(groups.lengths, needed)[users].max()
        assert width <= bucket.rows.shape[1] < 2 * max(width, 8)
        batches = len(bucket.rows) // bucket.batch
        assert (bucket.rows >= 0).sum() / batches < 1.5 * 400


def test_no_bucket_is_wider_than_the_widest() -> None:
    groups = RowGroups.of(np.repeat(np.arange(9), 50), 50)

    buckets = groups.by_length(100, np.full(9, 80), widest=50)

    assert [bucket.rows.shape for bucket in buckets] == [(9, 50)]


def test_fewer_rows_than_a_batch_are_one_bucket_and_one_batch() -> None:
    buckets = RowGroups.of(np.array([0, 0, 1] + [2] * 40), 1000).by_length(1000)

    assert [(bucket.rows.shape, bucket.batch) for bucket in buckets] == [((3, 64), 3)]


def _epoch(batches: GroupBatches, epoch: int) -> list[list[int]]:
    batches.begin_epoch(epoch)
    return [batches[step][0].reshape(-1).tolist() for step in range(len(batches))]


def test_each_epoch_of_groups_has_another_order_that_follows_from_the_seed() -> None:
    groups = RowGroups.of(np.repeat(np.arange(40), np.arange(1, 41)), 1000)

    def batches(seed: int = 5) -> GroupBatches:
        return GroupBatches(groups.by_length(100), seed)

    again = batches()
    assert _epoch(batches(), 2) == (_epoch(again, 0), _epoch(again, 2))[1]
    assert _epoch(batches(), 2) != _epoch(batches(), 3)
    assert _epoch(batches(), 2) != _epoch(batches(6), 2)
    seen = [row for step in _epoch(batches(), 0) for row in step if row >= 0]
    assert len(set(seen)) == len(seen) > 0.8 * 820


# --- the loss -------------------------------------------------------------------------------------

ITEMS, DIMENSION = 9, 4
# Of three queries, the last with an item twice.
ITEM = np.array([[2, 5, 0], [7, -1, -1], [1, 1, -1]], np.int32)
WEIGHT = np.array([[1.0, 0.25, 0.5], [0.75, 0.9, 0.9], [0.0, 0.6, 0.9]], np.float32)


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return tuple(rng.normal(size=(n, DIMENSION)).astype(np.float32) for n in (len(ITEM), ITEMS))


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_the_loss_of_groups_equals_the_formula(
    vectors: tuple[np.ndarray, np.ndarray], temperature: float
) -> None:
    queries, catalogue = vectors

    loss = SoftmaxLoss(temperature).catalogue(queries, catalogue, ITEM, WEIGHT)

    losses, weights = [], []
    for group, place in zip(*np.nonzero(ITEM >= 0), strict=True):
        logits = catalogue.astype(np.float64) @ queries[group] / temperature
        losses.append(np.log(np.exp(logits).sum()) - logits[ITEM[group, place]])
        weights.append(WEIGHT[group, place])
    assert float(loss) == pytest.approx(np.average(losses, weights=weights), rel=1e-5)


def test_padding_has_no_weight(
    vectors: tuple[np.ndarray, np.ndarray],
) -> None:
    loss = SoftmaxLoss().catalogue(*vectors, ITEM, WEIGHT)
    others = np.where(ITEM < 0, 100, WEIGHT).astype(np.float32)
    counted = np.where(ITEM == 5, 100, WEIGHT).astype(np.float32)

    assert float(SoftmaxLoss().catalogue(*vectors, ITEM, others)) == float(loss)
    assert abs(float(SoftmaxLoss().catalogue(*vectors, ITEM, counted)) - float(loss)) > 0.01
    assert float(SoftmaxLoss().catalogue(*vectors, ITEM, 0 * WEIGHT)) == 0


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_groups_have_the_loss_and_the_gradient_of_their_single_rows(
    vectors: tuple[np.ndarray, np.ndarray], scale: float
) -> None:
    group, place = np.nonzero(ITEM >= 0)
    queries, catalogue = scale * vectors[0], vectors[1]

    def of_groups(queries: Any, catalogue: Any) -> Any:
        return SoftmaxLoss(0.5).catalogue(queries, catalogue, ITEM, WEIGHT)

    def of_rows(queries: Any, catalogue: Any) -> Any:
        return SoftmaxLoss(0.5).catalogue(
            queries[group], catalogue, ITEM[group, place], WEIGHT[group, place]
        )

    values, expected = (
        jax.value_and_grad(loss, argnums=(0, 1))(queries, catalogue)
        for loss in (of_groups, of_rows)
    )
    assert float(values[0]) == pytest.approx(float(expected[0]), rel=1e-5)
    for gradient, slow in zip(values[1], expected[1], strict=True):
        assert np.abs(slow).max() > 1e-3
        np.testing.assert_allclose(gradient, slow, rtol=1e-4, atol=1e-5)


# --- the model ------------------------------------------------------------------------------------


def _feature(name: str, **changes: Any) -> EncodedFeature:
    return EncodedFeature.model_validate(
        {"name": name, "type": "id", "dtype": "int32", "raw_columns": [name], **changes}
    )


QUERY = [
    _feature("user", cardinality=9, oov_index=0),
    _feature("tags", type="multi_categorical", width=2, cardinality=2, padding_index=0),
    _feature("age", type="float", dtype="float32"),
    _feature("place", type="float", dtype="float32", width=2),
]
ITEM_ID = _feature("item", cardinality=21, oov_index=0)
CATALOGUE = {"item": np.arange(1, 21, dtype=np.int32)[::-1].copy()}


def _model(interactions: Columns, **config: Any) -> RetrievalModel:
    """A model whose towers have the same weights each time."""
    towers: list[Any] = [QueryModel(QUERY, [4]), CandidateModel([ITEM_ID], [4])]
    rng = np.random.default_rng(13)
    for tower in towers:
        tower.set_weights([rng.normal(0, 0.4, w.shape) for w in tower.get_weights()])
    settings = TrainSettings.model_validate({"negatives": "catalogue", **config})
    return RetrievalModel(*towers, interactions, CATALOGUE, settings, SEED)


def _loss(model: RetrievalModel, size: int = 1) -> float:
    rows = np.arange(model.interactions.columns[LABEL].shape[0], dtype=np.int32)
    if size > 1:
        columns = [
            np.asarray(model.interactions.columns[f.name]).reshape(len(rows), -1).view(np.int32)
            for f in QUERY
        ]
        groups = RowGroups.of(np.concatenate(columns, axis=1), size)
        rows = groups.padded(np.arange(len(groups)), size)
        assert (rows < 0).any()
    return float(model.compute_loss(y_pred=model(rows)))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"temperature": 0.2},
        {"sample_weight": "label"},
        {"sample_weight": "label", "sample_weight_power": 2.5},
        {"sample_weight": "label", "sample_weight_power": 0.5},
        {"normalize_embeddings": True, "temperature": 0.1},
    ],
    ids=lambda config: "+".join(config),
)
def test_a_model_of_groups_has_the_loss_of_one_of_single_rows(config: dict[str, Any]) -> None:
    interactions = {name: np.nan_to_num(values) for name, values in _interactions(rows=60).items()}
    expected = _loss(_model(interactions, **config))

    for size in (2, 5, 64):
        grouped = _model(interactions, rows_per_query=size, **config)
        assert _loss(grouped, size) == pytest.approx(expected, rel=1e-5)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"negatives": "in_batch"}, "rows_per_query above 1 needs .* negatives catalogue"),
        ({}, "rows_per_query above 1 needs .* negatives catalogue"),
        ({"loss": "mse"}, "rows_per_query above 1 needs loss softmax"),
        ({"loss": "mse", "negatives": "catalogue"}, "rows_per_query above 1 needs loss softmax"),
        ({"negatives": "catalogue", "hard_negatives": 3}, "hard_negatives needs rows_per_query 1"),
        ({"negatives": "catalogue", "rows_per_query": 0}, "rows_per_query"),
    ],
)
def test_settings_that_conflict_with_groups_are_refused(
    config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainSettings.model_validate({"rows_per_query": 8, **config})


@pytest.mark.parametrize(
    "config", [{}, {"loss": "mse"}, {"negatives": "catalogue", "hard_negatives": 3}]
)
def test_single_rows_accept_every_setting(config: dict[str, Any]) -> None:
    assert TrainSettings.model_validate({"rows_per_query": 1, **config}).rows_per_query == 1


# --- trainings ------------------------------------------------------------------------------------

# A step is all of the data, so that the order of rows does not matter.
FULL_BATCH: dict[str, Any] = {
    **TRAIN,
    "negatives": "catalogue",
    "batch_size": 10_000,
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "epochs": 3,
    "validation_frequency": 3,
}
GROUPS: dict[str, Any] = {
    **FULL_BATCH,
    "rows_per_query": 8,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "validation_frequency": 1,
}


def _trained(encoded: Path, model: Path, config: dict[str, Any], **arguments: Any) -> Path:
    train(
        encoded=str(encoded), config=config, layer_sizes=[8], seed=SEED, model=str(model),
        **arguments,
    )  # fmt: skip
    return model


def _weights(model: Path) -> list[np.ndarray]:
    return [
        weights
        for side in ("query", "candidate")
        for weights in keras.models.load_model(model / f"{side}_tower.keras").get_weights()
    ]


def _equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(some, others, strict=True))


def _rows_and_groups(capsys: pytest.CaptureFixture[str]) -> list[tuple[int, int]]:
    """The lines in which trainings report their rows."""
    return [
        (int(rows.replace(",", "")), int(groups.replace(",", "")))
        for rows, groups in re.findall(
            r"([\d,]+) rows in ([\d,]+) groups, ", capsys.readouterr().out
        )
    ]


def _farthest(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    return max(
        float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
        for a, b in zip(some, others, strict=True)
    )


@pytest.fixture(scope="module")
def grouped(ids_only_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training on groups."""
    return _trained(ids_only_encoded, tmp_path_factory.mktemp("grouped") / "model", GROUPS)


def test_with_all_data_in_a_step_groups_give_the_weights_of_single_rows(
    ids_only_encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[np.ndarray]] = []
    original = ResumableFit.run

    def run(self: Any) -> None:
        towers = (self.retrieval_model.query_model, self.retrieval_model.candidate_model)
        begun.append([weights for tower in towers for weights in tower.get_weights()])
        original(self)

    monkeypatch.setattr(ResumableFit, "run", run)
    single, grouped = (
        _trained(
            ids_only_encoded,
            tmp_path / str(size),
            {**FULL_BATCH, "rows_per_query": size, "positives_above": 0.2},
        )
        for size in (1, 8)
    )

    moved = _farthest(_weights(single), begun[0])
    assert moved > 1e-3
    assert _farthest(_weights(single), _weights(grouped)) < moved / 1000
    losses = [
        [entry["loss"] for entry in read_json(model / "history.json")["epochs"]]
        for model in (single, grouped)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][-1] < losses[0][0]


def test_rows_at_or_below_positives_above_are_in_no_group(
    ids_only_encoded: Path, grouped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    positives = {**GROUPS, "positives_above": 0.6}

    some = _trained(ids_only_encoded, tmp_path / "some", positives)

    positive = to_numpy(read_table(ids_only_encoded / "interactions" / "train")[LABEL]) > 0.6
    ((rows, groups),) = _rows_and_groups(capsys)
    assert rows == positive.sum() < len(positive)
    assert rows / 8 <= groups < rows
    assert not _equal(_weights(some), _weights(grouped))


def test_the_same_training_on_groups_gives_the_same_bits(
    ids_only_encoded: Path, grouped: Path, tmp_path: Path
) -> None:
    again = _trained(ids_only_encoded, tmp_path / "again", GROUPS)

    assert _equal(_weights(again), _weights(grouped))


@pytest.mark.parametrize(
    "moment",
    [Moment(signal.SIGTERM, "step", 1, 1)],
    ids=lambda moment: moment.place,
)
def test_a_stopped_training_on_groups_continues_to_the_same_bits(
    ids_only_encoded: Path, grouped: Path, tmp_path: Path, moment: Moment
) -> None:
    checkpoints = tmp_path / "checkpoints"
    config = {**GROUPS, "checkpoint_seconds": 0}

    with signal_at(moment), pytest.raises(SystemExit) as ended:
        _trained(ids_only_encoded, tmp_path / "model", config, checkpoints=str(checkpoints))
    assert ended.value.code == 143
    assert len(list(checkpoints.glob("*.npz"))) == 1
    resumed = _trained(ids_only_encoded, tmp_path / "model", config, checkpoints=str(checkpoints))

    assert _equal(_weights(resumed), _weights(grouped))
    assert list(checkpoints.iterdir()) == []


def test_a_stopped_refit_on_groups_continues_to_the_same_bits(
    ids_only_encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**GROUPS, "refit": True, "checkpoint_seconds": 0}
    whole = _trained(ids_only_encoded, tmp_path / "whole", config)
    checkpoints = tmp_path / "checkpoints"
    original = ResumableFit.on_epoch_begin

    def stopped(self: Any, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.checkpoint._name.endswith("-refit.npz"):
            signal.raise_signal(signal.SIGTERM)
        original(self, epoch, logs)

    monkeypatch.setattr(ResumableFit, "on_epoch_begin", stopped)
    with pytest.raises(SystemExit):
        _trained(ids_only_encoded, tmp_path / "model", config, checkpoints=str(checkpoints))
    monkeypatch.undo()
    resumed = _trained(ids_only_encoded, tmp_path / "model", config, checkpoints=str(checkpoints))

    assert _equal(_weights(resumed), _weights(whole))
    best = read_json(whole / "training.json")["best_epoch"]
    assert len(read_json(whole / "refit_history.json")["epochs"]) == best


def test_a_refit_groups_the_validation_rows_as_well(
    ids_only_encoded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _trained(ids_only_encoded, tmp_path / "model", {**GROUPS, "refit": True, "epochs": 1})

    train_rows, validation_rows = (
        read_table(ids_only_encoded / "interactions" / part)[QUERY_ID].to_pylist()
        for part in ("train", "validation")
    )
    expected = [
        (len(rows), sum(-(-count // 8) for count in Counter(rows).values()))
        for rows in (train_rows, train_rows + validation_rows)
    ]
    assert _rows_and_groups(capsys) == expected
    assert expected[0] != expected[1]
