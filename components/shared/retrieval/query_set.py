"""The distinct queries of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import QUERY_ID
from components.shared.retrieval.profiles import profile_items, user_profiles
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
        """Find the distinct queries of an encoded interactions table, in order of appearance.

        Args:
            table: The table.
            features: The query features. Those that are a column of the table become
                features of the queries; for a profile, see `with_profiles`.
        """
        ids = table[QUERY_ID].combine_chunks()
        columns = {
            feature.name: to_numpy(table[feature.name])
            for feature in features
            if not feature.is_profile
        }
        user = ids.dictionary_encode().indices.to_numpy().astype(np.int32)
        _, first, inverse = np.unique(
            query_keys(user, columns), axis=0, return_index=True, return_inverse=True
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

    def with_profiles(
        self, spec: FeatureSpec, candidates: Mapping[str, np.ndarray], *tables: pa.Table
    ) -> "QuerySet":
        """Add the profile of each query's user, if the model has this feature.

        Args:
            spec: The features.
            candidates: The candidates' encoded features.
            tables: The encoded interactions of which profiles consist: the splits before
                that of the queries.
        """
        if spec.profile is None:
            return self
        profiles = user_profiles(
            self.ids, tables, profile_items(spec, candidates), spec.profile.width
        )
        return replace(self, features={**self.features, spec.profile.name: profiles})


def query_keys(user: np.ndarray, features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return integers that are equal for rows of the same user and features.

    Args:
        user: `(rows,) int32`, the number of each row's user.
        features: Encoded query features, `(rows,)` or `(rows, width)` each, 32 bits wide.

    Returns:
        `(rows, any) int32`.
    """
    columns = [values.reshape(len(values), -1).view(np.int32) for values in features.values()]
    return np.concatenate([user[:, None], *columns], axis=1)
