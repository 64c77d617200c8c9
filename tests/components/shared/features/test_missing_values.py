"""Rows without a value: what each policy makes of them, from statistics to a saved FeatureSpace."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.missing import MISSING_INTEGER, missing_value
from components.shared.contracts.tables import Column
from components.shared.features.feature_type import FeatureData, FeatureType, ItemIds
from components.shared.features.statistics import ColumnStatistics, merge_statistics
from components.shared.features.types import FEATURE_TYPES, type_of
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
NAN = math.nan
LOOKUPS = ("id", "string_categorical", "integer_categorical")
NUMBERS = ("float", "float_rescaled", "float_normalized")


def feature_of(type_: str, **settings: Any) -> FeatureType:
    """A feature of a type."""
    return FEATURE_TYPES[type_].model_validate({"type": type_, **settings})


def learned(feature: FeatureType, dtype: Any, training: list[Any]) -> FeatureData:
    """What a feature is built from, with statistics of two batches."""
    column = Column(name="x", dtype=dtype)
    rows = pa.chunked_array([pa.array(training, column.arrow_type)])
    half = len(training) // 2
    parts = [feature.statistics(rows.slice(0, half)), feature.statistics(rows.slice(half))]
    items = ItemIds("item", pa.table({"token": ["a", "b"], "count": [2, 1]}))
    return FeatureData("x", "x", column, merge_statistics(parts), items=items)


def encoded(
    type_: str, dtype: Any, training: list[Any], rows: list[Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Rows through a feature, its FeatureSpace as made and as loaded. Runs where TensorFlow is."""
    from components.adapt.feature_spaces import build_side
    from components.shared.contracts.feature_spec import RawInput
    from components.shared.features.config import Cross
    from components.shared.features.encoding import encode
    from components.shared.features.number_layer import load_feature_space

    feature = feature_of(type_, **settings)
    data = learned(feature, dtype, training)
    adapted = feature.adapt(data)
    crosses = []
    features = {"x": adapted}
    if feature.CROSSABLE:
        other = feature_of("string_hashed", num_bins=3)
        features["y"] = other.adapt(
            FeatureData("y", "y", Column(name="y", dtype="string"), ColumnStatistics(rows=1))
        )
        crosses = [Cross(features=["x", "y"], dim=5)]
    side = build_side(features, crosses, "space")
    raw = RawInput(
        name="x",
        dtype="string" if dtype == "list<string>" else dtype,
        width=adapted.encoded.width if feature.takes_lists() else 1,
    )
    inputs = [raw, RawInput(name="y", dtype="string")][: len(features)]
    table = pa.table(
        {"x": pa.array(rows, data.column.arrow_type), "y": pa.array(["same"] * len(rows))}
    )
    with tempfile.TemporaryDirectory() as folder:
        side.save(Path(folder))
        loaded = load_feature_space(Path(folder) / "space.keras")
        columns = [encode(space, table, inputs, side.encoded) for space in (side.space, loaded)]
    before, after = ({name: c.to_pylist() for name, c in each.items()} for each in columns)
    return {
        "encoded": adapted.encoded.model_dump(),
        "values": before["x"],
        "loaded": after["x"],
        "cross": before.get("x_X_y"),
        "loaded_cross": after.get("x_X_y"),
        "tokens": adapted.vocabulary["token"].to_pylist() if adapted.vocabulary else [],
    }


@pytest.fixture
def encode(in_tensorflow: RunStep) -> Callable[..., dict[str, Any]]:
    def call(
        type_: str, dtype: str, training: list[Any], rows: list[Any], **settings: Any
    ) -> dict[str, Any]:
        result: dict[str, Any] = in_tensorflow(
            "test_missing_values:encoded",
            type_=type_, dtype=dtype, training=training, rows=rows, settings=settings,
        )  # fmt: skip
        np.testing.assert_array_equal(result["values"], result["loaded"])
        assert result["cross"] == result["loaded_cross"]
        return result

    return call


