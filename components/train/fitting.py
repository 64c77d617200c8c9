"""Fitting a new model to rows, and again to all rows in a refit."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import jax

from components.shared.contracts.tables import LABEL
from components.train.build import Recipe, build_model
from components.train.checkpoint import Checkpoint
from components.train.checks import check_labels
from components.train.data import EncodedData
from components.train.epoch_notes import EpochNotes
from components.train.resumable_fit import ResumableFit
from components.train.retrieval_model import RetrievalModel
from components.train.training_rows import TrainingRows
from components.train.warm_start import begin_from

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedStart:
    """The published model that a warm start begins from.

    Args:
        version: Its version.
        folder: The folder from fetch_published.
        settings: The settings that it was trained by.
    """

    version: str
    folder: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Fitting:
    """How models are fitted to this data.

    Args:
        recipe: Layers, settings and seed.
        data: The encoded tables.
        start: The published model to begin from; None for a cold start.
    """

    recipe: Recipe
    data: EncodedData
    start: PublishedStart | None

    def fit(
        self,
        rows: TrainingRows,
        notes: EpochNotes,
        epochs: int,
        checkpoint: Checkpoint,
    ) -> ResumableFit:
        """Build a model and fit it, or continue the fit of a previous attempt.

        Args:
            rows: The rows to train on.
            notes: Takes the history, and validates if it is a `RetrievalValidation`.
            epochs: The number of epochs.
            checkpoint: The place of the training's state.

        Returns:
            The completed fit, with the model.

        Raises:
            SystemExit: With status 143, after SIGTERM.
        """
        batches = rows.batches(self.recipe.seed)
        model = build_model(self.recipe, self.data, rows, len(batches))
        if self.start is not None:
            self._begin_from(self.start, model)
        weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        logger.info(
            f"{self.recipe.name}: {weights:,} weights, {len(rows):,} rows"
            + (f" in {len(rows.groups):,} groups" if rows.groups is not None else "")
            + f", {len(batches):,} steps per epoch, on {jax.default_backend()} "
            f"({jax.devices()[0].device_kind})"
        )
        fit = ResumableFit(model, batches, notes, epochs, checkpoint)
        fit.run()
        model.fill_new_items()
        return fit

    def refit(self, epochs: int, checkpoint: Checkpoint) -> ResumableFit:
        """Fit a new model to the rows of the training and validation splits.

        Args:
            epochs: The number of epochs: the best epoch of the first training.
            checkpoint: The place of the refit's state.

        Returns:
            The completed fit, with the model.

        Raises:
            InputError: If the labels of both parts do not fit the loss.
            SystemExit: With status 143, after SIGTERM.
        """
        settings = self.recipe.settings
        rows = TrainingRows.read(self.data, settings, with_validation=True)
        check_labels(self.data, settings, rows.columns[LABEL])
        logger.info(
            f"{self.recipe.name}: refit on the training and validation splits, {epochs} epochs"
        )
        return self.fit(rows, EpochNotes(settings.learning_rate), epochs, checkpoint)

    def _begin_from(self, start: PublishedStart, model: RetrievalModel) -> None:
        begun = begin_from(model.query_model, model.candidate_model, self.data.folder, start.folder)
        logger.info(
            f"{self.recipe.name}: begins from {start.version}: {len(begun.taken)} of its layers, "
            f"with {begun.new_rows:,} new embeddings"
            + (f"; new layers: {', '.join(begun.new)}" if begun.new else "")
        )
