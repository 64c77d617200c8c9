"""The model that trains both towers."""

from typing import Any

import keras
import numpy as np

from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.config import TrainSettings
from components.train.losses import SoftmaxLoss, mse_loss


class DeviceTable(keras.layers.Layer):
    """A table's columns in device memory.

    A batch is then a vector of row numbers: 4 bytes per row from the host.

    Args:
        columns: `(rows,)` or `(rows, width)` arrays by name.
    """

    def __init__(self, columns: dict[str, np.ndarray], **kwargs: Any):
        super().__init__(**kwargs)
        self.columns = {}
        for name, values in columns.items():
            column = self.add_weight(
                shape=values.shape, dtype=str(values.dtype), trainable=False, initializer="zeros",
                name=name,
            )  # fmt: skip
            column.assign(values)
            self.columns[name] = column
        self.built = True

    def call(self, rows: Any) -> dict[str, Any]:
        """Return rows of all columns.

        Args:
            rows: `(batch,) int32`.

        Returns:
            `(batch,)` or `(batch, width)` by column.
        """
        return {name: keras.ops.take(column, rows, axis=0) for name, column in self.columns.items()}

    def everything(self) -> dict[str, Any]:
        """Return the whole table."""
        return {name: keras.ops.convert_to_tensor(column) for name, column in self.columns.items()}


class RetrievalModel(keras.Model):
    """Trains a query tower and a candidate tower together.

    A batch is a vector of row numbers of the interactions table. Candidate features are
    stored once, in the candidates table; an interaction has an index into it.

    Args:
        query_model: The query tower.
        candidate_model: The candidate tower.
        interactions: The training rows by column: query features, `candidate_index`,
            `label`; or groups of rows, see `grouped_by_query`.
        candidates: The candidates' features by name.
        config: The loss and its options.
        seed: The seed of drawn negatives.
    """

    def __init__(
        self,
        query_model: QueryModel,
        candidate_model: CandidateModel,
        interactions: dict[str, np.ndarray],
        candidates: dict[str, np.ndarray],
        config: TrainSettings,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.query_model = query_model
        self.candidate_model = candidate_model
        self.interactions = DeviceTable(interactions, name="interactions")
        self.candidates = DeviceTable(candidates, name="candidates")
        index = interactions["candidate_index"]
        counts = np.bincount(index[index >= 0], minlength=len(next(iter(candidates.values()))))
        self.sampling = DeviceTable(
            {"probability": (counts / counts.sum()).astype(np.float32)}, name="sampling"
        )
        self._config = config
        self._softmax = SoftmaxLoss(
            config.temperature,
            config.logq_correction,
            config.mask_accidental_hits,
            config.hard_negatives,
        )
        self._candidate_count = len(counts)
        self.seeds = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, rows: Any, training: bool = False) -> dict[str, Any]:
        """Embed both sides of interactions.

        Args:
            rows: `(batch,) int32`, row numbers of the interactions table.
            training: Whether the towers drop features and ids.

        Returns:
            `query_embeddings`, `(batch, dim)`; `candidate_embeddings`,
            `(batch + drawn, dim)`, or `(candidates, dim)` if the loss needs all
            candidates; `candidate_index`, `(batch + drawn,)`; `label`, `(batch,)`.
        """
        batch = self.interactions(rows)
        index = batch["candidate_index"]
        if self._config.uniform_negatives:
            drawn = keras.random.randint(
                (self._config.uniform_negatives,), 0, self._candidate_count, seed=self.seeds
            )
            index = keras.ops.concatenate([index, keras.ops.cast(drawn, index.dtype)])
        whole_catalogue = self._config.loss == "softmax" and self._config.negatives == "catalogue"
        candidates = self.candidates.everything() if whole_catalogue else self.candidates(index)
        return {
            "query_embeddings": self.query_model(batch, training=training),
            "candidate_embeddings": self.candidate_model(candidates, training=training),
            "candidate_index": index,
            "label": batch["label"],
        }

    def _probability(self, index: Any, rows: int) -> Any:
        """Return each item's probability of being a negative, in the batch or drawn."""
        probability = self.sampling(index)["probability"]
        drawn = self._config.uniform_negatives
        return (rows * probability + drawn / self._candidate_count) / (rows + drawn)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss of `call`'s outputs, including penalties."""
        label = y_pred["label"]
        queries, candidates = y_pred["query_embeddings"], y_pred["candidate_embeddings"]
        index = y_pred["candidate_index"]
        weight = (
            keras.ops.power(label, self._config.sample_weight_power)
            if self._config.sample_weight == "label"
            else keras.ops.ones_like(label)
        )
        if self._config.loss == "mse":
            loss = mse_loss(queries, candidates, label, weight)
        elif self._config.negatives == "catalogue":
            loss = self._softmax.catalogue(queries, candidates, index, weight)
        else:
            probability = self._probability(index, queries.shape[0])
            loss = self._softmax.in_batch(queries, candidates, index, probability, weight)
        for penalty in self.losses:
            loss = loss + penalty
        return loss
