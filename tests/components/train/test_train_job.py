import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
from conftest import PLAIN, TRAIN
from pydantic import ValidationError

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    read_table,
    write_table,
)
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json
from components.train.job import train

K = 20
PATIENCE = 3
LAYERS = [16]
# For runs of which only the settings matter.
SHORT: dict[str, Any] = {
    **PLAIN,
    "epochs": 1,
    "batch_size": 512,
    "learning_rate": 0.01,
    "monitor": "hit_rate_at_5_raw",
}


def _train(encoded: Path, model: Path, *, seed: int = 7, **config: Any) -> dict[str, Any]:
    return train(
        encoded=str(encoded), config=config, layer_sizes=LAYERS, seed=seed, model=str(model)
    )


def _edited(
    encoded: Path, target: Path, *, labels: Sequence[float] | None = None, **spec: Any
) -> Path:
    """Copy encoded tables, with these labels repeated over the rows."""
    shutil.copytree(encoded, target)
    if labels is not None:
        spec["label_range"] = (min(labels), max(labels))
        for split in ("train", "validation", "test"):
            folder = target / "interactions" / split
            table = read_table(folder)
            values = pa.array(np.resize(labels, table.num_rows), pa.float32())
            index = table.schema.get_field_index(LABEL)
            write_table(table.set_column(index, LABEL, values), folder)
    FeatureSpec.read(encoded).model_copy(update=spec).write(target)
    return target


def _weights(model: Path) -> list[np.ndarray]:
    return [
        weight
        for side in ("query", "candidate")
        for weight in keras.models.load_model(model / f"{side}_tower.keras").get_weights()
    ]


def _same_weights(first: Path, second: Path) -> bool:
    pairs = zip(_weights(first), _weights(second), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def _history(model: Path) -> list[dict[str, float]]:
    """The history without the epochs' times."""
    entries = read_json(model / "history.json")["epochs"]
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in entries]


def _features(table: pa.Table, names: list[str]) -> dict[str, np.ndarray]:
    return {name: to_numpy(table[name]) for name in names}


def _slow_hit_rate(encoded: Path, score: Callable[[pa.Table, pa.Table], np.ndarray]) -> float:
    """The filtered hit rate at 20 on the validation split, row by row.

    `score` takes validation rows and the candidates, and gives the scores of
    all candidates for each row.
    """
    spec = FeatureSpec.read(encoded)
    seen: dict[str, set[int]] = {}
    history = read_table(encoded / "interactions" / "train", [QUERY_ID, CANDIDATE_INDEX])
    for row in history.to_pylist():
        seen.setdefault(row[QUERY_ID], set()).add(row[CANDIDATE_INDEX])
    validation = read_table(encoded / "interactions" / "validation")
    scores = score(validation, read_table(encoded / "candidates"))
    hits = []
    for row, row_scores in zip(validation.to_pylist(), scores, strict=True):
        if row[LABEL] <= (spec.relevant_above or -np.inf):
            continue
        left = [i for i in np.argsort(-row_scores, kind="stable") if i not in seen[row[QUERY_ID]]]
        hits.append(row[CANDIDATE_INDEX] in left[:K])
    return sum(hits) / len(hits)


def _of_towers(encoded: Path, towers: list[Any]) -> float:
    spec = FeatureSpec.read(encoded)

    def score(rows: pa.Table, candidates: pa.Table) -> np.ndarray:
        queries = towers[0](_features(rows, [feature.name for feature in spec.query]))
        items = towers[1](_features(candidates, [feature.name for feature in spec.candidate]))
        return np.asarray(queries) @ np.asarray(items).T

    return _slow_hit_rate(encoded, score)


def _saved_towers(model: Path) -> list[Any]:
    return [
        keras.models.load_model(model / f"{side}_tower.keras") for side in ("query", "candidate")
    ]


