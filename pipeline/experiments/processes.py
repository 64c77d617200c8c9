"""Runs a step's job in a process of its own, since each job needs a Keras backend of its own."""

import importlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.shared.runtime.errors import InputError, describe_os_error, without_beam
from components.shared.runtime.images import DATA, STEP_IMAGES
from components.shared.runtime.keras_backend import use_jax, use_tensorflow
from components.shared.runtime.progress import progress_lines
from pipeline.heartbeat import Heartbeat

_TAIL_BYTES = 8192


class JobFailed(InputError):
    """A job failed for reasons other than its settings: no memory, a full disk."""


def run_job(
    module: str, job: str, arguments: dict[str, Any], log: Path, say: Callable[[str], None]
) -> Any:
    """Call a job in a process of its own.

    Args:
        module: The full name of its module.
        job: The job's name in the module.
        arguments: Its arguments.
        log: The file to append its output to.
        say: Called with each line of progress while the job runs.

    Returns:
        What the job returns.

    Raises:
        InputError: If the job raises it, or its settings are wrong.
        JobFailed: If the process was killed, or a file cannot be read or written.
    """
    begin = log.stat().st_size if log.exists() else 0
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        Heartbeat(lambda name, text: say(f"{name}  {text}")) as heartbeat,
    ):
        heartbeat.start(job, job, lambda: _last_message(log, job, begin))
        try:
            return pool.submit(_call, str(log), module, job, arguments).result()
        except (BrokenProcessPool, SystemExit) as error:  # SIGTERM makes train exit
            raise JobFailed(
                f"{module} was killed, perhaps because memory ran out. The end of {log} has its "
                "last output."
            ) from error


def _last_message(log: Path, job: str, begin: int) -> str:
    """Return the job's latest line in the log after a position; empty if there is none."""
    if not log.exists():
        return ""
    with open(log, "rb") as file:
        file.seek(max(begin, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    prefix = f"[{job}] "
    return next((line[len(prefix) :] for line in reversed(lines) if line.startswith(prefix)), "")


def _end_with_parent() -> None:
    """End this process when the command has gone, as nothing waits for its result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _choose_backend(module: str) -> None:
    """Choose Keras's backend as the step's component does, before the job imports keras."""
    step = module.removeprefix("components.").partition(".")[0]
    if step in STEP_IMAGES:
        (use_tensorflow if STEP_IMAGES[step] == DATA else use_jax)()


def _call(log: str, module: str, job: str, arguments: dict[str, Any]) -> Any:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(log, "a", encoding="utf-8") as file:
        for stream in (1, 2):  # this process does nothing else, and libraries write to both
            os.dup2(file.fileno(), stream)
        try:
            _choose_backend(module)
            with progress_lines(job):
                return getattr(importlib.import_module(module), job)(**arguments)
        except Exception as raised:
            error = without_beam(raised)
            if isinstance(error, InputError | ValidationError):
                raise InputError(str(error)) from None
            if isinstance(error, OSError):
                raise JobFailed(describe_os_error(error)) from None
            raise
