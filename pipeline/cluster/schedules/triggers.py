"""Triggers of schedules: a cron expression or a fixed interval."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from components.shared.runtime.errors import InputError
from pipeline.cluster.schedules.cron import Cron, parse_cron

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WORDS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


@dataclass(frozen=True)
class Interval:
    """Runs at a fixed interval.

    Args:
        seconds: The time between two runs.
    """

    seconds: int

    @property
    def _in_units(self) -> tuple[int, str]:
        """The interval in the largest unit that divides it: a number and the unit."""
        unit = next(unit for unit in "dhms" if self.seconds % _UNITS[unit] == 0)
        return self.seconds // _UNITS[unit], unit

    @property
    def shown(self) -> str:
        """The form of the command line."""
        number, unit = self._in_units
        return f"interval {number}{unit}"

    @property
    def in_words(self) -> str:
        """When it runs, in words."""
        number, unit = self._in_units
        return f"Every {_WORDS[unit]}" if number == 1 else f"Every {number} {_WORDS[unit]}s"

    def last_time(self, first: datetime, now: datetime) -> datetime:
        """Return the latest step up to now, counted from the first."""
        steps = max(0, int((now - first).total_seconds() // self.seconds))
        return first + timedelta(seconds=steps * self.seconds)

    def next_times(self, first: datetime, after: datetime, count: int = 3) -> list[datetime]:
        """Return the next steps, in UTC, counted from the first.

        Args:
            first: The time from which steps are counted.
            after: The steps are later than this.
            count: Number of steps.
        """
        last = self.last_time(first, after).astimezone(UTC)
        return [last + timedelta(seconds=self.seconds * (step + 1)) for step in range(count)]


Trigger = Cron | Interval


def parse_interval(text: str) -> Interval:
    """Read an interval: `90m`, `6h`, `1d` or `3600s`.

    Raises:
        InputError: If the text has another form, or the interval is shorter than a minute.

    Example:
    ```python
    assert parse_interval("6h") == Interval(seconds=21600)
    ```
    """
    match = re.fullmatch(r"([0-9]+)([smhd])", text.strip())
    if match is None:
        raise InputError(
            f"--interval {text}: write a whole number with s, m, h or d, e.g. 90m, 6h or 1d."
        )
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds < 60:
        raise InputError(f"--interval {text}: the minimum is 60s.")
    return Interval(seconds)


def to_api(trigger: Trigger, start: datetime | None, end: datetime | None) -> Any:
    """Return a trigger as KFP's API has it.

    Args:
        trigger: The trigger.
        start: The time before which nothing runs; None for no limit.
        end: The time after which nothing runs; None for no limit.
    """
    if isinstance(trigger, Cron):
        return kfp_server_api.V2beta1Trigger(
            cron_schedule=kfp_server_api.V2beta1CronSchedule(
                cron=trigger.text, start_time=start, end_time=end
            )
        )
    return kfp_server_api.V2beta1Trigger(
        periodic_schedule=kfp_server_api.V2beta1PeriodicSchedule(
            # int64 is a string in JSON and in kfp_server_api 2.17's types.
            interval_second=str(trigger.seconds),
            start_time=start,
            end_time=end,
        )
    )


def from_api(trigger: Any) -> Trigger | None:
    """Read a trigger of KFP's API; return None if it was made elsewhere and cannot be read."""
    if trigger is None:
        return None
    if trigger.periodic_schedule:
        return Interval(int(trigger.periodic_schedule.interval_second or 1))
    try:
        return parse_cron((trigger.cron_schedule and trigger.cron_schedule.cron) or "")
    except InputError:
        return None
