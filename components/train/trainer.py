"""One training as one call: with validation, or as a refit."""

import logging
import time
from dataclasses import dataclass

import numpy as np

from components.shared.contracts.training import Epoch
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.build import Recipe
from components.train.checkpoint import Checkpoint, training_key
from components.train.config import NONE, TrainSettings
from components.train.data import EncodedData
from components.train.fitting import Fitting, PublishedStart
from components.train.resumable_fit import ResumableFit
from components.train.training_rows import TrainingRows
from components.train.validation import RetrievalValidation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Towers:
    """Both towers, apart from the model that trained them.

    Args:
        query: The query tower.
        candidate: The candidate tower.
        history: The epochs of their training.
    """

    query: QueryModel
    candidate: CandidateModel
    history: list[Epoch]

    @classmethod
    def of(cls, fit: ResumableFit) -> "Towers":
        """Return the towers of a completed fit."""
        model = fit.retrieval_model
        return cls(model.query_model, model.candidate_model, fit.history)


@dataclass(frozen=True)
class Trained:
    """What a training with validation found.

    Args:
        settings: Its settings.
        towers: Both towers at the best epoch; None if a refit makes other ones.
        history: The epochs.
        best: The monitored metric in the best epoch.
        best_epoch: The best epoch, from 1.
        rows: Number of training rows.
        seconds: Time of this attempt.
    """

    settings: TrainSettings
    towers: Towers | None
    history: list[Epoch]
    best: float
    best_epoch: int
    rows: int
    seconds: float

    @property
    def samples_per_second(self) -> int:
        """Training rows per second, the median over the epochs after the first."""
        steady = self.history[1:] or self.history[:1]  # the first epoch compiles
        seconds = float(np.median([epoch.seconds for epoch in steady]))
        # 0 if only a validation was left to this attempt.
        return round(self.rows / max(seconds, 1e-4))


class Trainer:
    """Trains models on the same data, each by settings of its own.

    A training that a previous attempt began continues, and one that it completed is
    read back, as long as its state is there.

    Args:
        data: The encoded tables.
        layer_sizes: Units of each dense layer of both towers.
        seed: The seed of the weights and of the order of rows.
        start: The published model to begin from; None for a cold start.
        checkpoints: The location of the trainings' states; None to keep none.
    """

    def __init__(
        self,
        data: EncodedData,
        layer_sizes: list[int],
        seed: int,
        start: PublishedStart | None = None,
        checkpoints: str | None = None,
    ):
        self._data = data
        self._layer_sizes = layer_sizes
        self._seed = seed
        self._start = start
        self.checkpoints = checkpoints
        self._states: dict[str, Checkpoint] = {}

    def train(self, settings: TrainSettings) -> Trained:
        """Train on the training split, and validate.

        Raises:
            InputError: If the settings do not fit the data, or the training diverges.
            SystemExit: With status 143, after SIGTERM.
        """
        began = time.perf_counter()
        rows = TrainingRows.read(self._data, settings)
        fitting = self._fitting(settings)
        validation = RetrievalValidation(self._data, settings, fitting.recipe.name)
        fit = fitting.fit(rows, validation, settings.epochs, self._state(settings))
        if settings.refit or settings.tune != NONE:
            fit.save_final()  # other trainings follow, and may be killed
        towers = None
        if not settings.refit:
            validation.restore_best()
            towers = Towers.of(fit)
        fit.release()
        validation.release()
        return Trained(
            settings, towers, validation.history, validation.best, validation.best_epoch,
            len(rows), round(time.perf_counter() - began, 2),
        )  # fmt: skip

    def refit(self, settings: TrainSettings, epochs: int) -> Towers:
        """Train a new model on the training and validation splits, without validation.

        Args:
            settings: Those of the selected training.
            epochs: The number of epochs: the best epoch of that training.

        Raises:
            InputError: If the labels of both splits do not fit the loss.
            SystemExit: With status 143, after SIGTERM.
        """
        return Towers.of(self._fitting(settings).refit(epochs, self._state(settings, "-refit")))

    def key(self, settings: TrainSettings) -> str:
        """Return the key of a training's state; empty if none is kept."""
        if self.checkpoints is None:
            return ""
        return training_key(
            str(self._data.folder), config=settings.model_dump(mode="json"),
            layer_sizes=self._layer_sizes, seed=self._seed,
            begins_from=self._start and self._start.version,
        )  # fmt: skip

    def forget_others(self, settings: TrainSettings | None = None) -> None:
        """Delete the states of all trainings but one.

        Args:
            settings: Those of the training whose state is kept; None to keep none.
        """
        kept = self.key(settings) if settings is not None else None
        for key in [key for key in self._states if key != kept]:
            self._states.pop(key).discard()

    def _fitting(self, settings: TrainSettings) -> Fitting:
        return Fitting(Recipe(settings, self._layer_sizes, self._seed), self._data, self._start)

    def _state(self, settings: TrainSettings, suffix: str = "") -> Checkpoint:
        key = self.key(settings) + suffix
        state = Checkpoint(self.checkpoints, key, settings.checkpoint_seconds)
        self._states[key] = state
        return state
