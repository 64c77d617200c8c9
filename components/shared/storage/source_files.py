"""The files of a source, and a fingerprint that changes when they do."""

import glob
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.shared.runtime.errors import InputError
from components.shared.storage.location import Location, is_remote

# The keys of a source that name files.
SOURCE_PATHS = {"path", "interactions", "candidates", "users"}


def source_files(source: Mapping[str, Any]) -> dict[str, list[str]]:
    """List the files of a source, each as a text that changes when the file does.

    The text of a local file contains its path, size and modification time; that of
    an object in a bucket its name, size and the store's own marker of its content
    (ETag or generation). No content is read.

    Args:
        source: A `SourceConfig` as JSON values.

    Returns:
        The files of each key that names any; an empty list if there are none.

    Raises:
        InputError: If a bucket cannot be read.
    """
    return {
        key: [file for path in paths for file in _files(key, path)]
        for key, paths in paths_of(source).items()
    }


def paths_of(source: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the paths, globs and URLs that a source names, by its key.

    Args:
        source: A `SourceConfig` as JSON values.

    Example:
    ```python
    assert paths_of({"kind": "files", "interactions": "log.csv", "candidates": ["a", "b"]}) == {
        "candidates": ["a", "b"], "interactions": ["log.csv"],
    }
    ```
    """
    found = {}
    for key in sorted(SOURCE_PATHS):
        paths = source.get(key)
        if isinstance(paths, str):
            found[key] = [paths]
        elif isinstance(paths, list):  # of a sample, `interactions` and `users` are numbers
            found[key] = paths
    return found


def source_fingerprint(source: Mapping[str, Any]) -> str:
    """Hash the state of a source's files; see `source_files`.

    Args:
        source: A `SourceConfig` as JSON values.

    Returns:
        16 hexadecimal digits; empty if the source has no files.
    """
    return fingerprint_of(source_files(source))


def fingerprint_of(files: Mapping[str, list[str]]) -> str:
    """Hash the result of `source_files`; empty if there are no files."""
    lines = [line for of_key in files.values() for line in of_key]
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode())
    return digest.hexdigest()[:16] if lines else ""


def _files(key: str, path: str) -> Iterator[str]:
    return _remote_files(key, path) if is_remote(path) else _local_files(path)


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
