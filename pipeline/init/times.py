"""Which columns are times, in which unit, and which are times in a form that is not read."""

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import TimestampUnit
from components.ingest.times import Times, parse_times, plain_numbers, unit_of
from components.shared.contracts.data_profile import ColumnProfile
from pipeline.init.table_look import TableLook
from pipeline.init.words import ITEM, USER, has_word

_LOOKED_AT = 10_000
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_CLOCK = r"\d{1,2}:\d{2}"
_FORMS = re.compile(
    rf"""
    \b{_MONTH}\b .* \b\d{{4}}\b                     # Tue Apr 03 18:00:06 +0000 2012; July 5, 2012
    | \b\d{{1,2}}[ -]{_MONTH}[ -]\d{{2,4}}\b         # 5 July 2012
    | ^\d{{1,4}}[/.]\d{{1,2}}[/.]\d{{2,4}}\b         # 12/1/2010 8:26; 2010/12/01
    | ^\d{{1,2}}-\d{{1,2}}-\d{{4}}\b                 # 01-12-2010
    | ^\d{{1,2}}\ \d{{1,2}},\ \d{{4}}$               # 02 28, 2014
    | ^\d{{4}}-\d{{1,2}}-\d{{1,2}}\b | ^{_CLOCK}(:\d{{2}})?$
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_time(table: TableLook, name: str) -> bool:
    """Return whether a column's values are plausible times."""
    column = table.columns[name]
    if column.kind == "time":
        return True
    if column.numbers is not None:
        # Ids may be numbers as large as times.
        return time_unit(column) is not None and not has_word(name, USER | ITEM | {"id"})
    texts = _texts(table, name)
    if texts is None or len(plain_numbers(texts)):
        return False
    times = parse_times(texts, name, "s").values
    return len(times) - times.null_count >= 0.99 * len(times)


def time_unit(column: ColumnProfile) -> TimestampUnit | None:
    """Return the unit in which nearly all numbers are plausible times; None if in none."""
    if column.numbers is None:
        return None
    return unit_of(np.array(column.numbers.deciles[1:10]))


def unread_time(table: TableLook, name: str) -> str | None:
    """Return a value of a column of times in a form that is not read; None if it is no such."""
    texts = _texts(table, name)
    if texts is None or table.columns[name].mean_length > 8 or is_time(table, name):
        return None
    values = [value.strip() for value in texts.slice(0, 1000).to_pylist() if value.strip()]
    found = sum(len(value) <= 40 and _FORMS.search(value) is not None for value in values)
    return values[0] if values and found >= 0.95 * len(values) else None


class TimeShares(NamedTuple):
    """Shares of the rows with a time.

    Args:
        unreadable: What is no time.
        implausible: Times before 1990 or in the future.
    """

    unreadable: float
    implausible: float


def time_shares(table: TableLook, name: str) -> TimeShares:
    """Return which shares of a column's first times ingest would reject."""
    values = table.sample[name].drop_null()
    if pa.types.is_string(values.type):
        values = values.filter(pc.not_equal(pc.utf8_trim_whitespace(values), ""))
    if not len(values):
        return TimeShares(0.0, 0.0)
    unit = time_unit(table.columns[name]) or "s"
    times = Times.plausible(unit)
    parsed = parse_times(values, name, unit).values
    seconds = parsed.drop_null().to_numpy()
    bad = int(((seconds < times.earliest) | (seconds > times.latest)).sum())
    return TimeShares(parsed.null_count / len(values), bad / len(values))


def _texts(table: TableLook, name: str) -> pa.ChunkedArray | None:
    """Return the first texts of a column that is text; None if it is not, or has none."""
    column = table.columns[name]
    if column.kind != "text" or not column.present or column.numbers is not None:
        return None
    texts = table.sample[name].drop_null()
    texts = texts.filter(pc.not_equal(pc.utf8_trim_whitespace(texts), "")).slice(0, _LOOKED_AT)
    return texts if len(texts) else None
