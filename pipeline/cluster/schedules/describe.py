"""Describes schedules to the user: when they run, on which data, and their problems."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from components.resolve.job import SCHEDULED
from components.shared.runtime.errors import InputError
from pipeline.cluster.schedules.schedule import DATA_UNTIL, UNRESOLVED_TIME, Schedule
from pipeline.cluster.uploads.versions import Definition

TIME_ZONE_NOTE = (
    "KFP reads cron in UTC, unless its administrator has set CRON_SCHEDULE_TIMEZONE, which the API "
    "does not show."
)


def describe(
    schedule: Schedule,
    definition: Definition,
    version: str,
    now: datetime,
    link: Callable[[str], str],
    zone: tzinfo | None = None,
) -> Iterator[str]:
    """Describe a schedule, line by line.

    Args:
        schedule: The schedule.
        definition: The version of the pipeline that it runs.
        version: That version's name.
        now: The time after which the next runs are listed.
        link: Returns the address of a page of the UI.
        zone: The time zone shown beside UTC; None means this machine's.
    """
    yield f"{schedule.name}: {'on' if schedule.is_on else 'paused'}"
    yield f"  when        {when(schedule)}"
    times = schedule.next_times(now) if schedule.is_on else []
    for number, time in enumerate(times):
        data = takes(time, schedule.parameters, definition)
        yield f"  {'' if number else 'next':<11} {in_utc_and_local(time, zone)}: {data}"
    if schedule.is_on and not times:
        yield f"  next        {'unknown' if schedule.trigger is None else 'never'}"
    start = schedule.limit("start_time")
    if start:
        yield f"  from        {in_utc(start)}"
    yield f"  version     {version}"
    for problem in problems(schedule, definition):
        yield f"  warning     {problem.text}"
    for name, value in sorted(schedule.parameters.items()):
        text = json.dumps(value)
        yield f"  parameter   {name} = {text if len(text) < 80 else text[:77] + '...'}"
    if schedule.run.service_account:
        yield f"  runs as     {schedule.run.service_account}"
    yield f"  missed      {'only the last one runs' if schedule.run.no_catchup else 'all run'}"
    yield f"  details     {link(f'recurringrun/details/{schedule.id}')}"
    yield f"  {TIME_ZONE_NOTE}"


def when(schedule: Schedule) -> str:
    """Say when a schedule runs, in words and in the form of `schedule create`."""
    trigger = schedule.trigger
    if trigger is None:
        return " ".join(str(schedule.run.trigger).split())
    return f"{trigger.in_words} ({trigger.shown})"


def takes(time: datetime, parameters: Mapping[str, Any], definition: Definition) -> str:
    """Say which data a schedule's run takes.

    Args:
        time: The scheduled time.
        parameters: The run's values for the pipeline's parameters.
        definition: The version of the pipeline that runs.
    """

    def value(name: str) -> Any:
        return parameters.get(name, definition.default(name))

    until, days = value(DATA_UNTIL), (value("ingest_config") or {}).get("window_days")
    if not until:
        return "takes the whole log"
    if until == UNRESOLVED_TIME:
        return "fails, see the warning"
    if until != SCHEDULED:
        try:
            time = datetime.fromisoformat(until)
        except ValueError:  # the step reports the error
            return f"takes interactions before {until}"
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if days:
        return f"takes interactions from {in_utc(time - timedelta(days=days))} to {in_utc(time)}"
    return f"takes interactions before {in_utc(time)}"


class Problem(NamedTuple):
    """A problem of a schedule.

    Args:
        mark: Two or three words, for lists.
        text: A sentence that says how to fix it.
    """

    mark: str
    text: str


def problems(schedule: Schedule, definition: Definition) -> Iterator[Problem]:
    """Find the problems of a schedule.

    Args:
        schedule: The schedule.
        definition: The version of the pipeline that it runs.
    """
    again = f"deep-retrieval schedule create {schedule.name} … again"
    if UNRESOLVED_TIME in schedule.parameters.values():
        yield Problem(
            "unresolved time",
            f"its runs get {UNRESOLVED_TIME} unchanged, as KFP 2 does not replace it (an earlier "
            f"version of this tool made the schedule); to fix this: {again}",
        )
    try:
        current = definition.superseded_images().values()
    except InputError as error:
        yield Problem("unknown images", f"cannot tell whether its images are superseded: {error}")
        return
    if current:
        registry = next(iter(current)).rpartition("/")[0]
        push = f"images push --registry {registry}" if registry else "images build"
        push += " --gpu" if any(image.endswith("-gpu") for image in current) else ""
        yield Problem(
            "superseded images",
            f"its images differ from this checkout's; to update it: deep-retrieval {push}, then "
            f"{again}",
        )


def in_utc(time: datetime) -> str:
    """Return a time in UTC as text, with seconds unless they are 0."""
    return f"{_written(time.astimezone(UTC))} UTC"


def in_utc_and_local(time: datetime, zone: tzinfo | None = None) -> str:
    """Return a time as text in UTC and, if it differs, in another zone.

    Args:
        time: The time.
        zone: The other time zone; None means this machine's.
    """
    utc, local = time.astimezone(UTC), time.astimezone(zone)
    if utc.utcoffset() == local.utcoffset():
        return in_utc(time)
    day = "" if local.date() == utc.date() else f"{local:%Y-%m-%d} "
    return f"{in_utc(time)} ({day}{_written(local)[11:]} {local.tzname()})"


def _written(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
