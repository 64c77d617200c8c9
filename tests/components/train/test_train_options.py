"""Every option of train does what its docstring says, and nothing at its default."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
from conftest import PLAIN, TRAIN
from killed_training import Moment, signal_at
from pydantic import ValidationError
from served import Reference, plain_server

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    write_table,
)
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.top_k import retrieve
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json
from components.train.config import TrainSettings
from components.train.job import train
from components.train.losses import SoftmaxLoss
from components.train.resumable_fit import ResumableFit
from components.train.retrieval_model import RetrievalModel

RunStep = Callable[..., Any]
SEED = 7


# --- the loss -------------------------------------------------------------------------------------

BATCH, ITEMS, DIMENSION = 6, 9, 4
# Items 2 and 7 are there more than once.
ITEM = np.array([2, 5, 2, 7, 7, 2], np.int32)
WEIGHT = np.array([1.0, 0.25, 0.5, 0.0, 1.0, 0.75], np.float32)
PROBABILITY = np.array([0.5, 0.01, 0.5, 0.2, 0.2, 0.5], np.float32)


def _slow_softmax(
    queries: np.ndarray,
    candidates: np.ndarray,
    weight: np.ndarray,
    *,
    positive: np.ndarray,
    item: np.ndarray,
    probability: np.ndarray | None = None,
    temperature: float = 1.0,
    mask: bool = False,
    hardest: int | None = None,
) -> float:
    """Cross-entropy row by row: the positive's column against the other columns."""
    losses = []
    for row in range(len(queries)):
        logits = candidates.astype(np.float64) @ queries[row] / temperature
        if probability is not None:
            logits = logits - np.log(probability)
        own = positive[row]
        negatives = [
            logits[column]
            for column in range(len(candidates))
            if column != own and not (mask and item[column] == item[own])
        ]
        counted = [logits[own], *sorted(negatives, reverse=True)[:hardest]]
        losses.append(np.log(np.exp(counted).sum()) - logits[own])
    return float(np.average(losses, weights=weight))


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(BATCH, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def catalogue() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(ITEMS, DIMENSION)).astype(np.float32)


@pytest.mark.parametrize("hardest", [1, 2, 4, None])
@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.3}, {"logq": True}, {"mask": True}, {"logq": True, "mask": True}],
)
def test_in_batch_hard_negatives_have_the_highest_scores_after_all_corrections(
    queries: np.ndarray, catalogue: np.ndarray, options: dict[str, Any], hardest: int | None
) -> None:
    temperature = options.get("temperature", 1.0)
    logq, mask = options.get("logq", False), options.get("mask", False)

    loss = SoftmaxLoss(temperature, logq, mask, hardest).in_batch(
        queries, catalogue[ITEM], ITEM, PROBABILITY, WEIGHT
    )

    expected = _slow_softmax(
        queries, catalogue[ITEM], WEIGHT, positive=np.arange(BATCH), item=ITEM,
        probability=PROBABILITY if logq else None, temperature=temperature, mask=mask,
        hardest=hardest,
    )  # fmt: skip
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("hardest", [1, 3, 7, None])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_catalogue_hard_negatives_have_the_highest_scores(
    queries: np.ndarray, catalogue: np.ndarray, temperature: float, hardest: int | None
) -> None:
    loss = SoftmaxLoss(temperature, hard_negatives=hardest).catalogue(
        queries, catalogue, ITEM, WEIGHT
    )

    expected = _slow_softmax(
        queries, catalogue, WEIGHT, positive=ITEM, item=np.arange(ITEMS),
        temperature=temperature, hardest=hardest,
    )  # fmt: skip
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("hardest", [8, 9, 1000])
def test_hard_negatives_above_the_number_of_negatives_keeps_all(
    queries: np.ndarray, catalogue: np.ndarray, hardest: int
) -> None:
    some, every = SoftmaxLoss(hard_negatives=hardest), SoftmaxLoss()

    for name, arguments in (
        ("in_batch", (queries, catalogue[ITEM], ITEM, PROBABILITY, WEIGHT)),
        ("catalogue", (queries, catalogue, ITEM, WEIGHT)),
    ):
        loss, expected = (float(getattr(made, name)(*arguments)) for made in (some, every))
        assert loss == pytest.approx(expected, rel=1e-6)


