"""Runs the pipeline on this machine, each step in a process of its own, with kfp's runner."""

import builtins
import contextlib
import io
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil
from kfp import local

from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.publication import Publication
from components.shared.contracts.step_record import REVISION
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import write_json, written_aside
from components.shared.storage.location import is_remote
from pipeline.compilation import build_pipeline
from pipeline.config.pipeline import PipelineConfig
from pipeline.definition import STEPS
from pipeline.images import revision, subprocess_images

if TYPE_CHECKING:
    from pipeline.local.docker_runner import Containers

_STEP_LINE = re.compile(rf"^\s*\[({'|'.join(STEPS)})\] (.*)$")
_STARTED = re.compile(r"Executing task \S*?'([\w-]+)'")
_CACHED = re.compile(r"Task (\S+) cache hit")
_DONE = re.compile(r"^done in ([\d.]+) s, ([\d.]+) s of it start-up$")
_COLOURS = re.compile(r"\x1b\[\d*m")


class RunFailed(Exception):
    """A step failed. The message says which one and why."""


@dataclass
class StepTime:
    """How long a step took.

    Args:
        step: Its name.
        seconds: Wall time of its process; 0 where a former run's result was used.
        startup_seconds: The part before its work began: interpreter and imports.
        reused: Whether a former run's result was used.
    """

    step: str
    seconds: float
    startup_seconds: float
    reused: bool = False


