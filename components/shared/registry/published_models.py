"""The published models: versions at a location, and which of them is the latest.

    versions/<version>/
        export/           what export wrote
        model/            the towers and their training history
        features/         the FeatureSpaces, vocabularies and the feature spec
        evaluation.json   what evaluate measured
        lineage.json      config, data, images, revision: what it was made from
        MANIFEST.json     every file with its size and SHA-256, written last
    history/<number>.json     every move of the pointer, numbered from 1
    latest.json               the last move, for readers

A version without a manifest is not one. The pointer moves by creating the next
number in `history`, which one writer only can do, so of two runs that were
compared with the same model one alone takes its place. `latest.json` repeats
the last entry for readers that want one file.

In a run, `fetch_published` leaves the part of a version that later steps need:

    published.json    `Published`: which version, or that there is none
    export/           candidates, query_tower.keras, export.json
    model/, features/
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from components.shared.runtime.errors import InputError
from components.shared.storage.location import Location
from components.shared.storage.names import (
    FileName,
    VersionName,
    check_apart,
    checked_version,
    is_version_name,
    shown,
)

LATEST = "latest.json"
MANIFEST = "MANIFEST.json"
NOTE = "published.json"
# What a run needs of a version: not the SavedModel, nor the users with what they have seen.
FETCHED = (
    "export/candidates/",
    "export/query_tower.keras",
    "export/export.json",
    "model/",
    "features/",
)


class Move(BaseModel):
    """A move of the pointer.

    Args:
        number: Its place in the history, from 1.
        version: What is the latest from then on.
        previous: What was, before.
        action: Why it moved.
        time: When, ISO 8601 in UTC.
    """

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    version: VersionName
    previous: VersionName | None
    action: Literal["publish", "rollback"]
    time: str = Field(pattern=r"^[0-9A-Za-z:.+ -]{1,40}$")


class Published(BaseModel):
    """The published model that a run begins from and is compared with.

    Args:
        move: What made it the latest; none where nothing is published.
    """

    model_config = ConfigDict(frozen=True)

    move: Move | None = None

    @property
    def version(self) -> str | None:
        """The version; none where nothing is published."""
        return self.move.version if self.move else None

    @classmethod
    def read(cls, folder: str | os.PathLike[str] | None) -> "Published":
        """Reads the note in what fetch_published wrote; without a folder there is no model."""
        if folder is None:
            return cls()
        return cls.model_validate_json((Path(folder) / NOTE).read_text())

    def write(self, folder: Path) -> None:
        """Writes the note."""
        (folder / NOTE).write_text(self.model_dump_json(indent=2) + "\n")


class ManifestEntry(BaseModel):
    """A file of a version."""

    size: int
    sha256: str


_MANIFEST: TypeAdapter[dict[FileName, ManifestEntry]] = TypeAdapter(dict[FileName, ManifestEntry])
_TAMPERED = (
    "Somebody may have tampered with this version: find out who can write there, and go back to "
    "another one with deep-retrieval rollback."
)


class Conflict(InputError):
    """Another run moved the pointer since this one looked."""


@dataclass(frozen=True)
class PublishedModels:
    """The models at a location.

    Args:
        location: Where they are.
    """

    location: Location

    @classmethod
    def at(cls, url: str) -> "PublishedModels":
        """Opens a location: a folder, s3:// or gs://."""
        return cls(Location(url))

    def history(self) -> list[Move]:
        """All moves of the pointer, oldest first."""
        moves = []
        for name in self.location.names("history"):
            content = self.location.read(name) if name.endswith(".json") else None
            if content is not None:
                moves.append(self._move(name, content))
        return moves

    def latest(self) -> Move | None:
        """The last move; none where nothing was published yet."""
        names = [name for name in self.location.names("history") if name.endswith(".json")]
        content = self.location.read(names[-1]) if names else None
        return self._move(names[-1], content) if content is not None else None

    def move(self, number: int) -> Move:
        """Returns an entry of the history.

        Args:
            number: Its number, from 1.

        Raises:
            InputError: If there is no such entry.
        """
        name = _history_name(number)
        content = self.location.read(name)
        if content is None:
            raise InputError(
                f"{self.location}/{name} is not there, though this run has seen it. Was the "
                "location emptied meanwhile? Start the run again."
            )
        return self._move(name, content)

    def _move(self, name: str, content: bytes) -> Move:
        try:
            return Move.model_validate_json(content)
        except ValidationError as error:
            raise InputError(
                f"{self.location}/{name} is no entry of the history ({_problems(error)}). Delete "
                "it, or move it elsewhere."
            ) from error

    def manifest(self, version: str) -> dict[str, ManifestEntry]:
        """The files of a version.

        Raises:
            InputError: If there is no such version, it is not whole, or names
                in it lead elsewhere.
        """
        if not is_version_name(version):  # or all versions would be listed each time
            checked_version(version, str(self.location), self._choose())
        place = f"versions/{version}/{MANIFEST}"
        content = self.location.read(place)
        if content is None:
            raise InputError(f"{self.location} has no version {version}. {self._choose()}")
        try:
            manifest = _MANIFEST.validate_json(content)
        except ValidationError as error:
            raise InputError(
                f"{self.location}/{place} is not a manifest ({_problems(error)}). {_TAMPERED}"
            ) from error
        check_apart(manifest, f"{self.location}/{place}", _TAMPERED)
        return manifest

    def versions(self) -> list[str]:
        """The versions that are whole, by name."""
        return [
            name.split("/")[1]
            for name in self.location.names("versions")
            if name.count("/") == 2
            and name.endswith(f"/{MANIFEST}")
            and is_version_name(name.split("/")[1])
        ]

    def _choose(self) -> str:
        return f"It has: {', '.join(self.versions()) or 'none'}."

    def add(self, folder: Path, name: str, identity: Iterable[str]) -> str:
        """Uploads a version, its manifest last. It is not the latest yet.

        Args:
            folder: Its files.
            name: How the version's name begins.
            identity: Folders and files that make up its name: the same content
                has the same name, so that a retry does not publish twice.

        Returns:
            The version: the name and a hash of its content.
        """
        manifest = _manifest(folder)
        version = _name(manifest, name, identity)
        if self.location.read(f"versions/{version}/{MANIFEST}") is None:
            for file in manifest:
                if file.split("/")[0] not in set(identity):
                    # Of two that add the same model, the first one says what it was made from.
                    target = f"versions/{version}/{file}"
                    if not self.location.create(target, (folder / file).read_bytes()):
                        content = self.location.read(target) or b""
                        manifest[file] = ManifestEntry(
                            size=len(content), sha256=hashlib.sha256(content).hexdigest()
                        )
            for part in sorted({file.split("/")[0] for file in manifest} & set(identity)):
                self.location.upload(folder / part, f"versions/{version}/{part}")
            self.location.write(
                f"versions/{version}/{MANIFEST}",
                _json({file: entry.model_dump() for file, entry in manifest.items()}),
            )
        return version

    def point(
        self, version: str, after: Move | None, action: Literal["publish", "rollback"]
    ) -> Move:
        """Makes a version the latest, if the last move is still `after`.

        Args:
            version: A version that is whole.
            after: The move that the caller knows as the last one.
            action: Why.

        Raises:
            Conflict: If the pointer has moved since.
            InputError: If there is no such version.
        """
        self.manifest(version)
        move = Move(
            number=after.number + 1 if after else 1,
            version=version,
            previous=after.version if after else None,
            action=action,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        name, content = _history_name(move.number), _model_json(move)
        self.check_last(after)
        # Where the entry is there, it may be this one: S3's answer may have been lost, and the
        # storage library has tried again.
        if not self.location.create(name, content) and self.location.read(name) != content:
            raise self._conflict(after)
        self.repeat_latest()
        return move

    def check_last(self, after: Move | None) -> None:
        """Raises Conflict, if another move than `after` is the last one."""
        if self.latest() != after:
            raise self._conflict(after)

    def _conflict(self, after: Move | None) -> Conflict:
        return Conflict(
            f"{self.location}: the latest version is no longer "
            f"{after.version if after else 'none'}, which this run was compared with: another "
            "run has published since. Nothing was changed. Run again to be compared with "
            "that one."
        )

    def repeat_latest(self) -> None:
        """Writes the last move to `latest.json`, until it is the last one indeed.

        A slow writer may overwrite the entry of a later move; so each looks again
        after it has written. One that was killed before it could is repaired by the
        next move.
        """
        latest = self.latest()
        while latest is not None:
            self.location.write(LATEST, _model_json(latest))
            newer = self.latest()
            if newer == latest:
                return
            latest = newer

    def rollback(self, version: str | None = None) -> Move:
        """Makes an earlier version the latest again.

        Args:
            version: Which one; by default the one that was the latest before.

        Raises:
            InputError: If there is none, or it is the latest already.
        """
        latest = self.latest()
        if latest is None:
            raise InputError(f"{self.location}: nothing was published there.")
        target = latest.previous if version is None else version
        if target is None:
            raise InputError(
                f"{self.location}: {latest.version} is the first version; there is none before it."
            )
        if target == latest.version:
            raise InputError(f"{self.location}: {target} is the latest version already.")
        return self.point(target, latest, "rollback")

    def fetch(self, version: str, parts: Iterable[str], target: Path) -> None:
        """Downloads parts of a version, and checks them against its manifest.

        Args:
            version: Which one.
            parts: Folders and files of it, as the start of names.
            target: A local folder.

        Raises:
            InputError: If a file is not what the manifest says, or the manifest
                names files outside of the version.
        """
        prefixes = tuple(parts)
        manifest = self.manifest(version)
        wanted = [name for name in manifest if name.startswith(prefixes)]
        folder = f"versions/{version}"
        for name in wanted:
            try:
                self.location.download([f"{folder}/{name}"], folder, target)
                digest = _sha256(target / name)
            except (FileNotFoundError, IsADirectoryError) as error:
                raise InputError(
                    f"{self.location}/{folder}/{name} was published, and is gone. Roll back to "
                    "another version: deep-retrieval rollback."
                ) from error
            if digest != manifest[name].sha256:
                raise InputError(
                    f"{self.location}/{folder}/{name} is not the file that was published: its "
                    "SHA-256 differs from the manifest's. Roll back to another version: "
                    "deep-retrieval rollback."
                )


def _history_name(number: int) -> str:
    return f"history/{number:08d}.json"


def version_name(folder: Path, name: str, identity: Iterable[str]) -> str:
    """The name of the version that a folder's files make: a name and a hash of the content."""
    return _name(_manifest(folder), name, identity)


def _name(manifest: dict[str, ManifestEntry], name: str, identity: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for file, entry in manifest.items():
        if file.split("/")[0] in set(identity):
            digest.update(f"{file}\0{entry.sha256}\n".encode())
    version = f"{name}-{digest.hexdigest()[:12]}"
    return checked_version(version, "publish", "Choose another name in the config.")


def _manifest(folder: Path) -> dict[str, ManifestEntry]:
    return {
        path.relative_to(folder).as_posix(): ManifestEntry(
            size=path.stat().st_size, sha256=_sha256(path)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _problems(error: ValidationError) -> str:
    """Say what is wrong with a file from a location."""
    sentences = []
    for problem in error.errors()[:3]:
        message = problem["msg"].removeprefix("Value error, ")
        parts = [str(part) for part in problem["loc"]]
        if parts and parts[-1] != "[key]":  # of a key, the message names it
            message = ".".join(p if p.isidentifier() else shown(p) for p in parts) + f": {message}"
        sentences.append(message)
    return "; ".join(sentences)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _model_json(model: BaseModel) -> bytes:
    return (model.model_dump_json(indent=2) + "\n").encode()
