"""Mutations of small tables: of their bytes, values, rows and columns."""

import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from table_forms import Rows


def seeds(count: int) -> Iterator[random.Random]:
    for seed in range(count):
        yield random.Random(seed)


# --- of bytes -------------------------------------------------------------------------------------

_SPECIAL = [
    b'"', b"\r", b"\n\n", b'""', b"\x00", b",,", b"|", b"1e999", b"\xff", b"[1]", b'{"a":',
    b"NaN", b"\x1a", b"-", b"9" * 30, b"\xef\xbb\xbf", b"\x1b[31m", b"\xe2\x80\xa8", b"\x85",
]  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Returns the content cut, with other bytes or lines, or recoded."""
    return rng.choice(_OF_BYTES)(content, rng)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _other_bytes(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _flipped_bit(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _more_bytes(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + rng.randbytes(rng.randrange(1, 50)) + content[at:]


def _zeros(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes(rng.randrange(100)) + content[at + rng.randrange(100) :]


def _repeated_bytes(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + content[rng.randrange(len(content)) :][:300] + content[at:]


def _special_bytes(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.randrange(1, 10)):
        at = rng.randrange(len(data))
        data[at : at + rng.randrange(3)] = rng.choice(_SPECIAL)
    return bytes(data)


def _recoded(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("latin-1")
    return text.encode(rng.choice(["utf-16", "utf-8-sig", "utf-32", "utf-16-be", "utf-8"]))


def _other_lines(content: bytes, rng: random.Random) -> bytes:
    """Leaves a line out, or repeats one: often the header."""
    lines = content.splitlines(keepends=True)
    line = lines.pop(rng.choice([0, rng.randrange(len(lines))]))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def _other_line_ends(content: bytes, rng: random.Random) -> bytes:
    ends = rng.sample([b"\n", b"\r\n", b"\r", b"\n\r", b"\r\r\n"], rng.randrange(1, 4))
    return b"".join(line + rng.choice(ends) for line in content.split(b"\n"))


def _nothing(content: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"", b"\n", b"\xef\xbb\xbf", b" \n\n", bytes(100), content.splitlines()[0]])


_OF_BYTES = [
    _cut, _other_bytes, _flipped_bit, _more_bytes, _zeros, _repeated_bytes, _special_bytes,
    _recoded, _other_lines, _other_line_ends, _nothing,
]  # fmt: skip

# --- of rows --------------------------------------------------------------------------------------

# Each is a value that a column may have by mistake.
ODD_VALUES: list[Any] = [
    None, "", " ", "NaN", float("nan"), float("inf"), -float("inf"), 1e308, -1e-320, 10**18,
    2**63, -(2**63), 10**30, 0, -1, -1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000_000,
    4_000_000_000, True, False, [], [None], ["a", None, ""], [[1]], {"k": 1}, {}, "x" * 70_000,
    "\x00", "a\x00b", "\x1b[31m", "\r", "\n", '"', "'", "\ufeff", "\u2028", "\ud800", "日本",
    "2024-02-30", "2024-05-01T12:30:00Z", "9999-12-31", "0001-01-01T00:00:00+14:00", "1,5", "1_0",
    "0x10", "١٢", "+5", " 5 ", "5.0", "1e3", "-0", "null", "None", "#", "::", "|", "||", "=1+1",
]  # fmt: skip


def mutated_rows(rows: Rows, rng: random.Random, of_one_type: bool = False) -> Rows:
    """Returns the rows with odd values, or with other rows or columns.

    Args:
        rows: The rows.
        rng: The source of chance.
        of_one_type: Whether all values of a column must be of one type.
    """
    rows = [dict(row) for row in rows]
    names = list(rows[0])
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name, kind = rng.choice(names), rng.randrange(8)
        if kind <= 3:
            some = rows if of_one_type or rng.random() < 0.2 else rng.sample(rows, len(rows) // 20)
            odd = rng.choice(ODD_VALUES)
            for row in some:
                row[name] = odd
        elif kind == 4:
            other = rng.choice(names)
            for row in rows:
                row[name], row[other] = row[other], row[name]
        elif kind == 5:
            rows += [dict(row) for row in rng.choices(rows, k=rng.randrange(1, 10))]
        elif kind == 6:
            rows = rng.sample(rows, rng.choice([1, len(rows) // 2 + 1, len(rows)]))
        elif name in rows[0] and len(names) > 2:
            rows = [{n: v for n, v in row.items() if n != name} for row in rows]
            names.remove(name)
    return rows


# Columns of types that values of Python do not give, repeated to the length of the table.
ODD_COLUMNS = [
    pa.array([1, 2], pa.uint64()), pa.array([2**64 - 1, None], pa.uint64()),
    pa.array([1.5, None]), pa.array([1.5, float("nan")], pa.float16()), pa.array([True, None]),
    pa.array(["a", None], pa.string_view()), pa.array([b"\xff", b"a"]),
    pa.array([b"\xff", b"a"]).view(pa.string()), pa.array([[1], None]), pa.array([["a"], []]),
    pa.array([[["a"]], []]), pa.array([{"k": 1}, None]), pa.nulls(2),
    pa.array([1, 2], pa.date32()), pa.array([10**15, None], pa.date64()),
    pa.array([1, 2], pa.timestamp("ns", "Asia/Tokyo")), pa.array([2**62, 1], pa.timestamp("us")),
    pa.array([1, 2], pa.duration("s")), pa.array(["a", "b"]).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([1, None], pa.int16()), pa.array(["1", "2"])),
    pa.array([1, 2], pa.time32("s")), pa.array([1, None], pa.decimal128(5, 2)),
    pa.array([10**60, -1], pa.decimal256(76, 2)), pa.array([1, 2], pa.int8()),
    pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)), pa.array(["x", "y"], pa.large_string()),
    pa.array([["a", None], None], pa.large_list(pa.string())),
    pa.array([b"ab", b"1 "], pa.binary(2)),
    pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
]  # fmt: skip


def with_odd_column(rows: Rows, rng: random.Random) -> pa.Table:
    """Returns the rows, or none of them, as a table with one column of an odd type."""
    column = rng.choice(ODD_COLUMNS)
    values = pa.concat_arrays([column.slice(rng.randrange(2), 1) for _ in rows])
    table = pa.Table.from_pylist(rows)
    place = rng.randrange(table.num_columns)
    table = table.set_column(place, table.column_names[place], values)
    return table.slice(0, rng.choice([0, len(rows), len(rows), len(rows)]))
