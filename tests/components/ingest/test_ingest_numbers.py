import decimal

import pyarrow as pa
import pytest

from components.ingest.parsing import parse_numbers
from components.ingest.times import plain_numbers
from components.shared.profiling.column_summary import ColumnSummary
from components.shared.runtime.number_text import numbers_in

INT64, FLOAT32 = pa.int64(), pa.float32()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (" 4 ", 4),
        ("4.0", 4),
        ("4.", 4),
        ("+4", 4),
        ("-7", -7),
        ("007", 7),
        ("9007199254740993", 2**53 + 1),
        ("-9007199254740993", -(2**53) - 1),
        ("1234567890123456789", 1234567890123456789),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775807", -(2**63) + 1),
        ("9223372036854775808", None),
        ("10000000000000000000", None),
        ("99999999999999999999", None),
        ("4.5", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (" ", None),
        ("abc", None),
        ("4 5", None),
        ("0x10", None),
        ("4\n5", None),
        ("٤", None),
    ],
)
def test_text_becomes_an_integer_or_null(text: str, number: int | None) -> None:
    assert parse_numbers(pa.array([text, "1", None]), INT64).to_pylist() == [number, 1, None]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (" 4 ", 4.0),
        ("4.0", 4.0),
        ("1e3", 1000.0),
        ("-2.5E-1", -0.25),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("nan", None),
        ("inf", None),
        ("-Infinity", None),
        ("1e39", None),  # beyond float32
        ("1e400", None),  # beyond float64
        ("", None),
        ("abc", None),
        ("1,5", None),
        ("e5", None),
    ],
)
def test_text_becomes_a_float_or_null(text: str, number: float | None) -> None:
    assert parse_numbers(pa.array([text, "1", None]), FLOAT32).to_pylist() == [number, 1.0, None]


@pytest.mark.parametrize(
    ("array", "numbers"),
    [
        (pa.array([4.0, 4.5, float("nan"), float("inf"), 1e30, None]), [4] + [None] * 5),
        (pa.array([4.0, 4.5], pa.float16()), [4, None]),
        (pa.array([2**53 + 1, -(2**63)]), [2**53 + 1, -(2**63)]),
        (pa.array([2**63 - 1, 2**63], pa.uint64()), [2**63 - 1, None]),
        (pa.array([decimal.Decimal("7.00"), decimal.Decimal("7.25")]), [7, None]),
        (pa.array([True, False, None]), [1, 0, None]),
        (pa.array(["4", "x"]).dictionary_encode(), [4, None]),
        (pa.array(["4", "x"], pa.large_string()), [4, None]),
        (pa.array([None, None]), [None, None]),
        (pa.chunked_array([["4"], ["5", "x"]]), [4, 5, None]),
        (pa.chunked_array([], pa.string()), []),
    ],
    ids=str,
)
def test_typed_columns_become_integers_or_null(
    array: pa.Array | pa.ChunkedArray, numbers: list[int | None]
) -> None:
    parsed = parse_numbers(array, INT64)
    assert parsed.type == INT64
    assert parsed.to_pylist() == numbers


def test_typed_columns_become_floats_or_null() -> None:
    doubles = pa.array([1.5, float("nan"), float("-inf"), 1e300, None])
    assert parse_numbers(doubles, FLOAT32).to_pylist() == [1.5, None, None, None, None]
    assert parse_numbers(pa.array([3, None]), FLOAT32).to_pylist() == [3.0, None]
    decimals = pa.array([decimal.Decimal("1.50"), None])
    assert parse_numbers(decimals, FLOAT32).to_pylist() == [1.5, None]


@pytest.mark.parametrize(
    ("text", "number"),
    [(" +1.5e3\t", 1500), ("7.", 7), (".5", 0.5), ("1_000", None), ("nan", None), ("", None)],
)
def test_text_is_a_number_in_every_place_or_in_none(text: str, number: float | None) -> None:
    column = pa.chunked_array([[text]])
    assert numbers_in(column.chunk(0)).to_pylist() == [number]
    assert parse_numbers(column, pa.float32()).to_pylist() == [number]
    assert plain_numbers(column).tolist() == ([] if number is None else [number])
    assert ColumnSummary.of(column).numeric == int(number is not None)
