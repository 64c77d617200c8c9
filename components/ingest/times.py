"""Times in any form, and the unit of those that are plain numbers."""

import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import TimestampUnit
from components.ingest.parsing import Parsed, is_text, plain, utf8
from components.shared.runtime.arrow import one_array
from components.shared.runtime.errors import InputError
from components.shared.runtime.number_text import numbers_in

UNIT_NAMES: dict[TimestampUnit, str] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
EXPECTED_TIME = "a time: a number, a date, or ISO 8601 text such as 2024-05-01T12:30:00Z"

PER_SECOND: dict[TimestampUnit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EARLIEST = 631_152_000  # 1990-01-01
_DAY = 24 * 3600
_YEAR_1, _YEAR_10_000 = -62_135_596_800, 253_402_300_800
_WHOLE = r"^[+-]?\d{1,18}$"
_ISO = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<time>\d{2}:\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?"
    r"(?: ?(?P<zone>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?)?$"
)


@dataclass(frozen=True)
class Times:
    """How the times of a log are read.

    Args:
        unit: The unit of plain numbers.
        earliest: Times before it are rejected, in seconds since 1970.
        latest: Times after it are rejected.
    """

    unit: TimestampUnit = "s"
    earliest: float = -math.inf
    latest: float = math.inf

    @property
    def limited(self) -> bool:
        """Whether not every time is accepted."""
        return not math.isinf(self.latest)

    @classmethod
    def plausible(cls, unit: TimestampUnit, now: float | None = None) -> "Times":
        """Accept times from 1990 to a day in the future."""
        return cls(unit, _EARLIEST, (time.time() if now is None else now) + _DAY)


SECONDS = Times()


def parse_times(values: pa.ChunkedArray, name: str, unit: TimestampUnit) -> Parsed:
    """Convert a column to seconds since 1970, rounded down.

    Args:
        values: Numbers; text, each value a number or ISO 8601, which is UTC unless it
            names a zone; dates; or timestamps.
        name: The column's name, for messages.
        unit: The unit of plain numbers.

    Returns:
        `(rows,) int64`. What is not a time of the years 1 to 9999 is null.

    Raises:
        InputError: If the column's type is not one of times, or it is damaged.
    """
    try:
        array = plain(one_array(values))
        missing = pc.is_null(array, nan_is_null=pa.types.is_floating(array.type))
        seconds = _seconds(array, unit)
    except pa.ArrowNotImplementedError:
        raise InputError(
            f"source.columns.timestamp: the column {name!r} has the type "
            f"{str(one_array(values).type)[:100]}, which is not one of times. Times are numbers, "
            "dates, timestamps, or text in ISO 8601."
        ) from None
    except pa.ArrowException as error:
        raise InputError(
            f"The column {name!r} is damaged ({str(error)[:200]}). Write the file again."
        ) from error
    if is_text(array.type):
        blank = pc.equal(pc.utf8_trim_whitespace(utf8(array)), "")
        missing = pc.or_(missing, pc.fill_null(blank, False))
    return Parsed(seconds, missing)


def find_unit(values: pa.ChunkedArray) -> TimestampUnit | None:
    """Find the unit in which most plain numbers are times between 1990 and tomorrow.

    Args:
        values: The first times of a log. The units' ranges do not overlap.

    Returns:
        The unit; None if there are no plain numbers, or no unit fits most of them.
    """
    return unit_of(plain_numbers(values))


def unit_of(numbers: np.ndarray) -> TimestampUnit | None:
    """Find the unit in which most numbers are times between 1990 and tomorrow.

    Args:
        numbers: `(numbers,) float64`.

    Returns:
        The unit; None if there are no numbers, or no unit fits most of them.
    """
    if not len(numbers):
        return None
    latest = time.time() + _DAY
    for unit, per_second in PER_SECOND.items():
        seconds = numbers / per_second
        if np.mean((seconds >= _EARLIEST) & (seconds <= latest)) > 0.5:
            return unit
    return None


