"""The query tower and the candidate tower."""

from typing import Any

import keras

from components.shared.contracts.derived_columns import HISTORY, PROFILE
from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.types import holds_ids
from components.shared.retrieval.embedding_tables import embedding_table, l2_penalty
from components.shared.retrieval.mean_embedding import MeanEmbedding
from components.shared.retrieval.sequence_encoder import SequenceEncoder

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
        profile_power: A profile is the sum of its items' embeddings, divided by this
            power of their number.
        history_blocks: Number of attention blocks that encode a history; 0 for the mean
            of its items.
        history_heads: Attention heads of each block.
        item_bias: The candidate feature that is the item's id, for a learned scalar of
            each item as the last number of the output, which is 1 in the query tower;
            None for no bias.
        popularity: Whether a query without any item is scored by the items' popularity
            instead of their bias, which is learned for users with items: one more number
            in the output, 1 in such a query and 0 in others, which have 0 in place of
            the 1 for the bias.
        seed: Seed of all kinds of dropout.
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
        profile_power: float = 0.5,
        history_blocks: int = 0,
        history_heads: int = 1,
        item_bias: str | None = None,
        popularity: bool = False,
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
        self.profile_power = profile_power
        self.history_blocks, self.history_heads = history_blocks, history_heads
        self.item_bias, self.popularity = item_bias, popularity

        # Features with one table share it in a loaded tower too: a saved one holds it once.
        tables = dict(shared or {})
        for feature in self.features:
            if feature.shared_with is not None and feature.shared_with not in tables:
                tables[feature.shared_with] = embedding_table(feature, embedding_dimension, l2)

        self.embeddings: dict[str, keras.layers.Layer] = {
            feature.name: self._embedding(feature, l2, tables, seed)
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
        self,
        feature: EncodedFeature,
        l2: float,
        shared: dict[str, keras.layers.Embedding],
        seed: int,
    ) -> keras.layers.Layer:
        assert feature.cardinality is not None  # a feature that is an index
        table = shared.get(feature.shared_with or feature.name)
        if feature.padding_index is None:
            if table is None:
                table = embedding_table(feature, self.embedding_dimension, l2)
            return table
        table_options: dict[str, Any] = {
            "padding_index": feature.padding_index,
            "regularizer": l2_penalty(l2),
            "embedding": table,
            "name": feature.name,
        }
        if feature.type == HISTORY and self.history_blocks:
            return SequenceEncoder(
                feature.cardinality,
                self.embedding_dimension,
                feature.width,
                self.history_blocks,
                self.history_heads,
                self.dropout.rate,
                seed=seed,
                **table_options,
            )
        if feature.type == PROFILE:
            table_options["power"] = self.profile_power
        return MeanEmbedding(feature.cardinality, self.embedding_dimension, **table_options)

    @property
    def biases(self) -> int:
        """How many of the last numbers of the output are not part of an item's direction."""
        return 0 if self.item_bias is None else 1 + self.popularity

    @property
    def output_dimension(self) -> int:
        """The width of the tower's output."""
        dense = self.layer_sizes[-1] if self.layer_sizes else self.embedding_dimension
        return dense + self.biases

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Embed a batch.

        Args:
            inputs: Encoded features by name, `(batch,)` or `(batch, width)` each.
            training: Whether features and ids are dropped at random.

        Returns:
            `(batch, dim) float32`: `layer_sizes[-1]`, or `embedding_dimension` without
            dense layers, and one or two more with an item bias.
        """
        inputs = self._with_dropped_ids(inputs) if training and self.id_dropout else inputs
        parts = {
            feature.name: self._part(feature, inputs[feature.name], training)
            for feature in self.features
        }
        return self._output(inputs, parts, training)

    def _with_dropped_ids(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = dict(inputs)
        for feature in self.features:
            if feature.name in inputs and holds_ids(feature):
                values = inputs[feature.name]
                dropped = keras.random.uniform(keras.ops.shape(values), seed=self.id_seeds)
                inputs[feature.name] = keras.ops.where(
                    dropped < self.id_dropout, feature.oov_index, values
                )
        return inputs

    def _part(self, feature: EncodedFeature, values: Any, training: bool) -> Any:
        """Return a feature's part of the tower's first layer, `(batch, any)`."""
        if feature.cardinality is None:
            return keras.ops.reshape(values, (-1, feature.width))
        layer = self.embeddings[feature.name]
        if isinstance(layer, SequenceEncoder):
            return layer(values, training=training)
        return layer(values)

    def _output(self, inputs: dict[str, Any], parts: dict[str, Any], training: bool) -> Any:
        """Pass the features' parts, by name, through the dense layers, and add the biases."""
        numbers = [f.name for f in self.features if f.cardinality is None]
        if self.layer_sizes:
            outputs = keras.ops.concatenate([parts[f.name] for f in self.features], axis=-1)
        else:
            added = [parts[f.name] for f in self.features if f.cardinality is not None]
            if self.projection is not None:
                joined = keras.ops.concatenate([parts[name] for name in numbers], axis=-1)
                added.append(self.projection(joined))
            outputs = sum(added)
        outputs = self.dropout(outputs, training=training)
        for dense in self.dense_layers:
            outputs = dense(outputs)
        outputs = _unit_length(outputs) if self.normalize else outputs
        if self.item_bias is None:
            return outputs
        return keras.ops.concatenate([outputs, self._biases(inputs, parts)], axis=-1)

    def _biases(self, inputs: dict[str, Any], parts: dict[str, Any]) -> Any:
        """Return the last numbers of the output, `(batch, biases)`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that a trained tower needs, without those for training only."""
        return {
            "features": [feature.model_dump() for feature in self.features],
            "layer_sizes": self.layer_sizes,
            "embedding_dimension": self.embedding_dimension,
            "normalize": self.normalize,
            "profile_power": self.profile_power,
            "history_blocks": self.history_blocks,
            "history_heads": self.history_heads,
            "item_bias": self.item_bias,
            "popularity": self.popularity,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(_PACKAGE)
class QueryModel(_Tower):
    """Turns encoded query features into query embeddings."""

    def rows(
        self,
        inputs: dict[str, Any],
        items: Any,
        profile: Any = None,
        training: bool = False,
    ) -> Any:
        """Embed a query for each of users' rows, which does not see the row's own item.

        Args:
            inputs: The other encoded features by name, `(users * rows,)` or `(users * rows,
                width)` each: without profile and, in sequences, without history.
            items: `(users, rows) int32`, the rows' items by their index in a profile,
                padded at the end; in sequences, the earliest first.
            profile: `(users, width) int32`, the users' items. None for sequences, where
                profile and history are the items before a row.
            training: Whether features and ids are dropped at random.

        Returns:
            `(users * rows, dim) float32`.
        """
        inputs = self._with_dropped_ids(inputs) if training and self.id_dropout else inputs
        parts = {}
        for feature in self.features:
            if feature.name in inputs:
                parts[feature.name] = self._part(feature, inputs[feature.name], training)
                continue
            layer = self.embeddings[feature.name]
            if profile is not None:
                part = layer.without_each(profile, items)
            elif isinstance(layer, SequenceEncoder):
                after = layer.after_each(items, training=training)
                part = keras.ops.pad(after[:, :-1], ((0, 0), (1, 0), (0, 0)))
            else:
                part = layer.before_each(items)
            parts[feature.name] = keras.ops.reshape(part, (-1, self.embedding_dimension))
        return self._output(inputs, parts, training)

    def _biases(self, inputs: dict[str, Any], parts: dict[str, Any]) -> Any:
        if not self.popularity:
            first = next(iter(parts.values()))
            return keras.ops.ones_like(first[:, :1])
        # The layers give exactly zero for no item.
        of_items = [parts[f.name] for f in self.features if f.type in (HISTORY, PROFILE)]
        is_known = keras.ops.any(
            keras.ops.concatenate(of_items, axis=-1) != 0, axis=-1, keepdims=True
        )
        is_known = keras.ops.cast(is_known, "float32")
        return keras.ops.concatenate([is_known, 1 - is_known], axis=-1)


@keras.saving.register_keras_serializable(_PACKAGE)
class CandidateModel(_Tower):
    """Turns encoded candidate features into candidate embeddings."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Each a table of one number an item; that of popularity is not trained.
        self.bias: keras.layers.Embedding | None = None
        self.of_popularity: keras.layers.Embedding | None = None
        if self.item_bias is not None:
            self.bias = self._scalars("bias")
            if self.popularity:
                self.of_popularity = self._scalars("popularity", trainable=False)

    def _scalars(self, name: str, trainable: bool = True) -> keras.layers.Embedding:
        (feature,) = (feature for feature in self.features if feature.name == self.item_bias)
        layer = keras.layers.Embedding(
            feature.cardinality, 1, embeddings_initializer="zeros", name=name, trainable=trainable
        )
        layer.build()
        return layer

    def _biases(self, inputs: dict[str, Any], parts: dict[str, Any]) -> Any:
        assert self.item_bias is not None
        layers = [layer for layer in (self.bias, self.of_popularity) if layer is not None]
        return keras.ops.concatenate([layer(inputs[self.item_bias]) for layer in layers], axis=-1)


def _unit_length(vectors: Any) -> Any:
    """Divide by the length; a zero vector, as without an active ReLU, stays zero.

    (In Keras 3.15, the gradient of `keras.utils.normalize` is NaN there.)
    """
    squares = keras.ops.sum(keras.ops.square(vectors), axis=-1, keepdims=True)
    return vectors * keras.ops.rsqrt(keras.ops.maximum(squares, 1e-12))
