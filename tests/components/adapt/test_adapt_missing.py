"""Adapt on tables with missing values in every feature, also from a published model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from published_features import published_features
from run_adapt import run_adapt
from shop_source import shop_encoded, shop_tables
from shop_with_holes import HOLED_FEATURES, holed_encoded, holed_tables

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.contracts.tables import read_table, table_files
from components.shared.features.statistics import is_missing
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
TABLES = ("interactions/train", "interactions/validation", "interactions/test", "candidates")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return holed_tables(tmp_path_factory)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return holed_encoded(tmp_path_factory, in_tensorflow)


def features_of(encoded: Path) -> dict[tuple[str, str], EncodedFeature]:
    """The encoded features by side and column."""
    spec = FeatureSpec.read(encoded)
    sides = (("query", spec.query), ("candidate", spec.candidate))
    return {(side, f.output): f for side, features in sides for f in features}


def tokens(encoded: Path, name: str) -> list[Any]:
    """A vocabulary."""
    values: list[Any] = pq.read_table(encoded / "vocabularies" / f"{name}.parquet")[
        "token"
    ].to_pylist()
    return values


@pytest.mark.parametrize("part", TABLES)
def test_encoded_tables_have_no_missing_value(encoded: Path, part: str) -> None:
    features = features_of(encoded)

    for (side, _), feature in features.items():
        if (side == "candidate") == (part == "candidates"):
            values = to_numpy(read_table(encoded / part, [feature.name])[feature.name])
            assert np.isfinite(values).all()
            if feature.cardinality is not None:
                assert 0 <= values.min() <= values.max() < feature.cardinality


def test_missing_values_get_their_index_their_mean_and_their_indicator(
    tables: Path, encoded: Path
) -> None:
    raw = read_table(tables / "interactions/train")
    rows = read_table(encoded / "interactions/train")
    features = features_of(encoded)

    def missing(name: str) -> np.ndarray:
        return is_missing(raw[name])

    assert set(to_numpy(rows["age"])[missing("age")]) == {features["query", "age"].missing_index}
    assert set(to_numpy(rows["plan"])[missing("plan")]) == {1 + tokens(encoded, "plan").index("")}
    zone = to_numpy(rows["zone"])[missing("zone")]
    assert set(zone) == {1 + tokens(encoded, "zone").index(MISSING_INTEGER)}
    tenure = to_numpy(rows["tenure"])
    mean = raw["tenure"].to_numpy()[~missing("tenure")].astype(np.float64).mean()
    np.testing.assert_allclose(tenure[missing("tenure")], mean, rtol=1e-6)
    visits = to_numpy(rows["visits"])
    np.testing.assert_array_equal(visits[:, 1], missing("visits"))
    assert set(visits[missing("visits"), 0]) == {0.0}
    present = raw["visits"].to_numpy()[~missing("visits")]
    assert features["query", "visits"].mean == pytest.approx(present.mean())
    assert features["query", "visits"].variance == pytest.approx(present.var())
    assert not to_numpy(rows["motto"])[missing("motto")].any()
    empty = pc.equal(pc.list_value_length(raw["interests"]), 0).to_numpy()
    assert not to_numpy(rows["interests"])[empty].any()


def test_a_query_that_is_served_gets_the_same_values(
    in_tensorflow: RunStep, tables: Path, encoded: Path
) -> None:
    raw = read_table(tables / "interactions/test").slice(0, 40)
    rows = read_table(encoded / "interactions/test").slice(0, 40)

    served = in_tensorflow(
        "serving_values:encode_rows",
        encoded=str(encoded), tables=str(tables), side="query", rows=raw.to_pylist(),
    )  # fmt: skip

    for name, values in served.items():
        np.testing.assert_array_equal(to_numpy(rows[name]), values)


def test_features_that_may_be_missing_are_noted_as_optional(encoded: Path) -> None:
    inputs = FeatureSpec.read(encoded).query_inputs

    assert [item.name for item in inputs if not item.optional] == ["user_id"]


def test_a_feature_that_is_missing_in_every_row_is_an_error(
    in_tensorflow: RunStep, tables: Path, tmp_path: Path
) -> None:
    shutil.copytree(tables, tmp_path / "tables")
    for path in table_files(tmp_path / "tables" / "interactions" / "train"):
        table = pq.read_table(path)
        nothing = pa.array([float("nan")] * table.num_rows, pa.float32())
        index = table.column_names.index("tenure")
        pq.write_table(table.set_column(index, "tenure", nothing), path)

    with pytest.raises(InputError, match=r"^features: tenure has no value in any training row"):
        run_adapt(in_tensorflow, tmp_path / "tables", HOLED_FEATURES, tmp_path / "encoded")


@pytest.mark.parametrize("published_has_holes", [False, True])
def test_what_is_published_keeps_its_indices_and_moments(
    in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path,
    published_has_holes: bool, encoded: Path, tables: Path,
) -> None:  # fmt: skip
    old = encoded if published_has_holes else shop_encoded(tmp_path_factory, in_tensorflow)
    published = published_features(old, tmp_path / "published", "shop-0123456789ab")

    log = shop_tables(tmp_path_factory) if published_has_holes else tables
    run_adapt(in_tensorflow, log, HOLED_FEATURES, tmp_path / "new", base=str(published))

    before, after = features_of(old), features_of(tmp_path / "new")
    for name in ("plan", "zone", "motto", "interests"):
        kept = tokens(old, name)
        assert tokens(tmp_path / "new", name)[: len(kept)] == kept
    assert "" in tokens(tmp_path / "new", "plan")
    for side, name in (("query", "age"), ("candidate", "pages")):
        feature, was = after[side, name], before[side, name]
        assert feature.bin_boundaries == was.bin_boundaries
        assert feature.missing_index == len(was.bin_boundaries or []) + 1
        assert feature.cardinality == feature.missing_index + 1
    for name in ("mean", "variance"):
        assert getattr(after["query", "visits"], name) == getattr(before["query", "visits"], name)