@pytest.fixture(scope="session")
def without_test_part(sample_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("no-test") / "encoded"
    shutil.copytree(sample_encoded, folder)
    shutil.rmtree(folder / "interactions" / "test")
    return folder


@pytest.fixture(scope="session")
def repeated(without_test_part: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's model trained again, from a copy without the test split."""
    model = tmp_path_factory.mktemp("repeated") / "model"
    _train(without_test_part, model, **TRAIN)
    return model


@pytest.fixture(scope="session")
def overtrained(
    sample_encoded: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A model trained past the best epoch until patience is exhausted."""
    model = tmp_path_factory.mktemp("overtrained") / "model"
    config = {**TRAIN, "epochs": 60, "validation_frequency": 1, "patience": PATIENCE}
    return model, _train(sample_encoded, model, **config)


@pytest.fixture(scope="session")
def small(sample_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with only ids as features, which compiles fast."""
    spec = FeatureSpec.read(sample_encoded)
    return _edited(
        sample_encoded,
        tmp_path_factory.mktemp("small") / "encoded",
        query=[feature for feature in spec.query if feature.name == "user_id"],
        candidate=[feature for feature in spec.candidate if feature.name == "movie_id"],
    )


@pytest.fixture(scope="session")
def short(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model after one epoch."""
    model = tmp_path_factory.mktemp("short") / "model"
    _train(small, model, **SHORT)
    return model


def test_the_model_is_far_better_than_untrained_towers_and_than_most_popular(
    sample_encoded: Path, sample_model: Path
) -> None:
    spec = FeatureSpec.read(sample_encoded)
    keras.utils.set_random_seed(7)
    untrained = [QueryModel(spec.query, LAYERS), CandidateModel(spec.candidate, LAYERS)]
    train_rows = read_table(sample_encoded / "interactions" / "train")
    counts = np.bincount(to_numpy(train_rows[CANDIDATE_INDEX]), minlength=80)

    trained = read_json(sample_model / "training.json")["validation"]

    popular = _slow_hit_rate(sample_encoded, lambda rows, _: np.tile(counts, (rows.num_rows, 1)))
    assert trained > _of_towers(sample_encoded, untrained) + 0.2
    assert trained > popular + 0.1


def test_the_loss_falls(sample_model: Path) -> None:
    losses = [entry["loss"] for entry in _history(sample_model)]

    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1


def test_the_same_seed_gives_the_same_bits_and_the_test_part_is_not_needed(
    sample_model: Path, repeated: Path
) -> None:
    assert _same_weights(sample_model, repeated)
    assert _history(sample_model) == _history(repeated)


def test_different_seeds_give_different_weights(small: Path, short: Path, tmp_path: Path) -> None:
    _train(small, tmp_path / "model", seed=8, **SHORT)

    assert not _same_weights(short, tmp_path / "model")
    assert _history(short) != _history(tmp_path / "model")


def test_the_towers_of_the_best_epoch_are_saved(
    sample_encoded: Path, overtrained: tuple[Path, dict[str, Any]]
) -> None:
    model, _ = overtrained
    training, history = read_json(model / "training.json"), _history(model)
    values = [entry[f"val_{TRAIN['monitor']}"] for entry in history]

    recomputed = _of_towers(sample_encoded, _saved_towers(model))

    assert recomputed == pytest.approx(training["validation"])
    assert training["validation"] == max(values)
    assert training["best_epoch"] == values.index(max(values)) + 1
    assert values[-1] < max(values)  # or the last epoch's towers would pass as well


def test_patience_stops_the_training(overtrained: tuple[Path, dict[str, Any]]) -> None:
    model, summary = overtrained

    assert summary["epochs"] == summary["best_epoch"] + PATIENCE < 60
    assert len(_history(model)) == summary["epochs"]


def test_validation_happens_every_few_epochs_and_in_the_last(
    sample_model: Path, constant_labels_model: Path
) -> None:
    validated = [
        [entry["epoch"] for entry in _history(model) if len(entry) > 2]
        for model in (sample_model, constant_labels_model)
    ]

    assert validated == [[2, 4], [2, 3]]


def test_the_history_has_an_entry_for_every_epoch(sample_model: Path) -> None:
    history = read_json(sample_model / "history.json")["epochs"]

    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    for entry in history:
        assert entry["seconds"] >= 0
        measured = {key: value for key, value in entry.items() if key.startswith("val_")}
        if entry["epoch"] % 2 == 0:
            assert set(measured) == {"val_hit_rate_at_20_raw", "val_hit_rate_at_20_filtered"}
            assert all(0 < value < 1 for value in measured.values())
        else:
            assert not measured


def test_training_json_describes_the_training(
    overtrained: tuple[Path, dict[str, Any]],
) -> None:
    model, summary = overtrained
    training = read_json(model / "training.json")

    assert {key: training[key] for key in summary} == summary
    assert training["layer_sizes"] == "16"
    assert training["monitor"] == TRAIN["monitor"]
    assert training["seed"] == 7
    assert training["config"]["patience"] == PATIENCE
    assert training["config"]["embedding_dimension"] == 32  # defaults too
    assert training["samples_per_second"] > 0
    assert training["device"].startswith("cpu: ")


def test_a_model_consists_of_these_files(sample_model: Path) -> None:
    names = [
        "candidate_tower.keras", "history.json", "query_tower.keras", "step_records.json",
        "training.json",
    ]  # fmt: skip

    assert sorted(path.name for path in sample_model.iterdir()) == names
    assert [path.name for path in sample_model.parent.iterdir()] == ["model"]


def test_the_towers_have_the_requested_layers(small: Path, tmp_path: Path) -> None:
    config = {**SHORT, "embedding_dimension": 6, "normalize_embeddings": True}

    summary = train(
        encoded=str(small), config=config, layer_sizes=[8, 4], seed=1, model=str(tmp_path / "model")
    )

    assert summary["layer_sizes"] == "8-4"
    for tower in _saved_towers(tmp_path / "model"):
        assert [layer.units for layer in tower.dense_layers] == [8, 4]
        assert tower.dense_layers[0].kernel.shape == (6, 8)
        assert tower.normalize


@pytest.mark.parametrize(
    "option",
    [
        {"optimizer": "sgd"},
        {"optimizer": "adagrad"},
        {"learning_rate": 0.02},
        {"batch_size": 256},
        {"batch_size": 100_000},
    ],
)
def test_every_optimizer_setting_has_an_effect(
    small: Path, short: Path, tmp_path: Path, option: dict[str, Any]
) -> None:
    _train(small, tmp_path / "model", **{**SHORT, **option})

    assert not _same_weights(short, tmp_path / "model")
    assert np.isfinite(_history(tmp_path / "model")[0]["loss"])


def test_an_l2_penalty_shrinks_the_weights(small: Path, short: Path, tmp_path: Path) -> None:
    _train(small, tmp_path / "model", **{**SHORT, "l2": 0.01})

    squares = [
        sum(float((weight**2).sum()) for weight in _weights(model))
        for model in (short, tmp_path / "model")
    ]
    assert squares[1] < 0.99 * squares[0]


@pytest.mark.parametrize("option", [{"loss": "mse"}, {"negatives": "catalogue"}])
def test_the_other_losses_learn(small: Path, tmp_path: Path, option: dict[str, Any]) -> None:
    label = to_numpy(read_table(small / "interactions" / "train")[LABEL])
    scores_of_zero = np.average(label**2, weights=label) if "loss" in option else np.log(80)

    _train(small, tmp_path / "model", **{**TRAIN, **option})

    losses = [entry["loss"] for entry in _history(tmp_path / "model")]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.95 * scores_of_zero


@pytest.fixture(scope="session")
def constant_labels_model(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log without ratings, where every label is 1; three epochs, validated every second one."""
    folder = tmp_path_factory.mktemp("constant")
    encoded = _edited(small, folder / "encoded", labels=[1.0])
    config = {**SHORT, "epochs": 3, "validation_frequency": 2, "sample_weight": "label"}
    _train(encoded, folder / "model", **config)
    return folder / "model"


def test_softmax_learns_from_a_log_without_ratings(constant_labels_model: Path) -> None:
    losses = [entry["loss"] for entry in _history(constant_labels_model)]

    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("labels", "config", "message"),
    [
        ([1.0], {"loss": "mse"}, "train.loss: every label is 1"),
        ([0.0], {"sample_weight": "label"}, "train.sample_weight: every label is 0"),
        ([-1.0], {"sample_weight": "label"}, "train.sample_weight: the smallest label is -1"),
        ([-1.0, 0.0], {"sample_weight": "label"}, "train.sample_weight: the smallest label is -1"),
        ([-1.0, 1.0], {"sample_weight": "label"}, "train.sample_weight: the smallest label is -1"),
    ],
)
def test_labels_that_do_not_fit_the_loss_are_refused(
    small: Path, tmp_path: Path, labels: list[float], config: dict[str, Any], message: str
) -> None:
    encoded = _edited(small, tmp_path / "in" / "encoded", labels=labels)

    with pytest.raises(InputError, match=message):
        _train(encoded, tmp_path / "out" / "model", **{**SHORT, **config})

    assert not (tmp_path / "out").exists()


def test_a_cut_off_above_the_catalogue_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.monitor: .* the catalogue has only 80"):
        _train(small, tmp_path / "model", **{**SHORT, "monitor": "ndcg_at_81_raw"})

    assert list(tmp_path.iterdir()) == []


def test_a_threshold_above_all_labels_is_refused(small: Path, tmp_path: Path) -> None:
    encoded = _edited(small, tmp_path / "in" / "encoded", relevant_above=2.5)

    with pytest.raises(
        InputError, match=r"relevant_above: .* above 2\.5; labels range from 0 to 1"
    ):
        _train(encoded, tmp_path / "out" / "model", **SHORT)

    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("layer_sizes", [[0], [16, 0], [-8]])
def test_layers_without_units_are_refused(
    small: Path, tmp_path: Path, layer_sizes: list[int]
) -> None:
    with pytest.raises(InputError, match=r"layer_sizes: .* Use positive numbers"):
        train(
            encoded=str(small),
            config=SHORT,
            layer_sizes=layer_sizes,
            seed=1,
            model=str(tmp_path / "model"),
        )

    assert list(tmp_path.iterdir()) == []


def test_a_diverging_training_fails_and_leaves_the_previous_model(
    small: Path, tmp_path: Path
) -> None:
    older = tmp_path / "model" / "training.json"
    older.parent.mkdir()
    older.write_text(json.dumps({"validation": 0.5}))
    diverging = {"loss": "mse", "optimizer": "sgd", "learning_rate": 1e6}

    with pytest.raises(InputError, match=r"The loss became \S+ in epoch 1.*train\.learning_rate"):
        _train(small, tmp_path / "model", **{**SHORT, **diverging, "batch_size": 128})

    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert read_json(older) == {"validation": 0.5}


@pytest.mark.parametrize(
    "config",
    [
        {"loss": "hinge"},
        {"negatives": "all"},
        {"temperature": 0},
        {"learning_rate": -1},
        {"batch_size": 1},
        {"epochs": 0},
        {"patience": 0},
        {"validation_frequency": 0},
        {"monitor": "hit_rate_at_100"},
        {"optimiser": "adam"},
    ],
)
def test_invalid_settings_are_refused(small: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(config))):
        _train(small, tmp_path / "model", **config)

    assert list(tmp_path.iterdir()) == []
