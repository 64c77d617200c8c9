"""A second run on a grown log begins from the first run's model."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import FEATURES, PLAIN
from killed_training import Moment, signal_at
from published_features import published_features

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import SPLITS, read_table
from components.shared.registry.published import Published
from components.shared.retrieval.mean_embedding import MeanEmbedding
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json
from components.train.job import train
from components.train.warm_start import WarmStart, _means_the_same, begin_from

RunStep = Callable[..., Any]
VERSION = "sample-0123456789ab"
LAYERS = [16]
SAMPLE = {"kind": "sample", "users": 600, "items": 300, "interactions": 30_000}
# The first log ends where a tenth of the rows is left, and has not yet the last items.
FIRST_SHARE, FIRST_ITEMS = 0.9, 285
CONFIG: dict[str, Any] = {
    **PLAIN,
    "learning_rate": 0.003,
    "l2": 1e-4,
    "batch_size": 256,
    "epochs": 12,
    "monitor": "ndcg_at_20_filtered",
}
SHORT = {**CONFIG, "epochs": 1}


@dataclass(frozen=True)
class Runs:
    """The results of two runs; the second run's features with and without a warm start."""

    first: Path
    published: Path
    warm: Path
    cold: Path


def _ingest_parts(folder: Path) -> dict[str, Path]:
    """The first log and the grown one, ingested from files."""
    from components.ingest.job import ingest

    ingest(
        source=SAMPLE, config={}, seed=7,
        tables=str(folder / "sample"), rejects=str(folder / "rejects"),
    )  # fmt: skip
    items = read_table(folder / "sample" / "candidates")
    log = pa.concat_tables(
        [read_table(folder / "sample" / "interactions" / split) for split in SPLITS]
    )
    log = log.append_column("movie_id", items["movie_id"].take(log["candidate_index"]))
    log = log.drop_columns("candidate_index")
    until = np.quantile(to_numpy(log["timestamp"]), FIRST_SHARE)

    def early(table: pa.Table) -> pa.Table:
        return table.filter(pc.less_equal(pc.cast(table["movie_id"], pa.int64()), FIRST_ITEMS))

    parts = {
        "first": (early(log.filter(pc.less(log["timestamp"], until))), early(items)),
        "second": (log, items),
    }
    for name, (interactions, candidates) in parts.items():
        (folder / name).mkdir()
        pq.write_table(interactions, folder / name / "log.parquet")
        pq.write_table(candidates, folder / name / "items.parquet")
        ingest(
            source={
                "kind": "files",
                "interactions": str(folder / name / "log.parquet"),
                "candidates": str(folder / name / "items.parquet"),
                "columns": {
                    "query_id": "user_id",
                    "candidate_id": "movie_id",
                    "title": "movie_title",
                    "rating": "user_rating",
                    "timestamp": "timestamp",
                    "timestamp_unit": "s",
                },
            },
            config={},
            seed=7,
            tables=str(folder / name / "tables"),
            rejects=str(folder / name / "rejects"),
        )
    return {name: folder / name for name in parts}


def _fetched(encoded: Path, model: Path, export: Path, target: Path) -> Path:
    """A published model as in fetch_published's output."""
    published_features(encoded, target, VERSION)
    shutil.copytree(model, target / "model")
    (target / "export").mkdir()
    shutil.copytree(export / "candidates", target / "export" / "candidates")
    for name in ("query_tower.keras", "export.json"):
        shutil.copy(export / name, target / "export")
    return target


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Runs:
    folder = tmp_path_factory.mktemp("two-runs")
    parts = _ingest_parts(folder)

    def adapt(part: str, name: str, **arguments: Any) -> Path:
        encoded = parts[part] / name
        in_tensorflow(
            "components.adapt.job:adapt",
            tables=str(parts[part] / "tables"), features=FEATURES, config={},
            encoded=str(encoded), **arguments,
        )  # fmt: skip
        return encoded

    first = adapt("first", "encoded")
    model = parts["first"] / "model"
    train(encoded=str(first), config=CONFIG, layer_sizes=LAYERS, seed=7, model=str(model))
    in_tensorflow(
        "components.export.job:export",
        tables=str(parts["first"] / "tables"), encoded=str(first), model=str(model),
        export=str(parts["first"] / "export"),
    )  # fmt: skip
    published = _fetched(first, model, parts["first"] / "export", folder / "published")
    return Runs(
        first,
        published,
        adapt("second", "warm", base=str(published)),
        adapt("second", "cold"),
    )


def new_towers(
    encoded: Path, layer_sizes: list[int] = LAYERS, dimension: int = 32
) -> tuple[QueryModel, CandidateModel]:
    spec = FeatureSpec.read(encoded)
    keras.utils.set_random_seed(3)
    return (
        QueryModel(spec.query, layer_sizes, dimension),
        CandidateModel(spec.candidate, layer_sizes, dimension),
    )


