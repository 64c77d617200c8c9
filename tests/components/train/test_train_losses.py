from typing import Any

import numpy as np
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.config import TrainSettings
from components.train.losses import SoftmaxLoss, mse_loss
from components.train.retrieval_model import DeviceTable, RetrievalModel

BATCH, ITEMS, DIMENSION = 6, 9, 4
# Items 2 and 7 are there more than once.
ITEM = np.array([2, 5, 2, 7, 7, 2], np.int32)
LABEL = np.array([1.0, 0.25, 0.5, 0.0, 1.0, 0.75], np.float32)
PROBABILITY = np.array([0.5, 0.01, 0.5, 0.2, 0.2, 0.5], np.float32)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(BATCH, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def catalogue() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(ITEMS, DIMENSION)).astype(np.float32)


def _slow_in_batch(
    queries: np.ndarray,
    candidates: np.ndarray,
    weight: np.ndarray,
    *,
    item: np.ndarray = ITEM,
    probability: np.ndarray = PROBABILITY,
    temperature: float = 1.0,
    logq: bool = False,
    mask: bool = False,
) -> float:
    """Cross-entropy row by row, without masked columns."""
    losses = []
    for row in range(len(queries)):
        logits = candidates.astype(np.float64) @ queries[row] / temperature
        if logq:
            logits = logits - np.log(probability)
        kept = [
            column
            for column in range(len(candidates))
            if column == row or not (mask and item[column] == item[row])
        ]
        losses.append(np.log(np.exp(logits[kept]).sum()) - logits[row])
    return float(np.average(losses, weights=weight))


def _slow_catalogue(
    queries: np.ndarray,
    catalogue: np.ndarray,
    weight: np.ndarray,
    *,
    item: np.ndarray = ITEM,
    temperature: float = 1.0,
) -> float:
    logits = queries.astype(np.float64) @ catalogue.T / temperature
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(queries)), item]
    return float(np.average(losses, weights=weight))


def _in_batch(queries: np.ndarray, candidates: np.ndarray, weight: np.ndarray, **kw: Any) -> float:
    loss = SoftmaxLoss(
        kw.get("temperature", 1.0),
        logq_correction=kw.get("logq", False),
        mask_accidental_hits=kw.get("mask", False),
    )
    return float(loss.in_batch(queries, candidates, ITEM, PROBABILITY, weight))


@pytest.mark.parametrize("weight", [np.ones(BATCH, np.float32), LABEL])
def test_mse_is_the_weighted_mean_of_squared_errors(
    queries: np.ndarray, catalogue: np.ndarray, weight: np.ndarray
) -> None:
    candidates = catalogue[ITEM]
    errors = ((queries * candidates).sum(1) - LABEL) ** 2

    loss = float(mse_loss(queries, candidates, LABEL, weight))

    assert loss == pytest.approx(np.average(errors, weights=weight), rel=1e-5)


@pytest.mark.parametrize("weight", [np.ones(BATCH, np.float32), LABEL])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.2},
        {"logq": True},
        {"mask": True},
        {"temperature": 0.5, "logq": True, "mask": True},
    ],
)
def test_in_batch_softmax_equals_the_formula(
    queries: np.ndarray, catalogue: np.ndarray, weight: np.ndarray, options: dict[str, Any]
) -> None:
    candidates = catalogue[ITEM]

    loss = _in_batch(queries, candidates, weight, **options)

    expected = _slow_in_batch(queries, candidates, weight, **options)
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", [{"temperature": 0.2}, {"logq": True}, {"mask": True}])
def test_every_option_of_in_batch_softmax_has_an_effect(
    queries: np.ndarray, catalogue: np.ndarray, options: dict[str, Any]
) -> None:
    candidates, weight = catalogue[ITEM], np.ones(BATCH, np.float32)

    plain = _in_batch(queries, candidates, weight)

    assert abs(_in_batch(queries, candidates, weight, **options) - plain) > 0.01


