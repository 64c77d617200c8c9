"""Finds the encoding of text."""

import codecs

from components.ingest.sources.bad_records import is_utf8
from components.ingest.sources.text_stream import MAX_LINE_BYTES, Compression, opened
from components.shared.runtime.errors import InputError

_SAMPLE_BYTES = 1 << 18
_SCAN_BYTES = 1 << 22
_LINES = 4
_MARKS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]


def sample_of(path: str, name: str, compression: Compression | None, encoding: str) -> str:
    """Return the beginning of a file as text; undecodable bytes are replaced."""
    with opened(path, name, compression) as stream:
        data = stream.read(_SAMPLE_BYTES)
        whole = len(data) < _SAMPLE_BYTES
        if not whole and data.count(b"\n") + data.count(b"\r") < _LINES:  # of many columns
            data += stream.read(_LINES * MAX_LINE_BYTES)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    return decoder.decode(data, whole).removeprefix("\ufeff")


def find_encoding(
    path: str, name: str, compression: Compression | None, known: str | None
) -> tuple[str, str]:
    """Find the encoding of a file.

    A mark at its beginning decides, then zero bytes (UTF-16), then the first text
    that is not ASCII: UTF-8, or Windows-1252, of which Latin-1 is a part.

    Args:
        path: The file's path.
        name: Its name in messages.
        compression: Its compression.
        known: The encoding from the config.

    Returns:
        The encoding; and a line for the log if it is a guess, else an empty text.

    Raises:
        InputError: If `known` is not an encoding.
    """
    if known is not None:
        try:
            usable = codecs.lookup(known)._is_text_encoding
        except (LookupError, ValueError):
            usable = False
        if not usable:
            raise InputError(
                f"{known!r} is not an encoding. Use a name that Python knows, e.g. utf-8, latin-1, "
                "cp1252, utf-16, shift_jis."
            )
        return known, ""
    with opened(path, name, compression) as stream:
        data = stream.read(_SAMPLE_BYTES)
        for mark, encoding in _MARKS:
            if data.startswith(mark):
                return encoding, "" if encoding == "utf-8" else f"read as {encoding.upper()}"
        wide = _wide(data)
        if wide:
            return wide, f"read as {wide.upper()}; if that is wrong, set encoding in source.formats"
        while data.isascii():
            data = stream.read(_SCAN_BYTES)
            if not data:
                return "utf-8", ""
        begin = next(at for at in range(0, len(data), 4096) if not data[at : at + 4096].isascii())
        data = (data[begin:] + stream.read(_SAMPLE_BYTES))[: 4096 + _SAMPLE_BYTES]
    return _eight_bits(data)


def _wide(data: bytes) -> str:
    """Return the UTF-16 encoding that puts a zero beside each ASCII character, if one does."""
    pairs = len(data) // 2
    for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        if pairs > 1 and zeros.count(0) > 0.7 * pairs and data.count(0) < 0.6 * len(data):
            return encoding
    return ""


def _eight_bits(data: bytes) -> tuple[str, str]:
    lines = [line for line in data.split(b"\n")[:-1] or [data] if not line.isascii()] or [data]
    utf8 = sum(is_utf8(line) for line in lines)
    if 2 * utf8 > len(lines) or (is_utf8(data[:-4]) and b"\n" not in data):
        return "utf-8", ""
    text = b"".join(lines)
    undefined = any(byte in text for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))
    encoding, shown = ("latin-1", "Latin-1") if undefined else ("cp1252", "Windows-1252")
    return encoding, (
        f"not UTF-8, so it is read as {shown} ({encoding}); if that is wrong, set encoding in "
        "source.formats"
    )
