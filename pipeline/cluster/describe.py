"""Describes schedules to people: when they run, with what, and what is wrong with them."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from components.resolve.job import SCHEDULED
from components.shared.runtime.errors import InputError
from pipeline.cluster.schedules import DATA_UNTIL, UNRESOLVED_TIME, Schedule
from pipeline.cluster.versions import Definition

TIME_ZONE_NOTE = (
    "KFP reads cron in UTC, unless its administrator has set CRON_SCHEDULE_TIMEZONE; the API "
    "does not say."
)


def describe(
    schedule: Schedule,
    definition: Definition,
    version: str,
    now: datetime,
    link: Callable[[str], str],
    zone: tzinfo | None = None,
) -> Iterator[str]:
    """Tells what a person wants to know of a schedule, in lines.

    Args:
        schedule: The schedule.
        definition: The version of the pipeline that runs.
        version: That version's name.
        now: The time from which the next runs are told.
        link: Makes the address of a page of the UI.
        zone: The time zone for times beside UTC; none means this machine's.
    """
    yield f"{schedule.name}: {'on' if schedule.is_on else 'paused'}"
    yield f"  when        {when(schedule)}"
    times = schedule.next_times(now) if schedule.is_on else []
    for number, time in enumerate(times):
        data = takes(time, schedule.parameters, definition)
        yield f"  {'' if number else 'next':<11} {in_utc_and_local(time, zone)}: {data}"
    if schedule.is_on and not times:
        yield "  next        not known" if schedule.trigger is None else "  next        never"
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
    yield f"  missed      {'only the last one runs' if schedule.run.no_catchup else 'all are run'}"
    yield f"  details     {link(f'recurringrun/details/{schedule.id}')}"
    yield f"  {TIME_ZONE_NOTE}"


def when(schedule: Schedule) -> str:
    """Tells when a schedule runs, in plain words and as `create` takes it."""
    trigger = schedule.trigger
    if trigger is None:
        return " ".join(str(schedule.run.trigger).split())
    return f"{trigger.in_words} ({trigger.shown})"


def takes(time: datetime, parameters: Mapping[str, Any], definition: Definition) -> str:
    """Tells what data a schedule's run takes.

    Args:
        time: The scheduled time.
        parameters: What it changes of the pipeline's parameters.
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
        except ValueError:  # the step says what is wrong with it
            return f"takes interactions before {until}"
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if days:
        return f"takes interactions from {in_utc(time - timedelta(days=days))} to {in_utc(time)}"
    return f"takes interactions before {in_utc(time)}"


class Problem(NamedTuple):
    """What is wrong with a schedule.

    Args:
        mark: In two or three words, for lists.
        text: In a sentence, with how to fix it.
    """

    mark: str
    text: str


def problems(schedule: Schedule, definition: Definition) -> Iterator[Problem]:
    """Tells what is wrong with a schedule."""
    again = f"deep-retrieval schedule create {schedule.name} … again"
    if UNRESOLVED_TIME in schedule.parameters.values():
        yield Problem(
            "unresolved time",
            f"its runs get {UNRESOLVED_TIME} letter for letter, as KFP 2 does not replace it (an "
            f"earlier version of this tool made the schedule); to fix this: {again}",
        )
    try:
        current = definition.superseded_images().values()
    except InputError as error:
        yield Problem("unknown images", f"whether its images are superseded is unknown: {error}")
        return
    if current:
        registry = next(iter(current)).rpartition("/")[0]
        push = f"images push --registry {registry}" if registry else "images build"
        push += " --gpu" if any(image.endswith("-gpu") for image in current) else ""
        yield Problem(
            "superseded images",
            f"its images are not those of this checkout; to move on: deep-retrieval {push}, then "
            f"{again}",
        )


def in_utc(time: datetime) -> str:
    """Writes a time in UTC, with seconds if there are any."""
    return f"{_written(time.astimezone(UTC))} UTC"


def in_utc_and_local(time: datetime, zone: tzinfo | None = None) -> str:
    """Writes a time in UTC and, if that differs, in a zone; none means this machine's."""
    utc, local = time.astimezone(UTC), time.astimezone(zone)
    if utc.utcoffset() == local.utcoffset():
        return in_utc(time)
    day = "" if local.date() == utc.date() else f"{local:%Y-%m-%d} "
    return f"{in_utc(time)} ({day}{_written(local)[11:]} {local.tzname()})"


def _written(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
