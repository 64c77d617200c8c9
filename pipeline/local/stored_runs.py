"""The runs in an output folder: listing them, and finding one by its name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.run import Run
from components.shared.runtime.clean_text import one_line
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import PARTIAL
from pipeline.config.suggestions import did_you_mean
from pipeline.local.results import RunResult

LATEST = "latest"
# Folders of an output folder that hold other things, unless a config has the same name.
OTHER_FOLDERS = ("work", "tune", "compare")
STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z")
_BEGIN = "Run the pipeline first, e.g. deep-retrieval run --config sample"


@dataclass(frozen=True)
class StoredRun:
    """A folder of a run's results.

    Args:
        folder: The folder, `<output>/<name>/<time>`.
        result: The results; None if they cannot be read.
        problem: Why they cannot be read; empty if they can.
    """

    folder: Path
    result: RunResult | None
    problem: str = ""

    @property
    def id(self) -> str:
        """The name by which commands take it: `<name>/<time>`."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def readable(self) -> RunResult:
        """Return the results.

        Raises:
            InputError: If they cannot be read.
        """
        if self.result is None:
            raise InputError(f"{self.folder} cannot be read: {self.problem}")
        return self.result


def list_runs(output: str, name: str | None = None) -> list[StoredRun]:
    """List the runs in an output folder, the newest first.

    Args:
        output: The output folder. Symbolic links in it are not followed.
        name: Only runs of this config; all by default.

    Returns:
        Each folder of results, also one that cannot be read. An output folder that does not
        exist has none.
    """
    folders = sorted(_folders(Path(output).resolve(), name), key=lambda it: it.name, reverse=True)
    return [read_run(folder) for folder in folders]


def read_run(folder: Path) -> StoredRun:
    """Read the results in a folder, or say why they cannot be read."""
    if folder.name.endswith(PARTIAL):
        return StoredRun(
            folder, None, "it is half-written, as the run was stopped while it saved its results"
        )
    try:
        run = Run.read(folder)
        return StoredRun(folder, RunResult(folder, Evaluation.read(folder / "evaluation"), run))
    except UnicodeDecodeError:
        return StoredRun(folder, None, "run.json or evaluation.json is not text")
    except InputError as error:
        return StoredRun(folder, None, one_line(str(error)))
    except OSError as error:
        return StoredRun(folder, None, f"{error.strerror}: {error.filename}")


def find_run(output: str, text: str) -> RunResult:
    """Find a run.

    Args:
        output: The output folder.
        text: `latest`; a config's name, for its newest run; a name and a time, or the
            beginning of them (`sample/2026-11`) or of the time (`2026-11-24T03`); or the
            path of a folder of results.

    Raises:
        InputError: If no run or more than one is meant, or its results cannot be read.
    """
    root = Path(output).resolve()
    if text == LATEST:
        return _latest(root)
    if (Path(text) / Run.FILE).is_file():
        return read_run(Path(text).resolve()).readable()
    folders = [it for it in _folders(root, None) if not it.name.endswith(PARTIAL)]
    if not folders:
        raise InputError(f"--output {output}: there are no runs in {root}. {_BEGIN}.")
    word = text.rstrip("/")
    own = [folder for folder in folders if folder.parent.name == word]
    if own:
        return read_run(max(own)).readable()
    found = [it for it in folders if _id(it).startswith(word) or it.name.startswith(word)]
    exact = [folder for folder in found if _id(folder) == word]
    if len(exact or found) == 1:
        return read_run((exact or found)[0]).readable()
    if found:
        raise InputError(f"{len(found)} runs begin with {text}: {_some(found)}. Write more of it.")
    known = sorted({folder.parent.name for folder in folders})
    raise InputError(
        f"no run in {root} is named {text}.{did_you_mean(word, [*known, *map(_id, folders)])} The "
        f"newest are {_some(folders)}."
    )


def _latest(root: Path) -> RunResult:
    link = root / LATEST
    if link.is_dir() and link.resolve().is_relative_to(root):
        return read_run(link.resolve()).readable()
    runs = [run for run in list_runs(str(root)) if run.result is not None]
    if not runs:
        raise InputError(f"there are no runs in {root}. {_BEGIN}, or name its --output folder.")
    return runs[0].readable()


def _folders(root: Path, name: str | None) -> Iterator[Path]:
    """Yield the folders of results, and what a stopped run has left of one."""
    for parent in _subfolders(root):
        if name is not None and parent.name != name:
            continue
        for folder in _subfolders(parent):
            is_time = STARTED.fullmatch(folder.name.removesuffix(PARTIAL))
            if is_time or (
                parent.name not in OTHER_FOLDERS
                and not folder.name.endswith(PARTIAL)
                and (folder / Run.FILE).is_file()
            ):
                yield folder


def _subfolders(folder: Path) -> list[Path]:
    """Return the real folders in a folder; none if it does not exist."""
    try:
        return sorted(it for it in folder.iterdir() if it.is_dir() and not it.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _id(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _some(folders: Sequence[Path], most: int = 5) -> str:
    newest = sorted(folders, key=lambda folder: folder.name, reverse=True)
    names = ", ".join(map(_id, newest[:most]))
    return names + (f" and {len(folders) - most} more" if len(folders) > most else "")
