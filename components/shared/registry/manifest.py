"""The manifest of a published version: every file with its size and SHA-256."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, TypeAdapter, ValidationError

from components.shared.registry.problems import problems_of
from components.shared.runtime.errors import InputError
from components.shared.storage.names import FileName, check_apart, checked_version

MANIFEST = "MANIFEST.json"
_TAMPERED = (
    "Somebody may have tampered with this version: find out who can write there, and go back to "
    "another one with deep-retrieval rollback."
)


class ManifestEntry(BaseModel):
    """A file of a version.

    Args:
        size: The number of bytes.
        sha256: The SHA-256 as hexadecimal digits.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "ManifestEntry":
        """Return the entry of a file with this content."""
        return cls(size=len(content), sha256=hashlib.sha256(content).hexdigest())


Manifest: TypeAlias = dict[FileName, ManifestEntry]
_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def manifest_of(folder: Path) -> Manifest:
    """Return the manifest of a local folder; its names are relative to the folder."""
    return {
        path.relative_to(folder).as_posix(): ManifestEntry(
            size=path.stat().st_size, sha256=sha256_of(path)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sha256_of(path: Path) -> str:
    """Return a local file's SHA-256 as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the content of the manifest's file: indented JSON with a final newline."""
    value = {file: entry.model_dump() for file, entry in manifest.items()}
    return (json.dumps(value, indent=2) + "\n").encode()


def parse_manifest(content: bytes, source: str) -> Manifest:
    """Read a manifest.

    Args:
        content: The file's content.
        source: The file's path or URL, for messages.

    Raises:
        InputError: If it is not a manifest, or a file name in it is not allowed.
    """
    try:
        manifest = _MANIFEST.validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"{source} is not a manifest ({problems_of(error)}). {_TAMPERED}"
        ) from error
    check_apart(manifest, source, _TAMPERED)
    return manifest


def version_of(manifest: Manifest, name: str, identity: Iterable[str]) -> str:
    """Return the version that a manifest's files make: a name and a hash of their content.

    Args:
        manifest: The files.
        name: How the version's name begins.
        identity: The top-level folders and files that count: the same content
            there is the same version.

    Raises:
        InputError: If a version cannot have that name.
    """
    parts = set(identity)
    digest = hashlib.sha256()
    for file, entry in manifest.items():
        if file.split("/")[0] in parts:
            digest.update(f"{file}\0{entry.sha256}\n".encode())
    version = f"{name}-{digest.hexdigest()[:12]}"
    return checked_version(version, "publish", "Choose another name in the config.")


def version_name(folder: Path, name: str, identity: Iterable[str]) -> str:
    """Return the version that a local folder's files make; see `version_of`."""
    return version_of(manifest_of(folder), name, identity)
