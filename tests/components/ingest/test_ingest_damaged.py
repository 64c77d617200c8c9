"""Values that are damaged or of another type than wanted: rejects or one clear error."""

import decimal
import json
from typing import Any

import pyarrow as pa
import pytest

from components.ingest.parsing import parse
from components.ingest.rejects import examples, reason_kind, rejects_of
from components.ingest.sources.log import with_origin
from components.ingest.validation import Rules, check_rows
from components.shared.contracts.tables import Column, DType
from components.shared.runtime.errors import InputError

# Text of two values, the first of which is not UTF-8, as damaged Parquet files have it.
NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(bytes([0] * 4 + [2] + [0] * 3 + [3] + [0] * 3)),
                     pa.py_buffer(b"\xff\xfea")]
)  # fmt: skip
BROKEN_DICTIONARY = pa.DictionaryArray.from_arrays(
    pa.array([0, 5], pa.int8()), pa.array(["a"]), safe=False
)
LISTS_NOT_UTF8 = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), NOT_UTF8)
DTYPES: tuple[DType, ...] = ("string", "int64", "float32", "list<string>")


def parsed(array: pa.Array, dtype: DType) -> list[Any]:
    found = parse(pa.chunked_array([array]), Column(name="c", dtype=dtype), "|").values
    found.validate(full=True)
    return found.to_pylist()


@pytest.mark.parametrize(
    ("array", "dtype", "values"),
    [
        (pa.array(["a", " b ", "", None]), "string", ["a", "b", None, None]),
        (pa.array([1, None]), "string", ["1", None]),
        (pa.array([1.5, float("nan")]), "string", ["1.5", None]),
        (pa.array([b"ab", b"\xff"]), "string", ["ab", None]),
        (pa.array([b"ab", b"\xff"]), "int64", [None, None]),
        (pa.array([b"12", b"\xff"], pa.binary_view()), "float32", [12.0, None]),
        (NOT_UTF8, "string", [None, "a"]),
        (NOT_UTF8, "float32", [None, None]),
        (NOT_UTF8, "list<string>", [None, ["a"]]),
        (LISTS_NOT_UTF8, "list<string>", [None, ["a"]]),
        (pa.array(["a|b|| c", "", None], pa.string_view()), "list<string>",
         [["a", "b", "c"], [], None]),
        (pa.array([[1, None], None, []]), "list<string>", [["1"], None, []]),
        (pa.array([["a", "b"]], pa.list_(pa.string(), 2)), "list<string>", [["a", "b"]]),
        (pa.array([["a"], None], pa.list_view(pa.string())), "list<string>", [["a"], None]),
        (pa.array([["x"], ["a"]]).slice(1), "list<string>", [["a"]]),
        (pa.nulls(2), "list<string>", [None, None]),
        (pa.nulls(2), "int64", [None, None]),
        (pa.array([decimal.Decimal("1.50")]), "float32", [1.5]),
    ],
    ids=lambda value: str(value)[:20].replace("\n", " "),
)  # fmt: skip
def test_values_that_cannot_be_of_the_type_become_null(
    array: pa.Array, dtype: DType, values: list[Any]
) -> None:
    assert parsed(array, dtype) == values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "array",
    [
        pa.array([{"a": 1}]),
        pa.array([[{"a": 1}]]),
        pa.array([[["a"]]]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        BROKEN_DICTIONARY,
    ],
    ids=lambda array: str(array.type),
)
def test_a_column_that_no_feature_can_use_is_one_clear_error(array: pa.Array, dtype: DType) -> None:
    with pytest.raises(InputError, match=r"^The column 'c' (has the type|is damaged)"):
        parsed(array, dtype)


