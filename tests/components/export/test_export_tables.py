"""The tables of an export: embeddings of the catalogue, users with what they have seen."""

import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from shop_source import (
    FIRST_ITEM,
    FIRST_USER,
    ITEMS,
    USERS,
    shop_exported,
)

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    EMBEDDING,
    QUERY_ID,
    SPLITS,
    TITLE,
    read_table,
)
from components.shared.retrieval.embedding import embed
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json

RunStep = Callable[..., Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    """The folder in which the shop's tables, encoded, model and export are."""
    return shop_exported(tmp_path_factory, in_tensorflow).parent


@pytest.fixture(params=["sample", "shop"])
def folders(request: pytest.FixtureRequest) -> dict[str, Path]:
    if request.param == "shop":
        shop: Path = request.getfixturevalue("shop")
        return {name: shop / name for name in ("tables", "encoded", "model", "export")}
    return {
        name: request.getfixturevalue(f"sample_{name}")
        for name in ("tables", "encoded", "model", "export")
    }


def test_candidates_have_their_own_ids_titles_and_finite_embeddings(
    folders: dict[str, Path],
) -> None:
    table = read_table(folders["export"] / "candidates")
    encoded = read_table(folders["encoded"] / "candidates")

    assert table.column_names == [CANDIDATE_ID, TITLE, EMBEDDING]
    assert table[CANDIDATE_ID].equals(encoded[CANDIDATE_ID])
    assert table[TITLE].equals(encoded[TITLE])
    assert table.schema.field(CANDIDATE_ID).type == encoded.schema.field(CANDIDATE_ID).type
    about = read_json(folders["export"] / "export.json")
    assert table.schema.field(EMBEDDING).type.equals(pa.list_(pa.float32(), about["dimension"]))
    embeddings = to_numpy(table[EMBEDDING])
    assert embeddings.shape == (about["candidates"], about["dimension"])
    assert np.isfinite(embeddings).all()
    assert len(np.unique(embeddings, axis=0)) == len(embeddings)


def test_embeddings_are_those_of_the_candidate_tower(folders: dict[str, Path]) -> None:
    import keras

    spec = FeatureSpec.read(folders["encoded"])
    encoded = read_table(folders["encoded"] / "candidates")
    tower = keras.models.load_model(folders["model"] / "candidate_tower.keras")

    expected = embed(tower, {f.name: to_numpy(encoded[f.name]) for f in spec.candidate})

    found = to_numpy(read_table(folders["export"] / "candidates")[EMBEDDING])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_query_tower_is_the_trained_one(folders: dict[str, Path]) -> None:
    import keras

    trained, exported = (
        keras.models.load_model(folders[name] / "query_tower.keras") for name in ("model", "export")
    )

    for first, second in zip(trained.get_weights(), exported.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_large_integer_ids_keep_their_type_in_both_tables(shop: Path) -> None:
    candidates, users = (read_table(shop / "export" / name) for name in ("candidates", "users"))

    assert candidates[CANDIDATE_ID].to_pylist() == [FIRST_ITEM + i for i in range(ITEMS)]
    assert users[QUERY_ID].to_pylist() == [FIRST_USER + i for i in range(USERS)]
    assert candidates.schema.field(CANDIDATE_ID).type == pa.int64()
    assert users.schema.field("seen").type.equals(pa.list_(pa.int64()))


def test_each_user_is_there_once_with_the_latest_features_and_all_seen_items(
    folders: dict[str, Path],
) -> None:
    ids = read_table(folders["export"] / "candidates")[CANDIDATE_ID].to_pylist()
    rows = [
        row
        for split in SPLITS
        for row in read_table(folders["tables"] / "interactions" / split).to_pylist()
    ]
    time = "at" if "at" in rows[0] else "timestamp"
    latest: dict[Any, dict[str, Any]] = {}
    seen = defaultdict(list)
    for row in sorted(rows, key=lambda row: row[time]):
        latest[row["user_id"]] = row
        seen[row["user_id"]].append(ids[row[CANDIDATE_INDEX]])

    users = read_table(folders["export"] / "users")

    assert sorted(users[QUERY_ID].to_pylist()) == sorted(latest)
    features = [name for name in users.column_names if name not in (QUERY_ID, "seen")]
    assert set(features) >= {
        item.name for item in FeatureSpec.read(folders["encoded"]).query_inputs
    } - {"user_id"}
    for user in users.to_pylist():
        row = latest[user[QUERY_ID]]
        assert {name: user[name] for name in features} == {name: row[name] for name in features}
        assert sorted(user["seen"]) == sorted(seen[user[QUERY_ID]])


def test_features_that_change_are_the_latest_ones(shop: Path) -> None:
    rows = [
        row
        for split in SPLITS
        for row in read_table(shop / "tables" / "interactions" / split).to_pylist()
    ]
    ages = defaultdict(set)
    for row in rows:
        ages[row["user_id"]].add(row["age"])
    assert sum(len(values) > 1 for values in ages.values()) > 10

    users = read_table(shop / "export" / "users").to_pylist()

    # In the shop everybody grows older.
    assert {user[QUERY_ID]: user["age"] for user in users} == {
        user: max(values) for user, values in ages.items()
    }


def test_export_json_tells_what_a_client_has_to_send(folders: dict[str, Path]) -> None:
    about = read_json(folders["export"] / "export.json")
    spec = FeatureSpec.read(folders["encoded"])

    assert about["query_inputs"] == [item.model_dump() for item in spec.query_inputs]
    assert about["query_id"] == "user_id"
    training = read_json(folders["model"] / "training.json")
    for key in ("layer_sizes", "monitor", "validation"):
        assert about[key] == training[key]


def test_a_diverged_model_is_an_error_and_leaves_nothing(
    in_tensorflow: RunStep,
    sample_tables: Path,
    sample_encoded: Path,
    sample_model: Path,
    tmp_path: Path,
) -> None:
    import keras

    model = tmp_path / "model"
    shutil.copytree(sample_model, model)
    tower = keras.models.load_model(model / "candidate_tower.keras")
    weights = tower.get_weights()
    weights[-1][0] = np.nan
    tower.set_weights(weights)
    tower.save(model / "candidate_tower.keras")

    with pytest.raises(InputError, match="embeddings are not finite: the training diverged"):
        in_tensorflow(
            "components.export.job:export",
            tables=str(sample_tables),
            encoded=str(sample_encoded),
            model=str(model),
            export=str(tmp_path / "export"),
        )

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_the_same_model_gives_the_same_tables(
    in_tensorflow: RunStep,
    sample_tables: Path,
    sample_encoded: Path,
    sample_model: Path,
    sample_export: Path,
    tmp_path: Path,
) -> None:
    summary = in_tensorflow(
        "components.export.job:export",
        tables=str(sample_tables),
        encoded=str(sample_encoded),
        model=str(sample_model),
        export=str(tmp_path / "export"),
    )

    assert summary == {"candidates": 80, "dimension": 16}
    for name in ("candidates", "users"):
        assert read_table(tmp_path / "export" / name).equals(read_table(sample_export / name))
    assert read_json(tmp_path / "export" / "export.json") == read_json(
        sample_export / "export.json"
    )
