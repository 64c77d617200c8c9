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
from components.train.data import grouped_by_query
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


def _query(columns: Columns, row: int) -> bytes:
    return b"".join(
        values[row].tobytes()
        for name, values in columns.items()
        if name not in (CANDIDATE_INDEX, LABEL)
    )


def _single_rows(columns: Columns) -> list[tuple[bytes, int, float]]:
    """Query, item and label of each row."""
    return [
        (_query(columns, row), int(item), float(label))
        for row, (item, label) in enumerate(
            zip(columns[CANDIDATE_INDEX], columns[LABEL], strict=True)
        )
    ]


def _group_rows(groups: Columns) -> list[tuple[bytes, int, float]]:
    """Query, item and label of each row of each group."""
    return [
        (_query(groups, group), int(item), float(label))
        for group, (items, labels) in enumerate(
            zip(groups[CANDIDATE_INDEX], groups[LABEL], strict=True)
        )
        for item, label in zip(items, labels, strict=True)
        if item >= 0
    ]


@pytest.mark.parametrize("size", SIZES)
def test_every_row_is_in_one_group_of_its_query(size: int) -> None:
    interactions = _interactions()

    groups = grouped_by_query(interactions, size)

    assert sorted(_group_rows(groups)) == sorted(_single_rows(interactions))


@pytest.mark.parametrize("size", SIZES)
def test_groups_are_as_few_as_their_size_allows(size: int) -> None:
    interactions = _interactions()

    groups = grouped_by_query(interactions, size)

    rows_of: dict[bytes, int] = {}
    for query, _, _ in _single_rows(interactions):
        rows_of[query] = rows_of.get(query, 0) + 1
    assert groups[CANDIDATE_INDEX].shape == groups[LABEL].shape
    assert groups[LABEL].shape == (sum(-(-rows // size) for rows in rows_of.values()), size)
    assert {len(values) for values in groups.values()} == {len(groups[LABEL])}


@pytest.mark.parametrize("size", SIZES)
def test_padding_is_at_the_end_of_a_group_and_has_label_zero(size: int) -> None:
    groups = grouped_by_query(_interactions(), size)

    there = groups[CANDIDATE_INDEX] >= 0
    assert there[:, 0].all()
    assert (np.sort(~there, axis=1) == ~there).all()
    assert (groups[CANDIDATE_INDEX][~there] == -1).all()
    assert (groups[LABEL][~there] == 0).all()


def test_rows_of_a_query_keep_their_order() -> None:
    interactions = _interactions()

    groups = grouped_by_query(interactions, 3)

    for query in {query for query, _, _ in _single_rows(interactions)}:
        assert [row for row in _group_rows(groups) if row[0] == query] == [
            row for row in _single_rows(interactions) if row[0] == query
        ]


def test_types_and_widths_stay_and_the_same_rows_give_the_same_groups() -> None:
    interactions = _interactions()
    before = {name: values.copy() for name, values in interactions.items()}

    groups, again = (grouped_by_query(interactions, 4) for _ in range(2))

    assert list(groups) == list(interactions)
    for name, values in interactions.items():
        assert groups[name].dtype == values.dtype
        assert groups[name].tobytes() == again[name].tobytes()
        assert values.tobytes() == before[name].tobytes()
        if name not in (CANDIDATE_INDEX, LABEL):
            assert groups[name].shape[1:] == values.shape[1:]


@pytest.mark.parametrize("size", [1, 3])
def test_grouping_one_row_and_identical_rows(size: int) -> None:
    one = {name: values[:1] for name, values in _interactions().items()}
    alike = {name: np.repeat(values[:1], 7, axis=0) for name, values in _interactions().items()}

    assert len(grouped_by_query(one, size)[LABEL]) == 1
    groups = grouped_by_query(alike, size)
    assert len(groups[LABEL]) == -(-7 // size)
    assert _group_rows(groups) == _single_rows(alike)


def test_queries_with_different_numbers_are_separate() -> None:
    rows: Columns = {
        "age": np.array([1, np.nextafter(np.float32(1), 2), 1], np.float32),
        CANDIDATE_INDEX: np.array([4, 5, 6], np.int32),
        LABEL: np.ones(3, np.float32),
    }

    groups = grouped_by_query(rows, 5)

    assert [row[row >= 0].tolist() for row in groups[CANDIDATE_INDEX]] == [[4, 6], [5]]


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


def _loss(model: RetrievalModel) -> float:
    rows = np.arange(model.interactions.columns[LABEL].shape[0], dtype=np.int32)
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
        groups = grouped_by_query(interactions, size)
        assert (groups[CANDIDATE_INDEX] < 0).any()
        assert _loss(_model(groups, rows_per_query=size, **config)) == pytest.approx(
            expected, rel=1e-5
        )


def test_padding_does_not_count_in_sampling_probabilities() -> None:
    interactions = _interactions(rows=60)
    shares = [
        np.asarray(_model(rows).sampling.columns["probability"])
        for rows in (interactions, grouped_by_query(interactions, 7))
    ]

    expected = np.bincount(interactions[CANDIDATE_INDEX], minlength=20) / 60
    for share in shares:
        np.testing.assert_allclose(share, expected, rtol=1e-6)


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