def test_masking_does_not_change_a_batch_of_distinct_items(
    queries: np.ndarray, catalogue: np.ndarray
) -> None:
    item = np.arange(BATCH, dtype=np.int32)
    weight = np.ones(BATCH, np.float32)

    losses = [
        float(
            SoftmaxLoss(logq_correction=False, mask_accidental_hits=mask).in_batch(
                queries, catalogue[item], item, PROBABILITY, weight
            )
        )
        for mask in (False, True)
    ]

    assert losses[0] == losses[1]


def test_the_logq_correction_reaches_items_of_a_large_catalogue(
    queries: np.ndarray, catalogue: np.ndarray
) -> None:
    candidates, weight = catalogue[ITEM], np.ones(BATCH, np.float32)
    rare = np.array([1e-9, 1e-7, 1e-9, 0.2, 0.2, 1e-9], np.float32)
    loss = SoftmaxLoss(logq_correction=True, mask_accidental_hits=False)

    measured = float(loss.in_batch(queries, candidates, ITEM, rare, weight))

    expected = _slow_in_batch(queries, candidates, weight, probability=rare, logq=True)
    assert measured == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight", [np.ones(BATCH, np.float32), LABEL])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_catalogue_softmax_equals_the_formula(
    queries: np.ndarray, catalogue: np.ndarray, weight: np.ndarray, temperature: float
) -> None:
    loss = float(SoftmaxLoss(temperature).catalogue(queries, catalogue, ITEM, weight))

    expected = _slow_catalogue(queries, catalogue, weight, temperature=temperature)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_weight_zero_has_a_finite_loss(
    queries: np.ndarray, catalogue: np.ndarray
) -> None:
    nothing = np.zeros(BATCH, np.float32)

    assert _in_batch(queries, catalogue[ITEM], nothing) == 0
    assert float(mse_loss(queries, catalogue[ITEM], LABEL, nothing)) == 0


# From here on: the model hands the right things to the right loss.

ROWS = np.array([1, 3, 4, 0, 6, 7], np.int32)
INTERACTIONS = {
    "user": np.array([0, 1, 2, 3, 0, 1, 2, 3], np.int32),
    "candidate_index": np.array([2, 2, 0, 2, 1, 0, 4, 4], np.int32),
    "label": np.array([1.0, 0.5, 0.0, 0.25, 1.0, 0.75, 0.5, 1.0], np.float32),
}
CANDIDATES = {"item": np.array([5, 4, 3, 2, 1], np.int32)}
PLAIN: dict[str, Any] = {
    "loss": "softmax",
    "logq_correction": False,
    "mask_accidental_hits": False,
    "temperature": 1.0,
    "sample_weight": "none",
    "negatives": "in_batch",
}


def _feature(name: str, cardinality: int) -> EncodedFeature:
    return EncodedFeature(
        name=name, type="id", dtype="int32", cardinality=cardinality, raw_columns=[name]
    )


@pytest.fixture(scope="module")
def towers() -> tuple[QueryModel, CandidateModel]:
    """Towers whose scores have the size of trained towers' scores."""
    made: list[Any] = [
        QueryModel([_feature("user", 4)], [4], l2=0.05),
        CandidateModel([_feature("item", 6)], [4], l2=0.05),
    ]
    rng = np.random.default_rng(13)
    for tower in made:
        tower.set_weights([rng.normal(0, 0.3, w.shape) for w in tower.get_weights()])
    return made[0], made[1]


def _model_loss(
    towers: tuple[QueryModel, CandidateModel], *, l2: bool = False, **options: Any
) -> float:
    model = RetrievalModel(
        *towers, INTERACTIONS, CANDIDATES, TrainSettings.model_validate({**PLAIN, **options})
    )
    loss = float(model.compute_loss(x=ROWS, y_pred=model(ROWS)))
    return loss if l2 else loss - float(sum(model.losses))


def _embeddings(towers: tuple[QueryModel, CandidateModel]) -> tuple[np.ndarray, np.ndarray]:
    users = np.asarray(towers[0]({"user": INTERACTIONS["user"][ROWS]}))
    return users, np.asarray(towers[1](CANDIDATES))


