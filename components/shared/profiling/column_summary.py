"""A mergeable summary of a column, from which its profile is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.data_profile import ColumnProfile, Kind, Numbers, TopValue
from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.features.quantiles import QuantileSummary
from components.shared.features.statistics import merge_moments
from components.shared.runtime.arrow import one_array
from components.shared.runtime.number_text import numbers_in

MOST_DISTINCT = 200_000
_TOP = 100
_SHOWN = 80


@dataclass
class ColumnSummary:
    """Counts and distributions of some rows of a column.

    Args:
        kind: What the values are; None for rows of type null.
        rows: Number of rows.
        missing: Number of rows without a value.
        values: Number of values; other than the number of rows for lists.
        counts: `value`, `rows`: each distinct value; None if there are too many.
        numeric: Number of values that are numbers, or text that is one.
        whole: Number of these that are whole.
        numbers: Their distribution.
        mean: Their mean.
        squares: The sum of their squared deviations from the mean.
        words: Number of words in text.
        longest: Number of values of the longest list, or words of the longest text.
    """

    kind: Kind | None = None
    rows: int = 0
    missing: int = 0
    values: int = 0
    counts: pa.Table | None = field(default_factory=lambda: _counts([], []))
    numeric: int = 0
    whole: int = 0
    numbers: QuantileSummary | None = None
    mean: float = 0.0
    squares: float = 0.0
    words: int = 0
    longest: int = 0

    @classmethod
    def of(cls, column: pa.ChunkedArray | pa.Array) -> "ColumnSummary":
        """Summarize rows of a column of any type."""
        array = one_array(column)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind = profile_kind(array.type)
        if kind is None:
            return cls(rows=len(array), missing=len(array))
        if kind == "other":
            return cls("other", len(array), array.null_count, len(array) - array.null_count, None)
        if kind == "list":
            return _of_lists(array)
        return _of_values(array, kind)

    def profile(self, name: str) -> ColumnProfile:
        """Return the profile.

        Args:
            name: The column's name.
        """
        if self.kind == "list":
            mean_length = self.values / (self.rows or 1)
        else:
            mean_length = self.words / (self.values or 1)
        return ColumnProfile(
            name=name,
            kind=self.kind or "other",
            rows=self.rows,
            missing=self.missing,
            distinct=None if self.counts is None else self.counts.num_rows,
            top=self._top(),
            numbers=self._numbers() if self.values and self.numeric == self.values else None,
            longest=self.longest,
            mean_length=mean_length,
        )

    def _top(self) -> list[TopValue]:
        if self.counts is None:
            return []
        order = [("rows", "descending"), ("value", "ascending")]
        first = self.counts.sort_by(order).slice(0, _TOP).to_pylist()
        return [TopValue(value=row["value"][:_SHOWN], rows=row["rows"]) for row in first]

    def _numbers(self) -> Numbers | None:
        if self.numbers is None or not len(self.numbers.values):
            return None
        return Numbers(
            least=float(self.numbers.values[0]),
            greatest=float(self.numbers.values[-1]),
            mean=self.mean,
            deviation=float(np.sqrt(self.squares / self.numeric)),
            deciles=[self.numbers.value_at(share / 10) for share in range(11)],
            whole=self.whole == self.numeric,
        )


def profile_kind(type_: pa.DataType) -> Kind | None:
    """Return what values of an Arrow type are; None for the type null."""
    if pa.types.is_null(type_):
        return None
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or _is_view(type_):
        return "text"
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return "number"
    if pa.types.is_decimal(type_):
        return "number"
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return "time"
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return "list" if profile_kind(type_.value_type) in ("text", "number") else "other"
    return "other"


def merge_summaries(parts: Iterable[ColumnSummary]) -> ColumnSummary:
    """Merge the summaries of disjoint rows of a column."""
    parts = list(parts)
    merged = ColumnSummary()
    for part in parts:
        merged.kind = _joint_kind(merged.kind, part.kind)
        merged.numeric, merged.mean, merged.squares = merge_moments(
            (merged.numeric, merged.mean, merged.squares), (part.numeric, part.mean, part.squares)
        )
        merged.longest = max(merged.longest, part.longest)
        for name in ("rows", "missing", "values", "whole", "words"):
            setattr(merged, name, getattr(merged, name) + getattr(part, name))
    merged.counts = _merged_counts([part.counts for part in parts])
    numbers = [part.numbers for part in parts if part.numbers is not None]
    merged.numbers = QuantileSummary.merged(numbers) if numbers else None
    return merged


def _joint_kind(one: Kind | None, other: Kind | None) -> Kind | None:
    if one is None or other is None or one == other:
        return one or other
    return "text" if {one, other} <= {"text", "number", "time"} else "other"


def _merged_counts(parts: Sequence[pa.Table | None]) -> pa.Table | None:
    tables = [part for part in parts if part is not None]
    if len(tables) < len(parts) or not tables:
        return None
    if len(tables) == 1:
        return tables[0]
    summed = pa.concat_tables(tables).group_by("value").aggregate([("rows", "sum")])
    return _limited(pa.table({"value": summed["value"], "rows": summed["rows_sum"]}))


def _limited(counts: pa.Table) -> pa.Table | None:
    return counts if counts.num_rows <= MOST_DISTINCT else None


def _counts(values: Sequence[str] | pa.Array, rows: Sequence[int] | pa.Array) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.string()), "rows": pa.array(rows, pa.int64())})


def _of_values(array: pa.Array, kind: Kind) -> ColumnSummary:
    if kind == "text":
        array = _readable(array)
        missing = pc.equal(pc.utf8_trim_whitespace(array), "")
    elif kind == "number":
        array = pc.cast(array, _computable(array.type))
        missing = _missing_numbers(array)
    else:
        missing = pc.is_null(array)
    present = array.filter(pc.invert(pc.fill_null(missing, True)))
    distinct, rows = _distinct(present)
    summary = ColumnSummary(kind, len(array), len(array) - len(present), len(present), None)
    if len(distinct) <= MOST_DISTINCT:
        summary.counts = _counts(pc.cast(distinct, pa.string()), rows)
    _add_numbers(summary, distinct, rows)
    if kind == "text":
        trimmed = pc.utf8_trim_whitespace(distinct)
        words = pc.list_value_length(pc.utf8_split_whitespace(trimmed)).to_numpy()
        summary.words = int((words * rows).sum())
        summary.longest = int(words.max(initial=0))
    return summary


def _readable(array: pa.Array) -> pa.Array:
    """Return text as `string`; bytes that are not UTF-8, which Parquet may hold, are replaced."""
    try:
        array = pc.cast(array, pa.string())
        array.validate(full=True)
    except pa.ArrowInvalid:
        if pa.types.is_string_view(array.type):
            array = pc.cast(array, pa.binary_view())
        values = pc.cast(array, pa.large_binary()).to_pylist()
        texts = [None if value is None else value.decode(errors="replace") for value in values]
        return pa.array(texts, pa.string())
    return array


def _computable(type_: pa.DataType) -> pa.DataType:
    """Return the type in which pyarrow 25 can count and cast numbers of a type."""
    if pa.types.is_boolean(type_):
        return pa.int64()
    return pa.float32() if pa.types.is_float16(type_) else type_


def _distinct(present: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return the distinct values of an array without nulls, and the number of rows of each."""
    if pa.types.is_integer(present.type) or pa.types.is_floating(present.type):
        # Many times faster than Arrow's hash table where most values differ.
        values, rows = np.unique(present.to_numpy(zero_copy_only=False), return_counts=True)
        return pa.array(values, present.type), rows
    counted = pc.value_counts(present)
    return counted.field("values"), counted.field("counts").to_numpy()


