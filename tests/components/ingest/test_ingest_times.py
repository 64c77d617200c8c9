"""Times in every form, and the unit of plain numbers."""

import datetime
import decimal
import logging
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ingest_helpers import COLUMNS, csv_source, log_rows, run

from components.ingest.times import find_unit, iso, parse_times
from components.shared.runtime.errors import InputError

SECONDS = 1_700_000_000  # 2023-11-14T22:13:20Z
AUTO = {**COLUMNS, "timestamp_unit": "auto"}


def column(values: Any, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def seconds(values: Any, kind: pa.DataType | None = None, unit: Any = "s") -> list[int | None]:
    parsed = parse_times(column(values, kind), "ts", unit).values
    assert parsed.type == pa.int64()
    return parsed.to_pylist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000", SECONDS),
        (" +1700000000.9 ", SECONDS),
        ("1.7e9", SECONDS),
        ("2023-11-14", SECONDS - 80_000),
        ("2023-11-14T22:13:20", SECONDS),
        ("2023-11-14 22:13:20.123456", SECONDS),
        ("2023-11-14T22:13:20Z", SECONDS),
        ("2023-11-14T22:13:20 UTC", SECONDS),
        ("2023-11-15T03:43:20+05:30", SECONDS),
        ("2023-11-14T14:13:20,5-0800", SECONDS),
        ("2023-11-15T00:13+02", SECONDS - 20),
        ("2023-02-30", None),
        ("2023-13-01", None),
        ("14.11.2023", None),
        ("99999999999999999999", None),
        ("abc", None),
        ("", None),
    ],
)
def test_text_is_a_number_or_iso_8601(text: str, expected: int | None) -> None:
    # Beside other forms, since a column may mix them.
    assert seconds([text, "17", None, "2023-11-14T22:13:20Z"]) == [expected, 17, None, SECONDS]


@pytest.mark.parametrize(
    ("values", "kind", "unit"),
    [
        ([SECONDS], pa.int32(), "s"),
        ([SECONDS], pa.uint64(), "s"),
        ([SECONDS + 0.75], pa.float64(), "s"),
        ([SECONDS * 1000 + 999], pa.int64(), "ms"),
        ([SECONDS * 10**6 + 1], pa.int64(), "us"),
        ([SECONDS * 10**9 + 1], pa.int64(), "ns"),
        ([SECONDS * 1e9], pa.float64(), "ns"),
        ([decimal.Decimal("1700000000.50")], None, "s"),
        ([SECONDS], pa.timestamp("s"), "ms"),  # the unit is for plain numbers
        ([SECONDS * 1000], pa.timestamp("ms", "Europe/Berlin"), "s"),
        ([SECONDS * 10**6], pa.timestamp("us", "UTC"), "s"),
        ([SECONDS * 10**9 + 1], pa.timestamp("ns"), "s"),
        ([SECONDS * 1000], pa.date64(), "s"),
        ([str(SECONDS)], pa.string_view(), "s"),
        ([str(SECONDS)], pa.dictionary(pa.int8(), pa.string()), "s"),
        ([b"2023-11-14T22:13:20Z"], pa.binary(), "s"),
    ],
    ids=str,
)
def test_every_type_of_times_becomes_seconds(values: Any, kind: Any, unit: str) -> None:
    assert seconds(values, kind, unit) == [SECONDS]


def test_a_date_is_its_midnight() -> None:
    assert seconds([datetime.date(2023, 11, 14), None]) == [SECONDS - 80_000, None]


def test_times_beyond_year_9999_and_numbers_that_are_none_are_no_times() -> None:
    assert seconds([float("nan"), float("inf"), 1e300, None]) == [None] * 4
    assert seconds([2**64 - 1, 5], pa.uint64()) == [None, 5]
    assert seconds([2**62], pa.timestamp("s")) == [None]
    parsed = parse_times(column([float("nan"), float("inf"), None]), "ts", "s")
    assert parsed.missing.to_pylist() == [True, False, True]


