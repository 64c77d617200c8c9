"""The files that a source names, and a fingerprint that changes when they do."""

import glob
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import InputError
from components.storage import Location, is_remote

# The keys of a source that name files.
SOURCE_PATHS = {"path", "interactions", "candidates"}


def source_fingerprint(source: Mapping[str, Any]) -> str:
    """Hashes the state of a source's files, without reading their content.

    Of a local file, the path, size and time of change count; of an object in a
    bucket, the name, size and the store's own mark of its content (ETag or
    generation).

    Args:
        source: A `SourceConfig` as JSON values.

    Returns:
        16 hexadecimal digits; empty for a source that names no file.

    Raises:
        InputError: If a bucket cannot be read. A file that is missing is no
            error here: `ingest` says so with the key that names it.
    """
    digest = hashlib.sha256()
    found = False
    for key in sorted(SOURCE_PATHS):
        path = source.get(key)
        if not isinstance(path, str):  # of the sample, `interactions` is a number
            continue
        for line in _remote_files(key, path) if is_remote(path) else _local_files(path):
            digest.update(f"{line}\n".encode())
            found = True
    return digest.hexdigest()[:16] if found else ""


def _local_files(pattern: str) -> Iterator[str]:
    pattern = pattern.removeprefix("file://")
    for name in sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True)):
        files = sorted(Path(name).rglob("*")) if Path(name).is_dir() else [Path(name)]
        for file in files:
            if file.is_file():
                stat = file.stat()
                yield f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}"


def _remote_files(key: str, url: str) -> Iterator[str]:
    try:
        for name, mark in Location.states(url):
            yield f"{url}\0{name}\0{mark}"
    except InputError as error:
        raise InputError(f"source.{key}: {error}") from error
