"""The items of users, for a model with a profile."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.export.users import SEEN
from components.shared.contracts.derived_columns import PROFILE
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    QUERY_ID,
    SPLITS,
    TIMESTAMP,
    Schema,
    read_table,
    table_files,
)
from components.shared.retrieval.profiles import NO_ITEM, profile_items, user_profiles
from components.shared.runtime.arrow import one_array, to_numpy


def with_profiles(
    users: pa.Table, tables: Path, schema: Schema, candidates: pa.Table, spec: FeatureSpec
) -> pa.Table:
    """Add each user's profile from the whole log, if the model has this feature.

    Args:
        users: One row per user, with `query_id` and `seen`.
        tables: The tables from ingest.
        schema: Their schema.
        candidates: The encoded candidates.
        spec: The features.

    Returns:
        The users with `profile`, a `list<string>` of items' ids: those that the model
        knows, the latest first, at most as many as it takes.
    """
    if spec.profile is None:
        return users
    names = {
        schema.role("query_id").name: QUERY_ID,
        CANDIDATE_INDEX: CANDIDATE_INDEX,
        schema.role("timestamp").name: TIMESTAMP,
    }
    rows = [
        read_table(tables / "interactions" / split, list(names)).rename_columns(names)
        for split in SPLITS
        if table_files(tables / "interactions" / split)
    ]
    encoded = {feature.name: to_numpy(candidates[feature.name]) for feature in spec.candidate}
    known = profile_items(spec, encoded) != NO_ITEM
    place = np.where(known, np.arange(1, len(known) + 1), NO_ITEM)
    profiles = user_profiles(one_array(users[QUERY_ID]), rows, place, spec.profile.width)
    held = profiles != NO_ITEM
    ids = pc.cast(one_array(candidates[CANDIDATE_ID]), pa.string())
    lists = pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(held.sum(axis=1))), pa.int32()),
        ids.take(pa.array(profiles[held] - 1)),
    )
    return users.add_column(users.column_names.index(SEEN), PROFILE, lists)
