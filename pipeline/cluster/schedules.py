"""Schedules: KFP's recurring runs, by name."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from components.errors import InputError
from pipeline.cluster.api import Cluster, ClusterError
from pipeline.cluster.cron import Cron, parse_cron
from pipeline.cluster.submission import (
    Uploaded,
    find_experiment,
    runtime_config,
    version_reference,
)

# The server puts the time of the tick there, e.g. 20261124031500, in UTC. So each
# scheduled run has its own window of data, and no cache serves a former one's.
TIMED_PARAMETERS = ("data_until",)
TIME_ZONE_NOTE = (
    "KFP reads cron in UTC, unless its administrator has set CRON_SCHEDULE_TIMEZONE; the API "
    "does not say."
)
# A replacement takes a few requests. It begins when no tick is nearer than this.
_QUIET = timedelta(seconds=10)
_AFTER_TICK = timedelta(seconds=2)
_MARK = re.compile(r"\[content ([0-9a-f]{16})\]")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_API = kfp_server_api.RecurringRunServiceApi


@dataclass(frozen=True)
class Interval:
    """Runs with the same time in between.

    Args:
        seconds: How many.
    """

    seconds: int

    @property
    def shown(self) -> str:
        """As `parse_interval` takes it, in the largest unit that is exact."""
        unit = next(unit for unit in "dhms" if self.seconds % _UNITS[unit] == 0)
        return f"{self.seconds // _UNITS[unit]}{unit}"


Trigger = Cron | Interval


def parse_interval(text: str) -> Interval:
    """Reads `90m`, `6h`, `1d` or `3600s`.

    Raises:
        InputError: If it is none of these, or less than a minute.
    """
    match = re.fullmatch(r"([0-9]+)([smhd])", text.strip())
    if match is None:
        raise InputError(
            f"--interval {text}: write a whole number and s, m, h or d, e.g. 90m, 6h or 1d."
        )
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds < 60:
        raise InputError(f"--interval {text}: the least is 60s.")
    return Interval(seconds)


@dataclass(frozen=True)
class Wish:
    """What a schedule should be.

    Args:
        name: Its name, unique in its experiment.
        experiment_id: The experiment of its runs.
        uploaded: The version of the pipeline that runs.
        trigger: When.
        start: Not before.
        end: Not after.
        catchup: Whether ticks that were missed run one after the other; else only the last.
        parameters: What its runs change of the pipeline's parameters.
        service_account: What steps run as; none means the cluster's default.
        pipeline_root: Where artifacts go; none means the cluster's default.
        paused: Whether it stays off.
    """

    name: str
    experiment_id: str
    uploaded: Uploaded
    trigger: Trigger
    start: datetime | None = None
    end: datetime | None = None
    catchup: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    service_account: str | None = None
    pipeline_root: str | None = None
    paused: bool = False

    @property
    def mark(self) -> str:
        """A hash of all but whether it is on: what the API cannot change later."""
        content = {
            "pipeline": self.uploaded.pipeline_id,
            "version": self.uploaded.version_id,
            "trigger": self.trigger.text
            if isinstance(self.trigger, Cron)
            else self.trigger.seconds,
            "start": self.start and self.start.isoformat(),
            "end": self.end and self.end.isoformat(),
            "catchup": self.catchup,
            "parameters": dict(self.parameters),
            "service_account": self.service_account,
            "pipeline_root": self.pipeline_root,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Created:
    """What `create` did.

    Args:
        schedule: The schedule, as the server has it.
        outcome: `created`, `replaced`, `unchanged`, `resumed` or `paused`.
    """

    schedule: Any
    outcome: str


def create(cluster: Cluster, wish: Wish) -> Created:
    """Makes the schedule of a name what it should be.

    There is no update in the API. An identical one stays; another one of the
    name is replaced, and no two are on at any time. What a former call that
    failed has left is used or removed.

    Args:
        cluster: Where.
        wish: What it should be.

    Raises:
        ClusterError: If a request fails. The message says what is there now;
            the same call again finishes the work.
    """
    try:
        return _create(cluster, wish)
    except ClusterError as error:
        state = _state(cluster, wish)
        raise ClusterError(
            f"{error} {state} Run the same command again to finish.", status=error.status
        ) from None


def _create(cluster: Cluster, wish: Wish) -> Created:
    there = _of_name(cluster, wish.name, wish.experiment_id)
    same = [run for run in there if _mark(run) == wish.mark]
    others = [run for run in there if _mark(run) != wish.mark]
    on = [run for run in same if is_enabled(run)]
    if on:
        outcome = "unchanged"
        keep = on[0]
    elif same and not any(is_enabled(run) for run in others):
        # Either paused, or a call ended after it turned the former one off. The eldest is the
        # one that has seen every tick since.
        keep = min(same, key=lambda run: run.created_at)
        outcome = "unchanged" if wish.paused else "resumed"
    else:
        # Those of `same` were made for a replacement that did not come. They would run a tick
        # that the one that is on has run since.
        for run in same:
            _remove(cluster, run)
        keep = _replace(cluster, wish, others)
        outcome = "replaced" if others else "created"
        there = []
    for run in there:
        if is_enabled(run) and run.recurring_run_id != keep.recurring_run_id:
            _switch(cluster, run, on=False)
    if is_enabled(keep) == wish.paused:
        _switch(cluster, keep, on=not wish.paused)
        outcome = "paused" if wish.paused and outcome == "unchanged" else outcome
    # Looked up again: a request to create that got no answer may have been late.
    for run in _of_name(cluster, wish.name, wish.experiment_id):
        if run.recurring_run_id != keep.recurring_run_id:
            _remove(cluster, run)
    return Created(_get(cluster, keep.recurring_run_id), outcome)


def _replace(cluster: Cluster, wish: Wish, others: list[Any]) -> Any:
    """Makes the wished one, off where there are others, and turns the others off."""
    if not others:
        # With a start in the past, the last tick before now would run at once.
        start = wish.start if wish.catchup or (wish.start and wish.start > cluster.now()) else None
        return _make(cluster, wish, set(), on=not wish.paused, start=start)
    known = {run.recurring_run_id for run in others}
    triggers = [wish.trigger, *(_trigger_or_none(run) for run in others)]
    running = [run for run in others if is_enabled(run)]
    if running:
        _wait_for_quiet(cluster, triggers, others)
    # KFP's controller (backend/src/crd/controller/scheduledworkflow/util/cron_schedule.go) runs
    # the latest tick after the last run or, before the first, after the start time, at the moment
    # when a schedule is on. So a tick between turning one off and the other on is not lost, and
    # one before the start is not run twice.
    began = cluster.now()
    made = _make(cluster, wish, known, on=False, start=_start(wish, others, began))
    for run in running:
        _switch(cluster, run, on=False)
    ended = cluster.now()
    if running and _tick_between(triggers, others, began, ended + timedelta(seconds=1)):
        # It took long. The former one may have run that tick, and the new one would as well.
        _remove(cluster, made)
        made = _make(cluster, wish, known, on=False, start=_start(wish, others, ended))
    return made


def _start(wish: Wish, others: list[Any], now: datetime) -> datetime:
    if wish.start and wish.start > now:
        return wish.start
    if isinstance(wish.trigger, Interval):
        for run in others:
            if _trigger_or_none(run) == wish.trigger:  # goes on in the former one's step
                return _last_tick(run, wish.trigger, now)
    return now.replace(microsecond=0)


def _make(
    cluster: Cluster, wish: Wish, known: set[str], *, on: bool, start: datetime | None
) -> Any:
    times = {"start_time": start, "end_time": wish.end}
    if isinstance(wish.trigger, Cron):
        schedule = kfp_server_api.V2beta1CronSchedule(cron=wish.trigger.text, **times)
        trigger = kfp_server_api.V2beta1Trigger(cron_schedule=schedule)
    else:
        schedule = kfp_server_api.V2beta1PeriodicSchedule(
            # int64 is a text in JSON, and kfp_server_api 2.17 says so in its types.
            interval_second=str(wish.trigger.seconds),
            **times,
        )
        trigger = kfp_server_api.V2beta1Trigger(periodic_schedule=schedule)
    body = kfp_server_api.V2beta1RecurringRun(
        display_name=wish.name,
        description=f"Made by deep-retrieval schedule create. Version {wish.uploaded.version}. "
        f"[content {wish.mark}]",
        experiment_id=wish.experiment_id,
        namespace=cluster.namespace,
        pipeline_version_reference=version_reference(wish.uploaded),
        runtime_config=runtime_config(wish.parameters, wish.pipeline_root),
        service_account=wish.service_account,
        mode=kfp_server_api.RecurringRunMode.ENABLE
        if on
        else kfp_server_api.RecurringRunMode.DISABLE,
        trigger=trigger,
        max_concurrency="1",
        no_catchup=not wish.catchup,
    )

    def find() -> Any:
        for run in _of_name(cluster, wish.name, wish.experiment_id):
            if _mark(run) == wish.mark and run.recurring_run_id not in known:
                return run
        return None

    made, _ = cluster.create_once(
        find=find,
        create=lambda: cluster.send(
            f"creating the schedule {wish.name}",
            _API.recurring_run_service_create_recurring_run,
            recurring_run=body,
        ),
    )
    return made


def _wait_for_quiet(cluster: Cluster, triggers: list[Trigger | None], others: list[Any]) -> None:
    for _ in range(3):  # with ticks every few seconds there is no quiet moment
        now = cluster.now()
        ticks = [
            second
            for second in range(int(_QUIET.total_seconds()) + 1)
            if _tick_between(
                triggers,
                others,
                now + timedelta(seconds=second - 1),
                now + timedelta(seconds=second),
            )
        ]
        if not ticks:
            return
        wait = timedelta(seconds=ticks[-1]) + _AFTER_TICK
        cluster.note(f"a run may start now; waiting {wait.total_seconds():.0f} s")
        cluster.sleep(wait.total_seconds())


def _tick_between(
    triggers: list[Trigger | None], others: list[Any], after: datetime, until: datetime
) -> bool:
    """Whether a tick may fall there, whatever the time zone of the controller."""
    for trigger in triggers:
        if isinstance(trigger, Cron):
            second = after.replace(microsecond=0) + timedelta(seconds=1)
            while second <= until:
                if second.second in trigger.seconds:
                    return True
                second += timedelta(seconds=1)
        elif trigger and any(
            _trigger_or_none(run) == trigger
            and _last_tick(run, trigger, after) != _last_tick(run, trigger, until)
            for run in others
        ):
            return True
    return False


def _last_tick(run: Any, interval: Interval, now: datetime) -> datetime:
    """The last tick of a schedule with an interval, as far as the API shows it."""
    start = start_of(run) or run.created_at
    steps = max(0, int((now - start).total_seconds() // interval.seconds))
    return start + timedelta(seconds=steps * interval.seconds)


def _state(cluster: Cluster, wish: Wish) -> str:
    try:
        there = _of_name(cluster, wish.name, wish.experiment_id, patience=0.0)
    except ClusterError:
        return f"Whether schedule {wish.name} is on is not known; see 'schedule list'."
    on = [run for run in there if is_enabled(run)]
    if not there:
        return f"There is no schedule {wish.name} now."
    if not on:
        return f"Schedule {wish.name} is off now."
    which = "as wished" if _mark(on[0]) == wish.mark else "as before"
    return f"Schedule {wish.name} is on now, {which}."


def _of_name(
    cluster: Cluster, name: str, experiment_id: str | None, patience: float | None = None
) -> list[Any]:
    found = cluster.named(
        f"looking for the schedule {name}",
        _API.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        name,
        namespace=cluster.namespace,
        experiment_id=experiment_id,
        patience=patience,
    )
    return sorted(found, key=lambda run: (run.created_at, run.recurring_run_id))


def _get(cluster: Cluster, run_id: str) -> Any:
    return cluster.call(
        f"asking for the schedule {run_id}",
        _API.recurring_run_service_get_recurring_run,
        recurring_run_id=run_id,
    )


def _switch(cluster: Cluster, run: Any, *, on: bool) -> None:
    method = (
        _API.recurring_run_service_enable_recurring_run
        if on
        else _API.recurring_run_service_disable_recurring_run
    )
    cluster.call(
        f"{'resuming' if on else 'pausing'} the schedule {run.display_name}",
        method,
        recurring_run_id=run.recurring_run_id,
    )


def _remove(cluster: Cluster, run: Any) -> None:
    cluster.delete(
        f"deleting the schedule {run.display_name}",
        _API.recurring_run_service_delete_recurring_run,
        recurring_run_id=run.recurring_run_id,
    )


def _mark(run: Any) -> str:
    match = _MARK.search(run.description or "")
    return match[1] if match else ""


def is_enabled(run: Any) -> bool:
    """Whether a recurring run is on."""
    return (run.status or f"{run.mode}D") == "ENABLED"


def trigger_of(run: Any) -> Trigger:
    """When a recurring run runs.

    Raises:
        InputError: If it has a cron expression that cannot be read.
    """
    if run.trigger and run.trigger.periodic_schedule:
        return Interval(int(run.trigger.periodic_schedule.interval_second or 1))
    cron = run.trigger and run.trigger.cron_schedule and run.trigger.cron_schedule.cron
    return parse_cron(cron or "none")


def _trigger_or_none(run: Any) -> Trigger | None:
    try:
        return trigger_of(run)
    except InputError:  # of one that was made elsewhere
        return None


def start_of(run: Any) -> datetime | None:
    """The start time of a recurring run, if it has one."""
    schedule = run.trigger and (run.trigger.cron_schedule or run.trigger.periodic_schedule)
    time = schedule and schedule.start_time
    return time if isinstance(time, datetime) and time.year > 1970 else None


def experiment_of(cluster: Cluster, name: str | None) -> str | None:
    """The id of an experiment that is named, or none where none is.

    Raises:
        InputError: If there is no such experiment.
    """
    if name is None:
        return None
    found = find_experiment(cluster, name)
    if found is None:
        raise InputError(f"--experiment {name}: there is none of that name.")
    return str(found.experiment_id)


def schedules(cluster: Cluster, experiment: str | None = None) -> list[Any]:
    """All recurring runs of the namespace, or of an experiment."""
    found = cluster.every(
        "listing schedules",
        _API.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        namespace=cluster.namespace,
        experiment_id=experiment_of(cluster, experiment),
    )
    # Of one that it cannot read itself, the server gives no more than the id.
    return sorted(found, key=lambda run: (run.display_name or "", run.recurring_run_id))


def show(cluster: Cluster, name: str, experiment: str | None = None) -> list[Any]:
    """The recurring runs of a name in one experiment; more than one is a leftover.

    Raises:
        InputError: If there is none, or there are some in several experiments.
    """
    found = _of_name(cluster, name, experiment_of(cluster, experiment))
    if not found:
        names = sorted({run.display_name for run in schedules(cluster, experiment)})
        raise InputError(
            f"there is no schedule {name}. "
            + (f"There are: {', '.join(names)}." if names else "There is none at all.")
        )
    if len({run.experiment_id for run in found}) > 1:
        where = sorted({_experiment_name(cluster, run.experiment_id) for run in found})
        raise InputError(
            f"there are schedules {name} in the experiments {', '.join(where)}: choose one with "
            "--experiment."
        )
    return found


def _experiment_name(cluster: Cluster, experiment_id: str) -> str:
    found = cluster.call(
        f"asking for the experiment {experiment_id}",
        kfp_server_api.ExperimentServiceApi.experiment_service_get_experiment,
        experiment_id=experiment_id,
    )
    return str(found.display_name)


def pause(cluster: Cluster, name: str, experiment: str | None = None) -> Any:
    """Turns a schedule off; off already is fine."""
    found = show(cluster, name, experiment)
    for run in found:
        if is_enabled(run):
            _switch(cluster, run, on=False)
    return _get(cluster, found[0].recurring_run_id)


def resume(cluster: Cluster, name: str, experiment: str | None = None) -> Any:
    """Turns a schedule on; on already is fine.

    Raises:
        InputError: If there are several of the name, so that it is not clear which.
    """
    found = show(cluster, name, experiment)
    if len(found) > 1:
        raise InputError(
            f"there are {len(found)} schedules {name}, left by a replacement that failed. Run "
            "'schedule create' again: it keeps one."
        )
    if not is_enabled(found[0]):
        _switch(cluster, found[0], on=True)
    return _get(cluster, found[0].recurring_run_id)


def delete(cluster: Cluster, name: str, experiment: str | None = None) -> None:
    """Deletes a schedule, and what a replacement that failed has left of it."""
    for run in show(cluster, name, experiment):
        _remove(cluster, run)


def describe(run: Any, now: datetime, link: Callable[[str], str]) -> str:
    """What a person wants to know of a schedule, in lines.

    Args:
        run: The recurring run.
        now: The time from which the next ticks are told.
        link: Makes the address of a page of the UI.
    """
    reference = run.pipeline_version_reference
    lines = [
        f"{run.display_name}: {'on' if is_enabled(run) else 'paused'}",
        f"  when        {when(run)}",
    ]
    if is_enabled(run):
        times = _next_times(run, now)
        shown = ", ".join(f"{time:%Y-%m-%d %H:%M:%S}" for time in times)
        lines.append(f"  next        {f'{shown} UTC' if shown else 'not known'}")
    start = start_of(run)
    if start:
        lines.append(f"  from        {start.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    if reference and reference.pipeline_version_id:
        lines.append(f"  version     {reference.pipeline_version_id}")
    parameters = (run.runtime_config and run.runtime_config.parameters) or {}
    for name in sorted(parameters):
        value = json.dumps(parameters[name])
        lines.append(f"  parameter   {name} = {value if len(value) < 80 else value[:77] + '...'}")
    if run.service_account:
        lines.append(f"  runs as     {run.service_account}")
    lines.append(f"  missed      {'only the last one runs' if run.no_catchup else 'all are run'}")
    lines.append(f"  details     {link(f'recurringrun/details/{run.recurring_run_id}')}")
    lines.append(f"  {TIME_ZONE_NOTE}")
    return "\n".join(lines)


def when(run: Any) -> str:
    """When a recurring run runs, in the form that `create` takes."""
    trigger = _trigger_or_none(run)
    if trigger is None:
        return " ".join(str(run.trigger).split())
    return f"{'cron' if isinstance(trigger, Cron) else 'every'} {trigger.shown}"


def _next_times(run: Any, now: datetime) -> list[datetime]:
    trigger = _trigger_or_none(run)
    if trigger is None:
        return []
    begin = max(now, start_of(run) or now)
    if isinstance(trigger, Cron):
        return trigger.next_times(begin)
    last = _last_tick(run, trigger, begin)
    return [
        (last + timedelta(seconds=trigger.seconds * number)).astimezone(UTC) for number in (1, 2, 3)
    ]
