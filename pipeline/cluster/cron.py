"""Cron expressions: the common form with five fields, as KFP wants them with six.

KFP 2 reads them with robfig/cron v1: seconds come first, and Sunday is 0 only.
Given five fields it takes the first for seconds, so `0 3 * * *`, meant as three
in the morning, runs at three minutes past every hour.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from components.errors import InputError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_HELP = "Write minute hour day month weekday, e.g. '15 3 * * *' for 03:15 each day"


@dataclass(frozen=True)
class _Kind:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        names = f" or {self.names[0].upper()}-{self.names[-1].upper()}" if self.names else ""
        return f"{self.low}-{self.high}{names}"


_WEEKDAY = _Kind("weekday", 0, 6, _DAYS)
_KINDS = (
    _Kind("second", 0, 59),
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of the month", 1, 31),
    _Kind("month", 1, 12, _MONTHS),
    _WEEKDAY,
)


@dataclass(frozen=True)
class Cron:
    """A checked cron expression.

    Args:
        text: Six fields, seconds first, as KFP wants them.
        values: What each field allows.
        any_day: Whether the day of the month or the weekday is `*`.
    """

    text: str
    values: tuple[frozenset[int], ...]
    any_day: bool

    @property
    def shown(self) -> str:
        """The common form with five fields where it says the same."""
        second, _, rest = self.text.partition(" ")
        return rest if second == "0" else f"{self.text} (seconds first)"

    @property
    def seconds(self) -> frozenset[int]:
        """The seconds of a minute at which it can run, in any time zone."""
        return self.values[0]

    def next_times(self, after: datetime, count: int = 3) -> list[datetime]:
        """The next times it runs, in UTC.

        Args:
            after: They are later than this.
            count: How many.

        Returns:
            Fewer than `count` where it does not run so often in five years,
            after which robfig/cron gives up.
        """
        after = after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        seconds, minutes, hours = (sorted(values) for values in self.values[:3])
        times: list[datetime] = []
        day = after.replace(hour=0, minute=0, second=0)
        for number in range(5 * 366):
            date = day + timedelta(days=number)
            if not self._runs_on(date):
                continue
            today = date.date() == after.date()
            for hour in hours:
                if today and hour < after.hour:
                    continue
                for minute in minutes:
                    if today and (hour, minute) < (after.hour, after.minute):
                        continue
                    for second in seconds:
                        time = date.replace(hour=hour, minute=minute, second=second)
                        if time >= after:
                            times.append(time)
                        if len(times) == count:
                            return times
        return times

    def _runs_on(self, date: datetime) -> bool:
        _, _, _, days, months, weekdays = self.values
        if date.month not in months:
            return False
        on_day, on_weekday = date.day in days, date.isoweekday() % 7 in weekdays
        # As in every cron: where both are given, one is enough.
        return (on_day and on_weekday) if self.any_day else (on_day or on_weekday)


def parse_cron(text: str) -> Cron:
    """Reads a cron expression.

    Args:
        text: Five fields, six with seconds first, or e.g. `@daily`.

    Raises:
        InputError: If it is none; the message names the field and what is allowed.
    """
    fields = text.split()
    if text.strip().lower() in _DESCRIPTORS:
        fields = _DESCRIPTORS[text.strip().lower()].split()
    elif text.strip().startswith("@every"):
        raise InputError(f"--cron '{text}': for that there is --interval, e.g. --interval 6h.")
    elif text.strip().startswith("@"):
        raise InputError(f"--cron '{text}': of the names there are {', '.join(_DESCRIPTORS)}.")
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise InputError(
            f"--cron '{text}' has {len(fields)} fields; it takes 5, or 6 with seconds first. "
            f"{_HELP}."
        )
    read = [_field(field, kind, text) for field, kind in zip(fields, _KINDS, strict=True)]
    cron = Cron(
        " ".join(written for written, _ in read),
        tuple(values for _, values in read),
        # robfig/cron v1 takes */2 for a star as well.
        any(part[0] in "*?" for field in (fields[3], fields[5]) for part in field.split(",")),
    )
    if not cron.next_times(datetime(2024, 1, 1, tzinfo=UTC), 1):
        raise InputError(f"--cron '{text}' never comes: no such month has that day.")
    return cron


def _field(field: str, kind: _Kind, text: str) -> tuple[str, frozenset[int]]:
    """Reads a field: as KFP takes it, and the values that it allows."""
    written, allowed = [], set[int]()
    for part in field.split(","):
        values, plain = _part(part, kind, text)
        allowed |= values
        # 7 for Sunday is common; robfig/cron refuses it, and ranges that end on Sunday.
        written.append(part if plain else ",".join(str(value) for value in sorted(values)))
    return ",".join(written), frozenset(allowed)


def _part(part: str, kind: _Kind, text: str) -> tuple[set[int], bool]:
    def wrong(why: str) -> InputError:
        return InputError(
            f"--cron '{text}': the {kind.name} '{part}' {why}. Allowed are {kind.allowed}, *, "
            "lists (1,2), ranges (1-5) and steps (*/15)."
        )

    match = re.fullmatch(r"([*?]|\w+)(?:-(\w+))?(?:/(\w+))?", part, re.ASCII)
    if match is None or (match[1] in "*?" and match[2]):
        raise wrong("cannot be read")
    if match[3] is not None and not (match[3].isdecimal() and int(match[3])):
        raise wrong("has a step that is no number above 0")
    step = int(match[3] or 1)
    if match[1] in "*?":
        return set(range(kind.low, kind.high + 1, step)), True

    top = 7 if kind is _WEEKDAY else kind.high

    def number(value: str) -> int:
        if value.lower() in kind.names:
            return kind.names.index(value.lower()) + kind.low
        if not value.isdecimal():
            raise wrong("is no number" + (" or name" if kind.names else ""))
        if not kind.low <= int(value) <= top:
            raise wrong("is out of range")
        return int(value)

    start = number(match[1])
    # A step without an end goes on to the end.
    end = number(match[2] or (str(max(start, kind.high)) if match[3] else match[1]))
    if kind is _WEEKDAY and match[2] and end == 0 and start > 0:
        end = 7
    if start > end:
        raise wrong("begins after it ends")
    values = set(range(start, end + 1, step))
    if kind is _WEEKDAY and end == 7:
        return {value % 7 for value in values}, False
    return values, True
