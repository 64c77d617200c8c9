"""Popularity of late: the items with the most interactions in the last days before a boundary.

In a log whose tastes move, it is far harder to beat than popularity of all times.
The boundary is the last interaction of the training split when settings are tried on
the validation split, and the last one of both when the test split is measured.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluate.search import Found
from components.evaluate.tuning import Validation
from components.shared.contracts.tables import CANDIDATE_INDEX, TIMESTAMP
from components.shared.contracts.tuned import RecentSettings
from components.shared.runtime.arrow import to_numpy

DAYS = (1, 3, 7, 14, 30, 90, 180, 365)
_DAY = 24 * 60 * 60


def span_in_days(known: pa.Table) -> float:
    """Return the days between the first and the last interaction."""
    times = pc.min_max(known[TIMESTAMP]).as_py()
    return (times["max"] - times["min"]) / _DAY


def recent_counts(known: pa.Table, candidates: int, days: int | None) -> np.ndarray:
    """Count the interactions of the last days; popularity of all times orders equal counts.

    Args:
        known: `candidate_index`, `timestamp`.
        candidates: Number of items in the catalogue.
        days: How many days before the last interaction count; None: all.

    Returns:
        `(candidates,) int64`, of which only the order has a meaning.
    """
    item, time = to_numpy(known[CANDIDATE_INDEX]), to_numpy(known[TIMESTAMP])
    counts = np.bincount(item, minlength=candidates)
    if days is None:
        return counts
    recent = np.bincount(item[time > time.max() - days * _DAY], minlength=candidates)
    return recent * (len(item) + 1) + counts


def tune_recent(validation: Validation) -> Found[RecentSettings]:
    """Try all times, and every number of days that is shorter than the training split.

    Args:
        validation: The validation split.
    """
    span = span_in_days(validation.train)
    tried = [None, *(days for days in reversed(DAYS) if days < span)]
    values = [
        validation.value_of(
            validation.most_frequent(recent_counts(validation.train, validation.candidates, days))
        )
        for days in tried
    ]
    best = int(np.argmax(values))
    return Found(RecentSettings(days=tried[best]), values[best], len(tried), cut=False)
