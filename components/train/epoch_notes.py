"""Loss and time of each epoch of a training."""

import math
import time
from typing import Any

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict

from components.shared.contracts.training import Epoch
from components.shared.runtime.errors import InputError
from components.train.stop_signal import StopSignal


class Notes(BaseModel):
    """What a checkpoint keeps of a training besides its arrays.

    Args:
        history: The epochs so far.
        best: The best value of the monitored metric; None before the first validation.
        best_epoch: The best epoch, from 1; 0 before the first validation.
        since_best: Validations since the best one.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    history: list[Epoch]
    best: float | None = None
    best_epoch: int = 0
    since_best: int = 0


class EpochNotes(keras.callbacks.Callback):
    """Notes loss and time of each epoch.

    An epoch that a previous attempt was stopped in continues: `steps_before` and
    `loss_before` are the steps that it did, and their mean loss.

    Attributes:
        history: The epochs so far.
        best_weights: Each tower's weights in the best epoch; empty without one.
        has_validated: Whether this process has completed a validation.
        stop: The SIGTERM that may end the training.

    Args:
        learning_rate: The learning rate, for messages.
    """

    def __init__(self, learning_rate: float):
        super().__init__()
        self._learning_rate = learning_rate
        self.history: list[Epoch] = []
        self.best_weights: list[list[np.ndarray]] = []
        self.steps_before, self.loss_before = 0, 0.0
        self.has_validated = False
        self.stop = StopSignal()
        self._epoch_began = 0.0
        self._epoch_loss = 0.0

    @property
    def notes(self) -> Notes:
        """What a checkpoint keeps; `best_weights` are kept beside it."""
        return Notes(history=self.history)

    @notes.setter
    def notes(self, notes: Notes) -> None:
        self.history = list(notes.history)

    @property
    def is_over(self) -> bool:
        """Whether training stops before its last epoch."""
        return False

    def note_steps(self, steps: int, loss: float) -> float:
        """Note the steps that this process has done in the current epoch.

        Args:
            steps: The number of steps.
            loss: Their mean loss.

        Returns:
            The mean loss of the epoch so far, including a previous attempt's steps.
        """
        done = self.steps_before + steps
        self._epoch_loss = (self.loss_before * self.steps_before + loss * steps) / max(done, 1)
        return self._epoch_loss

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the time."""
        self._epoch_began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note loss and time.

        Raises:
            InputError: If the loss is not finite.
        """
        loss = self._epoch_loss
        seconds = round(time.perf_counter() - self._epoch_began, 4)
        self.steps_before, self.loss_before = 0, 0.0
        self.history.append(Epoch(epoch=epoch + 1, loss=loss, seconds=seconds))
        if not math.isfinite(loss):
            raise InputError(
                f"The loss became {loss} in epoch {epoch + 1}. Lower train.learning_rate "
                f"({self._learning_rate})."
            )
