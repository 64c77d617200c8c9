"""What somebody with write access to a registry can do."""

import contextlib
import hashlib
import json
import os
import posixpath
from pathlib import Path

from components.shared.registry.history import HistoryEntry
from components.shared.registry.manifest import MANIFEST
from components.shared.storage.location import Location

VERSION = "shop-0123456789ab"
EVIL = b"this should not be here\n"


def put(location: Location, name: str, content: bytes) -> None:
    """Write a file under any name, bypassing the checks of `Location`."""
    path = posixpath.join(location._root, name)
    if location._protocol == "file":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(IsADirectoryError):  # some names can be entries only
            Path(path).write_bytes(content)
    else:
        location._files.pipe_file(path, content)


def manifest_of(names: list[str]) -> bytes:
    """Return a manifest in which each name is a file with the content `EVIL`."""
    entry = {"size": len(EVIL), "sha256": hashlib.sha256(EVIL).hexdigest()}
    return json.dumps(dict.fromkeys(names, entry)).encode()


def publish_tampered(location: Location, names: list[str], files: bool = True) -> None:
    """Publish a version whose manifest has these names, with the files they name."""
    for name in names if files else []:
        if "\0" not in name and name.strip("/"):
            put(location, f"versions/{VERSION}/{name}", EVIL)
    put(location, f"versions/{VERSION}/{MANIFEST}", manifest_of(names))
    entry = HistoryEntry(number=1, version=VERSION, previous=None, action="publish", time="2026")
    put(location, "history/00000001.json", entry.model_dump_json().encode())


def everything_below(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by path."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
