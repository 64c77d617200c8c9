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


def quadratic_loss(
    query_embeddings: Any,
    own_embeddings: Any,
    gramian: Any,
    weight: Any,
    share: Any,
    unobserved_weight: float,
) -> Any:
    """Return the loss of iALS: a score is 1 for an own item and 0 for any item of the catalogue.

    For a query q with own items i of weight w_i, and all candidates c,

        sum_i w_i (<q, c_i> - 1)^2 - a <q, c_i>^2 + a sum_c <q, c>^2

    where the last sum is q^T G q with the Gramian G = sum_c c c^T, so that it costs
    O(dim^2) per query whatever the size of the catalogue (Hu, Koren & Volinsky,
    "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008; Krichene et al.,
    "Efficient Training on Very Large Corpora via Gramian Estimation", ICLR 2019, eq. 2).

    Args:
        query_embeddings: `(batch, dim)`.
        own_embeddings: `(batch, rows, dim)`, the items of each query's rows.
        gramian: `(dim, dim)`.
        weight: `(batch, rows)`, 0 for padding.
        share: `(batch, rows)`, each row's part of its query, 0 for padding: the parts of
            all rows of a query sum to 1, whether they are in one group or in several.
        unobserved_weight: a.

    Returns:
        A scalar, divided by the sum of `weight`.
    """
    scores = keras.ops.einsum("bd,brd->br", query_embeddings, own_embeddings)
    is_row = keras.ops.cast(share > 0, scores.dtype)
    pairs = weight * keras.ops.square(scores - 1)
    pairs -= unobserved_weight * is_row * keras.ops.square(scores)
    catalogue = keras.ops.sum(keras.ops.matmul(query_embeddings, gramian) * query_embeddings, -1)
    catalogue *= unobserved_weight * keras.ops.sum(share, axis=-1)
    total = keras.ops.sum(pairs) + keras.ops.sum(catalogue)
    return total / keras.ops.maximum(keras.ops.sum(weight), 1e-9)


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
            candidate_index: `(batch + drawn,) int32`, the items' indices; -1 for padding,
                which is no negative.
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
        scores = keras.ops.where(candidate_index[None, :] < 0, _MASKED, scores)
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
        ignored: Any = None,
    ) -> Any:
        """Return the loss against all candidates.

        Args:
            query_embeddings: `(batch, dim)`.
            all_candidate_embeddings: `(candidates, dim)`.
            candidate_index: `(batch,) int32`, each row's own item; or `(batch, rows)`, the
                items of several rows with the same query; -1 for padding.
            weight: The same shape as `candidate_index`; that of padding does not count.
            ignored: `(candidates,) bool`, candidates that are no negatives; none by default.

        Returns:
            A scalar, the weighted mean.
        """
        scores = keras.ops.matmul(query_embeddings, keras.ops.transpose(all_candidate_embeddings))
        scores = scores / self._temperature
        if ignored is not None:
            scores = keras.ops.where(ignored[None, :], _MASKED, scores)
        if self._hard_negatives is not None:
            return self._cross_entropy(keras.ops.maximum(candidate_index, 0), scores, weight)
        index = candidate_index if len(candidate_index.shape) > 1 else candidate_index[:, None]
        weight = keras.ops.reshape(weight, keras.ops.shape(index))
        is_row = keras.ops.cast(keras.ops.greater_equal(index, 0), weight.dtype)
        own = keras.ops.take_along_axis(scores, keras.ops.maximum(index, 0), axis=-1)
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