# --- the model hands the right things to the loss -------------------------------------------------

ROWS = np.array([1, 3, 4, 0, 6, 7], np.int32)
INTERACTIONS = {
    "user": np.array([0, 1, 2, 3, 0, 1, 2, 3], np.int32),
    "candidate_index": np.array([2, 2, 0, 2, 1, 0, 4, 4], np.int32),
    "label": np.array([1.0, 0.5, 0.1, 0.25, 1.0, 0.75, 0.5, 1.0], np.float32),
}
CANDIDATES = {"item": np.array([5, 4, 3, 2, 1], np.int32)}
# Item 3 is in no row.
FREQUENCY = np.array([2, 1, 3, 0, 2]) / 8


def _id(name: str, cardinality: int) -> EncodedFeature:
    return EncodedFeature(
        name=name, type="id", dtype="int32", cardinality=cardinality, oov_index=0,
        raw_columns=[name],
    )  # fmt: skip


@pytest.fixture(scope="module")
def towers() -> tuple[QueryModel, CandidateModel]:
    """Towers whose scores have the size of trained towers' scores."""
    made: list[Any] = [QueryModel([_id("user", 4)], [4]), CandidateModel([_id("item", 6)], [4])]
    rng = np.random.default_rng(13)
    for tower in made:
        tower.set_weights([rng.normal(0, 0.4, w.shape) for w in tower.get_weights()])
    return made[0], made[1]


def _model(towers: tuple[Any, Any], seed: int = SEED, **config: Any) -> RetrievalModel:
    return RetrievalModel(
        *towers, INTERACTIONS, CANDIDATES, TrainSettings.model_validate(config), seed
    )


def _loss(model: RetrievalModel, outputs: dict[str, Any] | None = None) -> float:
    return float(model.compute_loss(y_pred=model(ROWS) if outputs is None else outputs))


def _index(model: RetrievalModel) -> list[int]:
    drawn: list[int] = np.asarray(model(ROWS)["candidate_index"]).tolist()
    return drawn


@pytest.mark.parametrize("negatives", ["in_batch", "catalogue"])
def test_the_model_trains_on_the_hard_negatives_of_its_config(
    towers: tuple[QueryModel, CandidateModel], negatives: str
) -> None:
    users = np.asarray(towers[0]({"user": INTERACTIONS["user"][ROWS]}))
    items = np.asarray(towers[1](CANDIDATES))
    item = INTERACTIONS["candidate_index"][ROWS]
    in_batch = negatives == "in_batch"

    loss = _loss(_model(towers, negatives=negatives, hard_negatives=2))

    expected = _slow_softmax(
        users, items[item] if in_batch else items, np.ones(len(ROWS)),
        positive=np.arange(len(ROWS)) if in_batch else item,
        item=item if in_batch else np.arange(5),
        probability=FREQUENCY[item] if in_batch else None, mask=in_batch, hardest=2,
    )  # fmt: skip
    assert loss == pytest.approx(expected, rel=1e-4)
    assert abs(loss - _loss(_model(towers, negatives=negatives))) > 0.01


@pytest.mark.parametrize("hardest", [None, 3])
@pytest.mark.parametrize("drawn", [1, 4, 40])
def test_drawn_items_are_negatives_of_every_row_with_the_probability_of_the_mixture(
    towers: tuple[QueryModel, CandidateModel], drawn: int, hardest: int | None
) -> None:
    model = _model(towers, uniform_negatives=drawn, hard_negatives=hardest)

    outputs = model(ROWS)

    index = np.asarray(outputs["candidate_index"])
    rows, items = len(ROWS), np.asarray(towers[1](CANDIDATES))
    assert index[:rows].tolist() == INTERACTIONS["candidate_index"][ROWS].tolist()
    assert index.shape == (rows + drawn,)
    np.testing.assert_allclose(
        np.asarray(outputs["candidate_embeddings"]), items[index], rtol=1e-5, atol=1e-6
    )
    expected = _slow_softmax(
        np.asarray(towers[0]({"user": INTERACTIONS["user"][ROWS]})), items[index], np.ones(rows),
        positive=np.arange(rows), item=index, mask=True, hardest=hardest,
        probability=(rows * FREQUENCY[index] + drawn / 5) / (rows + drawn),
    )  # fmt: skip
    assert _loss(model, outputs) == pytest.approx(expected, rel=1e-4)
    assert abs(_loss(model, outputs) - _loss(_model(towers, hard_negatives=hardest))) > 0.01