# --- categories -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "dtype", "values"),
    [
        ("id", "string", ["a", "b", "new"]),
        ("id", "int64", [2**53 + 1, 7, 2**53]),
        ("string_categorical", "string", ["a", "b", "new"]),
        ("integer_categorical", "int64", [0, -1, 5]),
    ],
)
def test_a_missing_category_has_an_index_of_its_own_if_training_rows_have_it(
    encode: Callable[..., dict[str, Any]], type_: str, dtype: Any, values: list[Any]
) -> None:
    first, second, new = values
    missing = missing_value(dtype)
    rows = [first, missing, second, new]

    with_missing = encode(type_, dtype, [first, first, first, missing, missing, second], rows)
    without = encode(type_, dtype, [first, first, second], rows)

    assert with_missing["values"] == [1, 2, 3, 0]
    assert with_missing["tokens"] == [first, missing, second]
    assert with_missing["encoded"]["cardinality"] == 4
    assert without["values"] == [1, 0, 2, 0]
    assert all(0 <= index < 5 for index in with_missing["cross"])


@pytest.mark.parametrize(
    ("type_", "dtype"), [("string_hashed", "string"), ("integer_hashed", "int64")]
)
def test_a_missing_value_is_hashed_like_any_other(
    encode: Callable[..., dict[str, Any]], type_: str, dtype: Any
) -> None:
    missing, value = missing_value(dtype), {"string": "a", "int64": 7}[dtype]

    found = encode(type_, dtype, [value, missing], [value, missing, missing], num_bins=50)

    assert found["values"][1] == found["values"][2] != found["values"][0]


def test_reports_call_it_missing() -> None:
    category = EncodedFeature(name="x", type="string_categorical", dtype="int32", raw_columns=["x"])
    number = category.model_copy(update={"type": "integer_categorical"})
    bins = category.model_copy(update={"type": "float_discretized", "bin_boundaries": [1.0, 2.5]})
    kinds = [type_of(feature) for feature in (category, number, bins)]

    names = [
        kinds[0].value_names(category, ["a", ""], {}),
        kinds[1].value_names(number, [1, MISSING_INTEGER], {"1": "one"}),
        kinds[2].value_names(bins, [], {}),
        kinds[2].value_names(bins.model_copy(update={"missing_index": 3}), [], {}),
    ]  # fmt: skip

    assert names[0] == ["not seen in training", "a", "(missing)"]
    assert names[1] == ["not seen in training", "one", "(missing)"]
    assert names[2] == ["below 1", "1 to 2.5", "2.5 and above"]
    assert names[3] == [*names[2], "(missing)"]


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "settings", "of_the_mean"),
    [
        ("float", {}, 4.0),
        ("float_rescaled", {"scale": 2.0, "offset": 1.0}, 9.0),
        ("float_normalized", {}, 0.0),
    ],
)
@pytest.mark.parametrize(("dtype", "missing"), [("float32", NAN), ("int64", MISSING_INTEGER)])
def test_a_missing_number_is_the_mean_of_the_training_rows(
    encode: Callable[..., dict[str, Any]], type_: str, settings: dict[str, Any], of_the_mean: float,
    dtype: str, missing: Any,
) -> None:  # fmt: skip
    training, rows = [1, missing, 4, 7, missing, missing], [1, missing, 7]

    found = encode(type_, dtype, training, rows, **settings)
    indicated = encode(type_, dtype, training, rows, missing="indicator", **settings)
    complete = encode(type_, dtype, [1, 4, 7], [1, 4, 7], **settings)

    assert found["values"] == complete["values"]
    assert found["values"][1] == of_the_mean
    assert found["encoded"] == complete["encoded"]
    assert indicated["encoded"] == {**found["encoded"], "width": 2}
    flags = [0.0, 1.0, 0.0]
    assert indicated["values"] == [list(row) for row in zip(found["values"], flags, strict=True)]


@pytest.mark.parametrize("missing", ["mean", "reject"])
def test_a_query_may_have_a_missing_number_even_if_no_training_row_has(
    encode: Callable[..., dict[str, Any]], missing: str
) -> None:
    found = encode("float_normalized", "float32", [1.0, 3.0], [NAN, 3.0], missing=missing)

    assert found["values"] == [0.0, 1.0]


