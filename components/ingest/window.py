"""The data window: the period whose interactions a run uses."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from components.shared.runtime.errors import InputError

_DAY = 24 * 3600


@dataclass(frozen=True)
class DataWindow:
    """Timestamps from `since`, inclusive, to `until`, exclusive.

    Args:
        since: Seconds since 1970.
        until: Seconds since 1970.
    """

    since: float = -math.inf
    until: float = math.inf

    @property
    def is_open(self) -> bool:
        """Whether it contains every time."""
        return math.isinf(self.until)

    def __str__(self) -> str:
        until = f"before {_iso(self.until)}"
        # A window that begins before 1970 has no beginning to mention.
        return until if self.since < 0 else f"from {_iso(self.since)} and {until}"

    @classmethod
    def ending(cls, until: str, days: float | None) -> "DataWindow":
        """Return the window that ends at a time.

        Args:
            until: ISO 8601 (UTC if it has no time zone); empty for no end.
            days: The window's length in days; None for no beginning.

        Raises:
            InputError: If `until` is not a time, or the window has a length but no
                end.
        """
        if not until:
            if days is not None:
                raise InputError(
                    "ingest.window_days needs data_until, the end of the window. A schedule sets "
                    "it."
                )
            return cls()
        end = _seconds(until)
        return cls(-math.inf if days is None else end - days * _DAY, end)


def _seconds(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"data_until: {text!r} is not a time. Write it as 2026-11-24 or "
            "2026-11-24T03:00:00Z; use `scheduled` for scheduled runs."
        ) from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
