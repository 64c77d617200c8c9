"""Sources on S3 or Google Cloud Storage, copied to the local disk before they are read."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import refuse_credentials
from components.shared.storage.location import Location, is_remote
from components.shared.storage.source_files import SOURCE_PATHS

logger = logging.getLogger(__name__)

_MAGIC = re.compile(r"[*?\[]")
_PARTITION = re.compile(r"(?<=/)[A-Za-z_][^=/]*=[^/]+")


def fetched(source: Mapping[str, Any], workdir: str) -> dict[str, Any]:
    """Copy a source's remote files, and return the source with the paths of the copies.

    Args:
        source: A `SourceConfig`. Local paths are unchanged.
        workdir: The folder for the copies.

    Raises:
        InputError: If there is nothing at a URL, it cannot be read, it contains
            credentials, or the name of an object there is not allowed.
    """
    refuse_credentials(source, "source")
    local = dict(source)
    for key in sorted(SOURCE_PATHS & source.keys()):
        paths = source[key]
        if isinstance(paths, str):
            local[key] = _local(paths, f"source.{key}", Path(workdir) / key)
        elif isinstance(paths, list):  # several catalogues
            local[key] = [
                _local(path, f"source.{key}[{number}]", Path(workdir) / f"{key}-{number}")
                for number, path in enumerate(paths)
            ]
    return local


def _local(path: str, key: str, target: Path) -> str:
    if not is_remote(path):
        return path
    try:
        return _fetch(path, target)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


def _fetch(url: str, target: Path) -> str:
    """Copy a file, a folder or the matches of a glob; return the local counterpart."""
    fixed = re.split(_MAGIC, url, maxsplit=1)[0]
    location, pattern, names = Location(url), "", list[str]()
    if "/" in fixed.split("://", 1)[1]:  # a file or a glob
        folder = fixed.rsplit("/", 1)[0]
        location, pattern = Location(folder), url[len(folder) + 1 :]
        names = location.matching(pattern) if pattern else []
    if not names and fixed == url:  # a folder
        location, pattern = Location(url), ""
        names = location.names()
    if not names:
        raise InputError(f"there is nothing at {url}.")
    # A folder such as day=2024-05-01 is a column of its files, so the copies keep it.
    target = target.joinpath(*_PARTITION.findall(str(location)))
    location.download(names, "", target)
    logger.info(f"copied {len(names)} files from {url}")
    return str(target / pattern) if pattern else str(target)
