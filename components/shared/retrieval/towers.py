"""The query tower and the candidate tower."""

from typing import Any

import keras

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.types import holds_ids
from components.shared.retrieval.embedding_tables import embedding_table, l2_penalty
from components.shared.retrieval.mean_embedding import MeanEmbedding

_PACKAGE = "deep_retrieval"


class _Tower(keras.Model):
    """Embeds features, concatenates them, and passes them through dense layers.

    All dense layers but the last have a ReLU; in the last it would confine the
    tower's output to non-negative values. Without a dense layer, the embeddings
    of all features are summed, as in LightFM (Kula, "Metadata Embeddings for User
    and Item Cold-start Recommendations", 2015), and numbers are projected first.

    Args:
        features: The features, as `EncodedFeature` or as its dict.
        layer_sizes: Units of each dense layer; the last is the width of the
            tower's output. May be empty.
        embedding_dimension: Width of every embedding table, and of the output
            if there is no dense layer.
        normalize: Whether outputs have length 1.
        l2: Penalty on the squares of embeddings and kernels; training only.
        dropout: Fraction of the concatenated or summed features to drop;
            training only.
        id_dropout: Fraction of ids to replace by the out-of-vocabulary index
            during training, so that unknown users and new items get a trained
            embedding (Volkovs et al., "DropoutNet", NeurIPS 2017). In a history,
            such items are dropped.
        seed: Seed of both kinds of dropout.
        shared: Embedding tables that both towers use, by candidate feature; see
            `shared_embeddings`. A loaded tower has its own copies.
    """

    def __init__(
        self,
        features: list[EncodedFeature] | list[dict[str, Any]],
        layer_sizes: list[int],
        embedding_dimension: int = 32,
        normalize: bool = False,
        l2: float = 0.0,
        dropout: float = 0.0,
        id_dropout: float = 0.0,
        seed: int = 0,
        shared: dict[str, keras.layers.Embedding] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        # In every tower, even without dropout: a saved file holds their state.
        self.dropout = keras.layers.Dropout(dropout, seed=seed)
        self.id_dropout = id_dropout
        self.id_seeds = keras.random.SeedGenerator(seed)
        self.features = [EncodedFeature.model_validate(feature) for feature in features]
        self.layer_sizes = list(layer_sizes)
        self.embedding_dimension = embedding_dimension
        self.normalize = normalize

        self.embeddings: dict[str, keras.layers.Layer] = {
            feature.name: self._embedding(feature, l2, shared or {})
            for feature in self.features
            if feature.cardinality is not None
        }
        numbers = sum(feature.width for feature in self.features if feature.cardinality is None)
        self.projection: keras.layers.Layer | None = None
        if numbers and not self.layer_sizes:
            self.projection = keras.layers.Dense(
                embedding_dimension, use_bias=False, kernel_regularizer=l2_penalty(l2)
            )
            self.projection.build((None, numbers))
        self.dense_layers: list[keras.layers.Layer] = []
        width = numbers + embedding_dimension * len(self.embeddings)
        for units in self.layer_sizes:
            last = len(self.dense_layers) == len(self.layer_sizes) - 1
            dense = keras.layers.Dense(
                units, activation=None if last else "relu", kernel_regularizer=l2_penalty(l2)
            )
            dense.build((None, width))
            self.dense_layers.append(dense)
            width = units
        self.built = True  # the feature spec gives every shape

    def _embedding(
        self, feature: EncodedFeature, l2: float, shared: dict[str, keras.layers.Embedding]
    ) -> keras.layers.Layer:
        assert feature.cardinality is not None  # a feature that is an index
        table = shared.get(feature.shared_with or feature.name)
        if feature.padding_index is None:
            if table is None:
                table = embedding_table(feature, self.embedding_dimension, l2)
            return table
        return MeanEmbedding(
            feature.cardinality,
            self.embedding_dimension,
            feature.padding_index,
            regularizer=l2_penalty(l2),
            embedding=table,
            name=feature.name,
        )

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Embed a batch.

        Args:
            inputs: Encoded features by name, `(batch,)` or `(batch, width)` each.
            training: Whether features and ids are dropped at random.

        Returns:
            `(batch, layer_sizes[-1]) float32`, or `(batch, embedding_dimension)`.
        """
        parts, numbers = [], []
        for feature in self.features:
            values = inputs[feature.name]
            if training and self.id_dropout and holds_ids(feature):
                dropped = keras.random.uniform(keras.ops.shape(values), seed=self.id_seeds)
                values = keras.ops.where(dropped < self.id_dropout, feature.oov_index, values)
            if feature.cardinality is not None:
                parts.append(self.embeddings[feature.name](values))
            elif self.layer_sizes:
                parts.append(keras.ops.reshape(values, (-1, feature.width)))
            else:
                numbers.append(keras.ops.reshape(values, (-1, feature.width)))
        if self.projection is not None:
            parts.append(self.projection(keras.ops.concatenate(numbers, axis=-1)))
        outputs = keras.ops.concatenate(parts, axis=-1) if self.layer_sizes else sum(parts)
        outputs = self.dropout(outputs, training=training)
        for dense in self.dense_layers:
            outputs = dense(outputs)
        return _unit_length(outputs) if self.normalize else outputs

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that a trained tower needs, without those for training only."""
        return {
            "features": [feature.model_dump() for feature in self.features],
            "layer_sizes": self.layer_sizes,
            "embedding_dimension": self.embedding_dimension,
            "normalize": self.normalize,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(_PACKAGE)
class QueryModel(_Tower):
    """Turns encoded query features into query embeddings."""


@keras.saving.register_keras_serializable(_PACKAGE)
class CandidateModel(_Tower):
    """Turns encoded candidate features into candidate embeddings."""


def _unit_length(vectors: Any) -> Any:
    """Divide by the length; a zero vector, as without an active ReLU, stays zero.

    (In Keras 3.15, the gradient of `keras.utils.normalize` is NaN there.)
    """
    squares = keras.ops.sum(keras.ops.square(vectors), axis=-1, keepdims=True)
    return vectors * keras.ops.rsqrt(keras.ops.maximum(squares, 1e-12))
