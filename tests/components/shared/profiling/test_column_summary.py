"""Summaries of columns: what is counted, and that parts give what the whole gives."""

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.shared.contracts.data_profile import ColumnProfile, Numbers
from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.profiling import column_summary
from components.shared.profiling.column_summary import ColumnSummary, merge_summaries


def profile(values: list[Any], type_: pa.DataType | None = None) -> ColumnProfile:
    return ColumnSummary.of(pa.array(values, type_)).profile("column")


def flat(numbers: Numbers) -> list[float]:
    values = numbers.model_dump()
    return [*values.pop("deciles"), *values.values()]


def top(found: ColumnProfile) -> dict[str, int]:
    return {value.value: value.rows for value in found.top}


@pytest.mark.parametrize(
    ("values", "type_", "missing"),
    [
        (["a", "", "  ", None], pa.string(), 3),
        ([1, None, MISSING_INTEGER], pa.int64(), 2),
        ([1.5, float("nan"), None], pa.float32(), 2),
        ([["a"], [], None], pa.list_(pa.string()), 2),
        ([True, None], pa.bool_(), 1),
        ([None, None], pa.null(), 2),
        ([{"a": 1}, None], pa.struct([("a", pa.int64())]), 1),
    ],
    ids=["text", "integers", "floats", "lists", "booleans", "null", "struct"],
)
def test_a_missing_value_is_counted_in_every_type(
    values: list[Any], type_: pa.DataType, missing: int
) -> None:
    found = profile(values, type_)

    assert (found.rows, found.missing) == (len(values), missing)


@pytest.mark.parametrize(
    ("type_", "values", "kind"),
    [
        (pa.string(), ["a"], "text"),
        (pa.large_string(), ["a"], "text"),
        (pa.string_view(), ["a"], "text"),
        (pa.dictionary(pa.int32(), pa.string()), ["a"], "text"),
        (pa.uint64(), [2**64 - 1], "number"),
        (pa.float16(), [np.float16(1.5)], "number"),
        (pa.decimal128(9, 2), [Decimal("1.50")], "number"),
        (pa.bool_(), [True], "number"),
        (pa.timestamp("us", "UTC"), [datetime.datetime(2026, 1, 1)], "time"),
        (pa.date32(), [datetime.date(2026, 1, 1)], "time"),
        (pa.large_list(pa.string()), [["a"]], "list"),
        (pa.list_(pa.int64()), [[1]], "list"),
        (pa.list_(pa.binary()), [[b"a"]], "other"),
        (pa.binary(), [b"a"], "other"),
    ],
    ids=str,
)
def test_every_arrow_type_has_a_profile(type_: pa.DataType, values: list[Any], kind: str) -> None:
    found = profile([*values, None], type_)

    assert (found.kind, found.rows, found.missing) == (kind, 2, 1)


def test_an_empty_column_has_a_profile() -> None:
    found = ColumnSummary.of(pa.chunked_array([], pa.string())).profile("column")

    assert (found.rows, found.missing, found.distinct, found.top) == (0, 0, 0, [])


def test_frequent_values_come_first_and_equal_ones_in_their_order() -> None:
    found = profile(["b", "a", "c", "c"])

    assert found.distinct == 3
    assert list(top(found).items()) == [("c", 2), ("a", 1), ("b", 1)]


def test_the_values_of_lists_are_counted_one_by_one() -> None:
    found = profile([["a", "b"], ["a"], []])

    assert top(found) == {"a": 2, "b": 1}
    assert (found.longest, found.mean_length, found.values) == (2, 1.0, 3)


def test_spaces_around_a_text_are_no_words() -> None:
    found = profile(["  two words ", "one"])

    assert (found.longest, found.mean_length) == (2, 1.5)


def test_numbers_have_moments_and_deciles() -> None:
    numbers = profile(list(range(11)), pa.int64()).numbers

    assert numbers is not None
    assert (numbers.least, numbers.greatest, numbers.mean) == (0, 10, 5)
    assert numbers.deviation == pytest.approx(np.std(range(11)))
    assert numbers.deciles == list(range(11))


def test_text_of_numbers_has_a_distribution_and_other_text_has_none() -> None:
    written = profile([" 1.", ".5", "+2", "1e3", "-4 "]).numbers

    assert written is not None
    assert (written.least, written.greatest) == (-4, 1000)
    assert profile(["1", "2", "three"]).numbers is None


def test_integers_beyond_the_precision_of_floats_stay_distinct() -> None:
    assert profile([2**53, 2**53 + 1], pa.int64()).distinct == 2


def test_a_column_with_too_many_values_has_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_summary, "MOST_DISTINCT", 3)
    three, four = pa.array(["a", "b", "c"]), pa.array(["d"])

    assert ColumnSummary.of(three).profile("column").distinct == 3
    together = merge_summaries([ColumnSummary.of(three), ColumnSummary.of(four)])
    assert together.profile("column").distinct is None
    assert together.profile("column").top == []
    assert ColumnSummary.of(pa.concat_arrays([three, four])).profile("column").distinct is None


@pytest.mark.parametrize("kind", ["text", "integers", "floats", "lists"])
def test_parts_give_what_the_whole_gives(kind: str) -> None:
    rng = np.random.default_rng(3)
    whole = {
        "text": pa.array([f"word {n}" if n else "" for n in rng.integers(0, 30, 1000)]),
        "integers": pa.array(rng.integers(-5, 900, 1000)),
        "floats": pa.array(rng.normal(5, 2, 1000).astype(np.float32)),
        "lists": pa.array([[f"tag {t}" for t in range(n)] for n in rng.integers(0, 4, 1000)]),
    }[kind]
    parts = [ColumnSummary.of(whole.slice(start, 170)) for start in range(0, 1000, 170)]

    expected = ColumnSummary.of(whole).profile("column")
    found = merge_summaries([merge_summaries(parts[:2]), *parts[2:]]).profile("column")

    assert found.model_dump(exclude={"numbers"}) == expected.model_dump(exclude={"numbers"})
    if expected.numbers is None:
        assert found.numbers is None
    else:
        assert found.numbers is not None
        assert flat(found.numbers) == pytest.approx(flat(expected.numbers))


def test_files_that_differ_in_a_columns_type_give_one_kind() -> None:
    text, number = ColumnSummary.of(pa.array(["x"])), ColumnSummary.of(pa.array([1]))
    nothing = ColumnSummary.of(pa.array([None]))

    assert merge_summaries([nothing, number]).profile("column").kind == "number"
    mixed = merge_summaries([number, text, nothing]).profile("column")
    assert (mixed.kind, mixed.rows, mixed.missing) == ("text", 3, 1)
    assert top(mixed) == {"1": 1, "x": 1}


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_text_that_is_not_utf8_is_profiled_with_marks(type_: pa.DataType) -> None:
    raw = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    stored = pa.array([b"caf\xe9", b"tea", b"tea", None], raw.get(type_, pa.binary_view()))
    found = ColumnSummary.of(stored.view(type_)).profile("drink")
    assert (found.kind, found.missing, top(found)) == ("text", 1, {"tea": 2, "caf\ufffd": 1})
