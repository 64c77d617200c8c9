"""Trainings on this machine outside of pipeline runs, for searches and comparisons.

A result is kept under a hash of all that it depends on, including the step's code.
So a stopped command continues where it was, and two commands share what they have
in common.
"""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

from components.shared.contracts.json_file import JsonFile
from components.shared.runtime.errors import InputError, describe_os_error
from components.shared.runtime.files import written_aside
from components.shared.runtime.folder_lock import in_use
from components.shared.storage.source_files import source_fingerprint
from pipeline.code_fingerprint import code_fingerprint
from pipeline.config.pipeline import PipelineConfig
from pipeline.experiments.metrics_files import BaselineMetrics, ModelMetrics
from pipeline.experiments.processes import run_job
from pipeline.heartbeat import Heartbeat

_File = TypeVar("_File", bound=JsonFile)


def mean_and_spread(values: Sequence[float]) -> str:
    """Format the mean and the standard deviation of the seeds' values.

    Args:
        values: One for each seed; without any, the text is empty.

    Example:
    ```python
    assert mean_and_spread([0.1, 0.3]) == "0.2000 ± 0.1414"
    assert mean_and_spread([0.1]) == "0.1000"
    ```
    """
    if not values:
        return ""
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{fmean(values):.4f}{spread}"


class Experiments:
    """Prepares data, trains and measures, unless the result is there already.

    Args:
        output: The output folder; results are kept in its subfolder
            `work/experiments`.
        say: Called with each line of progress.

    Raises:
        InputError: If the folder cannot be used.
    """

    def __init__(self, output: str, say: Callable[[str], None] = print):
        self._say = say
        self._folder = Path(output).resolve() / "work" / "experiments"
        self.log_path = self._folder / "experiments.log"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._in_use = contextlib.ExitStack()  # until this object is no longer used
            self._in_use.enter_context(in_use(self._folder.parent))
        except OSError as error:
            raise InputError(f"--output {output}: {describe_os_error(error)}") from error

    def encoded(self, config: PipelineConfig) -> Path:
        """Return the encoded tables of a config, made by ingest and adapt.

        Raises:
            InputError: If the source or the features cannot be used.
        """
        values = config.on_this_machine().parameters()
        taken = ("source", "data_until", "ingest", "table_needs", "seed")
        data = {name: values[name] for name in taken}
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
        """Return the folder of a trained model.

        Args:
            config: Its data, features and training.
            layer_sizes: Units of the dense layers of both towers.
            seed: Of the weights and the order of rows; the split keeps the
                config's seed.

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

    def measured(self, config: PipelineConfig, layer_sizes: list[int], seed: int) -> ModelMetrics:
        """Return a model's metrics on the test split; see `measure_model`."""
        encoded, model = self.encoded(config), self.trained(config, layer_sizes, seed)
        return self._measured(
            ModelMetrics, "measure_model", model.name, config,
            encoded=str(encoded), model=str(model),
        )  # fmt: skip

    def baselines(self, config: PipelineConfig) -> BaselineMetrics:
        """Return the baselines' metrics on the test split; see `measure_baselines`."""
        encoded = self.encoded(config)
        return self._measured(
            BaselineMetrics, "measure_baselines", encoded.name, config, encoded=str(encoded)
        )

    def _ingest(self, folder: Path, settings: dict[str, Any]) -> None:
        self._run(
            "components.ingest.job", "ingest", source=settings["source"],
            config=settings["ingest"], needs=settings["table_needs"], seed=settings["seed"],
            data_until=settings["data_until"], tables=str(folder), rejects=f"{folder}-rejects",
        )  # fmt: skip

    def _measured(
        self, file: type[_File], job: str, subject: str, config: PipelineConfig, **arguments: str
    ) -> _File:
        module = "components.evaluate.experiment"
        settings = {"of": subject, "by": job, "config": config.parameters()["evaluate"]}

        def make(folder: Path, settings: dict[str, Any]) -> None:
            result = self._run(module, job, config=settings["config"], **arguments)
            with written_aside(folder) as partial:
                file.model_validate(result).write(partial)

        return file.read(self._made("metrics", module, settings, make))

    def _made(
        self,
        kind: str,
        module: str,
        settings: dict[str, Any],
        make: Callable[[Path, dict[str, Any]], object],
    ) -> Path:
        """Return the folder made from the same settings and code; make it if it is missing."""
        code = code_fingerprint(module)
        content = json.dumps([code, settings], sort_keys=True).encode()
        folder = self._folder / f"{kind}-{hashlib.sha256(content).hexdigest()[:16]}"
        # Another command may be making it. The lock is released when its process ends.
        with open(f"{folder}.lock", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait_for(lock.fileno(), folder.name)
            if not folder.is_dir():  # jobs write aside, then rename
                make(folder, settings)
        return folder

    def _wait_for(self, lock: int, name: str) -> None:
        waiting = f"waiting for another command that makes {name}"
        self._say(waiting)
        with Heartbeat(lambda name, text: self._say(f"{name}  {text}")) as heartbeat:
            heartbeat.start(name, waiting, str)
            fcntl.flock(lock, fcntl.LOCK_EX)

    def _run(self, module: str, job: str, **arguments: Any) -> Any:
        return run_job(module, job, arguments, self.log_path, self._say)