def test_items_are_drawn_uniformly_from_the_catalogue(
    towers: tuple[QueryModel, CandidateModel],
) -> None:
    drawn = np.asarray(_index(_model(towers, uniform_negatives=5000))[len(ROWS) :])

    counts = np.bincount(drawn, minlength=5)
    assert len(counts) == 5
    np.testing.assert_allclose(counts, 1000, atol=150)


def test_masking_ignores_a_drawn_negative_that_is_the_row_s_own_item(
    towers: tuple[QueryModel, CandidateModel],
) -> None:
    model = _model(towers, uniform_negatives=40, logq_correction=False)
    unmasked = _model(
        towers, uniform_negatives=40, logq_correction=False, mask_accidental_hits=False
    )
    outputs = model(ROWS)
    index = np.asarray(outputs["candidate_index"])
    assert set(index[len(ROWS) :]) >= set(index[: len(ROWS)])  # every row has hits

    losses = _loss(model, outputs), _loss(unmasked, outputs)

    users = np.asarray(outputs["query_embeddings"])
    for loss, mask in zip(losses, (True, False), strict=True):
        expected = _slow_softmax(
            users, np.asarray(outputs["candidate_embeddings"]), np.ones(len(ROWS)),
            positive=np.arange(len(ROWS)), item=index, mask=mask,
        )  # fmt: skip
        assert loss == pytest.approx(expected, rel=1e-4)
    assert losses[1] - losses[0] > 0.01


def test_every_step_draws_different_items_determined_by_the_seed(
    towers: tuple[QueryModel, CandidateModel],
) -> None:
    first, again, other = (
        _model(towers, seed=seed, uniform_negatives=30) for seed in (SEED, SEED, SEED + 1)
    )

    steps = [_index(first) for _ in range(3)]

    assert steps[0] != steps[1] != steps[2] != steps[0]
    assert [_index(again) for _ in range(3)] == steps
    assert _index(other) != steps[0]


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("loss", ["softmax", "mse"])
def test_the_label_to_a_power_is_the_weight_of_a_row(
    towers: tuple[QueryModel, CandidateModel], loss: str, power: float
) -> None:
    users = np.asarray(towers[0]({"user": INTERACTIONS["user"][ROWS]}))
    items = np.asarray(towers[1](CANDIDATES))
    item, label = INTERACTIONS["candidate_index"][ROWS], INTERACTIONS["label"][ROWS]

    measured = _loss(_model(towers, loss=loss, sample_weight="label", sample_weight_power=power))

    if loss == "mse":
        errors = ((users * items[item]).sum(1) - label) ** 2
        expected = float(np.average(errors, weights=label**power))
    else:
        expected = _slow_softmax(
            users, items[item], label**power, positive=np.arange(len(ROWS)), item=item,
            probability=FREQUENCY[item], mask=True,
        )  # fmt: skip
    assert measured == pytest.approx(expected, rel=1e-4)


def test_a_power_of_one_is_the_label_itself(
    towers: tuple[QueryModel, CandidateModel],
) -> None:
    plain = _loss(_model(towers, sample_weight="label"))

    losses = [
        _loss(_model(towers, sample_weight="label", sample_weight_power=power))
        for power in (1.0, 2.0)
    ]

    assert losses[0] == plain
    assert abs(losses[1] - plain) > 0.01