@pytest.mark.parametrize("sample_weight", ["none", "label"])
@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({}, {}),
        ({"temperature": 0.25}, {"temperature": 0.25}),
        ({"logq_correction": True}, {"logq": True}),
        ({"mask_accidental_hits": True}, {"mask": True}),
    ],
)
def test_the_model_trains_on_in_batch_softmax_with_the_options_of_its_config(
    towers: tuple[QueryModel, CandidateModel],
    options: dict[str, Any],
    reference: dict[str, Any],
    sample_weight: str,
) -> None:
    users, items = _embeddings(towers)
    item, label = INTERACTIONS["candidate_index"][ROWS], INTERACTIONS["label"][ROWS]
    shares = np.bincount(INTERACTIONS["candidate_index"], minlength=5) / 8

    loss = _model_loss(towers, **options, sample_weight=sample_weight)

    weight = label if sample_weight == "label" else np.ones_like(label)
    expected = _slow_in_batch(
        users, items[item], weight, item=item, probability=shares[item], **reference
    )
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("sample_weight", ["none", "label"])
def test_the_model_trains_on_softmax_over_the_catalogue(
    towers: tuple[QueryModel, CandidateModel], sample_weight: str
) -> None:
    users, items = _embeddings(towers)
    item, label = INTERACTIONS["candidate_index"][ROWS], INTERACTIONS["label"][ROWS]

    loss = _model_loss(towers, negatives="catalogue", temperature=0.5, sample_weight=sample_weight)

    weight = label if sample_weight == "label" else np.ones_like(label)
    expected = _slow_catalogue(users, items, weight, item=item, temperature=0.5)
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("sample_weight", ["none", "label"])
def test_the_model_trains_on_squared_errors(
    towers: tuple[QueryModel, CandidateModel], sample_weight: str
) -> None:
    users, items = _embeddings(towers)
    item, label = INTERACTIONS["candidate_index"][ROWS], INTERACTIONS["label"][ROWS]

    loss = _model_loss(towers, loss="mse", sample_weight=sample_weight)

    weight = label if sample_weight == "label" else None
    errors = ((users * items[item]).sum(1) - label) ** 2
    assert loss == pytest.approx(np.average(errors, weights=weight), rel=1e-4)


@pytest.mark.parametrize(
    "option",
    [
        {"loss": "mse"},
        {"negatives": "catalogue"},
        {"temperature": 0.25},
        {"logq_correction": True},
        {"mask_accidental_hits": True},
        {"sample_weight": "label"},
    ],
)
def test_every_option_of_the_loss_has_an_effect(
    towers: tuple[QueryModel, CandidateModel], option: dict[str, Any]
) -> None:
    assert abs(_model_loss(towers, **option) - _model_loss(towers)) > 0.01


def test_penalties_are_part_of_the_loss(towers: tuple[QueryModel, CandidateModel]) -> None:
    weights = [w for tower in towers for w in tower.get_weights() if w.ndim == 2]
    penalty = 0.05 * sum(float((weight**2).sum()) for weight in weights)

    assert _model_loss(towers, l2=True) - _model_loss(towers) == pytest.approx(penalty, rel=1e-3)


def test_only_the_towers_are_trained(towers: tuple[QueryModel, CandidateModel]) -> None:
    model = RetrievalModel(*towers, INTERACTIONS, CANDIDATES, TrainSettings.model_validate(PLAIN))

    trained = {id(weight) for weight in model.trainable_weights}

    assert trained == {id(weight) for tower in towers for weight in tower.weights}


def test_a_device_table_returns_rows_of_every_column() -> None:
    columns = {
        "number": np.array([3, 1, 2], np.int32),
        "list": np.array([[0.5, 1], [2, 3], [4, 5]], np.float32),
    }

    taken = DeviceTable(columns)(np.array([2, 0, 2], np.int32))

    assert np.asarray(taken["number"]).tolist() == [2, 3, 2]
    assert np.asarray(taken["list"]).tolist() == [[4, 5], [0.5, 1], [4, 5]]
    assert np.asarray(taken["number"]).dtype == np.int32
