"""Finds how delimited text is written: delimiter, quotes, header, comment lines, types."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from components.ingest.config import FileFormat
from components.shared.runtime.errors import InputError

_DELIMITERS = ("\t", ",", ";", "|", "::", " ")
# Text has spaces, and seldom two colons.
_SCORES = {" ": -0.2, "::": 0.1}
_COMMENTS = ("#", "%")
_LINES = 200
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
_TYPED = re.compile(r"(.+):(token|float|token_seq|float_seq)")
_TYPES = {
    "token": pa.string(),
    "float": pa.float64(),
    "token_seq": pa.list_(pa.string()),
    "float_seq": pa.list_(pa.float64()),
}


@dataclass(frozen=True)
class TextLayout:
    """How text is written.

    Args:
        encoding: The encoding.
        delimiter: What separates the fields of a line; empty for any spaces, of sequences.
        quoted: Whether fields may be quoted with `"`.
        first_lines: Number of lines before the data: comments and header.
        comment: Lines that begin with it are skipped everywhere.
        types: The types from a header such as `user_id:token`.
        null_values: Texts that stand for a missing value.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    quoted: bool = True
    first_lines: int = 0
    comment: str | None = None
    types: dict[str, pa.DataType] = field(default_factory=dict)
    null_values: Sequence[str] = ()


def look_at_text(
    sample: str, name: str, encoding: str, how: FileFormat
) -> tuple[TextLayout, tuple[str, ...]]:
    """Find how delimited text is written.

    Args:
        sample: The beginning of the file.
        name: The file's name in messages.
        encoding: The file's encoding.
        how: What is known.

    Returns:
        The layout, and the names of the columns by position. Without a header, they
        are those of the config, or `column_1` and so on.

    Raises:
        InputError: If the config has a different number of columns than the file.
    """
    lines = re.split(r"\r\n|\r|\n", sample)
    if len(lines) > 1:
        lines.pop()  # unfinished
    comments, body = _leading_comments(lines, how.comment)
    comment = comments[-1] if comments else ""
    delimiter = (
        how.delimiter
        or _find_delimiter(body, comment, how.names)
        or _find_delimiter(body, comment)
        or ","
    )
    rows = [
        fields for fields in (split_fields(line, delimiter) for line in body[:_LINES]) if fields
    ]
    header = _header(comments, rows, delimiter, how)
    first_lines = len(lines) - len(body)
    if header is not None and header.in_body:
        first_lines += next(at for at, line in enumerate(body) if line.strip()) + 1
    width = len(header.names) if header else _usual_width(rows, None) if rows else 1
    names = tuple(how.names or (header.names if header else ()))
    if how.names and rows and len(how.names) != _usual_width(rows, header):
        raise InputError(
            f"{name} has {_usual_width(rows, header)} columns, but names has {len(how.names)}. "
            f"Its first line is {','.join(rows[0])[:200]!r}; check names and delimiter."
        )
    names = names or tuple(f"column_{number}" for number in range(1, width + 1))
    types: dict[str, pa.DataType] = {}
    typed = [_TYPED.fullmatch(column) for column in names]
    if all(typed) and typed:
        types = {match[1]: _TYPES[match[2]] for match in typed if match}
        names = tuple(match[1] for match in typed if match)
    names = tuple(column or f"column_{number}" for number, column in enumerate(names, 1))
    quoted = len(delimiter) == 1 and _quoted(body[:_LINES], delimiter, width)
    return TextLayout(
        encoding, delimiter, quoted, first_lines, how.comment, types, how.null_values
    ), names


@dataclass(frozen=True)
class _Header:
    names: tuple[str, ...]
    in_body: bool


def _leading_comments(lines: list[str], comment: str | None) -> tuple[list[str], list[str]]:
    """Separate the comment lines at the beginning from the others."""
    marks = (comment,) if comment else _COMMENTS
    at = 0
    while at < len(lines) and (not lines[at].strip() or lines[at].startswith(marks)):
        at += 1
    if at == len(lines):  # nothing but comments: they may be the data
        return [], lines
    comments = [line for line in lines[:at] if line.strip()]
    texts = []
    for line in comments:
        mark = next(mark for mark in marks if line.startswith(mark))
        while line.startswith(mark):
            line = line.removeprefix(mark)
        texts.append(line.strip(" "))
    return texts, lines[at:]


