"""Records that could not be split into columns, and the rows of a block that could."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from components.shared.contracts.tables import REJECTS_SCHEMA

_SHOWN_CHARACTERS = 500


class BadRecord(NamedTuple):
    """A record that could not be read.

    Args:
        row: The number of its first line.
        reason: Why.
        text: Its text, which may be cut and contain bytes that are not UTF-8.
    """

    row: int
    reason: str
    text: bytes


@dataclass
class Parsed:
    """What a block of lines contains.

    Args:
        table: The rows.
        numbers: `(rows,) int64`, the number of each row's first line.
        bad: The records that could not be read.
        rest: Lines at the end of a record that continues in the next block.
    """

    table: pa.Table
    numbers: np.ndarray
    bad: list[BadRecord] = field(default_factory=list)
    rest: list[bytes] = field(default_factory=list)


def rejects_of_text(bad: list[BadRecord], file: str) -> pa.Table:
    """Return bad records as a table of `REJECTS_SCHEMA`, their text limited in length."""
    texts = [record.text.decode("utf-8", "replace") for record in bad]
    return pa.table(
        {
            "file": [file] * len(bad),
            "row": [record.row for record in bad],
            "reason": [record.reason for record in bad],
            "record": [
                text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
                for text in texts
            ],
        },
        schema=REJECTS_SCHEMA,
    )


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def has_long_line(data: bytes, limit: int) -> bool:
    """Return whether a block of lines has one that is longer than a limit."""
    at = 0
    while len(data) - at > limit:
        end = data.rfind(b"\n", at, at + limit + 1)
        if end < 0:
            return True
        at = end + 1
    return False
