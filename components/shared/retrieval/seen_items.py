"""The items that each query's user has already interacted with."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.tables import CANDIDATE_INDEX, QUERY_ID
from components.shared.retrieval.query_set import QuerySet
from components.shared.runtime.arrow import to_numpy


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
