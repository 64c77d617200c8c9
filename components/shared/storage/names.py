"""File names from outside: from a bucket, a manifest, a history, an archive, an argument.

They are chosen by whoever can write there, so each is checked here before it reaches
a file system, an object store or a message. An allowed name has a single spelling and
stays within its folder, symbolic links included.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from components.shared.runtime.errors import InputError

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_RENAME = "Rename or delete it there."


def problem_of(name: str) -> str | None:
    """Say why a name is not allowed.

    Args:
        name: A relative file name, its parts separated by slashes.

    Returns:
        The reason, as the end of a sentence; None if the name is allowed.
    """
    parts = name.split("/")
    if not name:
        return "it is empty"
    if "\0" in name:
        return "it contains a NUL character"
    if "\\" in name:  # separates folders on Windows and in some archives
        return "it contains a backslash"
    if name.startswith("/"):
        return "it is an absolute path"
    if ".." in parts:
        return "it contains '..'"
    if "." in parts or "" in parts:
        return "it contains '.' or an empty part, so that other spellings mean the same file"
    return None


def checked(name: str, source: str, advice: str = _RENAME) -> str:
    """Return a relative file name if it is allowed.

    Args:
        name: The name.
        source: The origin of the name, for the message.
        advice: The advice at the end of the message.

    Raises:
        InputError: If it is not allowed.
    """
    reason = problem_of(name)
    if reason:
        raise InputError(
            f"{source}: the file name {shown(name)} is not allowed: {reason}. {advice}"
        )
    return name


def inside(folder: Path, name: str, source: str, advice: str = _RENAME) -> Path:
    """Join a folder and a name from outside.

    The folder itself may be a symbolic link, or be reached through one, because
    the user has chosen it. Links below it must not lead out of it. (This does not
    guard against a program that creates a link at the same time; it could write
    there itself.)

    Args:
        folder: The folder.
        name: The name.
        source: The origin of the name, for the message.
        advice: The advice at the end of the message.

    Returns:
        `folder / name`.

    Raises:
        InputError: If the name is not allowed, or a link leads it out of the
            folder.
    """
    path = folder / checked(name, source, advice)
    root = os.path.realpath(folder)
    if os.path.commonpath([root, os.path.realpath(path)]) != root:
        raise InputError(
            f"{source}: the file name {shown(name)} is not allowed: a symbolic link leads it out "
            f"of {folder}. {advice}"
        )
    return path


def check_apart(names: Iterable[str], source: str, advice: str = _RENAME) -> None:
    """Check that allowed names can coexist in one folder.

    File systems differ in whether two Unicode spellings of a letter are the same.

    Args:
        names: The names.
        source: The origin of the names, for the message.
        advice: The advice at the end of the message.

    Raises:
        InputError: If two names are the same file on some file systems, or one is
            the folder of another.
    """
    spellings: dict[str, str] = {}
    for name in names:
        other = spellings.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise InputError(
                f"{source}: the file names {shown(other)} and {shown(name)} differ only in how a "
                f"letter is encoded and may be the same file. {advice}"
            )
    for normal, name in spellings.items():
        parts = normal.split("/")
        for count in range(1, len(parts)):
            other = spellings.get("/".join(parts[:count]), "")
            if other:
                raise InputError(
                    f"{source}: {shown(other)} is a file and also the folder of {shown(name)}; "
                    f"there can be only one of them. {advice}"
                )


def checked_version(name: str, source: str, advice: str) -> str:
    """Return a version's name if a version can have that name.

    Args:
        name: The name.
        source: The origin of the name, for the message.
        advice: The advice at the end of the message.

    Raises:
        InputError: If it cannot.
    """
    if not is_version_name(name):
        raise InputError(f"{source}: {_no_version(name)}. {advice}")
    return name


def is_version_name(name: str) -> bool:
    """Return whether a version can have that name; it is also the name of a folder."""
    return _VERSION.fullmatch(name) is not None


def shown(name: str) -> str:
    """Format a name for a message: quoted, without control characters, truncated."""
    return repr(name if len(name) <= 200 else f"{name[:197]}...")


def _no_version(name: str) -> str:
    return (
        f"{shown(name)} cannot be the name of a version, which contains only letters, digits, '.', "
        "'_' and '-' and begins with a letter or digit"
    )


def _check_file(name: str) -> str:
    reason = problem_of(name)
    if reason:
        raise ValueError(f"the file name {shown(name)} is not allowed: {reason}")
    return name


def _check_version(name: str) -> str:
    if not is_version_name(name):
        raise ValueError(_no_version(name))
    return name


# Types of fields in models of files from outside.
FileName = Annotated[str, AfterValidator(_check_file)]
VersionName = Annotated[str, AfterValidator(_check_version)]