def published_towers(published: Path) -> list[Any]:
    return [
        keras.models.load_model(published / "model" / f"{side}_tower.keras")
        for side in ("query", "candidate")
    ]


def table_of(tower: Any, name: str) -> np.ndarray:
    layer = tower.embeddings[name]
    return np.array((layer.embedding if isinstance(layer, MeanEmbedding) else layer).embeddings)


def dense_weights(tower: Any) -> list[np.ndarray]:
    return [weight for layer in tower.dense_layers for weight in layer.get_weights()]


def begun(towers: tuple[QueryModel, CandidateModel], encoded: Path, runs: Runs) -> WarmStart:
    return begin_from(*towers, str(encoded), str(runs.published))


def edited(encoded: Path, target: Path, **spec: Any) -> Path:
    """Copy encoded tables and change their feature spec."""
    shutil.copytree(encoded, target)
    FeatureSpec.read(encoded).model_copy(update=spec).write(target)
    return target


def arrays_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def saved_weights(model: Path) -> list[np.ndarray]:
    return [
        weight
        for side in ("query", "candidate")
        for weight in keras.models.load_model(model / f"{side}_tower.keras").get_weights()
    ]


# --- what is taken over ---------------------------------------------------------------------------


def test_every_published_value_starts_with_its_published_embedding(runs: Runs) -> None:
    towers = new_towers(runs.warm)
    untouched = new_towers(runs.warm)

    warm_start = begun(towers, runs.warm, runs)

    grown = []
    for tower, before, published in zip(
        towers, untouched, published_towers(runs.published), strict=True
    ):
        for name in tower.embeddings:
            table, random = table_of(tower, name), table_of(before, name)
            old = table_of(published, name)
            assert np.array_equal(table[: len(old)], old)
            assert np.array_equal(table[len(old) :], random[len(old) :])
            assert np.abs(table[len(old) :]).min(initial=1) > 0
            if len(table) > len(old):
                grown.append(name)
        assert arrays_equal(dense_weights(tower), dense_weights(published))
    assert grown == ["user_id", "movie_id"]
    new_rows = sum(
        table_of(tower, name).shape[0] - table_of(published, name).shape[0]
        for tower, published in zip(towers, published_towers(runs.published), strict=True)
        for name in tower.embeddings
    )
    assert warm_start == WarmStart(
        taken=[
            "query raw_user_age", "query user_gender", "query user_id",
            "query user_occupation_label", "query user_gender_X_raw_user_age", "query dense 1",
            "candidate movie_genres", "candidate movie_id", "candidate movie_title",
            "candidate dense 1",
        ],
        new=[],
        new_rows=new_rows,
    )  # fmt: skip
    assert new_rows > 30


def test_published_indices_keep_their_values(runs: Runs) -> None:
    for path in (runs.published / "features" / "vocabularies").iterdir():
        former = pq.read_table(path)["token"].to_pylist()
        tokens = pq.read_table(runs.warm / "vocabularies" / path.name)["token"].to_pylist()
        assert tokens[: len(former)] == former


@pytest.mark.parametrize(
    ("layers", "taken_dense"),
    [([24], []), ([24, 16], []), ([16, 8], []), ([16, 16], []), ([16], [1])],
)
def test_dense_layers_are_taken_up_to_the_first_different_shape(
    runs: Runs, layers: list[int], taken_dense: list[int]
) -> None:
    towers, untouched = new_towers(runs.warm, layers), new_towers(runs.warm, layers)

    warm_start = begun(towers, runs.warm, runs)

    published = published_towers(runs.published)
    for side, tower, before, old in zip(
        ("query", "candidate"), towers, untouched, published, strict=True
    ):
        for number, (layer, random) in enumerate(
            zip(tower.dense_layers, before.dense_layers, strict=True), start=1
        ):
            name, is_taken = f"{side} dense {number}", number in taken_dense
            source = old.dense_layers[number - 1] if is_taken else random
            assert arrays_equal(layer.get_weights(), source.get_weights())
            assert name in (warm_start.taken if is_taken else warm_start.new)
        for name in tower.embeddings:
            table = table_of(old, name)
            assert np.array_equal(table_of(tower, name)[: len(table)], table)


def test_changed_features_affect_the_dense_layers_of_their_tower_only(
    runs: Runs, tmp_path: Path
) -> None:
    spec = FeatureSpec.read(runs.warm)
    fewer = [feature for feature in spec.query if feature.name != "user_occupation_label"]
    encoded = edited(runs.warm, tmp_path / "encoded", query=fewer)
    towers, untouched = new_towers(encoded), new_towers(encoded)

    warm_start = begun(towers, encoded, runs)

    assert warm_start.new == ["query dense 1"]
    assert arrays_equal(dense_weights(towers[0]), dense_weights(untouched[0]))
    assert "query user_id" in warm_start.taken
    assert "candidate dense 1" in warm_start.taken


