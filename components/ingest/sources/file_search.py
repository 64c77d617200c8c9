"""Finds the files of a table: a file, a folder, a glob, or a hive-partitioned folder."""

import glob
import logging
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from components.shared.runtime.errors import InputError

logger = logging.getLogger(__name__)

# Names without a compression's ending. In a folder, other files are not read beside these.
_DATA_ENDINGS = {
    "parquet", "pq", "csv", "tsv", "tab", "txt", "dat", "data", "inter", "item", "user", "json",
    "jsonl", "ndjson",
}  # fmt: skip
_COMPRESSION_ENDINGS = {"gz", "gzip", "zst", "zstd", "bz2"}
_PARTITION = re.compile(r"([A-Za-z_][^=/\\]*)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class FoundFile:
    """A file of a table.

    Args:
        path: Its path.
        name: Its name in messages and rejects.
        partitions: The columns in the names of its folders, e.g. `day=2024-05-01`.
    """

    path: str
    name: str
    partitions: dict[str, str | None] = field(default_factory=dict)


def find_files(pattern: str, key: str = "") -> list[FoundFile]:
    """Find the files of a table, sorted by path.

    Of a folder, all files below it are read, except hidden ones, empty ones, and
    those with an ending that is not one of data, if others have one.

    Args:
        pattern: A file, a folder, or a glob that matches files or folders.
        key: The config key of the pattern, for messages.

    Raises:
        InputError: If there is no file.

    Example:
    ```python
    Path("log").mkdir()
    Path("log/day=1").mkdir()
    Path("log/day=1/part-0.csv").write_text("user,item")
    assert find_files("log")[0].partitions == {"day": "1"}
    ```
    """
    where = f"{key}: " if key else ""
    expanded = str(Path(pattern.removeprefix("file://")).expanduser())
    matches = [expanded] if os.path.exists(expanded) else glob.glob(expanded, recursive=True)
    if not matches:
        raise InputError(f"{where}no file matches {pattern}.")
    found: dict[str, FoundFile] = {}
    for match in sorted(matches):
        path = Path(match)
        if path.is_dir():
            for inside in _in_folder(path):
                name = inside.relative_to(path).as_posix()
                found.setdefault(str(inside), FoundFile(str(inside), name, _partitions(inside)))
        elif path.is_file():
            found.setdefault(match, FoundFile(match, path.name, _partitions(path)))
    if not found:
        raise InputError(f"{where}{pattern} contains no file with data.")
    files = [found[path] for path in sorted(found)]
    if len({file.name for file in files}) == len(files):
        return files
    # Files of several folders have the same names, but a row has to be found by its file's.
    root = os.path.commonpath([os.path.dirname(file.path) for file in files])
    return [replace(file, name=Path(file.path).relative_to(root).as_posix()) for file in files]


def _in_folder(folder: Path) -> list[Path]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        and path.stat().st_size
    ]
    data = [path for path in files if _has_data_ending(path)]
    if data and len(data) < len(files):
        others = [path.relative_to(folder).as_posix() for path in files if path not in set(data)]
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        logger.info(f"{folder}: {', '.join(others[:3])}{more} are not read: no ending of data")
    return data or files


def _has_data_ending(path: Path) -> bool:
    endings = path.name.lower().split(".")[1:]
    if endings and endings[-1] in _COMPRESSION_ENDINGS:
        endings.pop()
    return bool(endings) and endings[-1] in _DATA_ENDINGS


def _partitions(path: Path) -> dict[str, str | None]:
    found = (_PARTITION.fullmatch(part) for part in path.parts[:-1])
    return {
        match[1]: None if match[2] == _NO_VALUE else unquote(match[2]) for match in found if match
    }
