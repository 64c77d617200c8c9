"""Sequences: a line has a user and then the user's items in the order of time."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import POSITION, FileFormat
from components.ingest.sources.bad_records import BadRecord, Parsed, has_long_line, is_utf8
from components.ingest.sources.delimited import not_encoded, too_long
from components.ingest.sources.text_layout import TextLayout
from components.ingest.sources.text_stream import MAX_LINE_BYTES
from components.shared.runtime.errors import InputError

_NAMES = ("user_id", "item_id")
_LONGEST_ID = 1000  # bytes; a user's id is repeated for each item
_LINES = 1000
_LEAST_LINES = 3


def sequence_names(how: FileFormat, name: str) -> tuple[str, str, str]:
    """Return the columns of a file: of the user, of the item, and of the item's position.

    Args:
        how: What is known of the format.
        name: The file's name in messages.

    Raises:
        InputError: If the config does not name two columns.
    """
    names = tuple(how.names or _NAMES)
    if len(names) != 2 or len({*names, POSITION}) != 3:
        raise InputError(
            f"{name}: names must be two with format sequences, those of the user's and of the "
            f"item's column, and other than {POSITION!r}; by default they are "
            f"{' and '.join(_NAMES)}."
        )
    return names[0], names[1], POSITION


def looks_like_sequences(sample: str) -> bool:
    """Return whether text has a user and the user's items on each line, separated by spaces.

    So it is if all lines begin with a value of their own and have others after it, different in
    number, which come again on other lines. With a tab, the text is taken for a table.

    Args:
        sample: The beginning of a file.
    """
    lines = sample.splitlines()[:_LINES]
    if len(lines) > 1:
        lines.pop()  # which may be unfinished
    values = [line.split() for line in lines]
    if "\t" in sample or len(values) < _LEAST_LINES or any(len(line) < 2 for line in values):
        return False
    if any(re.search(r"[^\w.:@+/-]", value) for line in values for value in line):
        return False
    users = {line[0] for line in values}
    items = [item for line in values for item in set(line[1:])]
    several_lengths = len({len(line) for line in values}) > 2
    return len(users) == len(values) and several_lengths and len(set(items)) < len(items)


class SequenceParser:
    """Parses blocks of lines of a file: a row for each item of a line.

    Args:
        names: The columns; see `sequence_names`.
        wanted: The columns to return.
        text: How the file is written; without a delimiter, spaces and tabs separate values.
    """

    def __init__(self, names: Sequence[str], wanted: Sequence[str], text: TextLayout):
        self._names = names
        self._wanted = wanted
        self._delimiter = text.delimiter
        self._comment = text.comment.encode() if text.comment else None
        self._encoding = text.encoding

    def parse(self, data: bytes, first_line: int, last: bool = True) -> Parsed:
        """Parse a block of whole lines.

        Args:
            data: The lines, each with `\\n` as its end.
            first_line: The number of the first one.
            last: Not used: no record continues in the next block.

        Returns:
            The rows with the wanted columns: two of strings, and `int64` positions from 1.
            The number of a row is that of its line.
        """
        bad: list[BadRecord] = []
        lines, numbers = self._sound(data, first_line, bad)
        lists = self._split(pa.array(lines, pa.string()))
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        values = lists.flatten()
        first = np.cumsum(lengths) - lengths
        users = pc.utf8_trim_whitespace(values.take(pa.array(first)))
        reasons = _reasons(users, lengths)
        for at in np.flatnonzero(reasons != ""):
            bad.append(BadRecord(int(numbers[at]), str(reasons[at]), lines[at][:1000]))
        items = np.where(reasons == "", lengths - 1, 0)
        of_line = np.repeat(np.arange(len(lines)), items)
        position = np.arange(len(of_line)) - np.repeat(np.cumsum(items) - items, items) + 1
        columns = {
            self._names[0]: pa.DictionaryArray.from_arrays(
                pa.array(of_line.astype(np.int32)), users
            ),
            self._names[1]: values.take(pa.array(first[of_line] + position)),
            self._names[2]: pa.array(position),
        }
        table = pa.table({name: columns[name] for name in self._wanted})
        return Parsed(table, numbers[of_line], bad)

    def _sound(
        self, data: bytes, first_line: int, bad: list[BadRecord]
    ) -> tuple[list[bytes], np.ndarray]:
        """Return the lines that can be divided and their numbers; note the others."""
        lines = data[:-1].split(b"\n")
        numbers = np.arange(first_line, first_line + len(lines))
        if not self._comment and is_utf8(data) and not has_long_line(data, MAX_LINE_BYTES):
            return lines, numbers
        kept = []
        for at, line in enumerate(lines):
            if self._comment and line.startswith(self._comment):
                continue
            if len(line) > MAX_LINE_BYTES:
                bad.append(BadRecord(int(numbers[at]), too_long(MAX_LINE_BYTES), line[:1000]))
            elif not is_utf8(line):
                bad.append(BadRecord(int(numbers[at]), not_encoded(self._encoding), line[:1000]))
            else:
                kept.append(at)
        return [lines[at] for at in kept], numbers[kept]

    def _split(self, lines: pa.Array) -> pa.Array:
        lines = pc.utf8_trim_whitespace(lines)
        if self._delimiter:
            return pc.split_pattern(lines, self._delimiter)
        return pc.utf8_split_whitespace(lines)


def _reasons(users: pa.Array, lengths: np.ndarray) -> np.ndarray:
    """Return why lines are no sequences: `(lines,)` texts, empty if they are."""
    size = pc.binary_length(users).to_numpy(zero_copy_only=False)
    return np.select(
        [(size == 0) & (lengths < 2), size == 0, lengths < 2, size > _LONGEST_ID],
        ["an empty line", "no user", "a user without items",
         f"the user's id is longer than {_LONGEST_ID} bytes"],
        "",
    )  # fmt: skip
