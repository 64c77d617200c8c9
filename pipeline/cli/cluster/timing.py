"""The options that say when a schedule runs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from components.shared.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.cluster.schedules.triggers import Trigger


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TimingOptions:
    """The options that say when a schedule runs.

    Args:
        cron: A cron expression of five or six fields.
        interval: The time between runs; either this or `cron`.
        start: The time before which nothing runs.
        end: The time after which nothing runs.
        catchup: Whether each missed run is made up for.
        paused: Whether the schedule is created without being turned on.
    """

    cron: Annotated[
        str | None,
        Parameter(
            help="minute hour day month weekday, e.g. '15 3 * * MON-FRI'; with six fields, seconds "
            "come first; or @hourly, @daily, @weekly, @monthly, @yearly"
        ),
    ] = None
    interval: Annotated[
        str | None, Parameter(help="time between runs, e.g. 90m, 6h or 1d; at least 60s")
    ] = None
    start: Annotated[
        str | None, Parameter(metavar="TIME", help="not before, e.g. 2026-12-01T00:00Z")
    ] = None
    end: Annotated[
        str | None, Parameter(metavar="TIME", help="not after, e.g. 2027-06-30T00:00Z")
    ] = None
    catchup: Annotated[
        bool, Parameter(help="run every missed run, one after the other (default: only the last)")
    ] = False
    paused: Annotated[bool, Parameter(help="create the schedule paused")] = False

    def trigger(self) -> "Trigger":
        """Return the trigger of `cron` or `interval`.

        Raises:
            InputError: If not exactly one of them is given, or it cannot be read.
        """
        from pipeline.cluster.schedules.cron import parse_cron
        from pipeline.cluster.schedules.triggers import parse_interval

        if self.cron is not None and self.interval is not None:
            raise InputError("--cron and --interval exclude each other: give one of them.")
        if self.cron is not None:
            return parse_cron(self.cron)
        if self.interval is not None:
            return parse_interval(self.interval)
        raise InputError("give --cron or --interval, e.g. --cron '15 3 * * *' or --interval 6h.")

    def limits(self) -> tuple[datetime | None, datetime | None]:
        """Return start and end in UTC, None for those not given.

        Raises:
            InputError: If one of them is not a time, or the end is not after the start.
        """
        start, end = parse_time("--start", self.start), parse_time("--end", self.end)
        if start and end and end <= start:
            raise InputError(f"--end {self.end}: it must be later than --start {self.start}.")
        return start, end


def parse_time(option: str, text: str | None) -> datetime | None:
    """Return the time of an option in UTC, or None if it is not given.

    Args:
        option: The option's name, for messages.
        text: The time in ISO 8601; UTC if it has no time zone.

    Raises:
        InputError: If the text is not a time.

    Example:
    ```python
    assert parse_time("--at", "2026-12-01T03:00+01:00").isoformat() == "2026-12-01T02:00:00+00:00"
    assert parse_time("--at", None) is None
    ```
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: write e.g. 2026-12-01T03:00Z or 2026-12-01.") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


DEFAULT_TIMING = TimingOptions()
