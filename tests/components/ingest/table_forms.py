"""Small tables in each form of files, with an independent reading of the simple ones."""

import bz2
import gzip
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]
Rows = list[Row]

LOG: Rows = [
    {
        "user": f"u{n % 17}",
        "item": n % 23,
        "stars": n % 5 + 1,
        "ts": 1_700_000_000 + 60 * n,
        "tags": ["rock", f"späť {n % 3}"][: n % 3],
        "price": n / 4,
        "event": ["view", "buy", "like"][n % 3],
    }
    for n in range(120)
]
ITEMS: Rows = [
    {
        "item": n,
        "name": f"Žena {n}, the",
        "tags": ["rock", f"späť {n % 3}"][: n % 3],
        "price": n / 4,
        "year": 1990 + n,
    }
    for n in range(23)
]
USERS: Rows = [
    {"user": f"u{n}", "age": 20 + n / 2, "city": f"Žilina {n % 4}" if n % 8 else ""}
    for n in range(17)
]


# --- forms ----------------------------------------------------------------------------------------


def delimited(
    rows: Rows, delimiter: str = ",", encoding: str = "utf-8", quoted: bool = False
) -> bytes:
    def text(name: str, value: Any) -> str:
        if isinstance(value, list):
            value = "|".join(map(str, value))
        if quoted and isinstance(value, str) and name not in ("user", "item", "event"):
            value += ' "x"\nnext'
        value = "" if value is None else str(value)
        if len(delimiter) == 1 and set(value) & {delimiter, '"', "\n", "\r"}:
            value = '"' + value.replace('"', '""') + '"'
        return value

    lines = [delimiter.join(rows[0])]
    lines += [delimiter.join(text(*cell) for cell in row.items()) for row in rows]
    return ("\n".join(lines) + "\n").encode(encoding)


def inter(rows: Rows) -> bytes:
    def kind(name: str, value: Any) -> str:
        if isinstance(value, list):
            return "token_seq"
        return "token" if isinstance(value, str) or name == "item" else "float"

    names = "\t".join(f"{name}:{kind(name, value)}" for name, value in rows[0].items())
    return f"{names}\n".encode() + delimited(rows, "\t").partition(b"\n")[2]


def dat(rows: Rows) -> bytes:
    return b"# made by a script\n# " + delimited(rows, "::")


def jsonl(rows: Rows) -> bytes:
    text = "".join(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in rows)
    return text.encode()


def parquet(rows: Rows, **options: Any) -> bytes:
    return parquet_of(pa.Table.from_pylist(rows), **options)


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    if "user" in table.column_names and pa.types.is_string(table["user"].type):
        place = table.column_names.index("user")
        table = table.set_column(place, "user", table["user"].combine_chunks().dictionary_encode())
    pq.write_table(table, file, row_group_size=50, **options)
    return file.getvalue()


# --- independent readings: None where readers may differ ------------------------------------------


def _simple_lines(content: bytes) -> list[str] | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    if set(text) & set("\x00\r\ufeff\x1a"):
        return None
    return [line for line in text.split("\n") if line.strip()]


def rows_in_text(content: bytes, delimiter: str = ",") -> Rows | None:
    lines = _simple_lines(content)
    if not lines or b'"' in content:
        return None
    names = [name.partition(":")[0] for name in lines[0].split(delimiter)]
    return [dict(zip(names, line.split(delimiter), strict=False)) for line in lines[1:]]


def rows_in_json(content: bytes) -> Rows | None:
    def row(line: str) -> Row:
        try:
            value = json.loads(line)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    lines = _simple_lines(content)
    return None if lines is None else [row(line) for line in lines]


def unknown(content: bytes) -> None:
    return None


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


@dataclass(frozen=True)
class Form:
    """A form of files.

    Args:
        write: Makes a file's content of rows.
        pack: Compresses it.
        rows_in: Reads it in a simple way, before it is compressed.
        keeps: Whether every value can be written so that it is read again.
    """

    write: Callable[[Rows], bytes]
    pack: Callable[[bytes], bytes] = bytes
    rows_in: Callable[[bytes], Rows | None] = unknown
    keeps: bool = False

    @property
    def is_parquet(self) -> bool:
        return self.write(LOG[:1]).startswith(b"PAR1")

    def can_write(self, rows: Rows) -> bool:
        """Returns whether these rows, and no others, are read again."""
        simple = re.compile(r"[\w ]*")
        return self.keeps or all(
            simple.fullmatch(str(value)) or not isinstance(value, str)
            for row in rows
            for value in row.values()
        )

    def __call__(self, rows: Rows) -> bytes:
        return self.pack(self.write(rows))


FORMS: dict[str, Form] = {
    "csv": Form(delimited, rows_in=rows_in_text, keeps=True),
    "semicolon latin-1 with line breaks": Form(
        lambda rows: delimited(rows, ";", "cp1250", quoted=True), keeps=True
    ),
    "utf-16": Form(lambda rows: delimited(rows, "\t", "utf-16")),
    "inter": Form(inter, rows_in=partial(rows_in_text, delimiter="\t")),
    "dat": Form(dat),
    "gzip": Form(delimited, _gzip, rows_in_text, keeps=True),
    "bz2": Form(
        lambda rows: delimited(rows, "|"), bz2.compress, partial(rows_in_text, delimiter="|")
    ),
    "zstd": Form(jsonl, _zstd, rows_in_json, keeps=True),
    "jsonl": Form(jsonl, rows_in=rows_in_json, keeps=True),
    "parquet": Form(parquet, keeps=True),
    "plain parquet": Form(
        lambda rows: parquet(rows, compression="none", use_dictionary=False), keeps=True
    ),
    "zstd parquet": Form(
        lambda rows: parquet(rows, compression="zstd", data_page_version="2.0", version="1.0"),
        keeps=True,
    ),
}