@dataclass
class Progress:
    """Turns the runner's output into lines that a person can follow.

    Everything goes to the log. The steps' own lines go to the console, each
    with the time since the run began.

    Args:
        console: Where the lines for people go.
        log: Where everything goes.
    """

    console: IO[str]
    log: IO[str]
    began: float = field(default_factory=time.monotonic)
    steps: list[StepTime] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failed: tuple[str, int] | None = None
    last_lines: dict[int, deque[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, text: str) -> None:
        """Takes one line of output."""
        text = _COLOURS.sub("", text)
        with self._lock:
            self.log.write(text + "\n")
            thread = threading.get_ident()
            self.last_lines.setdefault(thread, deque(maxlen=25)).append(text)
            if match := _STEP_LINE.match(text):
                self._step_line(thread, *match.groups())
            elif match := _STARTED.search(text):
                self.last_lines[thread].clear()
                self._show(_step_of(match.group(1)), "started")
            elif match := _CACHED.search(text):
                step = _step_of(match.group(1))
                self.steps.append(StepTime(step, 0.0, 0.0, reused=True))
                self._show(step, "reused: its inputs and its code are those of a former run")

    def _step_line(self, thread: int, step: str, message: str) -> None:
        if message.startswith("error: ") or self.errors:
            self.failed = self.failed or (step, thread)
            if self.failed == (step, thread):  # not what runs beside it
                self.errors.append(message.removeprefix("error: "))
            return  # shown once, at the end
        if match := _DONE.match(message):
            self.steps.append(StepTime(step, float(match.group(1)), float(match.group(2))))
        self._show(step, message)

    def _show(self, step: str, message: str) -> None:
        elapsed = time.monotonic() - self.began
        try:
            self.console.write(f"{elapsed:7.1f} s  {step:<12} {message}\n")
            self.console.flush()
        except BrokenPipeError:  # nobody reads any more, as after `| head`; the run goes on
            self.console = io.StringIO()


def _step_of(task: str) -> str:
    """Returns the step of a task: kfp numbers the second task of a step, `fetch-published-2`."""
    return re.sub(r"_\d+$", "", task.replace("-", "_"))


class _Lines(io.TextIOBase):
    """A text stream that gives whole lines, of each thread apart, to a `Progress`."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        thread = threading.get_ident()
        *lines, rest = (self._begun.get(thread, "") + text).split("\n")
        self._begun[thread] = rest
        for line in lines:
            if line.strip():
                self._progress.line(line)
        return len(text)

    def isatty(self) -> bool:
        return False


class _ToProgress(logging.Filter):
    """Takes kfp's log records, which go to the root logger, away to a `Progress`.

    A filter and not a handler: kfp 2.17 swaps the root logger's handlers around
    each step, and steps that run side by side leave theirs behind.
    """

    def __init__(self, progress: Progress):
        super().__init__()
        self._progress = progress

    def filter(self, record: logging.LogRecord) -> bool:
        for line in record.getMessage().splitlines():
            self._progress.line(line)
        return False


@contextlib.contextmanager
def _output_to(progress: Progress) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    print_ = builtins.print  # kfp 2.17 makes it indent, and steps side by side leave it so
    take = _ToProgress(progress)
    root.addFilter(take)
    root.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(_Lines(progress)), warnings.catch_warnings():
            # Image names mean nothing to the subprocess runner, which warns about them.
            warnings.simplefilter("ignore")
            yield
    finally:
        builtins.print = print_
        root.removeFilter(take)
        root.handlers[:] = handlers
        root.setLevel(level)


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Args:
        folder: The results: `report.html`, `export/`, `evaluation/`, `config.yaml`,
            `run.json`, `run.log`.
        evaluation: The content of `evaluation/evaluation.json`.
        publication: The version that was published, or the reasons why none was.
        steps: How long each step took.
        seconds: Wall time of the whole run.
    """

    folder: Path
    evaluation: Evaluation
    publication: Publication
    steps: list[StepTime]
    seconds: float


def run_locally(
    config: PipelineConfig,
    output: str,
    *,
    reuse: bool = True,
    containers: "Containers | None" = None,
) -> RunResult:
    """Runs the pipeline to the end.

    Results are gathered in `output/<name>/<time>`, which is there only when it
    is whole; `output/latest` points at the newest. What the steps pass on, and
    the cache, are in `output/work`.

    Args:
        config: The config.
        output: A folder, which is made if need be.
        reuse: Whether steps with the same inputs and code as before are skipped.
        containers: Runs each step in a container; by default each is a process
            of this Python environment.

    Raises:
        InputError: If the output folder cannot be used.
        RunFailed: If a step failed.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when no step runs any more.
    """
    config = config.on_this_machine()
    root = _prepared(output)
    began = time.monotonic()
    # To the millisecond: a run that reuses every step takes less than a second.
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%f")[:-3] + "Z"
    work = root / "work"
    log_path = work / f"{config.name}-{started}.log"
    with open(log_path, "w", encoding="utf-8") as log:
        progress = Progress(sys.stdout, log)
        try:
            with _output_to(progress):
                outputs = _run_kfp(config, work, reuse, containers)
        except RuntimeError as error:
            raise RunFailed(_failure(str(error), progress, log_path, containers)) from error
    if containers and containers.failures:
        raise RunFailed(_failure("A step", progress, log_path, containers))
    publication = Publication.read_file(outputs["publication"].path)
    seconds = time.monotonic() - began
    folder = root / config.name / started
    with written_aside(folder) as partial:
        _gather(outputs, partial)
        (partial / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        (partial / "run.log").write_bytes(log_path.read_bytes())
        write_json(
            {
                "name": config.name,
                "started": started,
                "runner": "docker" if containers else "subprocess",
                "seconds": round(seconds, 2),
                "good_enough": outputs["good_enough"],
                "publication": publication.model_dump(exclude={"format"}),
                "steps": [vars(step) for step in progress.steps],
            },
            partial / "run.json",
        )
    _point(root / "latest", folder)
    evaluation = Evaluation.read(folder / "evaluation")
    return RunResult(folder, evaluation, publication, progress.steps, seconds)


def _prepared(output: str) -> Path:
    root = Path(output).resolve()
    if "python3" in str(root):
        # kfp 2.17 replaces that word in the whole command line of a step.
        raise InputError(f"--output {root}: kfp cannot work in a path with 'python3' in it.")
    try:
        (root / "work").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {root}: {error.strerror}. Choose another folder.") from error
    if not os.access(root / "work", os.W_OK):
        raise InputError(f"--output {root}: the folder cannot be written. Choose another folder.")
    return root


def _run_kfp(
    config: PipelineConfig, work: Path, reuse: bool, containers: "Containers | None"
) -> dict[str, Any]:
    source = config.parameters()["source"]
    local.init(
        # use_venv would install packages from the network for each step.
        containers.runner(source, work, config.publish.location)
        if containers
        else local.SubprocessRunner(use_venv=False),
        pipeline_root=str(work),
        enable_caching=reuse,
        cache_root=str(work / "cache"),
    )
    images = containers.images if containers else subprocess_images()
    location = config.publish.location
    if location and not is_remote(location):
        os.makedirs(location, exist_ok=True)  # before hours of training, not after
    os.environ[REVISION] = revision()
    with contextlib.ExitStack() as stack:
        if containers:
            stack.enter_context(containers.owning(work))
            if location:
                stack.enter_context(containers.owning(Path(location)))
            stack.enter_context(containers.watched())
        stack.enter_context(_interruptible(containers.stop if containers else _kill_children))
        try:
            task = build_pipeline(config, images)(
                checkpoints=str(work / "checkpoints"),
            )
        except Exception as error:
            # kfp 2.17 asks about containers that have removed themselves, and misses the outputs
            # of those whose failure it did not see. What failed is in containers.failures.
            if containers and not isinstance(error, RuntimeError):
                raise RuntimeError(f"{type(error).__name__}: {error}") from error
            raise
    return dict(task.outputs)


def _kill_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


@contextlib.contextmanager
def _interruptible(kill: Callable[[], None]) -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM end all steps, and keep new ones from staying.

    kfp 2.17 waits for the iterations of a loop before it lets an interrupt
    through, and starts those that are still to come. So the interrupt is held
    back, and steps are killed again and again until kfp gives up by itself.

    Args:
        kill: Ends the steps that run now.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    over, interrupted = threading.Event(), threading.Event()

    def keep_killing() -> None:
        while not over.wait(0.2):
            kill()

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        if not interrupted.is_set():
            interrupted.set()
            threading.Thread(target=keep_killing, daemon=True).start()

    former = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    except Exception as error:
        if interrupted.is_set():
            raise KeyboardInterrupt from error
        raise
    else:
        if interrupted.is_set():
            raise KeyboardInterrupt
    finally:
        over.set()
        for number, handler in former.items():
            signal.signal(number, handler)


def _failure(
    message: str, progress: Progress, log_path: Path, containers: "Containers | None"
) -> str:
    failed = _COLOURS.sub("", message).partition("Inner task failed: ")[2] or message
    step = progress.failed[0] if progress.failed else _step_of(failed.strip("'. ").split("'")[0])
    if progress.errors:
        return f"{step}: " + "\n".join(progress.errors)
    if containers and containers.failures:
        step += f": {containers.failures[0]}."
    else:
        step += " failed unexpectedly."
    lines = "\n".join(line for seen in progress.last_lines.values() for line in seen)
    return f"{step} Its last output:\n{lines}\nThe whole log: {log_path}"


def _gather(outputs: dict[str, Any], folder: Path) -> None:
    shutil.copytree(outputs["export"].path, folder / "export")
    shutil.copytree(outputs["evaluation"].path, folder / "evaluation")
    shutil.copyfile(outputs["report"].path, folder / "report.html")


def _point(link: Path, target: Path) -> None:
    """Makes a symbolic link, or moves it, in one step."""
    aside = link.with_name(link.name + ".partial")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target.relative_to(link.parent))
    aside.replace(link)
