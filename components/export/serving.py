"""The SavedModel: raw query features in, ids, titles and scores out."""

from typing import Any

import keras
import tensorflow as tf

from components.shared.contracts.feature_spec import FeatureSpec, RawInput


class ServingModel(tf.Module):
    """Retrieves candidates for raw queries, in plain TensorFlow.

    It holds the query FeatureSpace, the query tower, and the id, title and
    embedding of every candidate. Values that do not occur in the training split
    are served as out-of-vocabulary.

    Signatures:
        serving_default: The raw query features by name, `(batch,)` each or
            `(batch, width)` for lists, padded with `""`, and a scalar `k`. A profile
            is the ids of the user's items as strings, in any order.
        excluding: The same, and `exclude`: `(batch, any)` ids to leave out.
            Unknown ids are ignored and can be used as padding.

    Both return `ids`, `titles` and `scores`, `(batch, min(k, candidates))`, best
    first. If fewer candidates are left, the remaining places have an empty
    title, an id of `""` or -1, and a score of minus infinity.

    Args:
        space: The query FeatureSpace.
        tower: The query tower.
        spec: The features.
        ids: `(candidates,)` strings or int64.
        titles: `(candidates,)` strings.
        embeddings: `(candidates, dim) float32`.

    A client needs TensorFlow only:

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
        # A variable, since a constant of a large catalogue exceeds the size limit of graphs, 2 GiB.
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
        """Write the SavedModel into a folder."""
        # Not keras.export.ExportArchive (tried with Keras 3.15.1): it writes the same signatures,
        # but fails unless each resource that an endpoint uses (FeatureSpace, embeddings, id table)
        # is tracked by hand. Here they are tracked as attributes of the module.
        tf.saved_model.save(self, path, signatures=self._signatures)

    def _recommend(self, features: dict[str, Any], k: Any, exclude: Any | None) -> dict[str, Any]:
        queries = self.tower(self._encoded(features))
        scores = tf.matmul(queries, self.embeddings, transpose_b=True)
        if exclude is not None:
            scores = self._without(scores, exclude)
        top = tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1]))
        found = tf.math.is_finite(top.values)
        return {
            "ids": tf.where(found, tf.gather(self.ids, top.indices), self._no_id),
            "titles": tf.where(found, tf.gather(self.titles, top.indices), ""),
            "scores": top.values,
        }

    def _encoded(self, features: dict[str, Any]) -> dict[str, Any]:
        """Return the query tower's features, as in the encoded tables."""
        raw = {
            item.name: features[item.name]
            if item.is_list
            else tf.reshape(features[item.name], (-1, 1))
            for item in self._inputs
        }
        outputs = self.space(raw)
        return {
            feature.name: tf.reshape(
                tf.cast(outputs[feature.output], feature.dtype),
                (-1, feature.width) if feature.is_list else (-1,),
            )
            for feature in self._features
        }

    def _without(self, scores: Any, exclude: Any) -> Any:
        """Set the scores of excluded candidates to minus infinity.

        Args:
            scores: `(batch, candidates) float32`.
            exclude: `(batch, any)` ids; unknown ids are ignored.
        """
        count = tf.shape(scores)[1]
        batch, width = tf.shape(exclude)[0], tf.shape(exclude)[1]
        rows = tf.repeat(tf.range(batch, dtype=tf.int64), width)
        columns = tf.reshape(self.index_of_id.lookup(exclude), (-1,))
        # The additional column is that of unknown ids.
        hidden = tf.scatter_nd(
            tf.stack([rows, columns], axis=1),
            tf.ones_like(rows, tf.int32),
            tf.cast(tf.stack([batch, count + 1]), tf.int64),
        )
        return tf.where(hidden[:, :count] > 0, float("-inf"), scores)


def _tensor_spec(item: RawInput) -> tf.TensorSpec:
    shape = (None, item.width) if item.is_list else (None,)
    return tf.TensorSpec(shape, tf.as_dtype(item.dtype), name=item.name)
