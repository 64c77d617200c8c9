"""One run of adapt with every feature type: what is in its tables, and what its spec says."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shop_source import FEATURES, ITEMS, ROWS, shop_encoded, shop_tables

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    SPLITS,
    TIMESTAMP,
    TITLE,
    Schema,
    read_table,
    table_files,
)
from components.shared.features.config import FeaturesConfig
from components.shared.runtime.arrow import to_numpy

RunStep = Callable[..., Any]
SIDES = ("query", "candidate")
# What the features are called where a name is taken.
RENAMED = {("candidate", "title"): "candidate_title", ("candidate", "city"): "candidate_city"}
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")


def words(text: str) -> list[str]:
    lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    return _PUNCTUATION.sub("", lowered).split()


def tokens_of(kind: str, values: list[Any]) -> list[list[Any]]:
    """The tokens of each row."""
    if kind == "text":
        return [words(value) for value in values]
    return values if kind == "multi_categorical" else [[value] for value in values]


def expected_vocabulary(kind: str, values: list[Any], max_tokens: int | None) -> list[Any]:
    counts = Counter(token for row in tokens_of(kind, values) for token in row)
    order = sorted(
        counts,
        key=lambda token: (counts[token], token if isinstance(token, int) else token.encode()),
        reverse=True,
    )
    special = 2 if kind in ("text", "multi_categorical") else 1
    return order[: max_tokens - special] if max_tokens else order


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop_tables(tmp_path_factory)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return shop_encoded(tmp_path_factory, in_tensorflow)


@pytest.fixture(scope="module")
def spec(encoded: Path) -> FeatureSpec:
    return FeatureSpec.read(encoded)


def side_features(spec: FeatureSpec, side: str) -> list[EncodedFeature]:
    return spec.query if side == "query" else spec.candidate


def feature_of(spec: FeatureSpec, side: str, name: str) -> EncodedFeature:
    """The encoded feature of a raw column."""
    return next(f for f in side_features(spec, side) if f.raw_columns == [name])


def table_pairs(tables: Path, encoded: Path, side: str) -> list[tuple[pa.Table, pa.Table]]:
    """Raw and encoded tables of one side: of each split, or of the catalogue."""
    folders = [f"interactions/{s}" for s in SPLITS] if side == "query" else ["candidates"]
    return [(read_table(tables / name), read_table(encoded / name)) for name in folders]


def every_feature(*kinds: str) -> list[Any]:
    return [
        pytest.param(side, name, id=f"{side}-{name}")
        for side in SIDES
        for name, feature in FEATURES[side].items()
        if not kinds or feature["type"] in kinds
    ]


LOOKED_UP = ("id", "integer_categorical", "string_categorical", "text", "multi_categorical")


# --- the spec and the types -----------------------------------------------------------------------


def test_the_spec_names_every_feature_in_order_and_crosses_last(spec: FeatureSpec) -> None:
    assert [f.name for f in spec.query] == [
        *sorted(FEATURES["query"]), "zone_X_age", "device_X_user_id",
    ]  # fmt: skip
    assert [f.raw_columns for f in spec.candidate] == [
        *([name] for name in sorted(FEATURES["candidate"])), ["year", "brand"],
    ]  # fmt: skip
    assert [f.type for f in spec.query if f.type != "cross"] == [
        FEATURES["query"][name]["type"] for name in sorted(FEATURES["query"])
    ]
    assert {f.name: f.cardinality for f in [*spec.query, *spec.candidate] if f.type == "cross"} == {
        "zone_X_age": 8, "device_X_user_id": 11, "year_X_brand": 7,
    }  # fmt: skip


def test_a_feature_whose_name_is_taken_gets_its_side_put_before_it(
    spec: FeatureSpec, encoded: Path, tables: Path
) -> None:
    for (side, name), renamed in RENAMED.items():
        assert feature_of(spec, side, name).name == renamed
    assert feature_of(spec, "query", "city").name == "city"
    candidates = read_table(encoded / "candidates")
    assert candidates[TITLE].to_pylist() == read_table(tables / "candidates")["title"].to_pylist()
    query, candidate = (
        pq.read_table(encoded / "vocabularies" / f"{name}.parquet")["token"].to_pylist()
        for name in ("city", "candidate_city")
    )
    assert sorted(query) == ["Köln", "Oslo", "Łódź"]
    assert candidate == ["Rome", "Oslo"]


def test_the_spec_tells_raw_inputs_ids_and_labels(spec: FeatureSpec) -> None:
    inputs = {item.name: (item.dtype, item.width) for item in spec.query_inputs}
    assert inputs == {
        "age": ("float32", 1), "city": ("string", 1), "device": ("int64", 1),
        "income": ("float32", 1), "interests": ("string", 2), "motto": ("string", 1),
        "plan": ("string", 1), "street": ("string", 1), "tenure": ("float32", 1),
        "user_id": ("int64", 1), "visits": ("int64", 1), "zone": ("int64", 1),
    }  # fmt: skip
    assert {i.name: i.width for i in spec.candidate_inputs if i.width > 1} == {"tags": 3}
    assert spec.query_id_feature == "user_id"
    assert spec.query_id_dtype == spec.candidate_id_dtype == "int64"
    assert spec.label_range == (0.0, 2.0)
    assert spec.warnings == []


@pytest.mark.parametrize("side", SIDES)
def test_columns_have_the_types_and_widths_of_the_spec(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str
) -> None:
    for _, table in table_pairs(tables, encoded, side):
        for feature in side_features(spec, side):
            number = pa.int32() if feature.dtype == "int32" else pa.float32()
            padded = feature.type in ("text", "multi_categorical")
            expected = pa.list_(number, feature.width) if padded else number
            assert table.schema.field(feature.name).type.equals(expected)
            assert (feature.padding_index is not None) == padded
            assert table[feature.name].null_count == 0


def test_the_other_columns_are_the_raw_ones(tables: Path, encoded: Path) -> None:
    for raw, table in table_pairs(tables, encoded, "query"):
        assert table[QUERY_ID].equals(raw["user_id"])
        assert table[CANDIDATE_INDEX].equals(raw[CANDIDATE_INDEX])
        assert table[TIMESTAMP].equals(raw["at"])
        assert table.schema.field(LABEL).type == pa.float32()
    for raw, table in table_pairs(tables, encoded, "candidate"):
        assert table[CANDIDATE_ID].equals(raw["item_id"])
        assert table.schema.field(CANDIDATE_ID).type == pa.int64()
        assert max(table[CANDIDATE_ID].to_pylist()) > 2**31


def test_labels_are_ratings_times_scale_plus_offset(tables: Path, encoded: Path) -> None:
    for raw, table in table_pairs(tables, encoded, "query"):
        np.testing.assert_array_equal(to_numpy(table[LABEL]), to_numpy(raw["stars"]) * 0.5 - 0.5)


def test_files_keep_their_names_and_rows_their_order(tables: Path, encoded: Path) -> None:
    rows = 0
    for split in SPLITS:
        sources = table_files(tables / "interactions" / split)
        targets = table_files(encoded / "interactions" / split)
        assert [Path(path).name for path in targets] == [Path(path).name for path in sources]
        for source, target in zip(sources, targets, strict=True):
            raw, table = pq.read_table(source), pq.read_table(target)
            assert table[TIMESTAMP].equals(raw["at"])  # one row a minute, so this is the row
            rows += table.num_rows
    assert rows == ROWS
    assert read_table(encoded / "candidates").num_rows == ITEMS


# --- the indices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_every_index_is_below_the_cardinality(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str
) -> None:
    for feature in side_features(spec, side):
        values = np.concatenate(
            [
                to_numpy(table[feature.name]).ravel()
                for _, table in table_pairs(tables, encoded, side)
            ]
        )
        if feature.cardinality is None:
            assert feature.dtype == "float32"
            assert np.isfinite(values).all()
        else:
            assert feature.dtype == "int32"
            assert values.min() >= 0
            assert values.max() < feature.cardinality
            assert len(np.unique(values)) > 1


@pytest.mark.parametrize(("side", "name"), every_feature(*LOOKED_UP))
def test_vocabularies_are_learned_from_training_rows_and_the_catalogue_alone(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str, name: str
) -> None:
    config = FEATURES[side][name]
    source = tables / ("interactions/train" if side == "query" else "candidates")
    values = read_table(source)[name].to_pylist()
    feature = feature_of(spec, side, name)

    vocabulary = pq.read_table(encoded / "vocabularies" / f"{feature.name}.parquet")

    expected = expected_vocabulary(config["type"], values, config.get("max_tokens"))
    assert vocabulary["token"].to_pylist() == expected
    assert vocabulary.num_rows + (feature.oov_index or 0) + 1 == feature.cardinality
    counts = Counter(token for row in tokens_of(config["type"], values) for token in row)
    assert vocabulary["count"].to_pylist() == [counts[token] for token in expected]


@pytest.mark.parametrize(("side", "name"), every_feature(*LOOKED_UP))
def test_values_have_the_index_of_their_place_in_the_vocabulary(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str, name: str
) -> None:
    kind = FEATURES[side][name]["type"]
    feature = feature_of(spec, side, name)
    vocabulary = pq.read_table(encoded / "vocabularies" / f"{feature.name}.parquet")
    oov = feature.oov_index
    assert oov == (1 if feature.padding_index == 0 else 0)
    index = {token: oov + 1 + i for i, token in enumerate(vocabulary["token"].to_pylist())}

    for raw, table in table_pairs(tables, encoded, side):
        expected: list[Any] = []
        for tokens in tokens_of(kind, raw[name].to_pylist()):
            row = [index.get(token, oov) for token in tokens[: feature.width]]
            expected.append([*row, *[0] * (feature.width - len(row))])
        if feature.padding_index is None:
            expected = [row[0] for row in expected]
        assert table[feature.name].to_pylist() == expected


@pytest.mark.parametrize("name", ["user_id", "plan"])
def test_validation_and_test_have_values_that_are_out_of_the_vocabulary(
    tables: Path, encoded: Path, name: str
) -> None:
    (train, train_encoded), *held_out = table_pairs(tables, encoded, "query")
    known = set(train[name].to_pylist())
    assert 0 not in train_encoded[name].to_pylist()
    unknown = 0
    for raw, table in held_out:
        for value, index in zip(raw[name].to_pylist(), table[name].to_pylist(), strict=True):
            assert (index == 0) == (value not in known)
            unknown += index == 0
    assert unknown > 0


@pytest.mark.parametrize(("side", "name"), every_feature("float_discretized"))
def test_numbers_fall_into_bins_of_about_equally_many_rows(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str, name: str
) -> None:
    feature = feature_of(spec, side, name)
    assert feature.bin_boundaries is not None
    assert (
        feature.cardinality == len(feature.bin_boundaries) + 1 == FEATURES[side][name]["num_bins"]
    )
    pairs = table_pairs(tables, encoded, side)
    for raw, table in pairs:
        expected = np.digitize(to_numpy(raw[name]).astype(np.float32), feature.bin_boundaries)
        np.testing.assert_array_equal(to_numpy(table[feature.name]), expected)
    sizes = np.bincount(to_numpy(pairs[0][1][feature.name])) / pairs[0][0].num_rows
    assert abs(sizes - 1 / feature.cardinality).max() < 0.05


@pytest.mark.parametrize(
    ("side", "name"), every_feature("float", "float_rescaled", "float_normalized")
)
def test_numbers_are_taken_as_they_are_rescaled_or_normalized(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str, name: str
) -> None:
    config = FEATURES[side][name]
    pairs = table_pairs(tables, encoded, side)
    learned = to_numpy(pairs[0][0][name]).astype(np.float64)  # training rows, or the catalogue
    for raw, table in pairs:
        values = to_numpy(raw[name]).astype(np.float64)
        expected = {
            "float": values,
            "float_rescaled": values * config.get("scale", 1) + config.get("offset", 0),
            "float_normalized": (values - learned.mean()) / learned.std(),
        }[config["type"]]
        found = to_numpy(table[feature_of(spec, side, name).name])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("side", "name"), every_feature("integer_hashed", "string_hashed"))
def test_hashing_gives_equal_values_equal_indices_in_every_part(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str, name: str
) -> None:
    feature = feature_of(spec, side, name)
    assert feature.cardinality == FEATURES[side][name]["num_bins"]
    assert feature.oov_index is None
    index: dict[Any, int] = {}
    for raw, table in table_pairs(tables, encoded, side):
        for value, found in zip(
            raw[name].to_pylist(), table[feature.name].to_pylist(), strict=True
        ):
            assert index.setdefault(value, found) == found
    assert len(set(index.values())) == feature.cardinality


@pytest.mark.parametrize("side", SIDES)
def test_crosses_depend_on_their_features_alone(
    tables: Path, encoded: Path, spec: FeatureSpec, side: str
) -> None:
    crosses = [feature for feature in side_features(spec, side) if feature.type == "cross"]
    assert crosses
    for cross in crosses:
        index: dict[tuple[int, ...], int] = {}
        for _, table in table_pairs(tables, encoded, side):
            rows = zip(*(table[name].to_pylist() for name in cross.raw_columns), strict=True)
            for key, found in zip(rows, table[cross.name].to_pylist(), strict=True):
                assert index.setdefault(key, found) == found
        assert len(set(index.values())) > 2


# --- serving --------------------------------------------------------------------------------------

ORDINARY_QUERY = {
    "user_id": 2**53 + 1, "plan": "free", "zone": 1, "age": 30.0, "visits": 9, "income": 3000.0,
    "tenure": 0.5, "city": "Oslo", "street": "street 1", "device": 1, "motto": "red tea",
    "interests": ["soft"],
}  # fmt: skip
ORDINARY_CANDIDATE = {
    "item_id": 2**31, "title": "red tea", "city": "Rome", "year": 1991, "pages": 100,
    "price": 20.0, "stock": 3, "weight": 0.5, "brand": "brand 1", "code": 5, "tags": ["soft"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("side", "name", "values", "expected"),
    [
        ("query", "user_id", [-1, 0, 2**63 - 1, -(2**63)], [0, 0, 0, 0]),
        ("query", "plan", ["", "gold", "[UNK]", "日本"], [0, 0, 0, 0]),
        ("query", "zone", [99, -2, 2**40], [0, 0, 0]),
        ("query", "age", [-1e30, -5.0, 0.0, 1e30, float("inf")], [0, 0, 0, 3, 3]),
        (
            "query",
            "motto",
            ["", "!!!", "unheard", "tea\u0000"],
            [[0] * 3, [0] * 3, [1, 0, 0], None],
        ),
        (
            "query",
            "interests",
            [[], [""], ["gaming"], ["gaming", "never", "more"]],
            [[0, 0], [0, 0], [1, 0], [1, 1]],
        ),
        ("query", "street", ["", "new street"], [None, None]),
        ("query", "device", [-1, 2**63 - 1], [None, None]),
        ("query", "visits", [-(10**12), 10**12], [None, None]),
        ("query", "tenure", [-1e30, 1e30], [-1e30, 1e30]),
        ("candidate", "item_id", [0, 7], [0, 0]),
        ("candidate", "title", ["", "unheard words"], [[0] * 4, [1, 1, 0, 0]]),
        ("candidate", "pages", [-(10**12), 10**12], [0, 2]),
        ("candidate", "tags", [[], ["never"]], [[0] * 3, [1, 0, 0]]),
    ],
)
def test_nothing_raises_because_a_value_is_new(
    in_tensorflow: RunStep,
    tables: Path,
    encoded: Path,
    spec: FeatureSpec,
    side: str,
    name: str,
    values: list[Any],
    expected: list[Any],
) -> None:
    ordinary = ORDINARY_QUERY if side == "query" else ORDINARY_CANDIDATE

    found = in_tensorflow(
        "serving_values:encode_rows",
        encoded=str(encoded),
        tables=str(tables),
        side=side,
        rows=[{**ordinary, name: value} for value in values],
    )

    indices = found[feature_of(spec, side, name).name]
    for index, wanted in zip(indices, expected, strict=True):
        assert wanted is None or index == pytest.approx(wanted)
    for feature in side_features(spec, side):
        column = np.array(found[feature.name])
        assert np.isfinite(column).all()
        if feature.cardinality is not None:
            assert (column >= 0).all()
            assert (column < feature.cardinality).all()


# --- determinism ----------------------------------------------------------------------------------


def assert_same_outputs(first: Path, second: Path) -> None:
    names = sorted(str(p.relative_to(first)) for p in first.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(second)) for p in second.rglob("*") if p.is_file())
    assert FeatureSpec.read(first) == FeatureSpec.read(second)
    assert (first / "feature_spec.json").read_bytes() == (second / "feature_spec.json").read_bytes()
    for name in names:
        if name.endswith(".parquet"):
            assert pq.read_table(first / name).equals(pq.read_table(second / name)), name


def backwards(features: dict[str, Any]) -> dict[str, Any]:
    """The same config, every struct in reverse order, as kfp may hand it over."""
    return {
        key: {name: dict(reversed(f.items())) for name, f in reversed(value.items())}
        if key in SIDES
        else value
        for key, value in reversed(features.items())
    }


@pytest.mark.parametrize(
    ("features", "config"),
    [
        (FEATURES, {}),
        (FEATURES, {"batch_rows": 50}),
        (backwards(FEATURES), {"batch_rows": 1000}),
    ],
    ids=["again", "small batches", "features in another order"],
)
def test_the_same_rows_and_features_give_the_same_outputs(
    in_tensorflow: RunStep,
    tables: Path,
    encoded: Path,
    tmp_path: Path,
    features: dict[str, Any],
    config: dict[str, Any],
) -> None:
    in_tensorflow(
        "components.adapt.job:adapt",
        tables=str(tables),
        features=features,
        config=config,
        encoded=str(tmp_path / "encoded"),
    )

    assert_same_outputs(encoded, tmp_path / "encoded")


def test_the_order_of_features_does_not_change_their_config() -> None:
    first, second = (FeaturesConfig.model_validate(f) for f in (FEATURES, backwards(FEATURES)))

    assert list(first.query) == list(second.query) == sorted(FEATURES["query"])
    assert list(first.candidate) == list(second.candidate)
    assert first == second


def test_the_schema_has_a_type_for_every_feature(tables: Path) -> None:
    schema = Schema.read(tables)
    assert {c.name for c in schema.query} == set(FEATURES["query"])
    assert {c.name for c in schema.candidate} == set(FEATURES["candidate"])
    types = {f["type"] for side in SIDES for f in FEATURES[side].values()}
    assert types == {
        "id", "integer_categorical", "string_categorical", "float", "float_rescaled",
        "float_normalized", "float_discretized", "integer_hashed", "string_hashed", "text",
        "multi_categorical",
    }  # fmt: skip