def plain_numbers(values: pa.ChunkedArray) -> np.ndarray:
    """Return the plain numbers among times: `(numbers,) float64`."""
    array = plain(one_array(values))
    if is_text(array.type):
        array = numbers_in(utf8(array))
    elif not _is_number(array.type):
        return np.empty(0)
    numbers = pc.cast(pc.drop_null(array), pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers[np.isfinite(numbers)]


def iso(seconds: float) -> str:
    """Write a time as ISO 8601, without the time of day if that is midnight.

    Example:
    ```python
    assert iso(0) == "1970-01-01"
    ```
    """
    if not _YEAR_1 <= seconds < _YEAR_10_000:
        return f"second {seconds:g} since 1970"
    text = datetime.fromtimestamp(int(seconds // 1), UTC).isoformat().replace("+00:00", "Z")
    return re.sub("T00:00:00Z$", "", text)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _seconds(array: pa.Array, unit: TimestampUnit) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.int64())
    if is_text(kind):
        return _of_text(pc.utf8_trim_whitespace(utf8(array)), unit)
    if pa.types.is_timestamp(kind):
        return _whole(pc.cast(array, pa.int64()), kind.unit)
    if pa.types.is_date64(kind):
        return _whole(pc.cast(array, pa.int64()), "ms")
    if pa.types.is_date32(kind):
        days = pc.cast(pc.cast(array, pa.int32()), pa.int64())
        return _in_range(pc.multiply(days, _DAY))
    if pa.types.is_integer(kind):
        if pa.types.is_uint64(kind):
            large = pc.greater(array, pa.scalar(2**63 - 1, pa.uint64()))
            array = pc.if_else(large, None, array)
        return _whole(pc.cast(array, pa.int64()), unit)
    if _is_number(kind):
        return _fractional(pc.cast(array, pa.float64(), safe=False), unit)
    raise pa.ArrowNotImplementedError(f"{kind} is no time")


def _whole(values: pa.Array, unit: TimestampUnit) -> pa.Array:
    numbers = pc.fill_null(values, 0).to_numpy(zero_copy_only=False) // PER_SECOND[unit]
    return _in_range(pc.if_else(pc.is_valid(values), pa.array(numbers), None))


def _fractional(values: pa.Array, unit: TimestampUnit) -> pa.Array:
    seconds = pc.floor(pc.divide(values, float(PER_SECOND[unit])))
    fits = pc.and_(pc.greater_equal(seconds, _YEAR_1), pc.less(seconds, _YEAR_10_000))
    return pc.cast(pc.if_else(pc.fill_null(fits, False), seconds, None), pa.int64())


def _in_range(seconds: pa.Array) -> pa.Array:
    fits = pc.and_(pc.greater_equal(seconds, _YEAR_1), pc.less(seconds, _YEAR_10_000))
    return pc.if_else(fits, seconds, None)


def _of_text(text: pa.Array, unit: TimestampUnit) -> pa.Array:
    """Convert text: whole numbers exactly, other numbers, and ISO 8601."""
    whole = pc.if_else(pc.match_substring_regex(text, _WHOLE), text, None)
    found = _whole(pc.cast(pc.utf8_ltrim(whole, "+"), pa.int64()), unit)
    if found.null_count == text.null_count:
        return found
    found = pc.coalesce(found, _fractional(numbers_in(text), unit))
    if found.null_count == text.null_count:
        return found
    return pc.coalesce(found, _of_iso(text))


def _of_iso(text: pa.Array) -> pa.Array:
    parts = pc.extract_regex(text, _ISO)
    date, clock, second, zone = (
        pc.struct_field(parts, name) for name in ("date", "time", "second", "zone")
    )
    clock = pc.if_else(pc.equal(clock, ""), "00:00", clock)
    second = pc.if_else(pc.equal(second, ""), "00", second)
    joined = pc.binary_join_element_wise(date, clock, " ")
    joined = pc.binary_join_element_wise(joined, second, ":")
    time_of = pc.strptime(joined, format="%Y-%m-%d %H:%M:%S", unit="s", error_is_null=True)
    # Arrow 25 reads February 30 as March 2.
    exists = pc.equal(pc.strftime(time_of, format="%Y-%m-%d"), date)
    exists = pc.or_(exists, pc.equal(second, "60"))  # a leap second may be of the next day
    seconds = pc.cast(pc.if_else(exists, time_of, None), pa.int64())
    return _in_range(pc.subtract(seconds, _offset(zone)))


def _offset(zone: pa.Array) -> pa.Array:
    """Return the seconds by which zones such as `+0530` are ahead of UTC; 0 for other text."""
    digits = pc.replace_substring(zone, ":", "")
    numeric = pc.match_substring_regex(digits, r"^[+-]\d{2}")
    padded = pc.utf8_rpad(pc.if_else(numeric, digits, "+0000"), 5, "0")
    hours = pc.cast(pc.utf8_slice_codeunits(padded, 1, 3), pa.int64())
    minutes = pc.cast(pc.utf8_slice_codeunits(padded, 3, 5), pa.int64())
    ahead = pc.add(pc.multiply(hours, 3600), pc.multiply(minutes, 60))
    return pc.if_else(pc.starts_with(padded, "-"), pc.negate(ahead), ahead)
