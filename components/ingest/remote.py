"""Sources on S3 or Google Cloud Storage: copied to this machine before they are read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import InputError
from components.ingest.config import SOURCE_PATHS
from components.step import log
from components.storage import Location, is_remote

_MAGIC = re.compile(r"[*?\[]")


def fetched(source: Mapping[str, Any], workdir: str) -> dict[str, Any]:
    """Copies what a source names by URL; the source then names the copies.

    Args:
        source: A `SourceConfig`; files of this machine stay as they are.
        workdir: Where copies go.

    Raises:
        InputError: If there is nothing at a URL, or it cannot be read.
    """
    local = dict(source)
    for key in SOURCE_PATHS & source.keys():
        path = source[key]
        if isinstance(path, str) and is_remote(path):
            local[key] = _fetch(path, Path(workdir) / key, key)
    return local


def _fetch(url: str, target: Path, key: str) -> str:
    """Copies a file, a folder, or what a glob matches; returns the same for the copies."""
    fixed = re.split(_MAGIC, url, maxsplit=1)[0]
    if fixed == url and "." in url.rsplit("/", 1)[-1]:  # one file
        folder, pattern = url.rsplit("/", 1)
    elif fixed == url:
        folder, pattern = url.rstrip("/"), ""
    else:
        folder = fixed.rsplit("/", 1)[0]
        pattern = url[len(folder) + 1 :]
    location = Location(folder)
    names = location.matching(pattern)
    if not names:
        raise InputError(f"source.{key}: there is nothing at {url}.")
    location.download(names, "", target)
    log("ingest", f"copied {len(names)} files from {url}")
    return str(target / pattern) if pattern else str(target)
