"""The distinct queries of a table."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.tables import QUERY_ID
from components.shared.runtime.arrow import to_numpy


@dataclass(frozen=True)
class QuerySet:
    """The distinct queries of a table, and the query of each row.

    A query is a user as described by their features. If a user's features differ
    between interactions, each distinct combination is a separate query.

    Args:
        ids: `(queries,)`, the user's id of each query.
        features: Encoded query features, `(queries,)` or `(queries, width)` each.
        row_query: `(rows,) int64`, the query of each row of the table.
    """

    ids: pa.Array
    features: dict[str, np.ndarray]
    row_query: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, table: pa.Table, features: list[EncodedFeature]) -> "QuerySet":
        """Find the distinct queries of an encoded interactions table, in order of appearance."""
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
