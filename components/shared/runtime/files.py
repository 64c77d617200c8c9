"""Files and folders that appear whole or not at all, and their hashes."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file aside, then renames it; makes its folder if need be."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(final.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(final)


def write_json(value: Any, path: str | os.PathLike[str]) -> None:
    """Writes a value as indented JSON with a final newline; NaN is refused."""
    Path(path).write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file."""
    return json.loads(Path(path).read_text())


def hash_files(root: Path, paths: Iterable[Path], begin: bytes = b"") -> str:
    """Hashes the names, relative to a folder, and the content of some of its files.

    Args:
        root: The folder.
        paths: The files, in the order in which they count.
        begin: What is hashed before them.

    Returns:
        The SHA-256, in hexadecimal digits.
    """
    digest = hashlib.sha256(begin)
    for path in paths:
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextlib.contextmanager
def written_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a folder to write into, which becomes `path` only if all goes well.

    Work goes to a sibling folder, `path` + `.partial`; leaving the block
    renames it. After an error the partial folder is removed, and what was at
    `path` before is untouched, so that no later run takes a half for a whole.

    Args:
        path: Where the finished folder shall be. An older one there is replaced.
    """
    final = Path(path)
    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if final.is_dir():
            shutil.rmtree(final)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