@pytest.mark.parametrize(("dtype", "missing"), [("float32", NAN), ("int64", MISSING_INTEGER)])
def test_missing_numbers_have_a_bin_of_their_own_after_the_others(
    encode: Callable[..., dict[str, Any]], dtype: str, missing: Any
) -> None:
    values = list(range(1, 9))
    rows = [0, 8, missing, 5]

    found = encode("float_discretized", dtype, [missing, *values, missing], rows, num_bins=4)
    complete = encode("float_discretized", dtype, values, rows, num_bins=4)

    assert found["values"] == [0, 3, 4, 2]
    assert (found["encoded"]["cardinality"], found["encoded"]["missing_index"]) == (5, 4)
    assert found["encoded"]["bin_boundaries"] == complete["encoded"]["bin_boundaries"]
    # Without them in training, they are in the median's bin.
    assert complete["values"] == [0, 3, 2, 2]
    assert complete["encoded"]["cardinality"] == 4
    assert "missing_index" not in complete["encoded"]


@pytest.mark.parametrize("type_", [*NUMBERS, "float_discretized"])
@pytest.mark.parametrize(("dtype", "missing"), [("float32", NAN), ("int64", MISSING_INTEGER)])
def test_statistics_leave_missing_numbers_out(type_: str, dtype: Any, missing: Any) -> None:
    settings = {"num_bins": 2} if type_ == "float_discretized" else {}
    feature = feature_of(type_, **settings)

    # The first batch has no value at all.
    found = learned(feature, dtype, [missing, missing, missing, 2, missing, 6]).statistics
    complete = learned(feature, dtype, [2, 6]).statistics

    assert (found.rows, found.missing) == (2, 4)
    assert (found.mean, found.squares) == (complete.mean, complete.squares)
    if found.quantiles is not None and complete.quantiles is not None:
        assert found.quantiles.values.tolist() == complete.quantiles.values.tolist()


# --- texts and lists ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "dtype", "values"),
    [
        ("multi_categorical", "list<string>", [["a", "b"], [], ["b"]]),
        ("history", "list<string>", [["a", "b"], [], ["b"]]),
        ("text", "string", ["a b", "", "b"]),
    ],
)
def test_a_missing_list_or_text_is_empty(
    encode: Callable[..., dict[str, Any]], type_: str, dtype: str, values: list[Any]
) -> None:
    found = encode(type_, dtype, values, values)

    assert set(found["values"][1]) == {found["encoded"]["padding_index"]}
    assert found["values"][0] != found["values"][1]


# --- every type -----------------------------------------------------------------------------------


# A type whose values are no column of a table has no statistics of its own.
CASES = [
    (name, dtype)
    for name, kind in FEATURE_TYPES.items()
    if kind.HAS_COLUMN
    for dtype in kind.COLUMN_TYPES[name]
]


@pytest.mark.parametrize("name", dict(CASES))
def test_ingest_keeps_the_rows_unless_the_policy_is_reject(name: str) -> None:
    settings = {"num_bins": 3} if "num_bins" in FEATURE_TYPES[name].model_fields else {}

    kept = feature_of(name, **settings).need
    rejected = feature_of(name, missing="reject", **settings).need

    assert (kept.missing, rejected.missing) == ("keep", "reject")
    assert kept.dtypes == list(FEATURE_TYPES[name].COLUMN_TYPES[name])
    if name.startswith("float"):
        assert kept.dtypes == ["float32", "int64"]


@pytest.mark.parametrize(("name", "dtype"), [case for case in CASES if case[0] != "history"])
def test_a_column_without_any_value_is_one_error(name: str, dtype: Any) -> None:
    settings = {"num_bins": 3} if "num_bins" in FEATURE_TYPES[name].model_fields else {}
    feature = feature_of(name, **settings)

    with pytest.raises(InputError) as error:
        feature.adapt(learned(feature, dtype, [missing_value(dtype)] * 4))

    assert str(error.value) == "features: x has no value in any training row: leave it out."
