"""Exact top-k retrieval, shared by validation and evaluation.

Scores are inner products in full float32 precision. Equal scores are ordered by
candidate index, as `tf.math.top_k` in the SavedModel orders them.

`keras_rs.layers.BruteForceRetrieval` (0.4.0) is not used because it cannot leave
out the items that a user has already seen.
"""

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from components.shared.contracts.metric import PROTOCOLS, Protocol
from components.shared.retrieval.seen_items import SeenItems
from components.shared.runtime.pace import Pace

logger = logging.getLogger(__name__)

NO_CANDIDATE = -1  # the index in the places that no candidate is left for

_SCORES_AT_ONCE = 1 << 24  # 64 MiB of float32


@partial(jax.jit, static_argnames="k")
def _top_k(
    queries: jax.Array, candidates: jax.Array, seen: jax.Array, k: int
) -> tuple[jax.Array, jax.Array]:
    scores = jnp.matmul(queries, candidates.T, precision=jax.lax.Precision.HIGHEST)
    rows = jnp.arange(queries.shape[0])[:, None]
    scores = scores.at[rows, seen].set(-jnp.inf, mode="drop")
    top_scores, top = jax.lax.top_k(scores, k)
    return jnp.where(jnp.isneginf(top_scores), NO_CANDIDATE, top), top_scores


def retrieve(
    query_embeddings: np.ndarray,
    candidate_embeddings: np.ndarray,
    k: int,
    seen: SeenItems | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k candidates with the greatest inner product.

    Args:
        query_embeddings: `(queries, dim) float32`.
        candidate_embeddings: `(candidates, dim) float32`.
        k: Length of the lists, at most the number of candidates.
        seen: Candidates to leave out; by default none are.

    Returns:
        `(queries, k) int32` candidate indices, best first, and `(queries, k)
        float32` scores. If fewer than k candidates are left, the remaining
        indices are -1 and their scores -inf.
    """
    queries, candidates = len(query_embeddings), len(candidate_embeddings)
    step = min(max(_SCORES_AT_ONCE // candidates, 1), max(queries, 1))
    on_device = jnp.asarray(candidate_embeddings, jnp.float32)
    indices = np.empty((queries, k), np.int32)
    scores = np.empty((queries, k), np.float32)
    pace = Pace()
    for first in range(0, queries, step):
        if pace.is_due():
            logger.info(f"ranked {first:,} of {queries:,} queries")
        last = min(first + step, queries)
        left_out = (
            np.full((last - first, 1), candidates, np.int32)
            if seen is None
            else seen.padded(first, last, padding=candidates)
        )
        # Padded to the same shape, so that the last step is not compiled again.
        missing = step - (last - first)
        chunk = np.pad(query_embeddings[first:last], ((0, missing), (0, 0)))
        left_out = np.pad(left_out, ((0, missing), (0, 0)), constant_values=candidates)
        top, top_scores = _top_k(chunk, on_device, left_out, k)
        indices[first:last] = np.asarray(top)[: last - first]
        scores[first:last] = np.asarray(top_scores)[: last - first]
    return indices, scores


def retrieve_by_protocol(
    query_embeddings: np.ndarray,
    candidate_embeddings: np.ndarray,
    k: int,
    seen: SeenItems,
) -> tuple[dict[Protocol, np.ndarray], dict[Protocol, np.ndarray]]:
    """Return what `retrieve` returns by each protocol, from one ranking.

    A query is ranked once, further than k by the number of its seen items; the
    filtered list is what is left of that without them. Queries with similar numbers
    are ranked together.

    Args:
        query_embeddings: `(queries, dim) float32`.
        candidate_embeddings: `(candidates, dim) float32`.
        k: Length of the lists, at most the number of candidates.
        seen: The candidates that the filtered lists leave out.

    Returns:
        By protocol, `(queries, k) int32` and `(queries, k) float32`, as those of
        `retrieve`.
    """
    queries, candidates = len(query_embeddings), len(candidate_embeddings)
    indices = {by: np.empty((queries, k), np.int32) for by in PROTOCOLS}
    scores = {by: np.empty((queries, k), np.float32) for by in PROTOCOLS}
    step = min(max(_SCORES_AT_ONCE // candidates, 1), max(queries, 1))
    on_device = jnp.asarray(candidate_embeddings, jnp.float32)
    nothing = np.full((step, 1), candidates, np.int32)
    counts = seen.counts
    order = np.argsort(counts, kind="stable")
    pace = Pace()
    for first in range(0, queries, step):
        if pace.is_due():
            logger.info(f"ranked {first:,} of {queries:,} queries")
        rows = order[first : first + step]
        # A power of two more than k, so that few lengths are compiled; so is padding to a step.
        further = 1 << int(counts[rows[-1]] - 1).bit_length() if counts[rows[-1]] else 0
        chunk = np.pad(query_embeddings[rows], ((0, step - len(rows)), (0, 0)))
        found = _top_k(chunk, on_device, nothing, min(k + further, candidates))
        top, top_scores = (np.asarray(each)[: len(rows)] for each in found)
        indices["raw"][rows], scores["raw"][rows] = top[:, :k], top_scores[:, :k]
        gone = seen.holds(rows, top)
        left = np.argsort(gone, axis=1, kind="stable")[:, :k]
        gone = np.take_along_axis(gone, left, axis=1)
        indices["filtered"][rows] = np.where(
            gone, NO_CANDIDATE, np.take_along_axis(top, left, axis=1)
        )
        scores["filtered"][rows] = np.where(
            gone, -np.inf, np.take_along_axis(top_scores, left, axis=1)
        )
    return indices, scores


@partial(jax.jit, static_argnames="k")
def _greatest(scores: jax.Array, k: int) -> jax.Array:
    top_scores, top = jax.lax.top_k(scores, k)
    return jnp.where(jnp.isneginf(top_scores), NO_CANDIDATE, top)


def best_scores(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the k candidates with the greatest scores.

    Args:
        scores: `(queries, candidates) float32`; -inf for candidates to leave out.
        k: Length of the lists, at most the number of candidates.

    Returns:
        `(queries, k) int32` candidate indices, best first, the lower index first
        among equals; -1 where fewer than k candidates are left.
    """
    return np.asarray(_greatest(jnp.asarray(scores, jnp.float32), k), np.int32)