def _missing_numbers(array: pa.Array) -> pa.Array:
    if pa.types.is_floating(array.type):
        return pc.is_null(array, nan_is_null=True)
    if pa.types.is_int64(array.type):
        return pc.or_kleene(pc.is_null(array), pc.equal(array, MISSING_INTEGER))
    return pc.is_null(array)


def _of_lists(array: pa.Array) -> ColumnSummary:
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    flat = ColumnSummary.of(pc.list_flatten(array))
    return ColumnSummary(
        "list", len(array), int((lengths == 0).sum()), flat.values, flat.counts, flat.numeric,
        flat.whole, flat.numbers, flat.mean, flat.squares, 0, int(lengths.max(initial=0)),
    )  # fmt: skip


def _add_numbers(summary: ColumnSummary, distinct: pa.Array, rows: np.ndarray) -> None:
    """Add the distribution of those distinct values that are numbers."""
    if summary.kind == "time":
        return
    if summary.kind == "text":
        distinct = numbers_in(distinct)  # null, which becomes NaN, for other text
    values = pc.cast(distinct, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    finite = np.isfinite(values)
    values, rows = values[finite], rows[finite].astype(np.float64)
    if not len(values):
        return
    summary.numeric = int(rows.sum())
    summary.whole = int(rows[values == np.floor(values)].sum())
    summary.mean = float(np.average(values, weights=rows))
    summary.squares = float((rows * (values - summary.mean) ** 2).sum())
    summary.numbers = QuantileSummary.weighted(values, rows)


def _is_view(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(type_))
