"""The query tower and the candidate tower."""

from typing import Any

import keras
import numpy as np

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.types import holds_ids

_PACKAGE = "deep_retrieval"


@keras.saving.register_keras_serializable(_PACKAGE)
class MeanEmbedding(keras.layers.Layer):
    """Averages the embeddings of a padded list of indices.

    It saves its table, also one that is another layer's: it loads with a table
    of its own that has the same values.

    A row without any value gets zeros. (`GlobalAveragePooling1D` of Keras 3.15
    divides by zero there and gives NaN.)

    Args:
        cardinality: Rows of the embedding table.
        dimension: Width of the embeddings.
        padding_index: The index that does not count.
        regularizer: Of the embeddings.
        embedding: A layer that has the table already, to be used with it; by
            default it makes its own.

    Example:
    ```python
    layer = MeanEmbedding(cardinality=21, dimension=32, padding_index=0)
    layer(np.array([[4, 7, 0, 0]]))  # shape (1, 32)
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
        """Averages.

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
        """Returns the arguments."""
        return {
            **super().get_config(),
            "cardinality": self.embedding.input_dim,
            "dimension": self.embedding.output_dim,
            "padding_index": self.padding_index,
        }


class _Tower(keras.Model):
    """Embeds features, joins them, and sends them through dense layers.

    All layers but the last have ReLU. The last has none, as it would keep
    the embeddings from pointing into every direction. Without any layer, the
    embeddings of all features are added up, as in LightFM (Kula, "Metadata
    embeddings for user and item cold-start recommendations", 2015), numbers
    after a projection.

    Args:
        features: The features, as `EncodedFeature` or as its dict.
        layer_sizes: Units of each dense layer; the last is the width of the
            tower's output. There may be none.
        embedding_dimension: Width of every embedding table; of the output, too,
            where there is no layer.
        normalize: Whether outputs have length 1.
        l2: Penalty on the squares of embeddings and kernels; only for training.
        dropout: Share of the joined, or added, features that is left out; only
            while training.
        id_dropout: Share of ids that is taken for out-of-vocabulary while
            training, so that unknown users and new items have an embedding
            that was trained (Volkovs et al., "DropoutNet", NeurIPS 2017). Of a
            history, such items are left out.
        seed: Of what is left out.
        shared: Embedding tables that both towers use, by the candidate
            feature; see `shared_embeddings`. A tower that is loaded has its
            own copies.
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
        # There in every tower, as its state is in every file.
        self.dropout = keras.layers.Dropout(dropout, seed=seed)
        self.id_dropout = id_dropout
        self.id_seeds = keras.random.SeedGenerator(seed)
        self.features = [EncodedFeature.model_validate(feature) for feature in features]
        self.layer_sizes = list(layer_sizes)
        self.embedding_dimension = embedding_dimension
        self.normalize = normalize

        width = numbers = 0
        self.embeddings: dict[str, keras.layers.Layer] = {}
        for feature in self.features:
            if feature.cardinality is None:  # a number goes in as it is
                width += feature.width
                numbers += feature.width
                continue
            width += embedding_dimension
            table = (shared or {}).get(feature.shared_with or feature.name)
            if feature.padding_index is None:
                if table is None:
                    table = _embedding(feature, embedding_dimension, l2)
                self.embeddings[feature.name] = table
            else:
                self.embeddings[feature.name] = MeanEmbedding(
                    feature.cardinality,
                    embedding_dimension,
                    feature.padding_index,
                    regularizer=_l2(l2),
                    embedding=table,
                    name=feature.name,
                )
        self.projection: keras.layers.Layer | None = None
        if numbers and not self.layer_sizes:
            self.projection = keras.layers.Dense(
                embedding_dimension, use_bias=False, kernel_regularizer=_l2(l2)
            )
            self.projection.build((None, numbers))
        self.dense_layers: list[keras.layers.Layer] = []
        for units in self.layer_sizes:
            last = len(self.dense_layers) == len(self.layer_sizes) - 1
            dense = keras.layers.Dense(
                units, activation=None if last else "relu", kernel_regularizer=_l2(l2)
            )
            dense.build((None, width))
            self.dense_layers.append(dense)
            width = units
        self.built = True  # everything has its shape from the feature spec

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Embeds a batch.

        Args:
            inputs: Encoded features by name: `(batch,)`, or `(batch, width)`.
            training: Whether features and ids are left out at random.

        Returns:
            `(batch, layer_sizes[-1]) float32`, or `(batch, embedding_dimension)`.
        """
        parts, numbers = [], []
        for feature in self.features:
            values = inputs[feature.name]
            if training and self.id_dropout and holds_ids(feature):
                left_out = keras.random.uniform(keras.ops.shape(values), seed=self.id_seeds)
                values = keras.ops.where(left_out < self.id_dropout, feature.oov_index, values)
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
        """Returns the arguments; what is only for training is not part of a trained tower."""
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


def shared_embeddings(
    query: list[EncodedFeature],
    candidate: list[EncodedFeature],
    embedding_dimension: int,
    l2: float = 0.0,
) -> dict[str, keras.layers.Embedding]:
    """Makes the embedding tables that both towers use while they are trained.

    Args:
        query: Features of the query tower.
        candidate: Features of the candidate tower.
        embedding_dimension: Width of every embedding table.
        l2: Penalty on the squares of embeddings.

    Returns:
        A layer for each candidate feature that a history is made of, for
        `shared` of both towers; empty where there is no history.
    """
    names = {feature.shared_with for feature in query}
    return {
        feature.name: _embedding(feature, embedding_dimension, l2)
        for feature in candidate
        if feature.name in names
    }


def _embedding(feature: EncodedFeature, dimension: int, l2: float) -> keras.layers.Embedding:
    layer = keras.layers.Embedding(
        feature.cardinality, dimension, embeddings_regularizer=_l2(l2), name=feature.name
    )
    layer.build()
    return layer


def _l2(penalty: float) -> Any:
    return keras.regularizers.L2(penalty) if penalty else None


def _unit_length(vectors: Any) -> Any:
    """Divides by the length; zero, which a row gets where no ReLU is on, stays zero.

    (`keras.utils.normalize` of Keras 3.15 has a gradient of NaN there.)
    """
    squares = keras.ops.sum(keras.ops.square(vectors), axis=-1, keepdims=True)
    return vectors * keras.ops.rsqrt(keras.ops.maximum(squares, 1e-12))


def embed(tower: keras.Model, features: dict[str, np.ndarray]) -> np.ndarray:
    """Embeds rows with a tower, many at once.

    Args:
        tower: A query or a candidate tower.
        features: Encoded features, `(rows,)` or `(rows, width)`.

    Returns:
        `(rows, dim) float32`.
    """
    rows = len(next(iter(features.values())))
    return np.asarray(tower.predict(features, batch_size=min(rows, 65_536), verbose=0))