@pytest.mark.parametrize("dtype", ["string", "int64", "float32"])
def test_a_list_where_none_is_wanted_is_one_clear_error(dtype: DType) -> None:
    with pytest.raises(InputError) as caught:
        parsed(pa.array([["a"]]), dtype)
    assert str(caught.value) == (
        "The column 'c' has the type list<item: string> in the file, which cannot become "
        f"{dtype}. Set source.dtypes.c to list<string>, and use the column in a feature of lists; "
        "or convert it."
    )


@pytest.mark.parametrize("array", [pa.array([1]), pa.array([1], pa.date32())], ids=str)
def test_a_number_or_a_date_where_a_list_is_wanted_is_one_clear_error(array: pa.Array) -> None:
    with pytest.raises(InputError, match="which cannot become list<string>"):
        parsed(array, "list<string>")


def test_a_column_that_cannot_be_converted_is_an_error_that_names_the_file() -> None:
    for role, dates in (("feature", pa.array([1], pa.date32())), ("timestamp", pa.array([True]))):
        table = with_origin(pa.table({"c": dates}), "part-7.parquet")
        with pytest.raises(InputError, match=r"^part-7\.parquet: .*column 'c' has the type (d|b)"):
            check_rows(table, [Column(name="c", dtype="int64", role=role)], Rules())


def test_a_damaged_value_is_rejected_and_its_reason_shows_it() -> None:
    table = with_origin(pa.table({"item": NOT_UTF8, "size": ["4", "x" * 99]}), "f")
    columns = [Column(name="size", dtype="float32"), Column(name="item", dtype="string")]
    rows, rejects = check_rows(table, columns, Rules())
    assert rows.num_rows == 0
    first, second = rejects["reason"].to_pylist()
    assert first == 'item must be UTF-8 text, not "��"'
    assert second == f'size must be a finite number, not "{"x" * 40}… (99 characters)"'
    assert reason_kind(second) == "size must be a finite number"


# --- records --------------------------------------------------------------------------------------

ODD = {
    "bytes": pa.array([b"\xff"]),
    "not_utf8": NOT_UTF8.slice(0, 1),
    "lists_not_utf8": LISTS_NOT_UTF8.slice(0, 1),
    "dictionary_not_utf8": NOT_UTF8.slice(0, 1).dictionary_encode(),
    "struct_not_utf8": pa.StructArray.from_arrays([NOT_UTF8.slice(0, 1)], ["a"]),
    "nanoseconds": pa.array([1], pa.timestamp("ns")),
    "year_146_billion": pa.array([2**62], pa.timestamp("s")),
    "unknown_zone": pa.array([1], pa.timestamp("us", "No/Where")),
    "far_date": pa.array([2**30], pa.date32()),
    "long_duration": pa.array([2**62], pa.duration("s")),
    "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    "surrogate": pa.array(["a"]),
}


@pytest.mark.parametrize("name", ODD)
def test_every_record_can_be_shown(name: str) -> None:
    rejects = rejects_of(with_origin(pa.table({name: ODD[name], "id": [7]}), "f"), pa.array(["no"]))
    assert json.loads(rejects["record"][0].as_py())["id"] == 7


def test_a_huge_record_is_cut_and_stays_json() -> None:
    table = pa.table({"id": [7], "text": ["x" * 250_000], "more": [["y" * 9000] * 20]})
    (record,) = rejects_of(with_origin(table, "f"), pa.array(["no"]))["record"].to_pylist()
    assert len(record) < 5000
    assert json.loads(record)["text"] == "x" * 200 + "… (250,000 characters)"


def test_a_record_of_very_many_columns_is_cut() -> None:
    table = pa.table({f"column {n}": ["x" * 100] for n in range(500)})
    (record,) = rejects_of(with_origin(table, "f"), pa.array(["no"]))["record"].to_pylist()
    assert len(record) < 5000


def test_a_message_is_limited_whatever_is_rejected() -> None:
    table = pa.table({"text": ["x" * 100_000] * 9})
    rejects = rejects_of(with_origin(table, "f" * 1000), pa.array(["reason " * 1000] * 9))
    assert len(examples(rejects)) < 2000