@pytest.mark.parametrize("values", [[True], [[1]], [{"a": 1}], [datetime.timedelta(1)]], ids=str)
def test_a_column_of_another_type_is_one_clear_error(values: Any) -> None:
    with pytest.raises(InputError, match=r"source\.columns\.timestamp: the column 'ts' has the"):
        seconds(values)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("day", ["1990-01-02", "2023-11-14", "now"])
def test_the_unit_is_that_in_which_numbers_are_times_since_1990(unit: str, day: str) -> None:
    at = time.time() if day == "now" else datetime.datetime.fromisoformat(day).timestamp()
    number = int(at * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit])
    assert find_unit(column([number, number])) == unit
    assert find_unit(column([str(number), "abc", str(number), "7"])) == unit


def test_no_unit_fits_small_numbers_and_text_has_none() -> None:
    assert find_unit(column([1, 20_230_101])) is None
    assert find_unit(column(["2023-11-14"])) is None
    assert find_unit(column([], pa.int64())) is None


def test_a_time_is_shown_as_iso_8601_whatever_it_is() -> None:
    assert iso(0) == "1970-01-01"
    assert iso(SECONDS) == "2023-11-14T22:13:20Z"
    assert iso(1e30) == "second 1e+30 since 1970"


# --- a log ----------------------------------------------------------------------------------------


def rows_at(per_second: int, *, base: int = SECONDS) -> list[tuple[Any, ...]]:
    return [(user, item, stars, (base + ts) * per_second) for user, item, stars, ts in log_rows()]


def test_milliseconds_are_found_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = [*rows_at(1000), ("u1", 1, 5, 7), ("u1", 2, 5, 4_000_000_000_000), ("u1", 3, 5, "soon")]
    source = csv_source(tmp_path, log, columns=AUTO)
    with caplog.at_level(logging.INFO):
        ingested = run(tmp_path, source, max_reject_share=0.5, split="temporal")
    times = {row["ts"] for row in ingested.interactions}
    assert (min(times), max(times)) == (SECONDS + 1101, SECONDS + 2110)
    assert (
        "times are milliseconds, from 2023-11-14T22:31:41Z to 2023-11-14T22:48:30Z" in caplog.text
    )
    reasons = [row["reason"] for row in ingested.rejects]
    plausible = (
        "ts must be a time from 1990 to tomorrow, unless source.columns.timestamp_unit is set"
    )
    assert reasons == [
        f'{plausible}, not "7"',
        f'{plausible}, not "4000000000000"',
        "ts must be a time: a number, a date, or ISO 8601 text such as 2024-05-01T12:30:00Z, "
        'not "soon"',
    ]


def test_a_log_of_implausible_numbers_stops_with_the_reason_and_what_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path, csv_source(tmp_path, columns=AUTO))
    assert str(caught.value) == (
        "source.columns.timestamp: the first 110 times of 'ts' are numbers that are no plausible "
        "times in any unit: as seconds since 1970, they are from 1970-01-01T00:18:21Z to "
        "1970-01-01T00:35:10Z. Times are expected from 1990 to tomorrow. If they are right, set "
        "source.columns.timestamp_unit to s, ms, us or ns, and every time is accepted; if they "
        "are not times, remove source.columns.timestamp or name another column."
    )


def test_a_log_of_the_future_stops(tmp_path: Path) -> None:
    log = [(user, item, stars, f"2999-01-01T00:00:{ts % 60:02}") for user, item, stars, ts in
           log_rows()]  # fmt: skip
    with pytest.raises(
        InputError, match="from 2999-01-01T00:00:01Z to 2999-01-01T00:00:50Z, which is not"
    ):
        run(tmp_path, csv_source(tmp_path, log, columns=AUTO))


def test_with_a_unit_every_time_is_accepted(tmp_path: Path) -> None:
    source = csv_source(tmp_path, columns={**COLUMNS, "timestamp_unit": "ms"})
    assert {row["ts"] for row in run(tmp_path, source).interactions} == {1, 2}
