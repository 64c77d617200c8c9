"""The layer that embeds a user's items."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("deep_retrieval")
class MeanEmbedding(keras.layers.Layer):
    """Sums the embeddings of a padded list of indices, and divides by a power of their number.

    The power is 1 for the mean. With less, users with many items have longer vectors,
    so that their scores differ more: they are known better.
    A row that holds only padding gets zeros. (`GlobalAveragePooling1D` of Keras
    3.15 divides by zero there and gives NaN.)

    The layer saves its table even if it shares the table with another layer: a
    loaded layer has a copy of its own.

    Args:
        cardinality: Number of rows of the embedding table.
        dimension: Width of the embeddings.
        padding_index: The index to ignore.
        regularizer: Regularizer of the embeddings.
        embedding: A layer whose table to share; by default the layer creates its
            own.
        power: The power of the number of indices to divide by: 1 for the mean, 0.5 for
            the sum over the square root.

    Example:
    ```python
    import numpy as np

    layer = MeanEmbedding(cardinality=21, dimension=32, padding_index=0)
    assert layer(np.array([[4, 7, 0, 0]])).shape == (1, 32)
    ```
    """

    def __init__(
        self,
        cardinality: int,
        dimension: int,
        padding_index: int = 0,
        regularizer: Any = None,
        embedding: keras.layers.Embedding | None = None,
        power: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.padding_index = padding_index
        self.power = power
        if embedding is None:
            embedding = keras.layers.Embedding(
                cardinality, dimension, embeddings_regularizer=regularizer
            )
            embedding.build()
        self.embedding = embedding
        self.built = True

    def call(self, indices: Any) -> Any:
        """Embed each row.

        Args:
            indices: `(batch, width) int32`.

        Returns:
            `(batch, dimension) float32`.
        """
        embeddings, counts = self._counted(indices)
        total, count = keras.ops.sum(embeddings, axis=-2), keras.ops.sum(counts, axis=-2)
        return self._divided(total, count)

    def before_each(self, indices: Any) -> Any:
        """Embed, for each place of a row, the indices before it.

        Args:
            indices: `(batch, width) int32`.

        Returns:
            `(batch, width, dimension) float32`; zeros where nothing is before.
        """
        embeddings, counts = self._counted(indices)
        total = keras.ops.cumsum(embeddings, axis=-2) - embeddings
        count = keras.ops.cumsum(counts, axis=-2) - counts
        return self._divided(total, count)

    def without_each(self, indices: Any, items: Any) -> Any:
        """Embed, for each of a row's items, the row without this item.

        Args:
            indices: `(batch, width) int32`, no index twice in a row but padding.
            items: `(batch, items) int32`, padded; an item may be missing in `indices`.

        Returns:
            `(batch, items, dimension) float32`; zeros where nothing is left.
        """
        embeddings, counts = self._counted(indices)
        own, is_item = self._counted(items)
        is_there = keras.ops.any(items[:, :, None] == indices[:, None, :], axis=-1)[..., None]
        is_there = keras.ops.cast(is_there, own.dtype) * is_item
        total = keras.ops.sum(embeddings, axis=-2, keepdims=True) - own * is_there
        count = keras.ops.sum(counts, axis=-2, keepdims=True) - is_there
        # What is left of a row with a single item is no sum, but what rounding left.
        total = total * keras.ops.cast(count > 0, total.dtype)
        return self._divided(total, count)

    def _divided(self, total: Any, count: Any) -> Any:
        """Divide sums by the power of their number; a sum of nothing stays zero."""
        return total / keras.ops.power(keras.ops.maximum(count, 1.0), self.power)

    def _counted(self, indices: Any) -> tuple[Any, Any]:
        """Return embeddings, zeros for padding, and `(batch, width, 1)`, 1 for what is none."""
        embeddings = self.embedding(indices)
        counts = keras.ops.not_equal(indices, self.padding_index)[..., None]
        counts = keras.ops.cast(counts, embeddings.dtype)
        return embeddings * counts, counts

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that a loaded layer needs."""
        return {
            **super().get_config(),
            "cardinality": self.embedding.input_dim,
            "dimension": self.embedding.output_dim,
            "padding_index": self.padding_index,
            "power": self.power,
        }
