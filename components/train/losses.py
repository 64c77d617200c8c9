"""Retrieval losses."""

from typing import Any

import keras
import keras_rs

_MASKED = -1e9


def mse_loss(query_embeddings: Any, candidate_embeddings: Any, label: Any, weight: Any) -> Any:
    """Return the squared difference of a pair's score and label, as in the keras.io example.

    Args:
        query_embeddings: `(batch, dim)`.
        candidate_embeddings: `(batch, dim)`, each row's own item.
        label: `(batch,)`.
        weight: `(batch,)`.

    Returns:
        A scalar, the weighted mean.
    """
    score = keras.ops.sum(query_embeddings * candidate_embeddings, axis=-1)
    return _weighted_mean(keras.ops.square(score - label), weight)


class SoftmaxLoss:
    """Cross-entropy of a row's item among other items.

    Args:
        temperature: Scores are divided by it.
        logq_correction: Whether in-batch scores are corrected by the items' sampling
            probability.
        mask_accidental_hits: Whether in-batch negatives that are the row's own item are
            ignored.
        hard_negatives: The number of negatives to keep, those with the highest scores; all
            by default.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        logq_correction: bool = True,
        mask_accidental_hits: bool = True,
        hard_negatives: int | None = None,
    ):
        self._temperature = temperature
        # epsilon: items of a large catalogue are rarer than the default of 1e-6.
        self._correction = (
            keras_rs.layers.SamplingProbabilityCorrection(epsilon=1e-12)
            if logq_correction
            else None
        )
        self._mask_accidental_hits = mask_accidental_hits
        self._hard_negatives = (
            keras_rs.layers.HardNegativeMining(hard_negatives)
            if hard_negatives is not None
            else None
        )

    def in_batch(
        self,
        query_embeddings: Any,
        candidate_embeddings: Any,
        candidate_index: Any,
        sampling_probability: Any,
        weight: Any,
    ) -> Any:
        """Return the loss against the items of the other rows, and drawn ones.

        Args:
            query_embeddings: `(batch, dim)`.
            candidate_embeddings: `(batch + drawn, dim)`, each row's own item, then the
                items drawn for all rows.
            candidate_index: `(batch + drawn,) int32`, the items' indices.
            sampling_probability: `(batch + drawn,)`, each item's probability of being a
                negative.
            weight: `(batch,)`.

        Returns:
            A scalar, the weighted mean.
        """
        scores = keras.ops.matmul(query_embeddings, keras.ops.transpose(candidate_embeddings))
        scores = scores / self._temperature
        if self._correction is not None:
            scores = self._correction(scores, sampling_probability[None, :])
        own = keras.ops.arange(keras.ops.shape(scores)[0])
        if self._mask_accidental_hits:
            # keras_rs.layers.RemoveAccidentalHits (0.4.0) adds about 1e-40, which masks nothing.
            rows = keras.ops.shape(scores)[0]
            same_item = keras.ops.equal(candidate_index[:rows, None], candidate_index[None, :])
            columns = keras.ops.arange(keras.ops.shape(scores)[1])
            other_row = keras.ops.not_equal(own[:, None], columns[None, :])
            hit = keras.ops.logical_and(same_item, other_row)
            scores = keras.ops.where(hit, _MASKED, scores)
        return self._cross_entropy(own, scores, weight)

    def catalogue(
        self,
        query_embeddings: Any,
        all_candidate_embeddings: Any,
        candidate_index: Any,
        weight: Any,
    ) -> Any:
        """Return the loss against all candidates.

        Args:
            query_embeddings: `(batch, dim)`.
            all_candidate_embeddings: `(candidates, dim)`.
            candidate_index: `(batch,) int32`, each row's own item; or `(batch, rows)`, the
                items of several rows with the same query, padded with -1.
            weight: The same shape as `candidate_index`.

        Returns:
            A scalar, the weighted mean.
        """
        scores = keras.ops.matmul(query_embeddings, keras.ops.transpose(all_candidate_embeddings))
        scores = scores / self._temperature
        if len(candidate_index.shape) == 1:
            return self._cross_entropy(candidate_index, scores, weight)
        is_row = keras.ops.cast(keras.ops.greater_equal(candidate_index, 0), weight.dtype)
        own = keras.ops.take_along_axis(scores, keras.ops.maximum(candidate_index, 0), axis=-1)
        loss = keras.ops.logsumexp(scores, axis=-1, keepdims=True) - own
        return _weighted_mean(loss, weight * is_row)

    def _cross_entropy(self, item: Any, scores: Any, weight: Any) -> Any:
        if self._hard_negatives is not None:
            labels = keras.ops.one_hot(item, keras.ops.shape(scores)[1])
            scores, labels = self._hard_negatives(scores, labels)
            item = keras.ops.argmax(labels, axis=-1)
        loss = keras.losses.sparse_categorical_crossentropy(item, scores, from_logits=True)
        return _weighted_mean(loss, weight)


def _weighted_mean(values: Any, weight: Any) -> Any:
    return keras.ops.sum(values * weight) / keras.ops.maximum(keras.ops.sum(weight), 1e-9)
