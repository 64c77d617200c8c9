"""Validation while training: retrieval metrics, the best weights, early stopping."""

import logging
import math
from typing import Any

import keras

from components.shared.contracts.metric import PROTOCOLS
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.retrieval.top_k import retrieve
from components.shared.runtime.errors import InputError
from components.train.config import NONE, TrainSettings
from components.train.data import EncodedData
from components.train.epoch_notes import EpochNotes, Notes
from components.train.retrieval_model import RetrievalModel

logger = logging.getLogger(__name__)


class RetrievalValidation(EpochNotes):
    """Ranks all candidates for the queries of the validation split.

    Adds `val_<metric>` of the monitored metric, raw and filtered, to the epoch's logs,
    keeps the towers' weights of the best epoch, and stops training when `patience` is
    exhausted. Keras's `EarlyStopping` would copy the device tables along with the weights.

    Attributes:
        best: The best value of the monitored metric.
        best_epoch: The best epoch, from 1; 0 before the first validation.

    Args:
        data: The encoded tables.
        config: Frequency, metric and patience of validation.
        name: The model's name in progress lines.

    Raises:
        InputError: If the metric's cut-off is larger than the catalogue, or no
            validation row is relevant.
    """

    def __init__(self, data: EncodedData, config: TrainSettings, name: str):
        super().__init__(config.learning_rate)
        self._config = config
        self._name = name
        self._candidates = data.candidates
        self._queries = QuerySet.of(data.validation, data.spec.query).with_profiles(
            data.spec, data.candidates, data.train
        )
        self._targets = Targets.of(data.validation, self._queries, data.spec.relevant_above)
        self._seen = SeenItems.of(self._queries, data.train)
        if config.monitor.cutoff > data.candidate_count:
            raise InputError(
                f"train.monitor: {config.monitor} needs {config.monitor.cutoff} candidates, but "
                f"the catalogue has only {data.candidate_count}. Choose a smaller cut-off."
            )
        if not len(self._targets):
            least, greatest = data.spec.label_range
            raise InputError(
                f"features.label.relevant_above: no label in the validation split is above "
                f"{data.spec.relevant_above}; labels range from {least:g} to {greatest:g}. Lower "
                "relevant_above."
            )
        self.best: float = -math.inf
        self.best_epoch = 0
        self._since_best = 0

    @property
    def _towers(self) -> list[keras.Model]:
        model: RetrievalModel = self.model
        return [model.query_model, model.candidate_model]

    @property
    def notes(self) -> Notes:
        """What a checkpoint keeps; `best_weights` are kept beside it."""
        return Notes(
            history=self.history,
            best=self.best if self.best_epoch else None,
            best_epoch=self.best_epoch,
            since_best=self._since_best,
        )

    @notes.setter
    def notes(self, notes: Notes) -> None:
        self.history = list(notes.history)
        self.best = -math.inf if notes.best is None else notes.best
        self.best_epoch = notes.best_epoch
        self._since_best = notes.since_best

    @property
    def is_over(self) -> bool:
        """Whether the metric has not improved for `patience` validations."""
        patience = self._config.patience
        return patience != NONE and self._since_best >= patience

    def release(self) -> None:
        """Free the model and its best weights; the history stays."""
        self.best_weights = []
        self.set_model(None)

    def restore_best(self) -> None:
        """Set the towers' weights to those of the best epoch."""
        for tower, weights in zip(self._towers, self.best_weights, strict=True):
            tower.set_weights(weights)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validate after every `validation_frequency` epochs and after the last one."""
        assert logs is not None
        super().on_epoch_end(epoch, logs)
        last = epoch + 1 == self._config.epochs
        if (epoch + 1) % self._config.validation_frequency and not last:
            return
        metrics = self._metrics()
        self.has_validated = True
        self.history[-1] = self.history[-1].validated(metrics)
        logs.update(metrics)
        value = metrics[f"val_{self._config.monitor}"]
        if value > self.best:
            self.best, self.best_epoch, self._since_best = value, epoch + 1, 0
            self.best_weights = [tower.get_weights() for tower in self._towers]
        else:
            self._since_best += 1
        shown = ", ".join(f"{name[4:]} {number:.4f}" for name, number in metrics.items())
        logger.info(
            f"{self._name} epoch {epoch + 1}/{self._config.epochs}: loss "
            f"{self.history[-1].loss:.4f}, validation {shown}"
        )
        if self.is_over:
            self.model.stop_training = True

    def _metrics(self) -> dict[str, float]:
        self.model.fill_new_items()
        query_tower, candidate_tower = self._towers
        queries = embed(query_tower, self._queries.features)
        candidates = embed(candidate_tower, self._candidates)
        # Not earlier: while Keras 3.15 predicts on JAX, the towers do not have their weights.
        with self.stop.leaves_validation():
            metric = self._config.monitor
            values = {}
            for protocol in PROTOCOLS:
                seen = self._seen if protocol == "filtered" else None
                retrieved, _ = retrieve(queries, candidates, metric.cutoff, seen)
                ranks = self._targets.ranks(retrieved)
                measured = ranking_metrics(ranks, self._targets.query, metric.cutoff)
                values[f"val_{metric.by(protocol)}"] = measured[metric.measure]
        return values