def test_a_changed_feature_order_makes_dense_layers_new(runs: Runs, tmp_path: Path) -> None:
    spec = FeatureSpec.read(runs.warm)
    encoded = edited(runs.warm, tmp_path / "encoded", candidate=spec.candidate[::-1])
    towers = new_towers(encoded)

    assert begun(towers, encoded, runs).new == ["candidate dense 1"]


def test_embeddings_of_a_different_width_are_not_taken(runs: Runs) -> None:
    towers, untouched = new_towers(runs.warm, dimension=8), new_towers(runs.warm, dimension=8)

    warm_start = begun(towers, runs.warm, runs)

    assert warm_start.taken == []
    assert warm_start.new_rows == 0
    for tower, before in zip(towers, untouched, strict=True):
        assert arrays_equal(tower.get_weights(), before.get_weights())


def test_a_reordered_vocabulary_is_not_taken(runs: Runs) -> None:
    """Without a warm start of adapt, indices stand for other values."""
    towers, untouched = new_towers(runs.cold), new_towers(runs.cold)

    warm_start = begun(towers, runs.cold, runs)

    for number, name in enumerate(("query user_id", "candidate movie_id")):
        assert name in warm_start.new
        feature = name.split()[1]
        assert np.array_equal(
            table_of(towers[number], feature), table_of(untouched[number], feature)
        )
    assert {"query dense 1", "candidate dense 1"} <= set(warm_start.new)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("raw_user_age", {"bin_boundaries": [20.0, 30.0, 40.0, 50.0]}),
        ("user_gender", {"type": "integer_hashed"}),
        ("user_occupation_label", {"raw_columns": ["profession"]}),
        ("user_gender_X_raw_user_age", {"cardinality": 21}),
    ],
)
def test_a_redefined_feature_is_not_taken(
    runs: Runs, tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    query = [
        feature.model_copy(update=change) if feature.name == name else feature
        for feature in FeatureSpec.read(runs.warm).query
    ]
    encoded = edited(runs.warm, tmp_path / "encoded", query=query)
    towers, untouched = new_towers(encoded), new_towers(encoded)

    warm_start = begun(towers, encoded, runs)

    assert {f"query {name}", "query dense 1"} <= set(warm_start.new)
    assert np.array_equal(table_of(towers[0], name), table_of(untouched[0], name))


def test_a_new_bin_for_missing_values_leaves_the_others_theirs(runs: Runs, tmp_path: Path) -> None:
    name = "raw_user_age"
    query = [
        feature.model_copy(
            update={"cardinality": feature.cardinality + 1, "missing_index": feature.cardinality}
        )
        if feature.name == name and feature.cardinality is not None
        else feature
        for feature in FeatureSpec.read(runs.warm).query
    ]
    encoded = edited(runs.warm, tmp_path / "encoded", query=query)
    towers, untouched = new_towers(encoded), new_towers(encoded)

    warm_start = begun(towers, encoded, runs)

    assert {f"query {name}", "query dense 1"} <= set(warm_start.taken)
    table = table_of(towers[0], name)
    assert not np.array_equal(table[:-1], table_of(untouched[0], name)[:-1])
    assert np.array_equal(table[-1], table_of(untouched[0], name)[-1])


@pytest.mark.parametrize(
    ("change", "same"), [({}, True), ({"width": 2}, False), ({"mean": 2.0}, False)]
)
def test_a_number_with_a_new_indicator_is_another_feature(
    tmp_path: Path, change: dict[str, Any], same: bool
) -> None:
    number = EncodedFeature(
        name="age", type="float_normalized", dtype="float32", raw_columns=["age"], mean=1.0
    )

    assert _means_the_same(number.model_copy(update=change), number, tmp_path, tmp_path) is same


def test_a_cross_of_a_redefined_feature_is_not_taken(runs: Runs, tmp_path: Path) -> None:
    encoded = edited(runs.warm, tmp_path / "encoded")
    path = encoded / "vocabularies" / "user_gender.parquet"
    pq.write_table(pq.read_table(path).take([1, 0]), path)

    warm_start = begun(new_towers(encoded), encoded, runs)

    assert "query user_gender" in warm_start.new
    assert "query user_gender_X_raw_user_age" in warm_start.new


# --- train ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def histories(
    runs: Runs, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, float]]]:
    """The second run's trainings: a cold start, and from the published model."""
    folder = tmp_path_factory.mktemp("second-run")
    for name, encoded, base in (("cold", runs.cold, None), ("warm", runs.warm, runs.published)):
        train(
            encoded=str(encoded), config=CONFIG, layer_sizes=LAYERS, seed=7,
            model=str(folder / name), base=str(base) if base else None,
        )  # fmt: skip
    return {name: read_json(folder / name / "history.json")["epochs"] for name in ("cold", "warm")}


