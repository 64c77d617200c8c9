"""Rejected rows: each with its file, row number, reason and record."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.parsing import is_text
from components.ingest.sources.log import FILE, ROW
from components.shared.contracts.tables import REJECTS_SCHEMA

# What a reason says before the value that it shows; reasons are counted without their values.
BUT_IS = ", not "

_RECORD_CHARACTERS = 4096
_VALUE_CHARACTERS = 200
_SHOWN_CHARACTERS = 300
# What pyarrow 25 raises where Python has no such value; an unknown time zone is a KeyError.
_UNREADABLE = (ValueError, OverflowError, KeyError, pa.ArrowException)


def rejects_of(rows: pa.Table, reasons: pa.Array) -> pa.Table:
    """Return rejected rows as a table of `REJECTS_SCHEMA`.

    Args:
        rows: The rows, with `_file` and `_row`.
        reasons: `(rows,)` strings.
    """
    described = rows.drop_columns([FILE, ROW])
    columns = {name: _values(described[name]) for name in described.column_names}
    records = [
        _record(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
    ]
    return pa.table(
        {
            "file": pc.cast(rows[FILE], pa.string()),
            "row": rows[ROW],
            "reason": reasons,
            "record": pa.array(records, pa.string()),
        },
        schema=REJECTS_SCHEMA,
    )


def reason_kind(reason: str) -> str:
    """Return a reason without the value that it shows.

    Example:
    ```python
    assert reason_kind('age must be a finite number, not "old"') == "age must be a finite number"
    ```
    """
    return reason.partition(f'{BUT_IS}"')[0]


def quoted(value: Any) -> str:
    """Return a value in quotes for a reason, at most 40 characters of it."""
    return json.dumps(_cut(str(value), 40), ensure_ascii=False)


def shown_values(column: pa.Array) -> list[Any]:
    """Return a column as Python values; those that Python cannot have become text."""
    return _values(pa.chunked_array([column]))


def limited(rejects: pa.RecordBatch) -> pa.RecordBatch:
    """Cut the records of a batch of `REJECTS_SCHEMA` to some kB."""
    longest = pc.max(pc.utf8_length(rejects["record"])).as_py()
    if longest is None or longest <= _RECORD_CHARACTERS:
        return rejects
    columns = dict(zip(rejects.schema.names, rejects.columns, strict=True))
    columns["record"] = pa.array(
        [_cut(record, _RECORD_CHARACTERS) for record in columns["record"].to_pylist()], pa.string()
    )
    return pa.RecordBatch.from_pydict(columns, schema=REJECTS_SCHEMA)


def examples(rejects: pa.Table, at_most: int = 5) -> str:
    """Show some rejects as indented lines: one of each kind of reason first, then others.

    Args:
        rejects: A table of `REJECTS_SCHEMA`.
        at_most: Number of lines.

    Returns:
        The lines under a heading; empty if there are no rejects.
    """
    if not rejects.num_rows:
        return ""
    first: dict[str, int] = {}
    for row, reason in enumerate(rejects["reason"].to_pylist()):
        first.setdefault(reason_kind(reason), row)
    chosen = list(first.values())[:at_most]
    others = (row for row in range(rejects.num_rows) if row not in chosen)
    chosen += [row for row, _ in zip(others, range(at_most - len(chosen)), strict=False)]
    lines = [
        _cut(
            f"  {row['file']}, row {row['row']}: {row['reason']}: {row['record']}",
            _SHOWN_CHARACTERS,
        )
        for row in rejects.take(pa.array(chosen)).to_pylist()
    ]
    return "\nExamples:\n" + "\n".join(lines)


def _record(record: dict[str, Any]) -> str:
    # Bytes and decimals, which JSON does not have, become text.
    text = json.dumps(record, ensure_ascii=False, default=str)
    if len(text) > _RECORD_CHARACTERS:
        cut = {
            _cut(name, _VALUE_CHARACTERS): _cut(str(value), _VALUE_CHARACTERS)
            for name, value in record.items()
        }
        text = _cut(json.dumps(cut, ensure_ascii=False), _RECORD_CHARACTERS)
    return text.encode(errors="replace").decode()  # lone surrogates, which Arrow does not take


def _cut(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    return f"{text[:characters]}… ({len(text):,} characters)"


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        return list(column.to_pylist())
    except _UNREADABLE:
        # Text that is not UTF-8, times that Python's datetime does not have.
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except _UNREADABLE:
        if is_text(scalar.type):
            return scalar.as_buffer().to_pybytes().decode(errors="replace")
        if pa.types.is_list(scalar.type) or pa.types.is_large_list(scalar.type):
            return [_value(element) for element in scalar.values]
        if pa.types.is_dictionary(scalar.type):
            return _value(scalar.value)
        if pa.types.is_temporal(scalar.type):
            stored = pa.int32() if pa.types.is_date32(scalar.type) else pa.int64()
            return f"{scalar.cast(stored)} ({scalar.type})"
        return f"<{str(scalar.type)[:_VALUE_CHARACTERS]}>"
