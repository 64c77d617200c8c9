"""Validation while training: retrieval metrics, the best weights, early stopping."""

import logging
import math
import time
from typing import Any

import keras
import numpy as np

from components.shared.contracts.metric import PROTOCOLS
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.retrieval.top_k import retrieve
from components.shared.runtime.errors import InputError
from components.train.config import TrainConfig
from components.train.data import EncodedData
from components.train.retrieval_model import RetrievalModel

logger = logging.getLogger(__name__)


class LeftValidation(BaseException):
    """The process was asked to stop, and has left a validation for that."""


class EpochNotes(keras.callbacks.Callback):
    """Notes loss and time of each epoch.

    Attributes:
        has_validated: Whether there was a validation in this process.

    Args:
        config: The settings.
        name: What progress lines call the model.
    """

    def __init__(self, config: TrainConfig, name: str):
        super().__init__()
        self._config = config
        self._name = name
        self.history: list[dict[str, float]] = []
        self.best_weights: list[list[np.ndarray]] = []
        self.steps_before, self.loss_before = 0, 0.0
        self.has_validated = False
        self._is_asked_to_stop = self._can_be_left = False
        self._epoch_began = 0.0
        self._epoch_loss = 0.0

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted so far, as JSON values; `best_weights` go beside it."""
        return {"history": self.history}

    @notes.setter
    def notes(self, notes: dict[str, Any]) -> None:
        self.history = notes["history"]

    @property
    def is_over(self) -> bool:
        """Whether training has to stop before its last epoch."""
        return False

    def ask_to_stop(self) -> None:
        """Leaves a validation, now or when it comes to where it can be left.

        Raises:
            LeftValidation: Where it can be left now. The epoch's entry is noted
                then, without metrics.
        """
        self._is_asked_to_stop = True
        if self._can_be_left:
            self._can_be_left = False  # a second signal must not come in between
            raise LeftValidation

    def note_steps(self, steps: int, loss: float) -> float:
        """Takes the mean loss of the steps of this epoch that this process did.

        Returns:
            The mean loss of the epoch so far: with the steps of a former attempt.
        """
        done = self.steps_before + steps
        self._epoch_loss = (self.loss_before * self.steps_before + loss * steps) / max(done, 1)
        return self._epoch_loss

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the time."""
        self._epoch_began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes loss and time.

        Raises:
            InputError: If the loss is not finite.
        """
        entry = {
            "epoch": epoch + 1,
            "loss": self._epoch_loss,
            "seconds": round(time.perf_counter() - self._epoch_began, 4),
        }
        self.steps_before, self.loss_before = 0, 0.0
        self.history.append(entry)
        if not math.isfinite(entry["loss"]):
            raise InputError(
                f"The loss became {entry['loss']} in epoch {epoch + 1}. Lower "
                f"train.learning_rate ({self._config.learning_rate})."
            )


class RetrievalValidation(EpochNotes):
    """Ranks all candidates for the validation part's queries every few epochs.

    Adds `val_<metric>` of the monitored metric to the epoch's logs, raw and
    filtered, keeps the towers' weights of the best epoch, and stops training
    when patience ends. Keras's `EarlyStopping` would copy the data tables
    along with the weights.

    Args:
        data: The encoded tables.
        config: Frequency, metric and patience.
        name: What progress lines call the model.

    Raises:
        InputError: If k is larger than the catalogue, or no validation row is
            relevant.
    """

    def __init__(self, data: EncodedData, config: TrainConfig, name: str):
        super().__init__(config, name)
        self._candidates = data.candidates
        self._queries = QuerySet.of(data.validation, data.spec.query)
        self._targets = Targets.of(data.validation, self._queries, data.spec.relevant_above)
        self._seen = SeenItems.of(self._queries, data.train)
        if config.monitor.cutoff > data.candidate_count:
            raise InputError(
                f"train.monitor: {config.monitor} looks at {config.monitor.cutoff} candidates, but "
                f"the catalogue has {data.candidate_count} only. Choose a smaller k."
            )
        if not len(self._targets):
            raise InputError(
                f"features.label.relevant_above: no label in the validation part is above "
                f"{data.spec.relevant_above}; labels are {data.spec.label_range[0]:g} to "
                f"{data.spec.label_range[1]:g}."
            )
        self.best: float = -math.inf
        self.best_epoch = 0
        self._since_best = 0

    @property
    def _towers(self) -> list[keras.Model]:
        model: RetrievalModel = self.model
        return [model.query_model, model.candidate_model]

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted so far, as JSON values; `best_weights` go beside it."""
        return {
            "history": self.history,
            "best": self.best if self.best_epoch else None,
            "best_epoch": self.best_epoch,
            "since_best": self._since_best,
        }

    @notes.setter
    def notes(self, notes: dict[str, Any]) -> None:
        self.history = notes["history"]
        self.best = -math.inf if notes["best"] is None else notes["best"]
        self.best_epoch = notes["best_epoch"]
        self._since_best = notes["since_best"]

    @property
    def is_over(self) -> bool:
        """Whether the metric has not improved for too long."""
        return self._config.patience is not None and self._since_best >= self._config.patience

    def release(self) -> None:
        """Lets go of the model and of its best weights; what was noted stays."""
        self.best_weights = []
        self.set_model(None)

    def restore_best(self) -> None:
        """Gives the towers the weights of the best epoch."""
        for tower, weights in zip(self._towers, self.best_weights, strict=True):
            tower.set_weights(weights)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validates when it is time to."""
        assert logs is not None
        super().on_epoch_end(epoch, logs)
        entry = self.history[-1]
        last = epoch + 1 == self._config.epochs
        if (epoch + 1) % self._config.validation_frequency and not last:
            return
        metrics = self._metrics()
        self.has_validated = True
        entry.update(metrics)
        logs.update(metrics)
        value = metrics[f"val_{self._config.monitor}"]
        if value > self.best:
            self.best, self.best_epoch, self._since_best = value, epoch + 1, 0
            self.best_weights = [tower.get_weights() for tower in self._towers]
        else:
            self._since_best += 1
        shown = ", ".join(f"{name[4:]} {number:.4f}" for name, number in metrics.items())
        logger.info(f"{self._name} epoch {epoch + 1}/{self._config.epochs}: loss "
                     f"{entry['loss']:.4f}, validation {shown}")  # fmt: skip
        if self.is_over:
            self.model.stop_training = True

    def _metrics(self) -> dict[str, float]:
        query_tower, candidate_tower = self._towers
        queries = embed(query_tower, self._queries.features)
        candidates = embed(candidate_tower, self._candidates)
        # Not before: while Keras 3.15 predicts on JAX, the towers are without their weights.
        self._can_be_left = True
        if self._is_asked_to_stop:
            self.ask_to_stop()
        monitor = self._config.monitor
        values = {}
        for protocol in PROTOCOLS:
            seen = self._seen if protocol == "filtered" else None
            retrieved, _ = retrieve(queries, candidates, monitor.cutoff, seen)
            ranks = self._targets.ranks(retrieved)
            measures = ranking_metrics(ranks, self._targets.query, monitor.cutoff)
            values[f"val_{monitor.by(protocol)}"] = measures[monitor.measure]
        self._can_be_left = False
        return values