@pytest.mark.slow
def test_a_second_run_on_a_grown_log_reaches_the_cold_runs_best_metric_in_fewer_epochs(
    histories: dict[str, list[dict[str, float]]],
) -> None:
    values = {
        name: [entry[f"val_{CONFIG['monitor']}"] for entry in history]
        for name, history in histories.items()
    }
    best = max(values["cold"])

    epochs = {
        name: next((n for n, value in enumerate(reached, 1) if value >= best), None)
        for name, reached in values.items()
    }

    print(f"{CONFIG['monitor']} {best:.4f} after: cold {epochs['cold']}, warm {epochs['warm']}")
    for name, reached in values.items():
        print(f"{name}: " + " ".join(f"{value:.4f}" for value in reached))
    assert epochs["warm"] is not None
    assert epochs["cold"] is not None
    assert epochs["warm"] < epochs["cold"] / 2
    assert values["warm"][0] > values["cold"][0] + 0.05


def test_training_json_and_the_log_name_the_published_start(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = train(
        encoded=str(runs.warm), config=SHORT, layer_sizes=[24], seed=7,
        model=str(tmp_path / "model"), base=str(runs.published),
    )  # fmt: skip

    assert summary["begins_from"] == VERSION
    assert read_json(tmp_path / "model" / "training.json")["begins_from"] == VERSION
    users = new_towers(runs.warm)[0].embeddings["user_id"].input_dim
    items = new_towers(runs.warm)[1].embeddings["movie_id"].input_dim
    old = [tower.embeddings for tower in published_towers(runs.published)]
    new = users + items - old[0]["user_id"].input_dim - old[1]["movie_id"].input_dim
    assert (
        f"24: begins from {VERSION}: 8 of its layers, with {new} new embeddings; "
        "new layers: query dense 1, candidate dense 1\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize("whose", ["this", "the published"])
def test_a_warm_start_with_a_refit_is_refused(runs: Runs, tmp_path: Path, whose: str) -> None:
    published = tmp_path / "published"
    shutil.copytree(runs.published, published)
    if whose == "the published":
        path = published / "model" / "training.json"
        path.write_text(json.dumps({**read_json(path), "refit": True}))
    arguments: dict[str, Any] = {
        "encoded": str(runs.warm), "config": {**SHORT, "refit": whose == "this"},
        "layer_sizes": LAYERS, "seed": 7, "model": str(tmp_path / "model"),
    }  # fmt: skip

    with pytest.raises(InputError, match=r"train\.refit .* validation split") as error:
        train(**arguments, base=str(published))
    assert (VERSION in str(error.value)) == (whose == "the published")
    assert not (tmp_path / "model").exists()

    train(**arguments)


def test_without_a_published_model_training_starts_cold(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    Published().write(nothing)
    common: dict[str, Any] = {
        "encoded": str(runs.cold), "config": SHORT, "layer_sizes": LAYERS, "seed": 7,
    }  # fmt: skip

    summary = train(**common, model=str(tmp_path / "model"), base=str(nothing))
    train(**common, model=str(tmp_path / "cold"))

    assert summary["begins_from"] == ""
    assert "begins from" not in capsys.readouterr().out
    assert arrays_equal(saved_weights(tmp_path / "model"), saved_weights(tmp_path / "cold"))


def test_a_stopped_warm_training_continues_to_the_same_weights(runs: Runs, tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "encoded": str(runs.warm), "config": {**CONFIG, "epochs": 2}, "layer_sizes": LAYERS,
        "seed": 7, "base": str(runs.published),
    }  # fmt: skip
    stopped = {**common, "model": str(tmp_path / "m"), "checkpoints": str(tmp_path / "state")}

    with signal_at(Moment(15, "step", 1, 20)), pytest.raises(SystemExit):
        train(**stopped)
    train(**stopped)
    train(**common, model=str(tmp_path / "never-stopped"))

    assert arrays_equal(saved_weights(tmp_path / "m"), saved_weights(tmp_path / "never-stopped"))


def test_a_cold_training_ignores_the_state_of_a_warm_one(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common: dict[str, Any] = {
        "encoded": str(runs.warm), "config": SHORT, "layer_sizes": LAYERS, "seed": 7,
        "checkpoints": str(tmp_path / "state"),
    }  # fmt: skip
    with signal_at(Moment(15, "step", 0, 20)), pytest.raises(SystemExit):
        train(**common, model=str(tmp_path / "m"), base=str(runs.published))

    train(**common, model=str(tmp_path / "m"))

    assert "continues a previous attempt" not in capsys.readouterr().out
    assert len(list((tmp_path / "state").iterdir())) == 1
