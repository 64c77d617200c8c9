"""Every feature type answers everything that the pipeline asks; a new one needs no other file."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pytest

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.tables import Column, value_type
from components.shared.features.feature_type import (
    AdaptedFeature,
    FeatureData,
    FeatureType,
    ItemIds,
)
from components.shared.features.statistics import ColumnStatistics, merge_statistics
from components.shared.features.types import FEATURE_TYPES, holds_ids, type_of

RunStep = Callable[..., Any]
VALUES: dict[str, list[Any]] = {
    "string": ["a", "b", "a", "c c"],
    "int64": [3, 1, 3, 2],
    "float32": [0.5, 1.5, 0.5, 2.5],
    "list<string>": [["a", "b"], [], ["a"], ["c"]],
    "list<float32>": [[0.5, 1.5], [], [3.0, 4.0], [0.0, 0.0]],
}
SETTINGS = {"num_bins": 3}


def feature_of(name: str) -> FeatureType:
    """A feature of a type, with settings where it needs some."""
    kind = FEATURE_TYPES[name]
    settings = {key: value for key, value in SETTINGS.items() if key in kind.model_fields}
    return kind.model_validate({"type": name, **settings})


def adapted(type_name: str, dtype: Any) -> dict[str, Any]:
    """A feature through statistics, preprocessor and FeatureSpace. Runs where TensorFlow is."""
    from components.adapt.feature_spaces import build_side
    from components.shared.contracts.feature_spec import RawInput
    from components.shared.features.encoding import encode

    feature = feature_of(type_name)
    column = Column(name="x", dtype=dtype)
    rows = pa.chunked_array([pa.array(VALUES[dtype], column.arrow_type)])
    parts = [feature.statistics(rows.slice(0, 2)), feature.statistics(rows.slice(2))]
    items = ItemIds("item", pa.table({"token": ["a", "b"], "count": [2, 1]}))
    data = FeatureData("x", "x", column, merge_statistics(parts), items=items)
    side = build_side({"x": feature.adapt(data)}, [], "space")
    [encoded] = side.encoded
    raw = RawInput(
        name="x",
        dtype=value_type(dtype),
        width=encoded.width if feature.takes_lists() else 1,
    )
    columns = encode(side.space, pa.table({"x": rows}), [raw], [encoded])
    return {"encoded": encoded.model_dump(), "values": columns["x"].to_pylist()}


# A type whose values are no column of a table has no statistics of its own.
CASES = [
    (name, dtype)
    for name, kind in FEATURE_TYPES.items()
    if kind.HAS_COLUMN
    for dtype in kind.COLUMN_TYPES[name]
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_type_goes_from_rows_to_encoded_values(
    in_tensorflow: RunStep, name: str, dtype: str
) -> None:
    result = in_tensorflow("test_feature_types:adapted", type_name=name, dtype=dtype)

    encoded = EncodedFeature.model_validate(result["encoded"])
    assert encoded.type == name
    assert len(result["values"]) == len(VALUES[dtype])
    flat = [v for row in result["values"] for v in (row if encoded.is_list else [row])]
    if encoded.cardinality is None:
        assert encoded.dtype == "float32"
        assert encoded.oov_index is None
    else:
        assert encoded.dtype == "int32"
        assert 0 <= min(flat) <= max(flat) < encoded.cardinality
    assert len(set(flat)) > 1  # it distinguishes rows


@pytest.mark.parametrize("name", FEATURE_TYPES)
def test_a_type_s_names_are_those_of_its_config(name: str) -> None:
    kind = FEATURE_TYPES[name]

    assert feature_of(name).type == name
    assert name in kind.COLUMN_TYPES
    assert kind.__doc__


def test_ids_and_lists_of_ids_can_be_dropped() -> None:
    encoded = [
        EncodedFeature(name="x", type=name, dtype="int32", raw_columns=["x"])
        for name in [*FEATURE_TYPES, "cross"]
    ]

    dropped = {feature.type for feature in encoded if holds_ids(feature)}
    assert dropped == {"id", "history"}
    assert type_of(encoded[-1]) is None


class _Squared(FeatureType):
    """A number, squared: a type that exists in this test only."""

    COLUMN_TYPES: ClassVar = {"squared": ("float32",)}

    type: Literal["squared"]

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        return ColumnStatistics(rows=len(column))

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        import keras

        layer = keras.layers.Lambda(lambda x: x * x, name=data.layer_name)
        return self._preprocessed(data, layer, self._encoded(data, "float32"))


def squared(values: list[float]) -> list[float]:
    """The toy type through a FeatureSpace. Runs where TensorFlow is."""
    from components.adapt.feature_spaces import build_side
    from components.shared.contracts.feature_spec import RawInput
    from components.shared.features.encoding import encode

    feature = _Squared(type="squared")
    rows = pa.chunked_array([pa.array(values, pa.float32())])
    data = FeatureData("x", "x", Column(name="x", dtype="float32"), feature.statistics(rows))
    side = build_side({"x": feature.adapt(data)}, [], "space")
    raw = RawInput(name="x", dtype="float32")
    found: list[float] = encode(side.space, pa.table({"x": rows}), [raw], side.encoded)[
        "x"
    ].to_pylist()
    return found


def test_a_new_type_needs_nothing_but_its_class(in_tensorflow: RunStep) -> None:
    assert in_tensorflow("test_feature_types:squared", values=[1.0, 2.0, 3.0]) == [1.0, 4.0, 9.0]
