"""The registry: published versions at a location, and which of them is the latest.

    versions/<version>/
        export/           the export
        model/            the towers and their training history
        features/         the FeatureSpaces, vocabularies and the feature spec
        schema.json       the columns of the tables from ingest
        profile.json      what was in these columns
        evaluation.json   the evaluation
        lineage.json      config, data, images, revision: what it was made from
        MANIFEST.json     every file with its size and SHA-256, written last
    history/<number>.json     every change of the latest version, numbered from 1
    latest.json               a copy of the last entry, for readers

Without its manifest, a version does not exist. A version becomes the latest (the
champion) when the next number in `history` is created. Only one writer can create
it, so of two runs that were compared with the same champion, one replaces it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.shared.registry.history import Action, HistoryEntry, entry_file, parse_entry
from components.shared.registry.manifest import (
    MANIFEST,
    Manifest,
    ManifestEntry,
    manifest_bytes,
    manifest_of,
    parse_manifest,
    sha256_of,
    version_of,
)
from components.shared.runtime.errors import InputError
from components.shared.storage.location import Location
from components.shared.storage.names import checked_version, is_version_name

LATEST = "latest.json"


class Conflict(InputError):
    """Another run has changed the latest version in the meantime."""


@dataclass(frozen=True)
class PublishedModels:
    """The registry at a location.

    Args:
        location: The location.
    """

    location: Location

    @classmethod
    def at(cls, url: str) -> "PublishedModels":
        """Return the registry at a folder, `s3://` or `gs://` URL."""
        return cls(Location(url))

    # --- versions ---------------------------------------------------------------------------------

    def versions(self) -> list[str]:
        """Return the complete versions, by name."""
        return [
            name.split("/")[1]
            for name in self.location.names("versions")
            if name.count("/") == 2
            and name.endswith(f"/{MANIFEST}")
            and is_version_name(name.split("/")[1])
        ]

    def manifest(self, version: str) -> Manifest:
        """Return the files of a version.

        Raises:
            InputError: If there is no such version, it is not complete, or its
                manifest is not valid.
        """
        if not is_version_name(version):  # listing the versions takes time, only a message needs it
            checked_version(version, str(self.location), self._choose())
        name = f"versions/{version}/{MANIFEST}"
        content = self.location.read(name)
        if content is None:
            raise InputError(f"{self.location} has no version {version}. {self._choose()}")
        return parse_manifest(content, f"{self.location}/{name}")

    def _choose(self) -> str:
        return f"It has: {', '.join(self.versions()) or 'none'}."

    def add(self, folder: Path, name: str, identity: Iterable[str]) -> str:
        """Upload a version, its manifest last. This does not make it the latest.

        Args:
            folder: The version's files.
            name: How the version's name begins.
            identity: The top-level folders and files that determine the rest of
                its name: the same content has the same name, so that a retry
                does not publish it twice.

        Returns:
            The version.
        """
        manifest = manifest_of(folder)
        version = version_of(manifest, name, identity)
        if self.location.read(f"versions/{version}/{MANIFEST}") is None:
            for file in manifest:
                if file.split("/")[0] not in set(identity):
                    # If two runs add the same model, the lineage is that of the first one.
                    target = f"versions/{version}/{file}"
                    if not self.location.create(target, (folder / file).read_bytes()):
                        manifest[file] = ManifestEntry.of(self.location.read(target) or b"")
            for part in sorted({file.split("/")[0] for file in manifest} & set(identity)):
                self.location.upload(folder / part, f"versions/{version}/{part}")
            self.location.write(f"versions/{version}/{MANIFEST}", manifest_bytes(manifest))
        return version

    def fetch(self, version: str, parts: Iterable[str], target: Path) -> None:
        """Download parts of a version and check them against its manifest.

        Args:
            version: The version.
            parts: The start of the names of the wanted files.
            target: A local folder.

        Raises:
            InputError: If a file differs from the manifest, or a name in the
                manifest is not allowed.
        """
        prefixes = tuple(parts)
        manifest = self.manifest(version)
        folder = f"versions/{version}"
        for name in [name for name in manifest if name.startswith(prefixes)]:
            try:
                self.location.download([f"{folder}/{name}"], folder, target)
                digest = sha256_of(target / name)
            except (FileNotFoundError, IsADirectoryError) as error:
                raise InputError(
                    f"{self.location}/{folder}/{name} was published but no longer exists. Roll "
                    "back to another version: deep-retrieval rollback."
                ) from error
            if digest != manifest[name].sha256:
                raise InputError(
                    f"{self.location}/{folder}/{name} is not the file that was published: its "
                    "SHA-256 differs from the manifest's. Roll back to another version: "
                    "deep-retrieval rollback."
                )

    # --- the latest version -----------------------------------------------------------------------

    def history(self) -> list[HistoryEntry]:
        """Return all changes of the latest version, oldest first."""
        entries = []
        for name in self._entry_files():
            content = self.location.read(name)
            if content is not None:
                entries.append(self._parsed(name, content))
        return entries

    def latest(self) -> HistoryEntry | None:
        """Return the last entry of the history, or None if nothing has been published."""
        names = self._entry_files()
        content = self.location.read(names[-1]) if names else None
        return self._parsed(names[-1], content) if content is not None else None

    def entry(self, number: int) -> HistoryEntry:
        """Return an entry of the history.

        Args:
            number: Its number, from 1.

        Raises:
            InputError: If there is no such entry.
        """
        name = entry_file(number)
        content = self.location.read(name)
        if content is None:
            raise InputError(
                f"{self.location}/{name} does not exist, although it did when this run started. "
                "The location may have been emptied since. Start the run again."
            )
        return self._parsed(name, content)

    def _entry_files(self) -> list[str]:
        return [name for name in self.location.names("history") if name.endswith(".json")]

    def _parsed(self, name: str, content: bytes) -> HistoryEntry:
        return parse_entry(content, f"{self.location}/{name}")

    def make_latest(self, version: str, after: HistoryEntry | None, action: Action) -> HistoryEntry:
        """Make a version the latest if the last entry of the history is still `after`.

        Args:
            version: A complete version.
            after: The last entry that the caller has seen; None for an empty
                history.
            action: The reason for the change.

        Returns:
            The new entry.

        Raises:
            Conflict: If the latest version has changed since.
            InputError: If there is no such version.
        """
        self.manifest(version)
        entry = HistoryEntry(
            number=after.number + 1 if after else 1,
            version=version,
            previous=after.version if after else None,
            action=action,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        name, content = entry_file(entry.number), entry.to_bytes()
        self.check_latest(after)
        # An existing entry may be this one: if S3's answer is lost, the storage library tries
        # again.
        if not self.location.create(name, content) and self.location.read(name) != content:
            raise self._conflict(after)
        self.update_latest_file()
        return entry

    def check_latest(self, after: HistoryEntry | None) -> None:
        """Raise `Conflict` if the last entry of the history is not `after`."""
        if self.latest() != after:
            raise self._conflict(after)

    def _conflict(self, after: HistoryEntry | None) -> Conflict:
        found = (
            f"the latest version is no longer {after.version}, which this run was compared with: "
            "another run has published since"
            if after
            else "another run has published since this run found no version"
        )
        return Conflict(
            f"{self.location}: {found}. Nothing was changed. Run again to compare with the new "
            "latest version."
        )

    def update_latest_file(self) -> None:
        """Copy the last entry of the history to `latest.json`.

        A slow writer may overwrite the copy of a later entry, so each writer checks
        again after it has written. If a writer is killed before it can, the next
        change of the latest version repairs the file.
        """
        latest = self.latest()
        while latest is not None:
            self.location.write(LATEST, latest.to_bytes())
            newer = self.latest()
            if newer == latest:
                return
            latest = newer

    def rollback(self, version: str | None = None) -> HistoryEntry:
        """Make an earlier version the latest again.

        Args:
            version: The version; by default the one that was the latest before.

        Returns:
            The new entry of the history.

        Raises:
            InputError: If there is no such version, or it is already the latest.
        """
        latest = self.latest()
        if latest is None:
            raise InputError(f"{self.location}: nothing has been published there.")
        target = latest.previous if version is None else version
        if target is None:
            raise InputError(
                f"{self.location}: {latest.version} is the first version; there is none before it."
            )
        if target == latest.version:
            raise InputError(f"{self.location}: {target} is already the latest version.")
        return self.make_latest(target, latest, "rollback")
