"""Delimited text: blocks of lines become columns of strings with pyarrow's CSV reader.

pyarrow 25 reads on past an unclosed quote, to the next quote or to the end, and stops at
text that is not UTF-8. So blocks in which its rows are not the lines are divided into
records here, and what cannot be a record is set aside.
"""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.ingest.sources.bad_records import BadRecord, Parsed, has_long_line, is_utf8
from components.ingest.sources.text_layout import TextLayout
from components.ingest.sources.text_stream import MAX_LINE_BYTES

_SEPARATOR = b"\x1f"  # stands for a delimiter of several characters
_MAX_RECORD_LINES = 1000
# Lines that are looked at in vain for the end of a quoted field, in a whole file.
_VAIN_LINES = 1_000_000
_UNCLOSED = "a quote is not closed"


class DelimitedParser:
    """Parses blocks of lines of a file, in order.

    Args:
        names: The columns, by position; a name that occurs twice cannot be wanted.
        wanted: The columns to return.
        text: How the file is written.
    """

    def __init__(self, names: Sequence[str], wanted: Sequence[str], text: TextLayout):
        # Positions are names of their own, as columns that nobody wants may share one.
        self._columns = [str(position) for position in range(len(names))]
        self._wanted = {name: str(list(names).index(name)) for name in wanted}
        delimiter = text.delimiter.encode()
        self._long_delimiter = delimiter if len(delimiter) > 1 else b""
        self._delimiter = _SEPARATOR if self._long_delimiter else delimiter
        self._quoted = text.quoted
        self._comment = text.comment.encode() if text.comment else None
        self._encoding = text.encoding
        self._null_values = list(text.null_values)
        self._vain = _VAIN_LINES
        mark = re.escape(self._delimiter)
        # A field and the delimiter that follows it; atomic, so that no text takes more than one
        # pass.
        one = rb'(?>(?>"(?>[^"]+|"")*+"[^%b]*|[^"%b][^%b]*)?%b)' % ((mark,) * 4)
        self._fields = re.compile(one + b"*")
        # The same, but a quoted field ends with its quote; and with no quote elsewhere.
        self._strict = re.compile(rb'(?>(?>"(?>[^"]+|"")*+"|[^"%b][^%b]*)?(%b|\Z))' % ((mark,) * 3))
        self._clean = re.compile(rb'(?>(?>"(?>[^"]+|"")*+"|[^"%b]*)(%b|\Z))' % ((mark,) * 2))
        self._closed = re.compile(rb'[^"]|"(?>[^"]+|"")*+"')

    def parse(self, data: bytes, first_line: int, last: bool = True) -> Parsed:
        """Parse a block of whole lines.

        Args:
            data: The lines, each with `\\n` as its end.
            first_line: The number of the first one.
            last: Whether the file ends with the block.

        Returns:
            The rows with the wanted columns as strings. Blank lines are skipped.
        """
        if self._long_delimiter:
            data = data.replace(self._long_delimiter, _SEPARATOR)
        if self._is_simple(data):
            lines = data.count(b"\n")
            # With line breaks in values, a quote that is open at a line's end joins lines, so that
            # there are fewer records. Without them, pyarrow 25 would end the value there.
            table, invalid = self._read(data, multiline=self._quoted and b'"' in data)
            if table.num_rows + len(invalid) == lines and not self._ends_open(data):
                numbers = np.arange(first_line, first_line + lines)
                return self._sorted_out(table, invalid, numbers, [])
        return self._parse_lines(data, first_line, last)

    def _is_simple(self, data: bytes) -> bool:
        """Return whether each line can be expected to be one record."""
        return (
            b"\n\n" not in data
            and not data.startswith(b"\n")
            and not (self._comment and self._has_comment(data, self._comment))
            and not has_long_line(data, MAX_LINE_BYTES)
            and is_utf8(data)
        )

    @staticmethod
    def _has_comment(data: bytes, comment: bytes) -> bool:
        return data.startswith(comment) or b"\n" + comment in data

    def _read(self, data: bytes, multiline: bool) -> tuple[pa.Table, list[pa.csv.InvalidRow]]:
        invalid: list[pa.csv.InvalidRow] = []

        def set_aside(row: pa.csv.InvalidRow) -> str:
            invalid.append(row)
            return "skip"

        table = pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(
                column_names=self._columns, use_threads=False, block_size=len(data) + 1
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=self._delimiter.decode("latin-1"),
                quote_char='"' if self._quoted else False,
                invalid_row_handler=set_aside,
                ignore_empty_lines=False,
                newlines_in_values=multiline,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(self._columns, pa.string()),
                include_columns=list(self._wanted.values()) or self._columns[:1],
                strings_can_be_null=bool(self._null_values),
                null_values=self._null_values,
            ),
        )
        return table, invalid

    def _ends_open(self, data: bytes) -> bool:
        if not self._quoted:
            return False
        return self._is_open(data[data.rfind(b"\n", 0, -1) + 1 : -1])

    def _is_open(self, record: bytes) -> bool:
        """Return whether a record ends within a quoted field."""
        if not self._quoted or b'"' not in record:
            return False
        end = self._fields.match(record).end()  # type: ignore[union-attr]
        return end < len(record) and not self._closed.match(record, end)

    @staticmethod
    def _count(record: bytes, field: re.Pattern[bytes]) -> int:
        """Return the number of fields; 0 if one is not as the pattern says."""
        count = at = 0
        while match := field.match(record, at):
            count, at = count + 1, match.end()
            if not match[1]:
                return count
        return 0

    def _sorted_out(
        self,
        table: pa.Table,
        invalid: list[pa.csv.InvalidRow],
        numbers: np.ndarray,
        bad: list[BadRecord],
    ) -> Parsed:
        good = np.ones(len(numbers), bool)
        for row in invalid:
            good[row.number - 1] = False
            reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
            text = self._restored(row.text.encode("utf-8", "replace"))
            bad.append(BadRecord(int(numbers[row.number - 1]), reason, text))
        wanted = {name: table[column] for name, column in self._wanted.items()}
        return Parsed(pa.table(wanted), numbers[good], bad)

    def _restored(self, record: bytes) -> bytes:
        return record.replace(_SEPARATOR, self._long_delimiter) if self._long_delimiter else record

    def _parse_lines(self, data: bytes, first_line: int, last: bool) -> Parsed:
        lines = data.split(b"\n")
        lines.pop()
        records: list[bytes] = []
        numbers: list[int] = []
        bad: list[BadRecord] = []
        at = 0
        while at < len(lines):
            line, number = lines[at], first_line + at
            if not line or (self._comment and line.startswith(self._comment)):
                at += 1
                continue
            count = 1
            if self._is_open(line):
                count = self._lines_of_record(lines, at, last)
                if count < 0:  # it may continue in the next block
                    break
                if count == 0:
                    bad.append(BadRecord(number, _UNCLOSED, self._restored(line)))
                    at += 1
                    continue
            record = b"\n".join(lines[at : at + count])
            if len(record) > MAX_LINE_BYTES:
                bad.append(BadRecord(number, too_long(MAX_LINE_BYTES), record[:1000]))
            elif not is_utf8(record):
                bad.append(BadRecord(number, not_encoded(self._encoding), self._restored(record)))
            else:
                records.append(record)
                numbers.append(number)
            at += count
        parsed = self._parse_records(records, np.array(numbers, np.int64))
        parsed.bad += bad
        parsed.rest = [self._restored(line) for line in lines[at:]]
        return parsed

    def _lines_of_record(self, lines: list[bytes], at: int, last: bool) -> int:
        """Return how many lines the record has whose first line ends within a quoted field.

        Returns:
            0 if the quote is not closed at the end of a field; -1 if it may be closed
            in the next block.
        """
        record = lines[at]
        size = len(record)
        pieces = [record]
        for count in range(2, min(len(lines) - at, _MAX_RECORD_LINES) + 1):
            line = lines[at + count - 1]
            size += len(line) + 1
            self._vain -= 1
            if size > MAX_LINE_BYTES or self._vain < 0:
                return 0
            if b'"' not in line or self._is_open(b'"' + line):
                pieces.append(line)
                continue
            width = len(self._columns)
            fields = self._count(b"\n".join([*pieces, line]), self._strict)
            # A text that holds complete records is no text: its quote is not closed.
            inside = pieces[1:] if fields == width else [*pieces[1:], line]
            records = all(self._count(text, self._clean) == width for text in inside)
            if not fields or (records and (len(inside) > 1 or fields != width)):
                return 0
            return count
        at_end = at + len(pieces) == len(lines)
        return -1 if at_end and not last and len(pieces) < _MAX_RECORD_LINES else 0

    def _parse_records(self, records: list[bytes], numbers: np.ndarray) -> Parsed:
        """Parse records; what pyarrow divides differently is set aside."""
        data = b"\n".join(records) + b"\n" if records else b""
        if not records:
            empty = {name: pa.array([], pa.string()) for name in self._wanted}
            return Parsed(pa.table(empty), numbers)
        try:
            table, invalid = self._read(data, multiline=True)
            if table.num_rows + len(invalid) == len(records):
                return self._sorted_out(table, invalid, numbers, [])
        except pa.ArrowInvalid:
            pass  # found below
        if len(records) == 1:
            nothing = self._parse_records([], numbers[:0])
            nothing.bad = [
                BadRecord(
                    int(numbers[0]), "cannot be divided into fields", self._restored(records[0])
                )
            ]
            return nothing
        half = len(records) // 2
        first = self._parse_records(records[:half], numbers[:half])
        second = self._parse_records(records[half:], numbers[half:])
        return Parsed(
            pa.concat_tables([first.table, second.table]) if self._wanted else first.table,
            np.concatenate([first.numbers, second.numbers]),
            first.bad + second.bad,
        )


def too_long(limit: int) -> str:
    """Return the reason for a record over the limit."""
    return f"longer than {limit >> 20} MB"


def not_encoded(encoding: str) -> str:
    """Return the reason for a record with bytes that are not in the file's encoding."""
    return f"not {encoding.upper()}"