def test_a_row_with_label_zero_has_no_weight_at_any_power(
    towers: tuple[QueryModel, CandidateModel],
) -> None:
    model = _model(towers, sample_weight="label", sample_weight_power=0.5)
    label = model.interactions.columns["label"]
    label.assign(np.zeros(label.shape, np.float32))

    assert _loss(model, model(ROWS)) == 0


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"uniform_negatives": 5, "negatives": "catalogue"}, "uniform_negatives needs"),
        ({"uniform_negatives": 5, "loss": "mse"}, "uniform_negatives needs"),
        ({"hard_negatives": 5, "loss": "mse"}, "hard_negatives needs"),
        ({"hard_negatives": 0}, "hard_negatives"),
        ({"uniform_negatives": -1}, "uniform_negatives"),
        ({"sample_weight_power": 0}, "sample_weight_power"),
        ({"sample_weight_power": -1}, "sample_weight_power"),
        ({"dropout": 1}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"id_dropout": 1}, "id_dropout"),
        ({"id_dropout": -0.1}, "id_dropout"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"learning_rate_schedule": "linear"}, "learning_rate_schedule"),
    ],
)
def test_invalid_options_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainSettings.model_validate(config)


@pytest.mark.parametrize(
    "config",
    [
        {"uniform_negatives": 5, "hard_negatives": 5},
        {"hard_negatives": 5, "negatives": "catalogue"},
        {"uniform_negatives": 0, "negatives": "catalogue"},
        {"uniform_negatives": 0, "loss": "mse", "negatives": "catalogue"},
        {"positives_above": -1, "loss": "mse"},
    ],
)
def test_compatible_options_are_accepted(config: dict[str, Any]) -> None:
    assert TrainSettings.model_validate(config)


# --- trainings ------------------------------------------------------------------------------------

USERS, TITLES, EACH = 8, 12, 10
UNSEEN = TITLES - 1  # the item that no training row has
SHORT: dict[str, Any] = {
    **PLAIN,
    "embedding_dimension": 4,
    "batch_size": 16,
    "epochs": 1,
    "learning_rate": 0.02,
    "monitor": "hit_rate_at_3_filtered",
}
STEPS = USERS * EACH // 16  # of an epoch
OPTIONS: dict[str, Any] = {
    "dropout": 0.3,
    "id_dropout": 0.3,
    "uniform_negatives": 4,
    "learning_rate_schedule": "cosine",
}


def _rows(seed: int, each: int) -> dict[str, np.ndarray]:
    """Training rows, `each` per user; users 1 to 8, as 0 is out of vocabulary."""
    rng = np.random.default_rng(seed)
    items = [rng.choice(UNSEEN, each, replace=False) for _ in range(USERS)]
    return {
        "user": np.repeat(np.arange(1, USERS + 1), each).astype(np.int32),
        CANDIDATE_INDEX: np.concatenate(items).astype(np.int32),
        LABEL: rng.choice([0.25, 0.5, 0.75, 1.0], USERS * each).astype(np.float32),
        TIMESTAMP: np.zeros(USERS * each, np.int64),
    }


def _write(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    """Write encoded tables like adapt's, with an id on each side."""
    for split, columns in (("train", rows), ("validation", _rows(99, 3))):
        names = [f"u{user}" for user in columns["user"]]
        (folder / "interactions" / split).mkdir(parents=True)
        write_table(
            pa.table({QUERY_ID: names, **{name: pa.array(v) for name, v in columns.items()}}),
            folder / "interactions" / split,
        )
    (folder / "candidates").mkdir()
    write_table(
        pa.table({"item": pa.array(np.arange(1, TITLES + 1), pa.int32())}), folder / "candidates"
    )
    FeatureSpec(
        query=[_id("user", USERS + 1)],
        candidate=[_id("item", TITLES + 1)],
        query_inputs=[RawInput(name="user", dtype="string")],
        candidate_inputs=[RawInput(name="item", dtype="string")],
        query_id_feature="user",
        query_id_dtype="string",
        candidate_id_dtype="string",
        label_scale=1,
        label_offset=0,
        relevant_above=None,
        label_range=(float(rows[LABEL].min()), float(rows[LABEL].max())),
    ).write(folder)
    return folder


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("tiny") / "encoded", _rows(1, EACH))


