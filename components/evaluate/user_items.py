"""Interactions as a matrix of users and items, which the collaborative baselines fit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, QUERY_ID
from components.shared.retrieval.top_k import NO_CANDIDATE, best_scores
from components.shared.runtime.arrow import one_array, to_numpy

_SCORES_AT_ONCE = 1 << 24  # 64 MiB of float32


@dataclass(frozen=True)
class Fitted:
    """A model of users' and items' interactions.

    Args:
        scores: Takes `(n,) int64` rows of the matrix; gives `(n, candidates)
            float32`.
        knows: `(users,) bool`, for whom the model knows more than nothing.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    knows: np.ndarray


@dataclass(frozen=True)
class UserItems:
    """Who interacted with what: two sparse matrices that hold the same pairs.

    Args:
        users: `(users,)` ids, one for each row.
        count: `(users, candidates)`, `scipy.sparse.csr_array` of float32: how
            often the user interacted with the item.
        label: The same pairs with the mean label of the pair's interactions,
            0 among them.
    """

    users: pa.Array
    count: Any
    label: Any

    @classmethod
    def of(cls, table: pa.Table, candidates: int) -> "UserItems":
        """Collects the pairs of an interactions table.

        Args:
            table: `query_id`, `candidate_index`, `label`.
            candidates: How many items the catalogue has.
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
        """`(users, candidates)`, sparse: each pair as 1 (`equal`), its `count` or its `label`."""
        if weighting == "equal":
            return self.count.sign()
        return self.label if weighting == "label" else self.count

    def rows(self, ids: pa.Array) -> np.ndarray:
        """`(ids,) int64`, each user's row; -1 for who has no interaction."""
        return pc.fill_null(pc.index_in(ids, self.users), -1).to_numpy().astype(np.int64)

    def rank(
        self, fitted: Fitted, ids: pa.Array, instead: np.ndarray, *, leave_out: bool
    ) -> np.ndarray:
        """Finds the items with the greatest scores, the lower index first among equals.

        Args:
            fitted: What was fitted to these users and items.
            ids: `(queries,)`, whom to recommend to; a user may come again.
            instead: `(queries, k) int32`, the lists of those that the model knows
                nothing about.
            leave_out: Whether the user's own items are left out.

        Returns:
            `(queries, k) int32` candidate indices, best first, -1 where none is
            left.
        """
        row = self.rows(ids)
        known = row >= 0
        known[known] = fitted.knows[row[known]]
        users, of_query = np.unique(row[known], return_inverse=True)
        k, candidates = instead.shape[1], self.count.shape[1]
        step = max(min(_SCORES_AT_ONCE // candidates, len(users)), 1)
        ranked = np.full((len(users), k), NO_CANDIDATE, np.int32)
        for first in range(0, len(users), step):
            chunk = users[first : first + step]
            scores = fitted.scores(chunk)
            if leave_out:
                own = self.count[chunk]
                scores[np.repeat(np.arange(len(chunk)), np.diff(own.indptr)), own.indices] = -np.inf
            # Padded to the same shape, so that the last step does not compile anew.
            scores = np.pad(scores, ((0, step - len(chunk)), (0, 0)))
            ranked[first : first + step] = best_scores(scores, k)[: len(chunk)]
        lists = instead.copy()
        lists[known] = ranked[of_query]
        return lists
