"""The layer that embeds a history of items."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("deep_retrieval")
class MeanEmbedding(keras.layers.Layer):
    """Averages the embeddings of a padded list of indices.

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
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.padding_index = padding_index
        if embedding is None:
            embedding = keras.layers.Embedding(
                cardinality, dimension, embeddings_regularizer=regularizer
            )
            embedding.build()
        self.embedding = embedding
        self.built = True

    def call(self, indices: Any) -> Any:
        """Return the mean embedding of each row.

        Args:
            indices: `(batch, width) int32`.

        Returns:
            `(batch, dimension) float32`.
        """
        embeddings = self.embedding(indices)
        counts = keras.ops.not_equal(indices, self.padding_index)
        weights = keras.ops.cast(counts, embeddings.dtype)[..., None]
        total = keras.ops.sum(embeddings * weights, axis=-2)
        return total / keras.ops.maximum(keras.ops.sum(weights, axis=-2), 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that a loaded layer needs."""
        return {
            **super().get_config(),
            "cardinality": self.embedding.input_dim,
            "dimension": self.embedding.output_dim,
            "padding_index": self.padding_index,
        }
