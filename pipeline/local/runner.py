"""Runs the pipeline on this machine with kfp's local runner."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp import local

from components.shared.contracts.publication import Publication
from components.shared.contracts.run import Run
from components.shared.contracts.step_record import REVISION
from components.shared.runtime.folder_lock import in_use
from components.shared.storage.location import is_remote
from pipeline.compilation import build_pipeline
from pipeline.config.pipeline import PipelineConfig
from pipeline.images import revision, subprocess_images
from pipeline.local.display import display_on
from pipeline.local.failure import RunFailed, explain_failure
from pipeline.local.interrupts import interruptible, kill_children
from pipeline.local.output import RunOutput, capture_output
from pipeline.local.results import RunResult, prepare_output, save_results
from pipeline.local.step_times import step_times

if TYPE_CHECKING:
    from pipeline.local.docker_runner import Containers


def run_locally(
    config: PipelineConfig,
    output: str,
    *,
    reuse: bool = True,
    containers: "Containers | None" = None,
) -> RunResult:
    """Run the pipeline to the end.

    A finished run's results are in `output/<name>/<time>`, and `output/latest`
    points at the newest. Artifacts and the cache are in `output/work`.

    Args:
        config: The config.
        output: The output folder, created if it does not exist.
        reuse: Whether to reuse results of earlier runs with the same inputs and code.
        containers: Runs each step in a container; by default each is a process
            of this Python environment.

    Raises:
        InputError: If the output folder cannot be used.
        RunFailed: If a step failed.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when all steps have ended.
    """
    config = config.on_this_machine()
    root = prepare_output(output)
    with in_use(root / "work"):
        return _run(config, root, reuse, containers)


def _run(
    config: PipelineConfig, root: Path, reuse: bool, containers: "Containers | None"
) -> RunResult:
    began = time.monotonic()
    # To the millisecond: a run that reuses every step takes less than a second.
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%f")[:-3] + "Z"
    log_path = root / "work" / f"{config.name}-{started}.log"
    failures = containers.failures if containers else []
    with display_on(sys.stdout) as display, open(log_path, "w", encoding="utf-8") as log:
        printed = RunOutput(display, log)
        try:
            with capture_output(printed):
                outputs = _run_kfp(config, root / "work", reuse, containers)
        except RuntimeError as error:
            message = explain_failure(str(error), printed, log_path, failures)
            raise RunFailed(message) from error
    if failures:
        raise RunFailed(explain_failure("A step", printed, log_path, failures))
    publication = Path(outputs["publication"].path)
    run = Run(
        name=config.name,
        started=started,
        runner="docker" if containers else "subprocess",
        seconds=round(time.monotonic() - began, 2),
        good_enough=outputs["good_enough"],
        publication=Publication.read_file(publication),
        # publish is never reused, so its output is in kfp's folder of this run's tasks.
        steps=step_times(publication.parents[1], printed.reused),
    )
    return save_results(root, run, config, outputs, log_path)


def _run_kfp(
    config: PipelineConfig, work: Path, reuse: bool, containers: "Containers | None"
) -> dict[str, Any]:
    location = config.publish.location
    local.init(
        # use_venv would install packages from the network for each step.
        containers.runner(config.parameters()["source"], work, location)
        if containers
        else local.SubprocessRunner(use_venv=False),
        pipeline_root=str(work),
        enable_caching=reuse,
        cache_root=str(work / "cache"),
    )
    images = containers.images if containers else subprocess_images()
    if location and not is_remote(location):
        os.makedirs(location, exist_ok=True)  # fail before hours of training, not after
    with contextlib.ExitStack() as stack:
        stack.enter_context(_environment())
        if containers:
            stack.enter_context(containers.owning(work))
            if location:
                stack.enter_context(containers.owning(Path(location)))
            stack.enter_context(containers.watched())
        stack.enter_context(interruptible(containers.stop if containers else kill_children))
        try:
            task = build_pipeline(config, images)(checkpoints=str(work / "checkpoints"))
        except Exception as error:
            # kfp 2.17 asks about containers that have removed themselves, and misses the outputs
            # of those whose failure it did not see. What failed is in containers.failures.
            if containers and not isinstance(error, RuntimeError):
                raise RuntimeError(f"{type(error).__name__}: {error}") from error
            raise
    return dict(task.outputs)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Set the environment variables of the steps, which inherit those of this process."""
    # kfp 2.17 starts steps with `python -m`, which would import a user's code.py or types.py from
    # the current folder in place of the standard library's.
    variables = {REVISION: revision(), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
