"""The state of a training that was stopped, so that a retry goes on where it was."""

import io
import json
import logging
import signal
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from components.shared.contracts.step_record import StepRecords
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import hash_files
from components.shared.storage.location import Location
from components.train.data import RestOfEpoch, RowBatches
from components.train.retrieval_model import RetrievalModel
from components.train.validation import EpochNotes, LeftValidation

logger = logging.getLogger(__name__)

STOPPED = 128 + signal.SIGTERM
_PROGRESS = "progress"


def training_key(encoded: str, **settings: Any) -> str:
    """Names a training by all that it depends on, so that it finds its own state only.

    Args:
        encoded: What adapt wrote; the content of what train reads counts.
        **settings: Everything else, as JSON values.

    Returns:
        20 hexadecimal digits.
    """
    root = Path(encoded)
    read = [
        path
        for path in sorted(root.rglob("*"))
        # Not a FeatureSpace's archive, which has the time in it.
        if path.suffix in (".parquet", ".json")
        and "test" not in path.relative_to(root).parts
        # The same tables may come from another revision, or from a source that has moved.
        and path.name != StepRecords.FILE
    ]
    return hash_files(root, read, json.dumps(settings, sort_keys=True).encode())[:20]


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands.

    Args:
        epoch: Epochs that are done, their validation too.
        step: Steps that are done in the epoch after them; all of its steps, if it
            was stopped before or in its validation.
        loss: Mean loss of those steps.
        weights: Both towers' variables, random states among them.
        optimizer: The optimizer's variables.
        best_weights: Of each tower, at the best epoch; empty before the first
            validation.
        notes: What `EpochNotes` has noted.
    """

    epoch: int
    step: int
    loss: float
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    best_weights: list[list[np.ndarray]]
    notes: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Writes it as an `.npz` file, without pickle."""
        arrays = {f"weights/{n}": array for n, array in enumerate(self.weights)}
        arrays |= {f"optimizer/{n}": array for n, array in enumerate(self.optimizer)}
        for tower, weights in enumerate(self.best_weights):
            arrays |= {f"best/{tower}/{n}": array for n, array in enumerate(weights)}
        progress = {
            "epoch": self.epoch,
            "step": self.step,
            "loss": self.loss,
            "best": [len(weights) for weights in self.best_weights],
            "notes": self.notes,
        }
        arrays[_PROGRESS] = np.frombuffer(json.dumps(progress).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrainingState":
        """Reads what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            progress = json.loads(file[_PROGRESS].tobytes())

            def arrays(kind: str) -> list[np.ndarray]:
                count = sum(name.startswith(f"{kind}/") for name in file.files)
                return [file[f"{kind}/{n}"] for n in range(count)]

            return cls(
                progress["epoch"],
                progress["step"],
                progress["loss"],
                arrays("weights"),
                arrays("optimizer"),
                [arrays(f"best/{tower}") for tower in range(len(progress["best"]))],
                progress["notes"],
            )


class ResumableFit(keras.callbacks.Callback):
    """Trains a model so that it can be stopped at any time and go on later.

    State is saved after the first validation of an attempt, then whenever so
    much time has passed, in the middle of an epoch too, and where SIGTERM stops
    the training: after the step that runs then, or in a validation as soon as
    candidates are ranked. Whoever goes on from it takes the same rows in the same
    order, so the weights at the end are those of a training that nothing stopped.

    Do not count on SIGTERM on a cluster. A deleted or evicted pod's process gets
    it: Argo's emissary, the first process of the container, forwards it to the
    group of KFP's launcher, its shell and Python. But the launcher does not
    handle it and ends; the emissary, which looks every second, ends after it, and
    with the first process the kernel kills all others. So there are a second or
    two at most, not the 30 of the pod's grace period. (Read in Argo 3.7.8 and 4.0.5
    and KFP 2.17.0.) Where the step that runs, a large state or a slow store takes
    longer, the state that was saved before counts.

    It has to be the first callback: at the end of an epoch that was stopped in
    the middle it ends the process before others take that for a whole one.

    Args:
        model: The model, compiled.
        batches: The training rows.
        notes: What is noted along with the weights.
        epochs: How many.
        checkpoint_seconds: State is saved when this much time has passed since
            it was saved last; 0: after each epoch.
        location: Where state is kept; none, if nowhere.
        key: Names this training; see `training_key`.
    """

    def __init__(
        self,
        model: RetrievalModel,
        batches: RowBatches,
        notes: EpochNotes,
        epochs: int,
        checkpoint_seconds: float,
        location: str | None,
        key: str,
    ):
        super().__init__()
        self.retrieval_model = model
        self._batches = batches
        self._notes = notes
        self._epochs = epochs
        self._checkpoint_seconds = checkpoint_seconds
        self._location = Location(location) if location else None
        self._name = f"{key}.npz"
        self._saved_at = time.monotonic()
        self._has_saved = False
        self._stopped = False
        self._epoch = 0
        self._steps_at_begin = 0
        model.optimizer.build(model.trainable_variables)
        # fit() does it, too; but nothing is fitted where a former attempt did all epochs.
        notes.set_model(model)

    @property
    def _variables(self) -> list[Any]:
        towers = (self.retrieval_model.query_model, self.retrieval_model.candidate_model)
        return [
            *(variable for tower in towers for variable in tower.variables),
            self.retrieval_model.seeds.state,
        ]

    @property
    def _steps_done(self) -> int:
        return int(self.retrieval_model.optimizer.iterations)

    def run(self) -> None:
        """Trains to the end, from where a former attempt was stopped.

        Raises:
            SystemExit: With status 143, after SIGTERM.
        """
        with self._noting_sigterm():
            epoch, step = self._restored()
            if self._stopped:
                self._stop(epoch, step, self._notes.loss_before)
            if step == len(self._batches):
                self._end(epoch)
            elif step:
                self._fit(RestOfEpoch(self._batches, step), epoch, epoch + 1)
            epoch += bool(step)
            if epoch < self._epochs and not self._notes.is_over:
                self._fit(self._batches, epoch, self._epochs)

    def _fit(self, batches: keras.utils.PyDataset, initial_epoch: int, epochs: int) -> None:
        with self._leaving_validation():
            self.retrieval_model.fit(
                batches, initial_epoch=initial_epoch, epochs=epochs, shuffle=False, verbose=0,
                callbacks=[self, self._notes],
            )  # fmt: skip

    def _end(self, epoch: int) -> None:
        """Ends an epoch whose steps a former attempt has done."""
        with self._leaving_validation():
            self._notes.on_epoch_begin(epoch)
            self._notes.note_steps(0, 0.0)
            self._notes.on_epoch_end(epoch, {})

    @contextmanager
    def _leaving_validation(self) -> Iterator[None]:
        """Ends the process where SIGTERM came after the steps of an epoch."""
        try:
            yield
        except LeftValidation:
            entry = self._notes.history.pop()
            self._stop(int(entry["epoch"]) - 1, len(self._batches), entry["loss"])
        if self._stopped:
            self._stop(len(self._notes.history), 0, 0.0)

    @property
    def _is_due(self) -> bool:
        if self._location is None:
            return False
        first = self._notes.has_validated and not self._has_saved
        return first or time.monotonic() - self._saved_at >= self._checkpoint_seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Orders the rows, and saves what the epochs before have reached."""
        self._batches.begin_epoch(epoch)
        self._epoch = epoch
        self._steps_at_begin = self._steps_done
        if self._stopped:
            self._stop(epoch, self._notes.steps_before, self._notes.loss_before)
        if self._notes.history and not self._notes.steps_before and self._is_due:
            self._save(epoch, 0, 0.0)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves what the epoch has reached so far, if it is time to."""
        if not (batch and self._checkpoint_seconds and self._is_due):
            return
        # Keras 3.15 has the variables elsewhere within an epoch; to ask for `model` brings them.
        loss = float(self.model.get_metrics_result()["loss"])
        steps = self._steps_done - self._steps_at_begin
        loss = self._notes.note_steps(steps, loss)
        self._save(self._epoch, self._notes.steps_before + steps, loss)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends the process, if SIGTERM came before the validation."""
        assert logs is not None
        steps = self._steps_done - self._steps_at_begin
        loss = self._notes.note_steps(steps, float(logs["loss"]))
        if self._stopped:
            self._stop(epoch, self._notes.steps_before + steps, loss)

    def _stop(self, epoch: int, step: int, loss: float) -> None:
        saved = self._save(epoch, step, loss)
        logger.info(
            f"stopped by SIGTERM after {epoch} epochs and {step} steps"
            + ("; the next attempt goes on from there" if saved else ""),
        )
        raise SystemExit(STOPPED)

    def _save(self, epoch: int, step: int, loss: float) -> bool:
        if not self._location:
            return False
        state = TrainingState(
            epoch,
            step,
            loss,
            [np.asarray(variable) for variable in self._variables],
            [np.asarray(variable) for variable in self.retrieval_model.optimizer.variables],
            self._notes.best_weights,
            self._notes.notes,
        )
        try:
            self._location.write(self._name, state.to_bytes())
        except (InputError, OSError) as error:  # no reason to end a training that goes well
            logger.warning(f"the state was not saved: {error}")
            return False
        finally:  # not before: a slow store would be written to all the time
            self._saved_at, self._has_saved = time.monotonic(), True
        return True

    def _restored(self) -> tuple[int, int]:
        """Takes over the state of a former attempt; returns its epochs and steps."""
        content = self._location.read(self._name) if self._location else None
        if content is None:
            return 0, 0
        variables = [*self._variables, *self.retrieval_model.optimizer.variables]
        try:
            state = TrainingState.from_bytes(content)
            values = [*state.weights, *state.optimizer]
            if [value.shape for value in values] != [variable.shape for variable in variables]:
                raise ValueError("it is of another model")
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            logger.warning(
                f"the state of a former attempt, {self._location}/{self._name}, cannot "
                f"be used ({error}): training begins anew",
            )
            return 0, 0
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self._notes.best_weights = state.best_weights
        self._notes.notes = state.notes
        self._notes.steps_before, self._notes.loss_before = state.step, state.loss
        logger.info(
            f"goes on from a former attempt: {state.epoch} epochs and {state.step} steps are done",
        )
        return state.epoch, state.step

    def save_all(self) -> None:
        """Saves the state after the last epoch, where something else is to come before the end."""
        self._save(len(self._notes.history), 0, 0.0)

    def release(self) -> None:
        """Lets go of the model, so that another one has its memory; `discard` still works."""
        del self.retrieval_model
        self.set_model(None)

    def discard(self) -> None:
        """Deletes the state of a training that is done and saved."""
        if self._location:
            self._location.delete(self._name)

    @contextmanager
    def _noting_sigterm(self) -> Iterator[None]:
        """Lets SIGTERM end the training after the step that runs, or in a validation."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return

        def stop(number: int, frame: object) -> None:
            del number, frame
            self._stopped = True
            self.retrieval_model.stop_training = True
            self._notes.ask_to_stop()

        former = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, former)
