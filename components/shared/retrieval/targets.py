"""The relevant pairs against which a ranking is measured."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL
from components.shared.retrieval.query_set import QuerySet
from components.shared.runtime.arrow import to_numpy


@dataclass(frozen=True)
class Targets:
    """The relevant pairs of query and candidate against which a ranking is measured.

    Args:
        query: `(targets,) int64`, the query of each pair.
        candidate: `(targets,) int32`, the candidate index of each pair.
    """

    query: np.ndarray
    candidate: np.ndarray

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def of(cls, table: pa.Table, queries: QuerySet, relevant_above: float | None) -> "Targets":
        """Take the rows whose label is above a threshold.

        A pair that the table has more than once is one target: a list shows an
        item once, so NDCG would exceed 1.

        Args:
            table: An interactions table; `candidate_index` and `label` are used.
            queries: The queries of this table.
            relevant_above: The threshold; None takes every row.
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
        """Find each target in the list of its query.

        Args:
            retrieved: `(queries, k) int32` candidate indices, best first.
            at_once: Number of targets to compare at once; bounds memory.

        Returns:
            `(targets,) int64`, 0 for the best place; k if the target is not in the
            list.
        """
        ranks = np.empty(len(self), np.int64)
        for first in range(0, len(self), at_once):
            part = slice(first, first + at_once)
            hits = retrieved[self.query[part]] == self.candidate[part][:, None]
            ranks[part] = np.where(hits.any(1), hits.argmax(1), retrieved.shape[1])
        return ranks
