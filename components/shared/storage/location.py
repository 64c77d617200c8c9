"""Files at a location that outlives a run: a folder, s3:// or gs://, through fsspec."""

import contextlib
import glob
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import split_protocol
from fsspec.registry import known_implementations

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import credentials_in, masked, refusal
from components.shared.storage.names import check_apart, checked, inside

_USE = "Use a folder, s3:// or gs://."
# On these, fsspec creates an object exclusively: one of two writers gets an error. S3 has
# If-None-Match for it, Google Cloud Storage ifGenerationMatch, a local file system hard links.
# `memory`, for tests, does so among the writers of one thread.
PROTOCOLS = ("file", "s3", "gs", "gcs", "memory")
PARTIAL = ".partial"  # how the name of a file ends that is not in its place yet


def is_remote(path: str) -> bool:
    """Whether a path is a URL and not a file of this machine."""
    return "://" in path and not path.startswith("file://")


class Location:
    """A place for files: `models/`, `s3://bucket/models`, `gs://bucket/models`.

    Credentials are those of the environment, as s3fs and gcsfs find them. Names
    below the location come from whoever can write there, so each is checked by
    `components.shared.storage.names` before it is read, written or deleted, and symbolic links
    in a folder are not followed out of it.

    Args:
        url: The place; names below it are relative to it.

    Raises:
        InputError: If there is no way to reach such a place, or the URL contains
            credentials.
    """

    def __init__(self, url: str):
        found = credentials_in(url)  # first, as every other message repeats the URL
        if found:
            raise InputError(refusal({masked(url): found}))
        self.url = url.rstrip("/") or "/"
        protocol, path = split_protocol(url.partition("::")[0])
        # Before fsspec makes the file system, as some connect when they are made.
        if protocol not in (None, "local", *PROTOCOLS) and protocol in known_implementations:
            raise InputError(f"{url}: {protocol}:// is not supported. {_USE}")
        if protocol in ("s3", "gs", "gcs") and not path.strip("/"):
            raise InputError(f"{url} names no bucket. Write {protocol}://bucket/folder.")
        try:
            self._files, self._root = fsspec.url_to_fs(
                os.path.expanduser(url), use_listings_cache=False
            )
        except (ValueError, ImportError) as error:
            raise InputError(
                f"{url} cannot be reached: {error}. Locations are folders, s3:// and gs://; the "
                "last two need pip install 'deep-retrieval-pipeline[cloud]'."
            ) from error
        protocols = self._files.protocol
        self._protocol = protocols if isinstance(protocols, str) else protocols[0]
        if self._protocol not in PROTOCOLS:
            raise InputError(f"{url}: {self._protocol}:// is not supported. {_USE}")

    def __str__(self) -> str:
        return self.url

    def _path(self, name: str) -> str:
        if not name:
            return self._root
        if self._protocol == "file":
            return str(inside(Path(self._root), name, self.url))
        return posixpath.join(self._root, checked(name, self.url))

    @contextlib.contextmanager
    def _reaching(self, name: str, *, may_be_gone: bool = False) -> Iterator[None]:
        """Turns what storage libraries raise about access into one message."""
        try:
            yield
        except FileExistsError:
            raise
        except FileNotFoundError as error:
            if self._protocol == "file" or may_be_gone:
                raise
            # A folder in a bucket is there or not as its files are; so it is the bucket.
            raise InputError(
                f"{self.url}: there is no such bucket, or it cannot be seen with the credentials "
                "of the environment."
            ) from error
        except (PermissionError, ConnectionError) as error:
            if self._protocol == "file":
                raise
            raise InputError(
                f"{self.url}/{name}: {error}. Check the credentials of the environment and "
                "that they may read and write there."
            ) from error
        except Exception as error:
            if type(error).__name__ in ("NoCredentialsError", "DefaultCredentialsError"):
                raise InputError(
                    f"{self.url}: there are no credentials for it ({error})."
                ) from error
            if any(base.__module__ == "botocore.exceptions" for base in type(error).__mro__):
                raise InputError(f"{self.url} cannot be reached: {error}.") from error
            raise

    def read(self, name: str) -> bytes | None:
        """The content of a file; none, if it is not there."""
        with self._reaching(name):
            try:
                content: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return content

    def names(self, folder: str = "") -> list[str]:
        """The names of all files in and below a folder, relative to the location, sorted."""
        with self._reaching(folder):
            found = self._find(folder)
        root = self._root.rstrip("/") + "/"
        return sorted(path.removeprefix(root) for path in found)

    def _find(self, folder: str) -> list[str]:
        if self._protocol == "file":
            # fsspec 2026.9 takes a folder that it may not read for an empty one.
            return [
                posixpath.join(parent, name)
                for parent, _, names in os.walk(self._path(folder), onerror=_unless_missing)
                for name in names
                if not name.endswith(PARTIAL)  # of a writer that writes now, or was killed
            ]
        self._files.invalidate_cache()
        found = self._files.find(self._path(folder))
        # Consoles mark folders by empty objects whose names end with a slash.
        return [path for path in found if not path.endswith("/")]

    def matching(self, pattern: str = "") -> list[str]:
        """The names of the files that a glob pattern matches; all files by default, sorted."""
        if not pattern:
            return self.names()
        with self._reaching(pattern):
            self._files.invalidate_cache()
            found = self._files.glob(posixpath.join(self._root, pattern), detail=True)
        root = self._root.rstrip("/") + "/"
        return sorted(
            path.removeprefix(root)
            for path, info in found.items()
            if info["type"] == "file" and not path.endswith(PARTIAL)
        )

    @classmethod
    def states(cls, url: str) -> list[tuple[str, str]]:
        """Lists the objects that a URL names, each with a text that changes with its content.

        Args:
            url: An object, a folder, or a glob pattern.

        Returns:
            Names and states, sorted by name: the size, and the ETag, generation
            or time of change, whichever the store has.

        Raises:
            InputError: If the store cannot be read.
        """
        location = cls(url)
        with location._reaching(""):
            location._files.invalidate_cache()
            root = location._root
            if any(letter in root for letter in "*?["):
                found = location._files.glob(root, detail=True)
            else:
                found = location._files.find(root, detail=True)
        return sorted(
            (path, _state(info))
            for path, info in found.items()
            if info["type"] == "file" and not path.endswith((PARTIAL, "/"))
        )

    def write(self, name: str, content: bytes) -> None:
        """Writes or replaces a file at once: a reader gets the old content or the new one."""
        path = self._path(name)
        with self._reaching(name):
            if self._protocol != "file":  # an object store shows an object when it is whole
                self._files.pipe_file(path, content)
                return
            with _written_beside(path, content) as aside:
                os.replace(aside, path)

    def create(self, name: str, content: bytes) -> bool:
        """Writes a file that is not there yet; of several writers one succeeds.

        Returns:
            Whether it was this call.
        """
        path = self._path(name)
        with self._reaching(name):
            try:
                if self._protocol == "file":
                    with _written_beside(path, content) as aside:
                        return _linked(aside, path)
                else:
                    self._files.pipe_file(path, content, mode="create")
            except FileExistsError:
                if self._protocol == "file":  # a file is where a folder should be
                    raise
                return False
            except OSError as error:
                # s3fs 2026.9 and gcsfs 2026.10 give the failed condition as they got it: 412,
                # or 409 where another one is being decided at this moment.
                if _condition_failed(error):
                    return False
                raise
        return True

    def upload(self, source: Path, folder: str) -> None:
        """Copies all files of a local folder into one at the location."""
        for path in sorted(source.rglob("*")):
            if path.is_file():
                target = self._path(posixpath.join(folder, path.relative_to(source).as_posix()))
                with self._reaching(folder):
                    if self._protocol != "file":
                        self._files.put_file(str(path), target)
                        continue
                    with _beside(target) as aside:
                        shutil.copyfile(path, aside)
                        os.replace(aside, target)

    def download(self, names: list[str], folder: str, target: Path) -> None:
        """Copies files into a local folder, under their names below `folder`.

        Raises:
            InputError: If a name is not allowed, or the files cannot be beside
                each other; then none is copied.
        """
        check_apart((checked(name, self.url) for name in names), self.url)
        below = {name: name.removeprefix(f"{folder}/") if folder else name for name in names}
        paths = {name: inside(target, copy, self.url) for name, copy in below.items()}
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._reaching(name, may_be_gone=True):
                self._files.get_file(self._path(name), str(path))

    def delete(self, name: str) -> None:
        """Deletes a file, and what killed writers left of it; it may not be there."""
        path = self._path(name)
        with self._reaching(name), contextlib.suppress(FileNotFoundError):
            if self._protocol == "file":
                for left in glob.glob(f"{glob.escape(path)}.*{PARTIAL}"):
                    os.unlink(left)
            self._files.rm_file(path)


def _state(info: dict[str, Any]) -> str:
    """Returns an object's size and its store's own mark of its content."""
    marks = ("ETag", "etag", "generation", "LastModified", "updated", "mtime", "created")
    mark = next((str(info[key]) for key in marks if info.get(key)), "")
    return f"{info['size']}\0{mark}"


@contextlib.contextmanager
def _beside(path: str) -> Iterator[str]:
    """Gives a name in the same folder; what is there afterwards is removed."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    aside = f"{path}.{uuid.uuid4().hex}{PARTIAL}"
    try:
        yield aside
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)


@contextlib.contextmanager
def _written_beside(path: str, content: bytes) -> Iterator[str]:
    """Gives a file with the content in the same folder; it is gone afterwards, if it is left."""
    with _beside(path) as aside:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield aside


def _linked(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _condition_failed(error: OSError) -> bool:
    causes: list[Any] = [error, error.__cause__]
    for cause in causes:
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in (409, 412):
                return True
        if getattr(cause, "code", None) in (409, 412, "409", "412"):
            return True
    return False
