"""JSON Lines: blocks become columns with pyarrow's JSON reader.

pyarrow 25 refuses a whole block for one bad line or one value of another type; such a
block is read line by line.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from components.ingest.sources.bad_records import BadRecord, Parsed, has_long_line, is_utf8
from components.ingest.sources.delimited import not_encoded, too_long
from components.ingest.sources.text_stream import MAX_LINE_BYTES
from components.shared.runtime.errors import InputError

_LINES = 1000
_LIST = pa.list_(pa.string())
_INT64 = range(-(2**63), 2**63)


def json_columns(sample: str, name: str) -> dict[str, pa.DataType]:
    """Find the columns of JSON Lines and their types.

    Args:
        sample: The beginning of the file.
        name: The file's name in messages.

    Returns:
        Types by name: `string`, `int64`, `double`, `bool`, `list<string>`; `null` if no
        value was seen; `struct` for objects, and `string` for values of several types.

    Raises:
        InputError: If no line is a JSON object.
    """
    if sample.lstrip().startswith("["):
        raise InputError(
            f"{name} is a JSON array, not a JSON object on each line. Convert it, e.g. with "
            "jq -c '.[]'."
        )
    kinds: dict[str, Counter[str]] = {}
    lines = sample.split("\n")
    for line in lines[:_LINES]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            for key, item in value.items():
                kinds.setdefault(key, Counter())[_kind(item)] += 1
    if not kinds:
        raise InputError(f"{name} has no line that is a JSON object with keys.")
    return {key: _type_of(found) for key, found in kinds.items()}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in _INT64 else "string"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "struct"
    return {str: "string", float: "float", list: "list"}.get(type(value), "struct")


def _type_of(found: Counter[str]) -> pa.DataType:
    """Return the type of most values; rows with others are rejected."""
    del found["null"]
    if not found:
        return pa.null()
    if set(found) == {"struct", "list"}:  # lists of objects, and empty ones
        return pa.struct([])
    most = found.most_common(1)[0][0]
    if most in ("struct", "list"):
        return pa.struct([]) if most == "struct" else _LIST
    kinds = set(found) - {"struct", "list"}
    if kinds == {"int", "float"}:
        return pa.float64()
    if len(kinds) > 1:
        return pa.string()
    return {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "string": pa.string(),
    }[kinds.pop()]


class JsonParser:
    """Parses blocks of JSON Lines.

    Args:
        wanted: The columns to return, with the types from `json_columns`.
        comment: Lines that begin with it are skipped.
        encoding: The file's encoding, for reasons.
    """

    def __init__(
        self,
        wanted: Mapping[str, pa.DataType],
        comment: str | None = None,
        encoding: str = "utf-8",
    ):
        self._encoding = encoding
        self._types = {
            name: pa.string() if pa.types.is_null(kind) else kind for name, kind in wanted.items()
        }
        self._comment = comment.encode() if comment else None

    def parse(self, data: bytes, first_line: int, last: bool = True) -> Parsed:
        """Parse a block of whole lines.

        Args:
            data: The lines, each with `\\n` as its end.
            first_line: The number of the first one.
            last: Whether the file ends with the block.

        Returns:
            The rows with the wanted columns. In a block that has a value of another
            type, all columns but lists and booleans are text. Blank lines are skipped.
        """
        lines = data.count(b"\n")
        if not has_long_line(data, MAX_LINE_BYTES) and is_utf8(data):
            try:
                table = self._read(data)
            except pa.ArrowException:
                table = None
            # pyarrow skips blank lines and reads two objects on a line, or one over two lines.
            if table is not None and table.num_rows == lines and self._each_line_is_object(data):
                return Parsed(table, np.arange(first_line, first_line + lines))
        return self._parse_lines(data, first_line)

    @staticmethod
    def _each_line_is_object(data: bytes) -> bool:
        return data.startswith(b"{") and data.count(b"\n{") == data.count(b"\n") - 1

    def _read(self, data: bytes) -> pa.Table:
        return pa.json.read_json(
            pa.BufferReader(data),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pa.json.ParseOptions(
                explicit_schema=pa.schema(list(self._types.items())),
                unexpected_field_behavior="ignore",
                newlines_in_values=False,
            ),
        )

    def _parse_lines(self, data: bytes, first_line: int) -> Parsed:
        columns: dict[str, list[Any]] = {name: [] for name in self._types}
        numbers: list[int] = []
        bad: list[BadRecord] = []
        for number, line in enumerate(data[:-1].split(b"\n"), first_line):
            if not line.strip() or (self._comment and line.startswith(self._comment)):
                continue
            row = self._row(line)
            if isinstance(row, str):
                bad.append(BadRecord(number, row, line[:5000]))
                continue
            numbers.append(number)
            for name, values in columns.items():
                values.append(row.get(name))
        table = pa.table({name: _typed(columns[name], kind) for name, kind in self._types.items()})
        return Parsed(table, np.array(numbers, np.int64), bad)

    def _row(self, line: bytes) -> dict[str, Any] | str:
        """Return the wanted values as text and lists of text, or why there are none."""
        if len(line) > MAX_LINE_BYTES:
            return too_long(MAX_LINE_BYTES)
        if not is_utf8(line):
            return not_encoded(self._encoding)
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return "not JSON"
        if not isinstance(value, dict):
            return "not a JSON object"
        row = {}
        for name, kind in self._types.items():
            try:
                row[name] = _plain(value.get(name), pa.types.is_list(kind))
            except ValueError as error:
                return f"{name} {error}"
        return row


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return a column of texts; of booleans, as in other blocks, if all values are some."""
    if pa.types.is_list(kind):
        return pa.array(values, _LIST)
    texts = pa.array(values, pa.string())
    if pa.types.is_boolean(kind) and set(values) <= {"0", "1", None}:
        return pc.cast(texts, kind)
    return texts


def _plain(value: Any, is_list: bool) -> Any:
    """Return a value as text, or as a list of texts.

    Raises:
        ValueError: If it is neither, or holds half of a surrogate pair.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        raise ValueError("is an object")
    if isinstance(value, list):
        if not is_list:
            raise ValueError("is a list")
        if any(isinstance(item, dict | list) for item in value):
            raise ValueError("is a list of lists or objects")
        return [_plain(item, False) for item in value if item is not None]
    if is_list:
        raise ValueError("is not a list")
    if isinstance(value, bool):
        return str(int(value))
    text = value if isinstance(value, str) else repr(value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("is not Unicode text")
    return text
