"""The Gramian of all candidates, exact or estimated."""

from typing import Any

import keras
import numpy as np

from components.shared.retrieval.towers import CandidateModel
from components.train.device_table import DeviceTable

_LEAST_SHARE = 0.1


class Gramian(keras.layers.Layer):
    """The sum of `c c^T` over all candidates c, for the quadratic loss.

    It is exact if each step embeds the whole catalogue. For a large catalogue, a step
    embeds a random block, and the Gramian is a running average of the blocks' estimates,
    through which the gradient reaches the block only (Krichene et al., "Efficient
    Training on Very Large Corpora via Gramian Estimation", ICLR 2019, section 3.2).

    Args:
        candidate_model: The candidate tower.
        candidates: The catalogue's features.
        block: Number of candidates of a block; None for the exact Gramian.
        ignored: `(candidates,) bool`, candidates that do not count; None if all count.
        seeds: The seed of the blocks.
    """

    def __init__(
        self,
        candidate_model: CandidateModel,
        candidates: DeviceTable,
        block: int | None,
        ignored: np.ndarray | None,
        seeds: keras.random.SeedGenerator,
    ):
        super().__init__(name="gramian")
        self._tower, self._table, self._seeds = candidate_model, candidates, seeds
        self._count = next(iter(candidates.columns.values())).shape[0]
        self._block = block if block is not None and block < self._count else None
        counts = np.ones(self._count) if ignored is None else ~ignored
        self._counts = DeviceTable({"counts": counts.astype(np.float32)}, name="counts")
        self._average: Any = None
        if self._block is not None:
            dimension = candidate_model.output_dimension
            self._average = self.add_weight(
                shape=(dimension, dimension), trainable=False, initializer="zeros", name="average"
            )
            self._steps = self.add_weight(
                shape=(), trainable=False, initializer="zeros", name="steps"
            )
        self.built = True

    @property
    def state(self) -> list[Any]:
        """The variables that a training continues with; empty if it is exact."""
        return [] if self._average is None else [self._average, self._steps]

    def candidates(self, index: Any, training: bool) -> Any:
        """Embed the candidates of a step.

        Args:
            index: `(rows,) int32`, the items of the batch's rows; -1 for padding.
            training: Whether the tower drops features and ids.

        Returns:
            The embeddings of all candidates, or of the rows' items and then of a block.
        """
        if self._block is None:
            return self._tower(self._table.everything(), training=training)
        drawn = keras.random.randint((self._block,), 0, self._count, seed=self._seeds)
        index = keras.ops.maximum(index, 0)
        index = keras.ops.concatenate([index, keras.ops.cast(drawn, index.dtype)])
        embeddings = self._tower(self._table(index), training=training)
        # With the embeddings, as the loss is computed from what `call` returns.
        counts = self._counts(index)["counts"][:, None]
        return keras.ops.concatenate([embeddings, counts], axis=-1)

    def own(self, candidates: Any, index: Any) -> Any:
        """Return the embeddings of the rows' items, `(rows, dim)`.

        Args:
            candidates: What `candidates` returned.
            index: `(…) int32`, the items of the batch's rows; -1 for padding.
        """
        index = keras.ops.reshape(index, (-1,))
        if self._block is None:
            return keras.ops.take(candidates, keras.ops.maximum(index, 0), axis=0)
        return candidates[: index.shape[0], :-1]

    def value(self, candidates: Any, training: bool) -> Any:
        """Return the Gramian, `(dim, dim)`.

        Args:
            candidates: What `candidates` returned.
            training: Whether the running average takes in the block.
        """
        if self._block is None:
            counts = self._counts.everything()["counts"][:, None]
            return keras.ops.matmul(keras.ops.transpose(candidates), candidates * counts)
        block, counts = candidates[-self._block :, :-1], candidates[-self._block :, -1:]
        scale = self._count / self._block
        estimate = scale * keras.ops.matmul(keras.ops.transpose(block), block * counts)
        fixed = keras.ops.stop_gradient(estimate)
        share = keras.ops.maximum(_LEAST_SHARE, 1 / (self._steps + 1))
        average = self._average + share * (fixed - self._average)
        if training:
            self._average.assign(average)
            self._steps.assign_add(1.0)
        return keras.ops.stop_gradient(average) + estimate - fixed
