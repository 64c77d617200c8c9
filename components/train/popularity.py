"""The popularity of items, by which users of whom nothing is known are served."""

import numpy as np
import pyarrow.compute as pc

from components.shared.contracts.derived_columns import HISTORY, PROFILE
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, QUERY_ID, TIMESTAMP
from components.shared.contracts.training import AutoChoice
from components.shared.runtime.arrow import to_numpy
from components.train.config import NONE, HalfLife
from components.train.data import EncodedData

# In days; the first of equally good ones is taken.
HALF_LIVES: tuple[HalfLife, ...] = (NONE, 365.0, 180.0, 90.0, 30.0, 7.0)
FEWEST_ROWS = 100
DAY = 24 * 3600  # seconds


def serves_by_popularity(spec: FeatureSpec) -> bool:
    """Return whether users are known by their items alone, so that one may be unknown."""
    return spec.query_id_feature is None and any(
        feature.type in (HISTORY, PROFILE) for feature in spec.query
    )


def decay(time: np.ndarray, half_life: HalfLife) -> np.ndarray:
    """Return a weight of each row by its age: 1 for the latest, half after each half-life.

    Args:
        time: `(rows,)`, in seconds.
        half_life: In days; `none` for a weight of 1.

    Returns:
        `(rows,) float64`.
    """
    if half_life == NONE:
        return np.ones(len(time))
    return np.exp2((time - time.max(initial=0)) / (half_life * DAY))


def item_popularity(
    item: np.ndarray, time: np.ndarray, half_life: HalfLife, candidates: int
) -> np.ndarray:
    """Return the number of rows of each item, in which a row counts less by its age.

    Args:
        item: `(rows,) int32`, the candidate of each row.
        time: `(rows,)`, in seconds.
        half_life: See `decay`.
        candidates: Number of candidates.

    Returns:
        `(candidates,) float64`.
    """
    weights = None if half_life == NONE else decay(time, half_life)
    return np.bincount(item, weights=weights, minlength=candidates).astype(np.float64)


def popularity_half_life(data: EncodedData, cutoff: int) -> AutoChoice:
    """Choose the half-life by which popularity is best for users without a training row.

    Args:
        data: The encoded tables.
        cutoff: Number of items in the list whose hit rate is compared, on the relevant rows
            of the validation split.
    """
    above = -np.inf if data.spec.relevant_above is None else data.spec.relevant_above
    is_new = pc.invert(pc.is_in(data.validation[QUERY_ID], data.train[QUERY_ID].unique()))
    rows = data.validation.filter(is_new)
    wanted = to_numpy(rows[CANDIDATE_INDEX])[to_numpy(rows[LABEL]) > above]
    if len(wanted) < FEWEST_ROWS:
        reason = f"new users have {len(wanted)} relevant validation rows, too few to choose by"
        return AutoChoice(value=NONE, reason=reason)
    item, time = to_numpy(data.train[CANDIDATE_INDEX]), to_numpy(data.train[TIMESTAMP])

    def hit_rate(half_life: HalfLife) -> float:
        rows = item_popularity(item, time, half_life, data.candidate_count)
        return float(np.isin(wanted, np.argsort(-rows, kind="stable")[:cutoff]).mean())

    found = {half_life: hit_rate(half_life) for half_life in HALF_LIVES}
    best = max(found, key=lambda half_life: found[half_life])
    than = "" if best == NONE else f" (without: {found[NONE]:.4f})"
    reason = f"the best popularity for new users: hit rate {found[best]:.4f} at {cutoff}{than}"
    return AutoChoice(value=best, reason=reason)
