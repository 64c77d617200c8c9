"""The items of users, as a profile holds them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import CANDIDATE_INDEX, QUERY_ID, TIMESTAMP
from components.shared.runtime.arrow import one_array, to_numpy

NO_ITEM = 0


def profile_items(spec: FeatureSpec, candidates: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the index that each candidate has in a profile.

    Args:
        spec: The features, with a profile.
        candidates: The candidates' encoded features.

    Returns:
        `(candidates,) int32`; 0 for a candidate that no profile can hold.
    """
    assert spec.candidate_id_feature is not None  # adapt makes no profile without it
    return candidates[spec.candidate_id_feature]


def user_profiles(
    users: pa.Array, tables: Sequence[pa.Table], item_index: np.ndarray, width: int
) -> np.ndarray:
    """Return the distinct items that users interacted with, the latest ones first.

    An item is as late as the user's last interaction with it. Among rows of the same
    time, one of a later table, or further down in a table, counts as later.

    Args:
        users: `(users,)` ids; may repeat.
        tables: Encoded interactions: `query_id`, `candidate_index`, `timestamp`.
        item_index: `(candidates,) int32`, the index of each candidate in a profile;
            candidates with index 0 are left out.
        width: Number of items that are kept of a user.

    Returns:
        `(users, width) int32`, padded with 0.
    """
    known = users.unique()
    ids = pa.chunked_array([one_array(table[QUERY_ID]) for table in tables], users.type)
    found = one_array(pc.index_in(ids, known))
    user = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    item = item_index[np.concatenate([to_numpy(table[CANDIDATE_INDEX]) for table in tables])]
    kept = (user >= 0) & (item != NO_ITEM)
    time = np.concatenate([to_numpy(table[TIMESTAMP]) for table in tables])[kept]
    user, item = user[kept], item[kept]
    latest = np.lexsort((time, user))[::-1]  # users descending, the latest rows first
    user, item = user[latest], item[latest]
    first = np.sort(np.unique(user << 32 | item, return_index=True)[1])
    user, item = user[first], item[first]
    place = np.arange(len(user)) - np.searchsorted(-user, -user)
    fits = place < width
    profiles = np.full((len(known), width), NO_ITEM, np.int32)
    profiles[user[fits], place[fits]] = item[fits]
    return profiles[pc.index_in(users, known).to_numpy(zero_copy_only=False)]
