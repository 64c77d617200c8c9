"""What may be deleted from an output folder: caches, work folders, leftovers, old results.

Only names that this pipeline makes are found, so that a folder that is no output folder
loses nothing. Symbolic links are neither followed nor deleted.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.shared.runtime.errors import InputError
from components.shared.runtime.files import PARTIAL
from components.shared.storage.location import is_remote
from pipeline.local.stored_runs import LATEST, STARTED, list_runs

Kind = Literal["work", "experiments", "leftover", "unpublished", "result"]
# A version that is being uploaded has no manifest yet.
UPLOAD_SECONDS = 24 * 3600
# Of kfp 2.17's local runner: the pipeline's name and the time.
_TASKS = re.compile(r"deep-retrieval-\d{4}(-\d\d){5}-\d{6}")
_LOG = re.compile(rf".+-{STARTED.pattern}\.log")
_EXPERIMENT = re.compile(
    r"((tables|encoded|model|metrics)-[0-9a-f]{16}(-rejects|\.lock)?|experiments\.log)"
)


@dataclass(frozen=True)
class Leftover:
    """A file or a folder that may be deleted.

    Args:
        path: Its path.
        kind: `work`: artifacts, cache, checkpoints and logs of runs. `experiments`:
            trainings of tune and compare. `leftover`: what a stopped writer has left.
            `unpublished`: a version that never became the latest. `result`: a run's
            results.
        bytes: Its size.
    """

    path: Path
    kind: Kind
    bytes: int


def find_leftovers(
    output: str, keep: int | None = None, location: str | None = None
) -> list[Leftover]:
    """Find what may be deleted.

    Args:
        output: The output folder.
        keep: How many runs of each config keep their results, the newest; all by
            default. Results that cannot be read, and those that `latest` points at, stay.
        location: The folder in which models are published, to look for versions that
            never became the latest; none by default.

    Raises:
        InputError: If an argument cannot be used.
    """
    if keep is not None and keep < 1:
        raise InputError(f"--keep {keep}: it must be 1 or more.")
    root = Path(output).resolve()
    found = [(path, "work") for path in _work(root / "work")]
    found += [(path, "experiments") for path in _experiments(root / "work" / "experiments")]
    found += [(path, "leftover") for path in _partial(root)]
    found += [(path, "unpublished") for path in _unpublished(location)]
    found += [(path, "result") for path in _results(root, keep)]
    return [Leftover(path, kind, _size(path)) for path, kind in found]  # type: ignore[arg-type]


def delete(leftovers: Iterable[Leftover]) -> list[str]:
    """Delete files and folders.

    Returns:
        Why some could not be deleted.
    """
    problems = []
    for leftover in leftovers:
        try:
            if leftover.path.is_dir() and not leftover.path.is_symlink():
                shutil.rmtree(leftover.path)
            else:
                leftover.path.unlink(missing_ok=True)
        except OSError as error:
            problems.append(f"{error.filename or leftover.path}: {error.strerror}")
    return problems


def _work(work: Path) -> Iterator[Path]:
    for path in _entries(work):
        own = path.name in ("cache", "checkpoints") or _TASKS.fullmatch(path.name)
        if own if path.is_dir() else _LOG.fullmatch(path.name):
            yield path


def _experiments(folder: Path) -> Iterator[Path]:
    # `work` may be a link, which must not be followed.
    if not folder.parent.is_symlink():
        yield from (path for path in _entries(folder) if _EXPERIMENT.fullmatch(path.name))


def _partial(root: Path) -> Iterator[Path]:
    """Yield what stopped writers have left of results, trainings and searches."""
    link = root / f"{LATEST}{PARTIAL}"
    if link.is_symlink():
        yield link
    for parent in _entries(root):
        for path in _entries(parent):
            own = STARTED.fullmatch(path.name.removesuffix(PARTIAL))
            if path.name.endswith(PARTIAL) and (own or parent.name in ("work", "compare")):
                yield path
            elif (parent.name, path.name) == ("work", "experiments") or parent.name == "tune":
                yield from (it for it in _entries(path) if it.name.endswith(PARTIAL))


def _results(root: Path, keep: int | None) -> Iterator[Path]:
    if keep is None:
        return
    latest = (root / LATEST).resolve()
    kept: dict[str, int] = {}
    for run in list_runs(str(root)):
        if run.result is None:
            continue
        name = run.folder.parent.name
        kept[name] = kept.get(name, 0) + 1
        if kept[name] > keep and run.folder != latest:
            yield run.folder


def _unpublished(location: str | None) -> Iterator[Path]:
    """Yield versions that are a day old and in no entry of the history."""
    if location is None:
        return
    if is_remote(location):
        raise InputError(
            f"--location {location}: prune deletes on this machine only. In a bucket, delete the "
            "folders of versions/ that 'deep-retrieval published' does not list."
        )
    root = Path(location).resolve()
    if (root / "history").is_symlink() or (root / "versions").is_symlink():
        raise InputError(f"--location {location}: history or versions is a symbolic link.")
    if not (root / "history").is_dir():
        raise InputError(f"--location {location}: nothing has been published there.")
    published = {_version(path) for path in (root / "history").glob("*.json")}
    for path in _entries(root / "versions"):
        age = time.time() - max(it.lstat().st_mtime for it in (path, *path.rglob("*")))
        if path.name not in published and age > UPLOAD_SECONDS:
            yield path


def _version(entry: Path) -> str:
    try:
        return str(json.loads(entry.read_text(encoding="utf-8"))["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{entry} is not a valid entry of the history, so it is not known which versions were "
            "published. Nothing was deleted."
        ) from error


def _entries(folder: Path) -> list[Path]:
    """Return a real folder's entries that are no symbolic links; none if there is none."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.is_symlink())


def _size(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    total = 0
    for parent, _, names in os.walk(path):
        total += sum(os.lstat(os.path.join(parent, name)).st_size for name in names)
    return total