@pytest.fixture(scope="module")
def plain(encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The weights of a training without any option."""
    return _weights(_trained(encoded, tmp_path_factory.mktemp("plain") / "model"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[RetrievalModel]:
    """The models compiled by trainings."""
    models: list[RetrievalModel] = []
    original = RetrievalModel.compile

    def compile_noted(self: RetrievalModel, **kwargs: Any) -> None:
        models.append(self)
        original(self, **kwargs)

    monkeypatch.setattr(RetrievalModel, "compile", compile_noted)
    return models


@pytest.fixture
def after_epochs(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """All weights after each epoch, as one vector."""
    noted: list[np.ndarray] = []
    original = ResumableFit.on_epoch_end

    def on_epoch_end(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        weights = [np.asarray(weight).ravel() for weight in self.model.trainable_variables]
        noted.append(np.concatenate(weights))

    monkeypatch.setattr(ResumableFit, "on_epoch_end", on_epoch_end)
    return noted


def _trained(encoded: Path, model: Path, *, checkpoints: Path | None = None, **config: Any) -> Path:
    train(
        encoded=str(encoded), config={**SHORT, **config}, layer_sizes=[4], seed=SEED,
        model=str(model), checkpoints=str(checkpoints) if checkpoints else None,
    )  # fmt: skip
    return model


def _untrained() -> list[np.ndarray]:
    """The initial weights of every training here."""
    keras.utils.set_random_seed(SEED)
    towers: list[Any] = [
        QueryModel([_id("user", USERS + 1)], [4], 4),
        CandidateModel([_id("item", TITLES + 1)], [4], 4),
    ]
    return [weight for tower in towers for weight in tower.get_weights()]


def _towers(model: Path) -> list[Any]:
    return [
        keras.models.load_model(model / f"{side}_tower.keras") for side in ("query", "candidate")
    ]


def _weights(model: Path) -> list[np.ndarray]:
    return [weight for tower in _towers(model) for weight in tower.get_weights()]


def _same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def _embeddings(weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The tables of users and of items; row 0 is out of vocabulary in both."""
    users, items = (weight for weight in weights if len(weight) in (USERS + 1, TITLES + 1))
    return users, items


def test_defaults_equal_no_options_and_give_the_same_bits_again(
    encoded: Path, plain: list[np.ndarray], tmp_path: Path
) -> None:
    off = {
        "hard_negatives": None,
        "uniform_negatives": 0,
        "sample_weight_power": 1,
        "positives_above": None,
        "dropout": 0,
        "id_dropout": 0,
        "weight_decay": 0,
        "learning_rate_schedule": "constant",
    }

    assert _same(_weights(_trained(encoded, tmp_path / "again")), plain)
    assert _same(_weights(_trained(encoded, tmp_path / "off", **off)), plain)


def test_all_options_together_change_the_weights_and_give_the_same_bits_again(
    encoded: Path, plain: list[np.ndarray], tmp_path: Path
) -> None:
    options = {
        **OPTIONS,
        "hard_negatives": 3,
        "sample_weight": "label",
        "sample_weight_power": 2,
        "positives_above": 0.5,
        "weight_decay": 0.1,
    }
    weights, again = (
        _weights(_trained(encoded, tmp_path / name / "model", **options)) for name in ("a", "b")
    )

    assert not _same(weights, plain)
    assert _same(weights, again)


def test_uniform_negatives_push_down_an_item_without_training_rows(
    encoded: Path, tmp_path: Path
) -> None:
    users = {"user": np.arange(1, USERS + 1, dtype=np.int32)}
    items = {"item": np.arange(1, TITLES + 1, dtype=np.int32)}
    below = []
    for drawn in (0, 12):
        towers = _towers(
            _trained(
                encoded, tmp_path / str(drawn), uniform_negatives=drawn, epochs=12,
                validation_frequency=12,
            )
        )  # fmt: skip
        scores = embed(towers[0], users) @ embed(towers[1], items).T
        below.append(scores.mean() - scores[:, UNSEEN].mean())

    assert below[1] > below[0] + 0.2


# --- positives ------------------------------------------------------------------------------------


def _with_other_negatives(above: float) -> dict[str, np.ndarray]:
    """The training rows, with other users, items and labels at or below the threshold."""
    rows = _rows(1, EACH)
    rng = np.random.default_rng(5)
    others = np.flatnonzero(rows[LABEL] <= above)
    rows["user"][others] = rng.permutation(rows["user"][others])
    rows[CANDIDATE_INDEX][others] = rng.integers(0, UNSEEN, len(others))
    rows[LABEL][others] = rng.choice([0.25, above], len(others))
    return rows


def test_rows_at_or_below_positives_above_have_no_influence_on_the_weights(
    encoded: Path, tmp_path: Path
) -> None:
    other = _write(tmp_path / "encoded", _with_other_negatives(0.5))
    config = {"sample_weight": "label"}

    of_positives, of_all = (
        [
            _weights(_trained(data, tmp_path / str(above) / data.parent.name, **config, **above))
            for data in (encoded, other)
        ]
        for above in ({"positives_above": 0.5}, {})
    )

    assert _same(*of_positives)
    assert not _same(*of_all)


def test_a_row_just_above_positives_above_is_trained_on(
    encoded: Path, plain: list[np.ndarray], tmp_path: Path
) -> None:
    least = {"positives_above": 0.2499}

    assert _same(_weights(_trained(encoded, tmp_path / "model", **least)), plain)


def test_positives_above_all_labels_is_refused(encoded: Path, tmp_path: Path) -> None:
    message = r"train\.positives_above: no label .* above 1; labels range from 0\.25 to 1"

    with pytest.raises(InputError, match=message):
        _trained(encoded, tmp_path / "model", positives_above=1.0)

    assert list(tmp_path.iterdir()) == []


def test_validation_excludes_seen_items_whatever_their_label(encoded: Path, tmp_path: Path) -> None:
    model = _trained(encoded, tmp_path / "model", positives_above=0.75)
    towers, rows, validation = _towers(model), _rows(1, EACH), _rows(99, 3)
    scores = (
        embed(towers[0], {"user": validation["user"]})
        @ embed(towers[1], {"item": np.arange(1, TITLES + 1, dtype=np.int32)}).T
    )

    def hit_rate(seen: np.ndarray) -> float:
        hits = []
        for row, (user, item) in enumerate(
            zip(validation["user"], validation[CANDIDATE_INDEX], strict=True)
        ):
            left = np.where(
                np.isin(np.arange(TITLES), rows[CANDIDATE_INDEX][seen & (rows["user"] == user)]),
                -np.inf,
                scores[row],
            )
            best = np.argsort(-left, kind="stable")[:3]
            hits.append(item in best[np.isfinite(left[best])])
        return float(np.mean(hits))

    everything, positives = hit_rate(rows[LABEL] > 0), hit_rate(rows[LABEL] > 0.75)

    assert read_json(model / "training.json")["validation"] == pytest.approx(everything)
    assert everything != pytest.approx(positives)


@pytest.mark.parametrize(
    ("low", "config", "refused"),
    [
        (-1.0, {"sample_weight": "label"}, True),
        (-1.0, {"sample_weight": "label", "positives_above": -2}, True),
        (-1.0, {"sample_weight": "label", "positives_above": 0}, False),
        (0.0, {"loss": "mse"}, False),
        (0.0, {"loss": "mse", "positives_above": 0.5}, True),
    ],
)
def test_only_the_labels_of_training_rows_have_to_fit_the_loss(
    tmp_path: Path, low: float, config: dict[str, Any], refused: bool
) -> None:
    rows = _rows(1, EACH)
    rows[LABEL] = np.where(rows[LABEL] > 0.5, 1.0, low).astype(np.float32)
    data = _write(tmp_path / "encoded", rows)

    if refused:
        with pytest.raises(InputError, match=r"train\.(loss|sample_weight): "):
            _trained(data, tmp_path / "model", **config)
    else:
        assert np.isfinite(_weights(_trained(data, tmp_path / "model", **config))[0]).all()


# --- dropout --------------------------------------------------------------------------------------


def test_only_id_dropout_trains_the_out_of_vocabulary_embeddings(
    encoded: Path, plain: list[np.ndarray], tmp_path: Path
) -> None:
    dropped = _weights(_trained(encoded, tmp_path / "model", id_dropout=0.3))

    for untrained, without, trained in zip(
        _embeddings(_untrained()), _embeddings(plain), _embeddings(dropped), strict=True
    ):
        assert without[0].tobytes() == untrained[0].tobytes()
        assert (trained[0] != untrained[0]).all()
        assert (trained[1:UNSEEN] != untrained[1:UNSEEN]).all()


@pytest.mark.parametrize("option", ["dropout", "id_dropout"])
def test_the_two_towers_drop_independently(
    encoded: Path, tmp_path: Path, compiled: list[RetrievalModel], option: str
) -> None:
    _trained(encoded, tmp_path / "model", **{option: 0.5})
    (model,) = compiled
    rng = np.random.default_rng(8)
    for tower in (model.query_model, model.candidate_model):
        embeddings = rng.uniform(1, 2, tower.get_weights()[0].shape)
        tower.set_weights(
            [
                np.eye(4) if weight.shape == (4, 4)
                else np.zeros(4) if weight.ndim == 1
                else embeddings
                for weight in tower.get_weights()
            ]
        )  # fmt: skip
    rows = np.arange(USERS * EACH, dtype=np.int32)

    whole, outputs = model(rows), model(rows, training=True)

    left_out = [
        np.asarray(outputs[side]) != np.asarray(whole[side]) * (2 if option == "dropout" else 1)
        for side in ("query_embeddings", "candidate_embeddings")
    ]
    for values in left_out:
        assert 0.2 < values.mean() < 0.8
    assert 0.2 < (left_out[0] ^ left_out[1]).mean() < 0.8


def test_neither_saved_towers_nor_validation_have_dropout(encoded: Path, tmp_path: Path) -> None:
    model = _trained(encoded, tmp_path / "model", dropout=0.5, id_dropout=0.5)
    towers, validation = _towers(model), _rows(99, 3)

    queries = embed(towers[0], {"user": validation["user"]})
    items = embed(towers[1], {"item": np.arange(1, TITLES + 1, dtype=np.int32)})

    assert [(tower.dropout.rate, tower.id_dropout) for tower in towers] == [(0, 0), (0, 0)]
    retrieved, _ = retrieve(queries, items, 3)
    raw = np.mean((retrieved == validation[CANDIDATE_INDEX][:, None]).any(axis=1))
    history = read_json(model / "history.json")["epochs"]
    assert history[0]["val_hit_rate_at_3_raw"] == pytest.approx(raw)


# --- optimizer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad"])
def test_weight_decay_shrinks_a_weight_without_gradient_at_each_step(
    encoded: Path, plain: list[np.ndarray], tmp_path: Path, optimizer: str
) -> None:
    # Out of vocabulary: in no row, so their gradient is zero.
    unknown = [table[0] for table in _embeddings(_untrained())]
    config = {"optimizer": optimizer, "learning_rate": 0.1, "weight_decay": 0.5}

    kept, decayed = (
        [table[0] for table in _embeddings(weights)]
        for weights in (plain, _weights(_trained(encoded, tmp_path / "decayed", **config)))
    )

    for untrained, without, shrunk in zip(unknown, kept, decayed, strict=True):
        assert without.tobytes() == untrained.tobytes()
        # Each step shrinks the weight by the learning rate times the decay.
        np.testing.assert_allclose(shrunk, untrained * (1 - 0.1 * 0.5) ** STEPS, rtol=1e-5)


def test_the_cosine_falls_from_the_learning_rate_to_zero_over_all_steps(
    encoded: Path, tmp_path: Path, compiled: list[RetrievalModel]
) -> None:
    epochs = 6
    _trained(
        encoded, tmp_path / "model", learning_rate_schedule="cosine", epochs=epochs,
        validation_frequency=epochs,
    )  # fmt: skip
    optimizer = compiled[0].optimizer
    steps = int(optimizer.iterations)
    assert steps == epochs * STEPS

    rates = {}
    for step in (0, steps // 3, steps // 2, steps - 1, steps):
        optimizer.iterations.assign(step)
        rates[step] = float(optimizer.learning_rate)

    for step, rate in rates.items():
        cosine = SHORT["learning_rate"] * (1 + np.cos(np.pi * step / steps)) / 2
        assert rate == pytest.approx(cosine, abs=1e-8)
    assert rates[0] == pytest.approx(SHORT["learning_rate"])
    assert rates[steps // 2] == pytest.approx(SHORT["learning_rate"] / 2)
    assert 0 < rates[steps - 1] < 0.01 * SHORT["learning_rate"]


def test_a_constant_learning_rate_stays(
    encoded: Path, tmp_path: Path, compiled: list[RetrievalModel]
) -> None:
    _trained(encoded, tmp_path / "model", epochs=3, validation_frequency=3)

    assert float(compiled[0].optimizer.learning_rate) == pytest.approx(SHORT["learning_rate"])


def test_the_last_epoch_changes_the_weights_less_with_the_cosine(
    encoded: Path, tmp_path: Path, after_epochs: list[np.ndarray]
) -> None:
    changes = {}
    for schedule in ("constant", "cosine"):
        after_epochs.clear()
        _trained(
            encoded, tmp_path / schedule, learning_rate_schedule=schedule, epochs=5,
            validation_frequency=5,
        )  # fmt: skip
        assert len(after_epochs) == 5
        changes[schedule] = float(np.linalg.norm(after_epochs[-1] - after_epochs[-2]))

    assert changes["cosine"] < 0.3 * changes["constant"]


# --- stopped and continued ------------------------------------------------------------------------


RESUMED = {
    **OPTIONS,
    "hard_negatives": 6,
    "weight_decay": 0.01,
    "epochs": 4,
    "validation_frequency": 4,
    "checkpoint_seconds": 0,
}


@pytest.fixture(scope="module")
def never_stopped(encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(encoded, tmp_path_factory.mktemp("never") / "model", **RESUMED)


@pytest.mark.parametrize(
    "moment",
    [Moment(signal.SIGTERM, "step", 1, 2), Moment(signal.SIGTERM, "epoch end", 1)],
    ids=lambda moment: f"{moment.place} {moment.epoch}",
)
def test_a_stopped_training_continues_its_random_numbers_and_learning_rate(
    encoded: Path, tmp_path: Path, never_stopped: Path, moment: Moment
) -> None:
    folder = {"checkpoints": tmp_path / "checkpoints"}

    with signal_at(moment), pytest.raises(SystemExit) as ended:
        _trained(encoded, tmp_path / "model", **folder, **RESUMED)
    assert ended.value.code == 143
    assert len(list(folder["checkpoints"].glob("*.npz"))) == 1
    resumed = _trained(encoded, tmp_path / "model", **folder, **RESUMED)

    assert _same(_weights(resumed), _weights(never_stopped))
    losses, expected = (
        [entry["loss"] for entry in read_json(model / "history.json")["epochs"]]
        for model in (resumed, never_stopped)
    )
    assert losses == pytest.approx(expected, rel=1e-6)


# --- exported -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_with_every_option_is_exported_and_serves_the_scores_of_its_towers(
    sample_tables: Path, sample_encoded: Path, tmp_path: Path, in_tensorflow: RunStep
) -> None:
    config = {**TRAIN, **OPTIONS, "epochs": 2, "positives_above": 0.3, "hard_negatives": 20}
    model = tmp_path / "model"
    train(encoded=str(sample_encoded), config=config, layer_sizes=[16], seed=7, model=str(model))

    in_tensorflow(
        "components.export.job:export",
        tables=str(sample_tables),
        encoded=str(sample_encoded),
        model=str(model),
        export=str(tmp_path / "export"),
    )

    reference = Reference.read(sample_tables, sample_encoded, tmp_path / "export")
    queries = [
        embed(tower, reference.queries.features) for tower in (_towers(model)[0], reference.tower)
    ]
    assert np.array_equal(*queries)
    with plain_server(tmp_path) as server:
        answers = [server.ask(tmp_path / "export", reference.raw, 20) for _ in range(2)]
    reference.assert_same(answers[0], 20)
    assert answers[0] == answers[1]
