"""A training that can be stopped at any time and continued by the next attempt."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from components.shared.contracts.training import Epoch
from components.train.checkpoint import Checkpoint, Position, TrainingState
from components.train.data import RestOfEpoch, RowBatches
from components.train.epoch_notes import EpochNotes
from components.train.retrieval_model import RetrievalModel
from components.train.stop_signal import STOPPED, LeftValidation

logger = logging.getLogger(__name__)


class ResumableFit(keras.callbacks.Callback):
    """Trains a model, and continues where a previous attempt was stopped.

    State is saved after the first validation of an attempt, then at intervals, also
    within an epoch, and when SIGTERM stops the training: after the current step, or
    during a validation as soon as candidates are ranked. The next attempt takes the same
    rows in the same order, so its final weights are those of an uninterrupted training.

    Do not rely on SIGTERM on a cluster. The process of a deleted or evicted pod receives
    it: Argo's emissary, the container's first process, forwards it to the process group
    of KFP's launcher, its shell and Python. But the launcher does not handle it and
    exits; the emissary, which polls every second, exits next, and the kernel then kills
    all other processes. That leaves a second or two at most, not the 30 seconds of the
    pod's grace period. (Read in Argo 3.7.8 and 4.0.5 and KFP 2.17.0.) If the current
    step, a large state or a slow store takes longer, the next attempt continues from the
    state that was saved before.

    This has to be the first callback: at the end of an epoch that was stopped midway, it
    ends the process before other callbacks take the epoch for a complete one.

    Args:
        model: The compiled model.
        batches: The training rows.
        notes: The history, which is saved along with the weights.
        epochs: The number of epochs.
        checkpoint: The place of the training's state.
    """

    def __init__(
        self,
        model: RetrievalModel,
        batches: RowBatches,
        notes: EpochNotes,
        epochs: int,
        checkpoint: Checkpoint,
    ):
        super().__init__()
        self.retrieval_model = model
        self.checkpoint = checkpoint
        self._batches = batches
        self._notes = notes
        self._epochs = epochs
        self._epoch = 0
        self._steps_at_begin = 0
        model.optimizer.build(model.trainable_variables)
        # fit() sets it as well, but is not called if a previous attempt did all epochs.
        notes.set_model(model)

    @property
    def _variables(self) -> list[Any]:
        towers = (self.retrieval_model.query_model, self.retrieval_model.candidate_model)
        return [
            *(variable for tower in towers for variable in tower.variables),
            *self.retrieval_model.state,
        ]

    @property
    def _steps_done(self) -> int:
        return int(self.retrieval_model.optimizer.iterations)

    @property
    def _is_stopped(self) -> bool:
        return self._notes.stop.received

    @property
    def history(self) -> list[Epoch]:
        """The epochs so far."""
        return self._notes.history

    def run(self) -> None:
        """Train to the end, from where a previous attempt was stopped.

        Raises:
            SystemExit: With status 143, after SIGTERM.
        """
        with self._notes.stop.caught(self._end_training):
            start = self._restored()
            epoch, step = start.epoch, start.step
            if self._is_stopped:
                self._exit(start)
            if step == len(self._batches):
                self._end(epoch)
            elif step:
                self._fit(RestOfEpoch(self._batches, step), epoch, epoch + 1)
            epoch += bool(step)
            if epoch < self._epochs and not self._notes.is_over:
                self._fit(self._batches, epoch, self._epochs)

    def save_final(self) -> None:
        """Save the state after the last epoch, for a retry that fails in later work."""
        self._save(Position(len(self._notes.history)))

    def release(self) -> None:
        """Free the model's memory for another model."""
        del self.retrieval_model
        self.set_model(None)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Shuffle the rows, and save the state after the previous epoch if it is due."""
        self._batches.begin_epoch(epoch)
        self._epoch = epoch
        self._steps_at_begin = self._steps_done
        if self._is_stopped:
            self._exit(Position(epoch, self._notes.steps_before, self._notes.loss_before))
        if self._notes.history and not self._notes.steps_before and self._is_due:
            self._save(Position(epoch))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state within the epoch if it is due."""
        if not (batch and self.checkpoint.saves_within_epochs and self._is_due):
            return
        # Keras 3.15 keeps the variables elsewhere during an epoch; reading `model` syncs them.
        loss = float(self.model.get_metrics_result()["loss"])
        self._save(self._position(loss))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """End the process if SIGTERM came before the validation."""
        assert logs is not None
        position = self._position(float(logs["loss"]))
        if self._is_stopped:
            self._exit(position)

    def _fit(self, batches: keras.utils.PyDataset, initial_epoch: int, epochs: int) -> None:
        with self._leaving_validation():
            self.retrieval_model.fit(
                batches, initial_epoch=initial_epoch, epochs=epochs, shuffle=False, verbose=0,
                callbacks=[self, self._notes],
            )  # fmt: skip

    def _end(self, epoch: int) -> None:
        """End an epoch whose steps were all done by a previous attempt."""
        with self._leaving_validation():
            self._notes.on_epoch_begin(epoch)
            self._notes.note_steps(0, 0.0)
            self._notes.on_epoch_end(epoch, {})

    @contextmanager
    def _leaving_validation(self) -> Iterator[None]:
        """End the process if SIGTERM comes after the steps of an epoch."""
        try:
            yield
        except LeftValidation:
            entry = self._notes.history.pop()
            self._exit(Position(entry.epoch - 1, len(self._batches), entry.loss))
        if self._is_stopped:
            self._exit(Position(len(self._notes.history)))

    @property
    def _is_due(self) -> bool:
        return self.checkpoint.is_due(self._notes.has_validated)

    def _position(self, loss: float) -> Position:
        """Return the position in the current epoch; `loss` is of this process's steps."""
        steps = self._steps_done - self._steps_at_begin
        loss = self._notes.note_steps(steps, loss)
        return Position(self._epoch, self._notes.steps_before + steps, loss)

    def _end_training(self) -> None:
        self.retrieval_model.stop_training = True

    def _exit(self, position: Position) -> None:
        saved = self._save(position)
        logger.info(
            f"stopped by SIGTERM after {position.epoch} epochs and {position.step} steps"
            + ("; the next attempt continues from there" if saved else "")
        )
        raise SystemExit(STOPPED)

    def _save(self, position: Position) -> bool:
        if not self.checkpoint.is_kept:
            return False
        state = TrainingState(
            position,
            [np.asarray(variable) for variable in self._variables],
            [np.asarray(variable) for variable in self.retrieval_model.optimizer.variables],
            self._notes.best_weights,
            self._notes.notes,
        )
        return self.checkpoint.save(state)

    def _restored(self) -> Position:
        """Restore the state of a previous attempt, if there is one; return its position."""
        variables = [*self._variables, *self.retrieval_model.optimizer.variables]
        state = self.checkpoint.load([variable.shape for variable in variables])
        if state is None:
            return Position()
        for variable, value in zip(variables, [*state.weights, *state.optimizer], strict=True):
            variable.assign(value)
        position = state.position
        self._notes.best_weights = state.best_weights
        self._notes.notes = state.notes
        self._notes.steps_before, self._notes.loss_before = position.step, position.loss
        logger.info(
            f"continues a previous attempt: {position.epoch} epochs and {position.step} steps "
            "are done"
        )
        return position
