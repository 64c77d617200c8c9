"""Text of any compression, encoding and line end as blocks of UTF-8 lines, one at a time."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from components.shared.runtime.errors import InputError

Compression = Literal["gzip", "zstd", "bz2"]

BLOCK_BYTES = 8 << 20
MAX_LINE_BYTES = 1 << 20
# Logs compress to a tenth or a hundredth of their size; a file made to exhaust a reader to less.
_MAX_RATIO = 250
_RATIO_FROM_BYTES = 64 << 20

_MAGIC: list[tuple[bytes, Compression]] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
]
_UNREADABLE = [
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF"),
]


def compression_of(path: str, name: str) -> Compression | None:
    """Find the compression of a file by its first bytes; its name does not matter.

    Raises:
        InputError: If the file is of a kind that cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    for magic, what in _UNREADABLE:
        if head.startswith(magic):
            raise InputError(
                f"{name} is {what}, which is not read. Unpack or convert it to Parquet, "
                "delimited text or JSON Lines, plain or compressed with gzip, zstd or bz2."
            )
    for magic, compression in _MAGIC:
        if head.startswith(magic):
            return compression
    return None


class ByteStream:
    """The unpacked bytes of a file, with limits against hostile ones.

    Args:
        path: The file's path.
        name: Its name in messages.
        compression: Its compression.
    """

    def __init__(self, path: str, name: str, compression: Compression | None):
        self._name = name
        self._compression = compression
        self._packed = Path(path).stat().st_size
        self._unpacked = 0
        self._file: Any = open(path, "rb")  # noqa: SIM115 - `opened` closes it
        self._stream: Any = self._file
        if compression:
            self._stream = pa.CompressedInputStream(pa.PythonFile(self._file, "r"), compression)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end.

        Raises:
            InputError: If the file is damaged, or unpacks to much more than it should.
        """
        try:
            data = bytes(self._stream.read(size))
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            if not self._compression:
                raise
            raise InputError(
                f"{self._name} is damaged: its {self._compression} data ends or breaks after "
                f"{self._unpacked:,} bytes ({str(error)[:200]}). Copy or download it again."
            ) from error
        self._unpacked += len(data)
        if (
            self._compression
            and self._unpacked > _RATIO_FROM_BYTES
            and self._unpacked > _MAX_RATIO * self._packed
        ):
            raise InputError(
                f"{self._name} unpacks to more than {_MAX_RATIO} times its {self._packed:,} bytes, "
                "which is rarely a log. If it is what you expect, unpack it first."
            )
        return data


@contextmanager
def opened(path: str, name: str, compression: Compression | None) -> Iterator[ByteStream]:
    """Open a file for reading its unpacked bytes."""
    stream = ByteStream(path, name, compression)
    try:
        yield stream
    finally:
        stream.close()


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Stand in for undecodable bytes: a lone surrogate, which becomes a byte that is not UTF-8."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", max(error.end, error.start + 1)


codecs.register_error("deep-retrieval-mark", _mark)


class _ToUtf8:
    """Converts chunks to UTF-8 with `\\n` as the line end; undecodable bytes become 0xFF."""

    def __init__(self, encoding: str):
        self._decoder = None
        if codecs.lookup(encoding).name != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)("deep-retrieval-mark")
        self._at_start = True
        self._held = b""

    def convert(self, data: bytes, last: bool) -> bytes:
        if self._decoder is not None:
            text = self._decoder.decode(data, last)
            data = text.encode("utf-8", "surrogateescape")
        data = self._held + data
        self._held = b""
        if self._at_start and data:
            if len(data) < 3 and not last:
                self._held = data
                return b""
            self._at_start = False
            data = data.removeprefix(codecs.BOM_UTF8)
        if b"\r" not in data:
            return data
        if data.endswith(b"\r") and not last:  # its \n may be the next byte
            data, self._held = data[:-1], b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class TooLong(bytes):
    """The beginning of a line that is longer than `MAX_LINE_BYTES`; the rest is skipped."""


def utf8_lines(
    stream: ByteStream, encoding: str, block_bytes: int | None = None
) -> Iterator[bytes]:
    """Yield blocks of whole lines in UTF-8, each line with `\\n` as its end.

    A byte order mark is removed. `\\r\\n`, and `\\r` alone, become `\\n`. Undecodable
    bytes become 0xFF, so that what is wrong with the line is found in one place.

    Args:
        stream: The file.
        encoding: Its encoding.
        block_bytes: Approximate size of a block in bytes; `BLOCK_BYTES` by default.

    Yields:
        Blocks; or `TooLong`, the beginning of one line.
    """
    convert = _ToUtf8(encoding).convert
    pending = io.BytesIO()  # an unfinished line
    size = 0
    skipping = False  # whether the rest of a line that is too long follows
    while True:
        raw = stream.read(block_bytes or BLOCK_BYTES)
        last = not raw
        data = convert(raw, last)
        if skipping:
            end = data.find(b"\n") + 1
            if not end:
                if last:
                    return
                continue
            data, skipping = data[end:], False
        end = data.rfind(b"\n") + 1
        if end or last:
            block = pending.getvalue() + data[: end or len(data)]
            rest = data[end:] if end else b""
            pending, size = io.BytesIO(), 0
            if block:
                yield block if block.endswith(b"\n") else block + b"\n"
        else:
            rest = data
        if rest:
            pending.write(rest)
            size += len(rest)
        if last:
            if size:
                yield pending.getvalue() + b"\n"
            return
        if size > MAX_LINE_BYTES:
            yield TooLong(pending.getvalue()[:1000])
            pending, size, skipping = io.BytesIO(), 0, True
