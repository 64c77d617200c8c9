"""Ranking candidates for queries: the one retrieval that validation and evaluation share.

Scores are inner products in full float32 precision. Equal scores are ordered by
candidate index, as `tf.math.top_k` in the SavedModel orders them.

`keras_rs.layers.BruteForceRetrieval` (0.4.0) is not used: it cannot leave out
the items that a user has seen already.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.feature_spec import EncodedFeature
from components.tables import CANDIDATE_INDEX, LABEL, QUERY_ID, to_numpy

NO_CANDIDATE = -1
_SCORES_AT_ONCE = 1 << 24  # 64 MiB of float32


@dataclass(frozen=True)
class QuerySet:
    """The distinct queries of a table, and which row asks which.

    A query is a user as their features describe them. Where features differ
    from one interaction to the next, each is a query of its own.

    Args:
        ids: `(queries,)` users' ids.
        features: Encoded query features, `(queries,)` or `(queries, width)`.
        row_query: `(rows,) int64`, the query of each row of the table.
    """

    ids: pa.Array
    features: dict[str, np.ndarray]
    row_query: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, table: pa.Table, features: list[EncodedFeature]) -> "QuerySet":
        """Finds the distinct queries of an encoded interactions table, in order of appearance."""
        ids = table[QUERY_ID].combine_chunks()
        columns = {feature.name: to_numpy(table[feature.name]) for feature in features}
        keys = [ids.dictionary_encode().indices.to_numpy().astype(np.int32)[:, None]]
        for values in columns.values():
            keys.append(values.reshape(len(values), -1).view(np.int32))
        _, first, inverse = np.unique(
            np.concatenate(keys, axis=1), axis=0, return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        first = first[order]
        return cls(
            ids.take(pa.array(first)),
            {name: values[first] for name, values in columns.items()},
            position[inverse.reshape(-1)],
        )


@dataclass(frozen=True)
class SeenItems:
    """The candidates to leave out for each query: those of its user, as a ragged array.

    A user with several queries is there once.

    Args:
        offsets: `(users + 1,) int64`, where each user's items begin.
        items: `(pairs,) int32` candidate indices.
        user: `(queries,) int64`, which user asks each query.
    """

    offsets: np.ndarray
    items: np.ndarray
    user: np.ndarray

    @classmethod
    def of(cls, queries: QuerySet, *tables: pa.Table) -> "SeenItems":
        """Collects what the queries' users interacted with in some tables."""
        ids, items = [], []
        for table in tables:
            ids.append(table[QUERY_ID].combine_chunks())
            items.append(to_numpy(table[CANDIDATE_INDEX]))
        known = queries.ids.unique()
        user = pc.index_in(pa.chunked_array(ids), known).to_numpy()
        item = np.concatenate(items)
        found = ~np.isnan(user)
        user, item = user[found].astype(np.int64), item[found]
        order = np.lexsort((item, user))
        offsets = np.searchsorted(user[order], np.arange(len(known) + 1))
        of_query = pc.index_in(queries.ids, known).to_numpy(zero_copy_only=False)
        return cls(offsets, item[order].astype(np.int32), of_query.astype(np.int64))

    @property
    def counts(self) -> np.ndarray:
        """`(queries,) int64`, how many items each query leaves out."""
        return np.diff(self.offsets)[self.user]

    def of_query(self, query: int) -> np.ndarray:
        """The items of one query, ascending: `(items,) int32`."""
        user = self.user[query]
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def translated(self, place: np.ndarray) -> "SeenItems":
        """The same items by their places in another catalogue.

        Args:
            place: `(candidates,) int32`, where each item is there; -1 if it is
                not.
        """
        items = place[self.items]
        kept = items >= 0
        before = np.concatenate([[0], np.cumsum(kept)])
        return SeenItems(before[self.offsets], items[kept], self.user)

    def padded(self, first: int, last: int, padding: int) -> np.ndarray:
        """The items of some queries: `(last - first, width) int32`, width a power of two."""
        user = self.user[first:last]
        begin = self.offsets[user]
        lengths = self.offsets[user + 1] - begin
        width = 1 << int(max(lengths.max(initial=0) - 1, 0)).bit_length()
        table = np.full((last - first, width), padding, np.int32)
        row = np.repeat(np.arange(last - first), lengths)
        column = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        table[row, column] = self.items[np.repeat(begin, lengths) + column]
        return table


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
    """Finds the k candidates with the greatest inner product.

    Args:
        query_embeddings: `(queries, dim) float32`.
        candidate_embeddings: `(candidates, dim) float32`.
        k: At most the number of candidates.
        seen: Candidates to leave out.

    Returns:
        `(queries, k) int32` candidate indices, best first, and `(queries, k)
        float32` scores. Where fewer than k candidates are left, the rest is -1
        with a score of -inf.
    """
    queries, candidates = len(query_embeddings), len(candidate_embeddings)
    step = min(max(_SCORES_AT_ONCE // candidates, 1), max(queries, 1))
    on_device = jnp.asarray(candidate_embeddings, jnp.float32)
    indices = np.empty((queries, k), np.int32)
    scores = np.empty((queries, k), np.float32)
    for first in range(0, queries, step):
        last = min(first + step, queries)
        left_out = (
            np.full((last - first, 1), candidates, np.int32)
            if seen is None
            else seen.padded(first, last, padding=candidates)
        )
        # Padded to the same shape, so that the last step does not compile anew.
        missing = step - (last - first)
        chunk = np.pad(query_embeddings[first:last], ((0, missing), (0, 0)))
        left_out = np.pad(left_out, ((0, missing), (0, 0)), constant_values=candidates)
        top, top_scores = _top_k(chunk, on_device, left_out, k)
        indices[first:last] = np.asarray(top)[: last - first]
        scores[first:last] = np.asarray(top_scores)[: last - first]
    return indices, scores


@partial(jax.jit, static_argnames="k")
def _greatest(scores: jax.Array, k: int) -> jax.Array:
    top_scores, top = jax.lax.top_k(scores, k)
    return jnp.where(jnp.isneginf(top_scores), NO_CANDIDATE, top)


def best_scores(scores: np.ndarray, k: int) -> np.ndarray:
    """Finds the k candidates with the greatest scores.

    Args:
        scores: `(queries, candidates) float32`; -inf for what is left out.
        k: At most the number of candidates.

    Returns:
        `(queries, k) int32` candidate indices, best first, the lower index first
        among equals; -1 where none is left.
    """
    return np.asarray(_greatest(jnp.asarray(scores, jnp.float32), k), np.int32)


@dataclass(frozen=True)
class Targets:
    """The relevant pairs that a ranking is measured by.

    Args:
        query: `(targets,) int64`.
        candidate: `(targets,) int32`.
    """

    query: np.ndarray
    candidate: np.ndarray

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def of(cls, table: pa.Table, queries: QuerySet, relevant_above: float | None) -> "Targets":
        """Takes the rows whose label is above a threshold; all, where there is none.

        A pair that the table has more than once is one target: a list shows an
        item once, and NDCG would exceed 1.
        """
        relevant = np.ones(table.num_rows, bool)
        if relevant_above is not None:
            relevant = to_numpy(table[LABEL]) > relevant_above
        query = queries.row_query[relevant]
        candidate = to_numpy(table[CANDIDATE_INDEX])[relevant]
        pair = query * (candidate.max(initial=0) + np.int64(1)) + candidate
        first = np.sort(np.unique(pair, return_index=True)[1])
        return cls(query[first], candidate[first])

    def ranks(self, retrieved: np.ndarray, *, at_once: int = 1 << 16) -> np.ndarray:
        """Finds each target in its query's list.

        Args:
            retrieved: `(queries, k) int32` candidate indices, best first.
            at_once: Targets that are compared at once.

        Returns:
            `(targets,) int64`, 0 for the best; k where the target is not in the
            list.
        """
        ranks = np.empty(len(self), np.int64)
        for first in range(0, len(self), at_once):
            part = slice(first, first + at_once)
            hits = retrieved[self.query[part]] == self.candidate[part][:, None]
            ranks[part] = np.where(hits.any(1), hits.argmax(1), retrieved.shape[1])
        return ranks
