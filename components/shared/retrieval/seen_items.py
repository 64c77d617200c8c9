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
    """The items that each query's user has seen, as a ragged array over users.

    Queries of the same user share their items.

    Args:
        offsets: `(users + 1,) int64`, where each user's items begin in `items`.
        items: `(pairs,) int32`, candidate indices.
        user: `(queries,) int64`, the user of each query.
    """

    offsets: np.ndarray
    items: np.ndarray
    user: np.ndarray

    @classmethod
    def of(cls, queries: QuerySet, *tables: pa.Table) -> "SeenItems":
        """Collect the items that the queries' users interacted with in some tables."""
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
        """The number of items that each query's user has seen, `(queries,) int64`."""
        return np.diff(self.offsets)[self.user]

    def of_query(self, query: int) -> np.ndarray:
        """Return the items of one query, `(items,) int32`, ascending."""
        user = self.user[query]
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def holds(self, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return whether the users of some queries have seen some items.

        Args:
            queries: `(n,) int64`.
            items: `(n, width) int32`, candidate indices for each of these queries; -1
                is in no user's items.

        Returns:
            `(n, width) bool`.
        """
        user = self.user[queries]
        lengths = np.diff(self.offsets)[user]
        row = np.repeat(np.arange(len(queries)), lengths)
        ends = np.cumsum(lengths)
        pair = np.arange(len(row)) - np.repeat(ends - lengths - self.offsets[user], lengths)
        # Ascending, as a user's items are; the last one is greater than any that is looked up.
        own = np.append((row << 32) + self.items[pair], len(queries) << 32)
        wanted = (np.arange(len(queries))[:, None] << 32) + items
        return own[np.searchsorted(own, wanted)] == wanted

    def translated(self, place: np.ndarray) -> "SeenItems":
        """Return the same items by their indices in another catalogue.

        Args:
            place: `(candidates,) int32`, each item's index in the other
                catalogue; -1 if the item is not in it.
        """
        items = place[self.items]
        kept = items >= 0
        before = np.concatenate([[0], np.cumsum(kept)])
        return SeenItems(before[self.offsets], items[kept], self.user)

    def padded(self, first: int, last: int, padding: int) -> np.ndarray:
        """Return the items of a range of queries as a rectangular array.

        Args:
            first: The first query.
            last: The query after the last one.
            padding: The index that fills up each row.

        Returns:
            `(last - first, width) int32`; the width is a power of two.
        """
        user = self.user[first:last]
        begin = self.offsets[user]
        lengths = self.offsets[user + 1] - begin
        width = 1 << int(max(lengths.max(initial=0) - 1, 0)).bit_length()
        table = np.full((last - first, width), padding, np.int32)
        row = np.repeat(np.arange(last - first), lengths)
        column = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        table[row, column] = self.items[np.repeat(begin, lengths) + column]
        return table