def split_fields(line: str, delimiter: str) -> list[str]:
    """Split a line into fields; none if it is blank. Quotes are removed."""
    if not line.strip():
        return []
    if len(delimiter) > 1:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return line.split(delimiter)


def _find_delimiter(lines: list[str], comment: str = "", names: list[str] | None = None) -> str:
    """Return the delimiter that divides most lines into the same number of fields, if any does.

    Args:
        lines: The lines, the first of which may be a header.
        comment: The comment before them, which may be a header: of several delimiters that
            fit, it shows which one is meant.
        names: The columns, if their number is known.
    """
    body = [line for line in lines[:_LINES] if line.strip()]
    best, best_score = "", 0.0
    for delimiter in _DELIMITERS:
        widths = [len(split_fields(line, delimiter)) for line in body]
        if not widths:
            continue
        if names is not None:
            width = len(names)
            share = widths.count(width) / len(widths)
        else:
            # The header seldom has a delimiter in a name; the body has, in text.
            width = widths[0]
            share = widths.count(width) / len(widths)
        if width < 2 or not share:
            continue
        score = share + _SCORES.get(delimiter, 0)
        if len(split_fields(comment, delimiter)) == width:
            score += 0.05
        if score > best_score + 1e-9:
            best, best_score = delimiter, score
    return best


def _usual_width(rows: list[list[str]], header: _Header | None) -> int:
    body = rows[1:] if header and header.in_body and len(rows) > 1 else rows
    return Counter(map(len, body)).most_common(1)[0][0]


def _header(
    comments: list[str], rows: list[list[str]], delimiter: str, how: FileFormat
) -> _Header | None:
    """Return the header: the first line, or a comment with as many names as the data has fields."""
    if not rows:
        return None
    if how.header is False:
        return None
    first = [field.strip() for field in rows[0]]
    if how.header:
        return _Header(tuple(first), True)
    if how.names is not None:
        return _Header(tuple(first), True) if first == how.names else None
    if comments and _is_names(comments[-1], rows[0], delimiter):
        return _Header(
            tuple(field.strip() for field in split_fields(comments[-1], delimiter)), False
        )
    if any(_NUMBER.fullmatch(field) for field in first):
        return None
    return _Header(tuple(first), True)


def _is_names(comment: str, first_row: list[str], delimiter: str) -> bool:
    fields = split_fields(comment, delimiter)
    return (
        len(fields) == len(first_row)
        and not any(_NUMBER.fullmatch(field) for field in fields)
        and any(_NUMBER.fullmatch(field) for field in first_row)
    )


def _quoted(lines: list[str], delimiter: str, width: int) -> bool:
    """Return whether quotes enclose fields, rather than being part of unquoted text.

    Args:
        lines: The lines of the data.
        delimiter: What separates their fields.
        width: How many fields a record has.
    """
    if delimiter in (",", ";"):
        return True
    lines = [line for line in lines if line.strip()]
    try:
        records = list(csv.reader([f"{line}\n" for line in lines], delimiter=delimiter))
    except csv.Error:
        return False
    whole = _share_of(width, records)
    whole_without = _share_of(width, [line.split(delimiter) for line in lines])
    if whole != whole_without:  # delimiters or line breaks in quotes
        return whole > whole_without
    enclosing = part = 0
    for line in lines:
        for text in line.split(delimiter):
            if text.startswith('"'):
                inside = text[1:-1].replace('""', "")
                if len(text) > 1 and text.endswith('"') and '"' not in inside:
                    enclosing += 1
                else:
                    part += 1
    return part <= enclosing


def _share_of(width: int, records: list[list[str]]) -> float:
    """Return how many of the records have a number of fields; the last one may be unfinished."""
    records = records[:-1] or records
    return sum(len(record) == width for record in records) / max(len(records), 1)
