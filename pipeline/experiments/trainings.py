"""Trainings on this machine, apart from runs of the pipeline: for searches and comparisons.

Each is a call of a step's job in a process of its own. Its result is kept under a
hash of all that it depends on, the step's code among it, so whatever was stopped
goes on where it was, and what two commands have in common is done once.
"""

import fcntl
import hashlib
import importlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import ValidationError

from components.shared.runtime.errors import InputError, describe_os_error, without_beam
from components.shared.runtime.files import read_json, write_json, written_aside
from components.shared.runtime.keras_backend import use_jax
from components.shared.runtime.progress import progress_lines
from components.shared.storage.source_files import source_fingerprint
from pipeline.code_fingerprint import code_fingerprint
from pipeline.config.pipeline import PipelineConfig


def mean_and_spread(values: Sequence[float]) -> str:
    """Writes the mean of some seeds' values and their standard deviation; nothing of none."""
    if not values:
        return ""
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{fmean(values):.4f}{spread}"


class JobFailed(InputError):
    """A job ended for reasons that are not those of its settings: no memory, a full disk."""


class Experiments:
    """Prepares data, trains and measures, where that has not been done already.

    Args:
        output: A folder; what is kept goes to `work/experiments` in it.
        say: Takes lines of progress.
    """

    def __init__(self, output: str, say: Callable[[str], None] = print):
        self._say = say
        self._folder = Path(output).resolve() / "work" / "experiments"
        self.log_path = self._folder / "experiments.log"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output {output}: {describe_os_error(error)}") from error

    def encoded(self, config: PipelineConfig) -> Path:
        """Returns the encoded tables of a config: runs ingest and adapt.

        Raises:
            InputError: If the source or the features cannot be used.
        """
        values = config.on_this_machine().parameters()
        data = {name: values[name] for name in ("source", "data_until", "ingest", "seed")}
        data["source_fingerprint"] = source_fingerprint(values["source"])
        tables = self._made("tables", "components.ingest.job", data, self._ingest)
        features = {"tables": tables.name, "features": values["features"], "adapt": values["adapt"]}
        return self._made(
            "encoded",
            "components.adapt.job",
            features,
            lambda folder, settings: self._run(
                "components.adapt.job", "adapt", tables=str(tables), features=settings["features"],
                config=settings["adapt"], encoded=str(folder),
            ),
        )  # fmt: skip

    def trained(self, config: PipelineConfig, layer_sizes: list[int], seed: int) -> Path:
        """A model, as train writes it.

        Args:
            config: Its data, features and training.
            layer_sizes: The dense layers of both towers.
            seed: Of the weights and the order of rows; the split keeps the
                config's own.

        Raises:
            InputError: If the data or the settings cannot be used.
        """
        encoded = self.encoded(config)
        training = {
            "encoded": encoded.name,
            "config": config.parameters()["train"],
            "layer_sizes": layer_sizes,
            "seed": seed,
        }
        return self._made(
            "model",
            "components.train.job",
            training,
            lambda folder, settings: self._run(
                "components.train.job", "train", model=str(folder), **settings | {
                    "encoded": str(encoded)},
            ),
        )  # fmt: skip

    def measured(self, config: PipelineConfig, layer_sizes: list[int], seed: int) -> dict[str, Any]:
        """The metrics of a model on the test part; see `measure_model`."""
        encoded, model = self.encoded(config), self.trained(config, layer_sizes, seed)
        return self._measured(
            "measure_model", model.name, config, encoded=str(encoded), model=str(model)
        )

    def baselines(self, config: PipelineConfig) -> dict[str, Any]:
        """The metrics of the baselines on the test part; see `measure_baselines`."""
        encoded = self.encoded(config)
        return self._measured("measure_baselines", encoded.name, config, encoded=str(encoded))

    def _ingest(self, folder: Path, settings: dict[str, Any]) -> None:
        self._run(
            "components.ingest.job", "ingest", source=settings["source"],
            config=settings["ingest"], seed=settings["seed"], data_until=settings["data_until"],
            tables=str(folder), rejects=f"{folder}-rejects",
        )  # fmt: skip

    def _measured(self, name: str, what: str, config: PipelineConfig, **arguments: Any) -> Any:
        settings = {"of": what, "by": name, "config": config.parameters()["evaluate"]}

        def make(folder: Path, settings: dict[str, Any]) -> None:
            result = self._run(
                "components.evaluate.experiment", name, config=settings["config"], **arguments
            )
            with written_aside(folder) as partial:
                write_json(result, partial / "metrics.json")

        return read_json(
            self._made("metrics", "components.evaluate.experiment", settings, make) / "metrics.json"
        )

    def _made(
        self,
        kind: str,
        module: str,
        settings: dict[str, Any],
        make: Callable[[Path, dict[str, Any]], object],
    ) -> Path:
        """Finds what was made of the same settings and code, or makes it."""
        code = code_fingerprint(module)
        content = json.dumps([code, settings], sort_keys=True).encode()
        folder = self._folder / f"{kind}-{hashlib.sha256(content).hexdigest()[:16]}"
        # Another command may be making it; the lock goes with the process.
        with open(f"{folder}.lock", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say(f"waits for another command that makes {folder.name}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():  # jobs write aside, then rename
                make(folder, settings)
        return folder

    def _run(self, module: str, job: str, **arguments: Any) -> Any:
        """Calls a job in a process of its own: each wants a Keras backend of its own."""
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                return pool.submit(_call, str(self.log_path), module, job, arguments).result()
            except (BrokenProcessPool, SystemExit) as error:  # SIGTERM makes train exit
                raise JobFailed(
                    f"{module} was killed, perhaps for want of memory. Its last output is at the "
                    f"end of {self.log_path}."
                ) from error


def _end_with_parent() -> None:
    """Ends this process when the command is gone: nobody waits for its result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _call(log_path: str, module: str, job: str, arguments: dict[str, Any]) -> Any:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(log_path, "a", encoding="utf-8") as log:
        for stream in (1, 2):  # of this process, which does nothing else; libraries write to both
            os.dup2(log.fileno(), stream)
        try:
            use_jax()  # before the job's module imports keras
            with progress_lines(job):
                return getattr(importlib.import_module(module), job)(**arguments)
        except Exception as raised:
            error = without_beam(raised)
            if isinstance(error, InputError | ValidationError):
                raise InputError(str(error)) from None
            if isinstance(error, OSError):
                raise JobFailed(describe_os_error(error)) from None
            raise
