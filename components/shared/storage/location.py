"""Files at a location that outlives a run: a folder, `s3://` or `gs://`, through fsspec."""

import contextlib
import glob
import os
import posixpath
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import split_protocol
from fsspec.registry import known_implementations

from components.shared.runtime.errors import InputError
from components.shared.runtime.files import PARTIAL, beside
from components.shared.storage.credentials import credentials_in, masked, refusal
from components.shared.storage.names import check_apart, checked, inside

_USE = "Use a folder, s3:// or gs://."
# The protocols with exclusive creation: the second of two writers gets an error. S3 has
# If-None-Match for this, Google Cloud Storage ifGenerationMatch, a local file system hard links.
# `memory`, for tests, supports it for the writers of one thread.
PROTOCOLS = ("file", "s3", "gs", "gcs", "memory")


def is_remote(path: str) -> bool:
    """Return whether a path is a URL rather than a local path."""
    return "://" in path and not path.startswith("file://")


class Location:
    """A place for files: `models/`, `s3://bucket/models`, `gs://bucket/models`.

    Credentials come from the environment, as s3fs and gcsfs look them up. File
    names at the location are chosen by whoever can write there, so each is checked
    by `components.shared.storage.names` before it is read, written or deleted, and
    symbolic links that lead out of a local folder are not followed.

    Args:
        url: The location's path or URL. File names are relative to it.

    Raises:
        InputError: If the protocol is not supported, or the URL contains
            credentials.

    Example:
    ```python
    location = Location("models")
    location.write("notes/1.txt", b"hello")
    assert location.names() == ["notes/1.txt"]
    assert not location.create("notes/1.txt", b"another")
    ```
    """

    def __init__(self, url: str):
        found = credentials_in(url)  # first, because all other messages repeat the URL
        if found:
            raise InputError(refusal({masked(url): found}))
        self.url = url.rstrip("/") or "/"
        protocol, path = split_protocol(url.partition("::")[0])
        # Before fsspec creates the file system, because some connect on creation.
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
                f"{url} cannot be reached: {error}. Use a folder, s3:// or gs://; the "
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
        """Turn the access errors of storage libraries into an `InputError`."""
        try:
            yield
        except FileExistsError:
            raise
        except FileNotFoundError as error:
            if self._protocol == "file" or may_be_gone:
                raise
            # Buckets have no folders that could be missing, so it is the bucket that is.
            raise InputError(
                f"{self.url}: the bucket does not exist, or the credentials in the environment "
                "do not give access to it."
            ) from error
        except (PermissionError, ConnectionError) as error:
            if self._protocol == "file":
                raise
            raise InputError(
                f"{self.url}/{name}: {error}. Check the credentials in the environment, and "
                "that they allow reading and writing there."
            ) from error
        except Exception as error:
            if type(error).__name__ in ("NoCredentialsError", "DefaultCredentialsError"):
                raise InputError(
                    f"{self.url}: no credentials were found for it ({error})."
                ) from error
            if any(base.__module__ == "botocore.exceptions" for base in type(error).__mro__):
                raise InputError(f"{self.url} cannot be reached: {error}.") from error
            raise

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if the file does not exist."""
        with self._reaching(name):
            try:
                content: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return content

    def names(self, folder: str = "") -> list[str]:
        """Return the names of all files below a folder, relative to the location, sorted."""
        with self._reaching(folder):
            found = self._find(folder)
        root = self._root.rstrip("/") + "/"
        return sorted(path.removeprefix(root) for path in found)

    def _find(self, folder: str) -> list[str]:
        if self._protocol == "file":
            # fsspec 2026.9 treats a folder without read permission as empty.
            return [
                posixpath.join(parent, name)
                for parent, _, names in os.walk(self._path(folder), onerror=_unless_missing)
                for name in names
                if not name.endswith(PARTIAL)  # from a writer that is still writing, or was killed
            ]
        self._files.invalidate_cache()
        found = self._files.find(self._path(folder))
        # Cloud consoles create empty objects whose names end with a slash as folders.
        return [path for path in found if not path.endswith("/")]

    def matching(self, pattern: str = "") -> list[str]:
        """Return the names of the files that match a glob pattern, sorted; all files by default."""
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
        """List the objects that a URL names, each with a text that changes with its content.

        Args:
            url: An object, a folder, or a glob pattern.

        Returns:
            Pairs of name and state, sorted by name. The state is the size and the
            ETag, generation or modification time, whichever the store provides.

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
        """Write or replace a file atomically: a reader gets the old content or the new one."""
        path = self._path(name)
        with self._reaching(name):
            if self._protocol != "file":  # an object becomes visible once it is complete
                self._files.pipe_file(path, content)
                return
            with _written_beside(path, content) as aside:
                aside.replace(path)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file only if it does not exist; of several writers, one succeeds.

        Returns:
            Whether this call created the file.
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
                # s3fs 2026.9 and gcsfs 2026.10 pass on the store's answer to a failed condition:
                # 412, or 409 while another conditional write to the object is in progress.
                if _condition_failed(error):
                    return False
                raise
        return True

    def upload(self, source: Path, folder: str) -> None:
        """Copy all files of a local folder to a folder at the location."""
        for path in sorted(source.rglob("*")):
            if path.is_file():
                target = self._path(posixpath.join(folder, path.relative_to(source).as_posix()))
                with self._reaching(folder):
                    if self._protocol != "file":
                        self._files.put_file(str(path), target)
                        continue
                    with _beside(target) as aside:
                        shutil.copyfile(path, aside)
                        aside.replace(target)

    def download(self, names: list[str], folder: str, target: Path) -> None:
        """Copy files into a local folder, under their names relative to `folder`.

        Args:
            names: The files' names, relative to the location.
            folder: A folder at the location that contains them; may be empty.
            target: The local folder.

        Raises:
            InputError: If a name is not allowed, or two names cannot coexist in a
                folder. No file is copied then.
        """
        check_apart((checked(name, self.url) for name in names), self.url)
        below = {name: name.removeprefix(f"{folder}/") if folder else name for name in names}
        paths = {name: inside(target, copy, self.url) for name, copy in below.items()}
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._reaching(name, may_be_gone=True):
                self._files.get_file(self._path(name), str(path))

    def delete(self, name: str) -> None:
        """Delete a file and what killed writers left of it; a missing file is no error."""
        path = self._path(name)
        with self._reaching(name), contextlib.suppress(FileNotFoundError):
            if self._protocol == "file":
                for left in glob.glob(f"{glob.escape(path)}.*{PARTIAL}"):
                    os.unlink(left)
            self._files.rm_file(path)


def _state(info: dict[str, Any]) -> str:
    """Return an object's size and the store's own marker of its content."""
    marks = ("ETag", "etag", "generation", "LastModified", "updated", "mtime", "created")
    mark = next((str(info[key]) for key in marks if info.get(key)), "")
    return f"{info['size']}\0{mark}"


@contextlib.contextmanager
def _beside(path: str) -> Iterator[Path]:
    """Yield a name to write at before the file gets its own; create the folder if necessary."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with beside(path, unique=True) as aside:  # two runs may publish to one location at once
        yield aside


@contextlib.contextmanager
def _written_beside(path: str, content: bytes) -> Iterator[Path]:
    """Yield a file in the same folder that holds the content; remove it if it is still there."""
    with _beside(path) as aside:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield aside


def _linked(source: Path, target: str) -> bool:
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
