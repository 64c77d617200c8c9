"""The state of a training, saved so that a retry continues from it.

Why not `keras.callbacks.OrbaxCheckpoint` (Keras 3.15.1, orbax-checkpoint 0.12.8,
measured on two busy CPU cores with a model of MovieLens 100K's size: 0.2 M weights,
80,000 training rows):

- It adds at least 8 packages to the image that trains (90 MB), and 1.4 s of import.
- A save takes 300 ms instead of 25, and 60 to 190 ms with weights only; a restore takes
  50 ms instead of 20. (All synchronous; Orbax can also write in the background.)
- It saves weights, optimizer and seed generators, but neither the best weights so far
  nor the history, and its step is the epoch or the number of batches, not the position
  within the epoch. We would need a second file for these, which could not be replaced
  atomically with the first one.
- The state includes the device tables, i.e. the whole training data, in every save.
- A full save fails unless the model implements `get_config` (`NotImplementedError`).
- It fails on `s3://` ("Checkpoint path should be absolute. Got s3:/…"). Our state is one
  object, written through fsspec like every other file.
"""

import io
import json
import logging
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from components.shared.contracts.step_record import StepRecords
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import hash_files
from components.shared.storage.location import Location
from components.train.epoch_notes import Notes

logger = logging.getLogger(__name__)

_PROGRESS = "progress"


def training_key(encoded_dir: str, **settings: Any) -> str:
    """Return a key of everything that a training depends on.

    A training finds only its own state by it.

    Args:
        encoded_dir: The folder from adapt; the content of the files that train reads
            is part of the key.
        **settings: Everything else, as JSON values.

    Returns:
        20 hexadecimal digits.
    """
    root = Path(encoded_dir)
    read = [
        path
        for path in sorted(root.rglob("*"))
        # Not a FeatureSpace's archive, which contains the time.
        if path.suffix in (".parquet", ".json")
        and "test" not in path.relative_to(root).parts
        # The same tables may come from another revision, or from a source that has moved.
        and path.name != StepRecords.FILE
    ]
    return hash_files(root, read, json.dumps(settings, sort_keys=True).encode())[:20]


@dataclass(frozen=True)
class Position:
    """How far a training is.

    Args:
        epoch: Completed epochs, including their validation.
        step: Completed steps of the next epoch; all of its steps if the training was
            stopped before or during its validation.
        loss: Mean loss of those steps.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0


class _Progress(BaseModel):
    """The JSON entry of a state's file; `best` has the number of weights of each tower."""

    # The loss of a training that diverges may not be finite.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    epoch: int
    step: int
    loss: float
    best: list[int]
    notes: Notes


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to continue.

    Args:
        position: How far the training is.
        weights: Both towers' variables, including random states.
        optimizer: The optimizer's variables.
        best_weights: Each tower's weights in the best epoch; empty before the first
            validation.
        notes: The history and the best metric.
    """

    position: Position
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    best_weights: list[list[np.ndarray]]
    notes: Notes

    def to_bytes(self) -> bytes:
        """Return the state as an `.npz` file, without pickle."""
        arrays = {f"weights/{n}": array for n, array in enumerate(self.weights)}
        arrays |= {f"optimizer/{n}": array for n, array in enumerate(self.optimizer)}
        for tower, weights in enumerate(self.best_weights):
            arrays |= {f"best/{tower}/{n}": array for n, array in enumerate(weights)}
        progress = _Progress(
            epoch=self.position.epoch,
            step=self.position.step,
            loss=self.position.loss,
            best=[len(weights) for weights in self.best_weights],
            notes=self.notes,
        )
        arrays[_PROGRESS] = np.frombuffer(progress.model_dump_json().encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrainingState":
        """Read the result of `to_bytes`."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            progress = _Progress.model_validate_json(file[_PROGRESS].tobytes())

            def arrays(kind: str) -> list[np.ndarray]:
                count = sum(name.startswith(f"{kind}/") for name in file.files)
                return [file[f"{kind}/{n}"] for n in range(count)]

            return cls(
                Position(progress.epoch, progress.step, progress.loss),
                arrays("weights"),
                arrays("optimizer"),
                [arrays(f"best/{tower}") for tower in range(len(progress.best))],
                progress.notes,
            )


class Checkpoint:
    """The place of a training's state.

    Args:
        location: A folder, `s3://` or `gs://`; None to keep no state.
        key: The training's key; see `training_key`.
        seconds: Time between two saves; 0: state is saved after each epoch.
    """

    def __init__(self, location: str | None, key: str, seconds: float):
        self._location = Location(location) if location else None
        self._name = f"{key}.npz"
        self._seconds = seconds
        self._saved_at = time.monotonic()
        self._has_saved = False

    @property
    def is_kept(self) -> bool:
        """Whether state is saved at all."""
        return self._location is not None

    @property
    def saves_within_epochs(self) -> bool:
        """Whether state may be saved between two steps of an epoch."""
        return self._seconds > 0

    def is_due(self, has_validated: bool) -> bool:
        """Return whether it is time to save.

        Args:
            has_validated: Whether this process has completed a validation, after the
                first of which state is saved at once.
        """
        if self._location is None:
            return False
        first = has_validated and not self._has_saved
        return first or time.monotonic() - self._saved_at >= self._seconds

    def save(self, state: TrainingState) -> bool:
        """Save a state; return whether it was saved.

        A failure is logged: it is no reason to end a training.
        """
        if self._location is None:
            return False
        try:
            self._location.write(self._name, state.to_bytes())
        except (InputError, OSError) as error:
            logger.warning(f"the state was not saved: {error}")
            return False
        finally:  # only now: otherwise a slow store would be written to all the time
            self._saved_at, self._has_saved = time.monotonic(), True
        return True

    def load(self, shapes: list[tuple[int, ...]]) -> TrainingState | None:
        """Read the state that a previous attempt saved.

        Args:
            shapes: The shapes of all weights and optimizer variables of the model.

        Returns:
            The state; None if there is none, or, with a warning, if it is damaged or
            has other shapes.
        """
        content = self._location.read(self._name) if self._location else None
        if content is None:
            return None
        try:
            state = TrainingState.from_bytes(content)
            if [value.shape for value in (*state.weights, *state.optimizer)] != shapes:
                raise ValueError("it belongs to a different model")
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            logger.warning(
                f"the state of a previous attempt, {self._location}/{self._name}, cannot be used "
                f"({error}): training starts again from the beginning"
            )
            return None
        return state

    def discard(self) -> None:
        """Delete the state."""
        if self._location:
            self._location.delete(self._name)
