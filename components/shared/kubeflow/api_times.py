"""Reads the times of KFP's API."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def time_of(value: Any) -> datetime | None:
    """Read a time of the API; return None for an unset time, which is in the year 1 or 1970.

    Args:
        value: A `datetime`, or a string in ISO 8601; anything else gives None.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.year <= 1970:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def state_time(task: Mapping[str, Any], state: str) -> datetime | None:
    """Return when the API server learned that a task has a state; None if it does not show it.

    Args:
        task: An entry of `task_details`.
        state: The state.
    """
    history = task.get("state_history")
    times = [
        time_of(status.get("update_time"))
        for status in (history if isinstance(history, Sequence) else ())
        if isinstance(status, Mapping) and status.get("state") == state
    ]
    return next((time for time in times if time), None)
