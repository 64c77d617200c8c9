"""Interactions as a matrix of users and items, to which the collaborative baselines are fitted."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluate.measuring import Lists
from components.shared.contracts.metric import Protocol
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, QUERY_ID
from components.shared.retrieval.top_k import best_scores
from components.shared.runtime.arrow import one_array, to_numpy
from components.shared.runtime.pace import Pace

logger = logging.getLogger(__name__)

_SCORES_AT_ONCE = 1 << 24  # 64 MiB of float32


@dataclass(frozen=True)
class Fitted:
    """A model that was fitted to the interactions of users with items.

    Args:
        scores: Maps `(n,) int64` rows of the matrix to `(n, candidates) float32`
            scores.
        has_signal: `(users,) bool`, whether the model has any signal for a user.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    has_signal: np.ndarray


@dataclass(frozen=True)
class UserItems:
    """Two sparse matrices with the same pairs of user and item.

    Args:
        users: `(users,)`, the user's id of each row.
        count: `(users, candidates)`, `scipy.sparse.csr_array` of float32: the
            number of the user's interactions with the item.
        label: The same pairs with the mean label of these interactions; zeros
            are stored.
    """

    users: pa.Array
    count: Any
    label: Any

    @classmethod
    def of(cls, table: pa.Table, candidates: int) -> "UserItems":
        """Collect the pairs of an interactions table.

        Args:
            table: `query_id`, `candidate_index`, `label`.
            candidates: Number of items in the catalogue.
        """
        from scipy.sparse import csr_array  # type: ignore[import-untyped]

        ids = one_array(table[QUERY_ID]).dictionary_encode()
        item = to_numpy(table[CANDIDATE_INDEX]).astype(np.int64)
        user = ids.indices.to_numpy().astype(np.int64)
        pair, index, counts = np.unique(
            user * candidates + item, return_inverse=True, return_counts=True
        )
        labels = np.bincount(index, to_numpy(table[LABEL]), len(pair)) / counts
        row, column = np.divmod(pair, candidates)
        offsets = np.searchsorted(row, np.arange(len(ids.dictionary) + 1))

        def matrix(values: np.ndarray) -> Any:
            return csr_array(
                (values.astype(np.float32), column.astype(np.int32), offsets.astype(np.int64)),
                shape=(len(ids.dictionary), candidates),
            )

        return cls(ids.dictionary, matrix(counts), matrix(labels))

    def weighted(self, weighting: str) -> Any:
        """Return the matrix with each pair as 1 (`equal`), its `count` or its `label`."""
        if weighting == "equal":
            return self.count.sign()
        return self.label if weighting == "label" else self.count

    def rows(self, ids: pa.Array) -> np.ndarray:
        """Return each user's row, `(ids,) int64`; -1 for a user without an interaction."""
        return pc.fill_null(pc.index_in(ids, self.users), -1).to_numpy().astype(np.int64)

    def rank(self, fitted: Fitted, ids: pa.Array, fallback: Lists) -> Lists:
        """Return the items with the greatest scores, the lower index first among equals.

        Args:
            fitted: A model that was fitted to these users and items.
            ids: `(queries,)`, the user of each query; may repeat.
            fallback: By protocol, `(queries, k) int32`, the lists for users for whom
                the model has no signal.

        Returns:
            By the same protocols, `(queries, k) int32` candidate indices, best first,
            -1 where fewer than k candidates are left.
        """
        row = self.rows(ids)
        known = row >= 0
        known[known] = fitted.has_signal[row[known]]
        users, of_query = np.unique(row[known], return_inverse=True)
        ranked = self._rank_users(fitted, users, {by: of.shape[1] for by, of in fallback.items()})
        lists = {protocol: of.copy() for protocol, of in fallback.items()}
        for protocol, of in lists.items():
            of[known] = ranked[protocol][of_query]
        return lists

    def _rank_users(self, fitted: Fitted, users: np.ndarray, lengths: dict[Protocol, int]) -> Lists:
        candidates = self.count.shape[1]
        step = max(min(_SCORES_AT_ONCE // candidates, len(users)), 1)
        ranked = {by: np.empty((len(users), k), np.int32) for by, k in lengths.items()}
        pace = Pace()
        for first in range(0, len(users), step):
            if pace.is_due():
                logger.info(f"ranked {first:,} of {len(users):,} users")
            chunk = users[first : first + step]
            # Padded to the same shape, so that the last step is not compiled again.
            scores = np.pad(fitted.scores(chunk), ((0, step - len(chunk)), (0, 0)))
            if "raw" in ranked:
                best = best_scores(scores, lengths["raw"])
                ranked["raw"][first : first + step] = best[: len(chunk)]
            if "filtered" in ranked:
                own = self.count[chunk]
                scores[np.repeat(np.arange(len(chunk)), np.diff(own.indptr)), own.indices] = -np.inf
                best = best_scores(scores, lengths["filtered"])
                ranked["filtered"][first : first + step] = best[: len(chunk)]
        return ranked
