"""The layer that encodes a user's items as a sequence."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("deep_retrieval")
class SequenceEncoder(keras.layers.Layer):
    """Encodes a sequence of items by causal self-attention.

    Each position attends to itself and to the positions before it, so that one pass
    over a sequence gives an encoding after each of its items (Kang & McAuley,
    "Self-Attentive Sequential Recommendation", ICDM 2018). Layers are normalized
    before attention and feed-forward layers, and once more at the end (Xiong et al.,
    "On Layer Normalization in the Transformer Architecture", ICML 2020).

    Args:
        cardinality: Number of rows of the embedding table.
        dimension: Width of the embeddings and of the encoding; a multiple of `heads`.
        length: The longest sequence.
        blocks: Number of attention blocks.
        heads: Attention heads of each block.
        dropout: Fraction of activations and attention weights to drop; training only.
        padding_index: The index of padding and of unknown items, which are ignored.
        regularizer: Regularizer of the embeddings.
        embedding: A layer whose table to share; by default the layer creates its own.
        seed: Seed of the weights and of the dropout.

    Example:
    ```python
    import numpy as np

    layer = SequenceEncoder(cardinality=21, dimension=32, length=4)
    assert layer(np.array([[4, 7, 0, 0]])).shape == (1, 32)
    ```
    """

    def __init__(
        self,
        cardinality: int,
        dimension: int,
        length: int,
        blocks: int = 1,
        heads: int = 1,
        dropout: float = 0.0,
        padding_index: int = 0,
        regularizer: Any = None,
        embedding: keras.layers.Embedding | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if embedding is None:
            embedding = keras.layers.Embedding(
                cardinality, dimension, embeddings_regularizer=regularizer
            )
            embedding.build()
        self.embedding = embedding
        self.length, self.heads, self.padding_index = length, heads, padding_index
        self.positions = keras.layers.Embedding(length, dimension, name="positions")
        self.positions.build()
        self.dropout = keras.layers.Dropout(dropout, seed=seed)
        shape = (None, length, dimension)
        self.blocks = [
            _Block(dimension, heads, dropout, seed + 1 + number, name=f"block_{number}")
            for number in range(blocks)
        ]
        for block in self.blocks:
            block.build(shape)
        self.normalization = keras.layers.LayerNormalization(name="normalization")
        self.normalization.build(shape)
        self.built = True

    def call(self, history: Any, training: bool = False) -> Any:
        """Encode each row.

        Args:
            history: `(batch, width) int32`, the latest item first; `width` is at most
                `length`.
            training: Whether activations are dropped at random.

        Returns:
            `(batch, dimension) float32`, the encoding after the latest item; zeros for
            a row that holds only padding.
        """
        place = keras.ops.arange(keras.ops.shape(history)[1])
        known = keras.ops.not_equal(history, self.padding_index)
        count = keras.ops.max(keras.ops.where(known, place + 1, 0), axis=-1, keepdims=True)
        source = keras.ops.maximum(count - 1 - place, 0)
        items = keras.ops.where(
            place < count, keras.ops.take_along_axis(history, source, axis=-1), self.padding_index
        )
        encoded = self.after_each(items, training=training)
        last = keras.ops.maximum(count - 1, 0)[..., None]
        latest = keras.ops.take_along_axis(encoded, last, axis=1)[:, 0]
        return latest * keras.ops.cast(count > 0, latest.dtype)

    def after_each(self, items: Any, training: bool = False) -> Any:
        """Encode each beginning of sequences.

        Args:
            items: `(batch, width) int32`, the earliest item first, padded at the end;
                `width` is at most `length`.
            training: Whether activations are dropped at random.

        Returns:
            `(batch, width, dimension) float32`, at each position the encoding of the
            items up to there.
        """
        width = keras.ops.shape(items)[1]
        scale = self.embedding.output_dim**0.5
        encoded = self.embedding(items) * scale + self.positions(keras.ops.arange(width))[None]
        encoded = self.dropout(encoded, training=training)
        known = keras.ops.not_equal(items, self.padding_index)[:, None, :]
        before = keras.ops.tril(keras.ops.ones((width, width), "bool"))[None]
        # A position that sees no item sees itself: a softmax needs a value.
        itself = keras.ops.eye(width, dtype="bool")[None]
        visible = keras.ops.logical_or(keras.ops.logical_and(before, known), itself)
        for block in self.blocks:
            encoded = block(encoded, visible=visible, training=training)
        return self.normalization(encoded)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that a loaded layer needs."""
        return {
            **super().get_config(),
            "cardinality": self.embedding.input_dim,
            "dimension": self.embedding.output_dim,
            "length": self.length,
            "blocks": len(self.blocks),
            "heads": self.heads,
            "padding_index": self.padding_index,
        }


class _Block(keras.layers.Layer):
    """Self-attention and a feed-forward layer, each added to its input."""

    def __init__(self, dimension: int, heads: int, dropout: float, seed: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.attention_norm = keras.layers.LayerNormalization(name="attention_norm")
        self.attention = keras.layers.MultiHeadAttention(
            heads, dimension // heads, dropout=dropout, seed=seed, name="attention"
        )
        self.feed_forward_norm = keras.layers.LayerNormalization(name="feed_forward_norm")
        self.wide = keras.layers.Dense(4 * dimension, activation="gelu", name="wide")
        self.narrow = keras.layers.Dense(dimension, name="narrow")
        self.dropout = keras.layers.Dropout(dropout, seed=seed)

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create all weights."""
        for layer in (self.attention_norm, self.feed_forward_norm, self.wide):
            layer.build(shape)
        self.attention.build(shape, shape)
        self.narrow.build((*shape[:-1], self.wide.units))
        self.built = True

    def call(self, inputs: Any, visible: Any, training: bool = False) -> Any:
        """Return `(batch, width, dimension)`; `visible` is `(batch, width, width) bool`."""
        normed = self.attention_norm(inputs)
        attended = self.attention(normed, normed, attention_mask=visible, training=training)
        outputs = inputs + self.dropout(attended, training=training)
        fed = self.narrow(self.wide(self.feed_forward_norm(outputs)))
        return outputs + self.dropout(fed, training=training)
