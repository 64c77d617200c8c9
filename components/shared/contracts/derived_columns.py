"""Query features that are derived from the log."""

from collections.abc import Sequence

import numpy as np

HISTORY = "history"

# The set of a user's items. No table has it: each step computes it from the interactions of the
# splits before, see `components.shared.retrieval.profiles`.
PROFILE = "profile"

# The query columns that ingest derives, each with the setting that enables it.
DERIVED = {
    HISTORY: "ingest.history_length",
    "hour_of_day": "ingest.time_columns",
    "day_of_week": "ingest.time_columns",
    "month_of_year": "ingest.time_columns",
}

_HOUR, _DAY = 3600, 24 * 3600
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday


def time_values(timestamp: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Compute calendar values of timestamps, in UTC.

    Args:
        timestamp: `(rows,) int64`, seconds since 1970.
        names: Values to compute: `hour_of_day`, `day_of_week`, `month_of_year`.

    Returns:
        `(rows,) int64` by name: hours 0 to 23, days 0 (Monday) to 6, months 1 to
        12.
    """
    months = timestamp.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    values = {
        "hour_of_day": timestamp % _DAY // _HOUR,
        "day_of_week": (timestamp // _DAY + _FIRST_WEEKDAY) % 7,
        "month_of_year": months % 12 + 1,
    }
    return {name: values[name].astype(np.int64) for name in names}
