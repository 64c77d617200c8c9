"""Cron expressions: reads the usual five fields, and writes the six fields of KFP.

KFP's controller parses them with robfig/cron v1 (backend/src/crd/controller/scheduledworkflow/
util/cron_schedule.go): seconds come first, and Sunday is 0 only. It reads the first of five fields
as seconds, so `0 3 * * *`, meant as three in the morning, runs at three minutes past every hour.
The expressions written here mean the same to robfig/cron v1 and to cronsim.

cronsim 2.8 computes times and describes them. It does not replace the checks here: it accepts 7 for
Sunday, L and #, which robfig/cron v1 refuses, and refuses ?, which robfig/cron accepts.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from cronsim import CronSim, CronSimError

from components.shared.runtime.errors import InputError

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
# robfig/cron gives up after five years and returns time zero, which KFP takes for the past.
_MAX_YEARS = 5


@dataclass(frozen=True)
class Cron:
    """A checked cron expression; `parse_cron` makes it.

    Args:
        text: Six fields, seconds first, as KFP takes them.
    """

    text: str

    @property
    def shown(self) -> str:
        """The form for users: five fields if the second is 0, else six."""
        second, _, rest = self.text.partition(" ")
        return f"cron {rest}" if second == "0" else f"cron {self.text}, seconds first"

    @property
    def in_words(self) -> str:
        """When it runs, in words."""
        return CronSim(self.text, datetime.min).explain()

    @property
    def seconds(self) -> set[int]:
        """The seconds of a minute at which it may run, in any time zone."""
        return CronSim(self.text, datetime.min).seconds

    def next_times(self, after: datetime, count: int = 3) -> list[datetime]:
        """Return the next times it runs, in UTC.

        Args:
            after: The times are later than this.
            count: Number of times; fewer are returned after a gap of more than five years.
        """
        times = [after.astimezone(UTC)]
        for time in islice(CronSim(self.text, times[0]), count):
            if time.year > times[-1].year + _MAX_YEARS:
                break
            times.append(time)
        return times[1:]


def parse_cron(text: str) -> Cron:
    """Read a cron expression.

    Args:
        text: Five fields, six with seconds first, or e.g. `@daily`.

    Raises:
        InputError: If the text is not a cron expression. The message names the field and the
            allowed values.

    Example:
    ```python
    assert parse_cron("15 3 * * 7").text == "0 15 3 * * 0"
    ```
    """
    fields = _DESCRIPTORS.get(text.strip().lower(), text).split()
    if text.strip().startswith("@every"):
        raise InputError(f"--cron '{text}': use --interval for that, e.g. --interval 6h.")
    if fields and fields[0].startswith("@"):
        raise InputError(f"--cron '{text}': unknown name. Use one of {', '.join(_DESCRIPTORS)}.")
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise InputError(
            f"--cron '{text}' has {len(fields)} fields; write 5, or 6 with seconds first. {_HELP}."
        )
    cron = Cron(
        " ".join(kind.read(field, text) for field, kind in zip(fields, _KINDS, strict=True))
    )
    try:
        if cron.next_times(datetime(2024, 1, 1, tzinfo=UTC), 1):
            return cron
    except CronSimError:
        pass
    raise InputError(f"--cron '{text}' never runs: none of its months has that day.")


@dataclass(frozen=True)
class _Kind:
    """A field of an expression, and the values that it allows."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def read(self, field: str, expression: str) -> str:
        """Check a field, and write it so that robfig/cron and cronsim read it alike."""
        parts = [self._part(part, expression) for part in field.split(",")]
        # With a star, a day must match both the day of the month and the weekday; without one,
        # either. robfig/cron looks for a star anywhere, cronsim only at the start of a field.
        return ",".join(sorted(parts, key=lambda part: not part.startswith("*")))

    def _part(self, part: str, expression: str) -> str:
        def wrong(why: str) -> InputError:
            named = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
            return InputError(
                f"--cron '{expression}': the {self.name} '{part}' {why}. Write {self.low}-"
                f"{self.high}{named}, *, lists (1,2), ranges (1-5) or steps (*/15)."
            )

        match = re.fullmatch(r"([*?]|\w+)(?:-(\w+))?(?:/(\w+))?", part, re.ASCII)
        if match is None or (match[1] in "*?" and match[2]):
            raise wrong("cannot be read")
        first, last, step = match[1], match[2], match[3]
        if step is not None and not (step.isdecimal() and int(step)):
            raise wrong("has a step that is not a positive number")
        if first in "*?":
            return f"*/{step}" if step else "*"

        top = 7 if self is _WEEKDAY else self.high

        def number(value: str) -> int:
            if value.upper() in self.names:
                return self.names.index(value.upper()) + self.low
            if not value.isdecimal():
                raise wrong(f"is not a number{' or name' if self.names else ''}")
            if not self.low <= int(value) <= top:
                raise wrong("is out of range")
            return int(value)

        start = number(first)
        # A step without an end continues to the highest value.
        end = number(last) if last else max(start, self.high) if step else start
        if self is _WEEKDAY and last and end == 0 < start:
            end = 7
        if start > end:
            raise wrong("starts after its end")
        if end > self.high:  # 7 for Sunday is common, but robfig/cron refuses it
            days = {value % 7 for value in range(start, end + 1, int(step or 1))}
            return ",".join(map(str, sorted(days)))
        if start == end:  # cronsim reads 5-5/2 as 5/2
            return first
        return f"{first}-{last or end}" + (f"/{step}" if step else "")


_WEEKDAY = _Kind("weekday", 0, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_KINDS = (
    _Kind("second", 0, 59),
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of the month", 1, 31),
    _Kind("month", 1, 12, _MONTHS),
    _WEEKDAY,
)
