"""The SavedModel: raw query features in; ids, titles and scores out."""

from typing import Any

import keras
import tensorflow as tf

from components.shared.contracts.feature_spec import FeatureSpec, RawInput


class ServingModel(tf.Module):
    """Retrieves candidates for raw queries, in plain TensorFlow.

    It holds the query FeatureSpace, the query tower, and every candidate's id,
    title and embedding. Values that training did not have are served as
    out-of-vocabulary.

    Signatures:
        serving_default: The raw query features by name, `(batch,)` each or
            `(batch, width)` for lists, and a scalar `k`.
        excluding: The same and `exclude`, `(batch, any)` ids to leave out; an
            id that is no candidate's leaves nothing out, so it can pad.

    Both return `ids`, `titles` and `scores`, `(batch, min(k, candidates))`, best
    first. Where fewer candidates are left, the rest has an empty title, an id
    of `""` or -1, and a score of minus infinity.

    Args:
        space: The query FeatureSpace.
        tower: The query tower.
        spec: The features.
        ids: `(candidates,)` strings or int64.
        titles: `(candidates,)` strings.
        embeddings: `(candidates, dim) float32`.

    Example, with TensorFlow alone:

    ```python
    model = tf.saved_model.load("export/saved_model")
    model.signatures["serving_default"](
        user_id=tf.constant(["42"]),
        raw_user_age=tf.constant([30.0]),
        user_gender=tf.constant([1], tf.int64),
        user_occupation_label=tf.constant([17], tf.int64),
        k=tf.constant(10),
    )["titles"]
    ```
    """

    def __init__(
        self,
        space: keras.utils.FeatureSpace,
        tower: keras.Model,
        spec: FeatureSpec,
        ids: Any,
        titles: Any,
        embeddings: Any,
    ):
        super().__init__()
        self._inputs = spec.query_inputs
        self._features = spec.query
        self.space = space
        self.tower = tower
        id_type = tf.string if spec.candidate_id_dtype == "string" else tf.int64
        self._no_id = tf.constant("" if id_type == tf.string else -1, id_type)
        self.ids = tf.constant(ids, id_type)
        self.titles = tf.constant(titles, tf.string)
        # A variable: a constant of a large catalogue would not fit into a graph (2 GiB).
        self.embeddings = tf.Variable(embeddings, trainable=False, dtype=tf.float32)
        count = len(ids)
        self.index_of_id = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                self.ids, tf.range(count, dtype=tf.int64), id_type, tf.int64
            ),
            default_value=count,
        )
        queries = {item.name: _tensor_spec(item) for item in spec.query_inputs}
        k = tf.TensorSpec((), tf.int32, name="k")
        exclude = tf.TensorSpec((None, None), id_type, name="exclude")

        @tf.function
        def serving_default(k: Any, **features: Any) -> dict[str, Any]:
            return self._recommend(features, k, None)

        @tf.function
        def excluding(k: Any, exclude: Any, **features: Any) -> dict[str, Any]:
            return self._recommend(features, k, exclude)

        self._signatures = {
            "serving_default": serving_default.get_concrete_function(k=k, **queries),
            "excluding": excluding.get_concrete_function(k=k, exclude=exclude, **queries),
        }

    def save(self, path: str) -> None:
        """Writes the SavedModel."""
        tf.saved_model.save(self, path, signatures=self._signatures)

    def _recommend(self, features: dict[str, Any], k: Any, exclude: Any | None) -> dict[str, Any]:
        raw = {
            item.name: features[item.name]
            if item.width > 1
            else tf.reshape(features[item.name], (-1, 1))
            for item in self._inputs
        }
        outputs = self.space(raw)
        encoded = {}
        for feature in self._features:
            value = tf.cast(outputs[feature.output], feature.dtype)
            padded = feature.padding_index is not None
            encoded[feature.name] = tf.reshape(
                value, (-1, feature.width) if padded or feature.width > 1 else (-1,)
            )
        scores = tf.matmul(self.tower(encoded), self.embeddings, transpose_b=True)
        count = tf.shape(scores)[1]
        if exclude is not None:
            batch, width = tf.shape(exclude)[0], tf.shape(exclude)[1]
            rows = tf.repeat(tf.range(batch, dtype=tf.int64), width)
            columns = tf.reshape(self.index_of_id.lookup(exclude), (-1,))
            # One column more, for ids that are no candidate's.
            hidden = tf.scatter_nd(
                tf.stack([rows, columns], axis=1),
                tf.ones_like(rows, tf.int32),
                tf.cast(tf.stack([batch, count + 1]), tf.int64),
            )
            scores = tf.where(hidden[:, :count] > 0, float("-inf"), scores)
        top = tf.math.top_k(scores, tf.minimum(k, count))
        left = tf.math.is_finite(top.values)
        return {
            "ids": tf.where(left, tf.gather(self.ids, top.indices), self._no_id),
            "titles": tf.where(left, tf.gather(self.titles, top.indices), ""),
            "scores": top.values,
        }


def _tensor_spec(item: RawInput) -> tf.TensorSpec:
    shape = (None,) if item.width == 1 else (None, item.width)
    return tf.TensorSpec(shape, tf.as_dtype(item.dtype), name=item.name)
