"""Files and folders that appear whole or not at all, and their hashes."""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# The end of a name at which something is still being written.
PARTIAL = ".partial"


@contextlib.contextmanager
def beside(path: str | os.PathLike[str], *, unique: bool = False) -> Iterator[Path]:
    """Yield a name in the same folder, to write at before renaming to `path`.

    A rename within a folder is atomic, so a reader sees the old content or the
    new one. Whatever is left at the yielded name when the block ends is removed.

    Args:
        path: The final name of a file, folder or link.
        unique: Whether the yielded name is a new one each time, for writers that
            may write to `path` at the same time. Otherwise it is `path` +
            `.partial`, and what a killed writer left there is removed first.

    Example:
    ```python
    with beside("notes.txt") as aside:
        aside.write_text("hello")
        aside.replace("notes.txt")
    ```
    """
    final = Path(path)
    aside = final.with_name(f"{final.name}{f'.{uuid.uuid4().hex}' if unique else ''}{PARTIAL}")
    _remove(aside)
    try:
        yield aside
    finally:
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


@contextlib.contextmanager
def written_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder to write into, which becomes `path` if the block succeeds.

    After an error, the folder is removed and `path` is unchanged, so that no
    later run uses incomplete output.

    Args:
        path: The final folder. An existing one is replaced.
    """
    final = Path(path)
    with beside(final) as aside:
        aside.mkdir(parents=True)
        yield aside
        if final.is_dir():
            shutil.rmtree(final)
        aside.rename(final)


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file, whole or not at all; create its folder if necessary."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    with beside(final) as aside:
        aside.write_text(text, encoding="utf-8")
        aside.replace(final)


def write_json(value: Any, path: str | os.PathLike[str]) -> None:
    """Write a value as indented JSON with a final newline; NaN is refused."""
    Path(path).write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text())


def hash_files(root: Path, paths: Iterable[Path], begin: bytes = b"") -> str:
    """Hash some of a folder's files: their names, relative to the folder, and their content.

    Args:
        root: The folder.
        paths: The files, in the order in which they are hashed.
        begin: Bytes to hash first.

    Returns:
        The SHA-256 as hexadecimal digits.
    """
    digest = hashlib.sha256(begin)
    for path in paths:
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
