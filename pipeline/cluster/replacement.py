"""Makes the schedule of a name what it should be, without a gap and without a run too many."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from pipeline.cluster.api import Cluster, ClusterError
from pipeline.cluster.schedules import API, Schedule, get, of_name, remove, turn_off, turn_on
from pipeline.cluster.submission import Uploaded, runtime_config, version_reference
from pipeline.cluster.triggers import Interval, Trigger, to_api

# A replacement takes a few requests. It begins when no tick is nearer than this.
_QUIET = timedelta(seconds=10)


@dataclass(frozen=True)
class ScheduleSpec:
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
        """A hash of all that the API cannot change later."""
        content = {**asdict(self), "uploaded": self.uploaded.version_id}
        for name in ("name", "experiment_id", "paused"):
            del content[name]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def create(cluster: Cluster, spec: ScheduleSpec) -> tuple[Schedule, str]:
    """Makes the schedule of a name what it should be.

    There is no update in the API. An identical one stays; another one of the
    name is replaced, and no two are on at any time. What a previous call that
    failed has left is used or removed.

    Args:
        cluster: Where.
        spec: What it should be.

    Returns:
        The schedule, as the server has it, and what was done: `created`,
        `replaced`, `unchanged`, `resumed` or `paused`.

    Raises:
        ClusterError: If a request fails. The same call again finishes the work.
    """
    try:
        return _create(cluster, spec)
    except ClusterError as error:
        raise ClusterError(
            f"{error} Run the same command again to finish: until then the schedule {spec.name} "
            "may be off.",
            status=error.status,
        ) from None


def _create(cluster: Cluster, spec: ScheduleSpec) -> tuple[Schedule, str]:
    there = of_name(cluster, spec.name, spec.experiment_id)
    same = [schedule for schedule in there if schedule.mark == spec.mark]
    others = [schedule for schedule in there if schedule.mark != spec.mark]
    if not same or (any(other.is_on for other in others) and not any(it.is_on for it in same)):
        # Those of `same` were made for a replacement that did not come. They would run a tick
        # that the one that is on has run since.
        for schedule in same:
            remove(cluster, schedule)
        keep, done = _replace(cluster, spec, others), "replaced" if others else "created"
    else:
        # One that is on or, if a call ended after it turned the previous one off, the eldest: it
        # has seen every tick since.
        keep = max(same, key=lambda schedule: schedule.is_on)
        done = "unchanged" if keep.is_on != spec.paused else "paused" if keep.is_on else "resumed"
    (turn_off if spec.paused else turn_on)(cluster, keep)
    # Looked up again: a request to create that got no answer may have been late.
    for schedule in of_name(cluster, spec.name, spec.experiment_id):
        if schedule.id != keep.id:
            remove(cluster, schedule)
    return get(cluster, keep), done


def _replace(cluster: Cluster, spec: ScheduleSpec, others: list[Schedule]) -> Schedule:
    """Creates the schedule, off while others exist, and turns the others off."""
    if not others:
        # With a start in the past, the last tick before now would run at once.
        is_ahead = spec.start is not None and spec.start > cluster.now()
        return _make(cluster, spec, spec.start if spec.catchup or is_ahead else None, on=True)
    running = [schedule for schedule in others if schedule.is_on]
    _wait_for_quiet(cluster, running)
    # KFP's controller (backend/src/crd/controller/scheduledworkflow/util/cron_schedule.go) runs
    # the latest tick after the last run or, before the first, after the start time, at the moment
    # when a schedule is on. So a tick between turning one off and the other on is not lost, and
    # one before the start is not run twice.
    began = cluster.now()
    made = _make(cluster, spec, _start(spec, others, began), on=False)
    for schedule in running:
        turn_off(cluster, schedule)
    ended = cluster.now()
    if any(schedule.may_run(began, ended + timedelta(seconds=1)) for schedule in running):
        # It took long. The previous one may have run that tick, and the new one would as well.
        remove(cluster, made)
        made = _make(cluster, spec, _start(spec, others, ended), on=False)
    return made


def _start(spec: ScheduleSpec, others: list[Schedule], now: datetime) -> datetime:
    if spec.start and spec.start > now:
        return spec.start
    for schedule in others:
        if isinstance(spec.trigger, Interval) and schedule.trigger == spec.trigger:
            return spec.trigger.last_time(schedule.first_step, now)  # goes on in its step
    return now.replace(microsecond=0)


def _wait_for_quiet(cluster: Cluster, running: list[Schedule]) -> None:
    for _ in range(3):  # with ticks every few seconds there is no quiet moment
        now = cluster.now()
        if not any(it.may_run(now - timedelta(seconds=1), now + _QUIET) for it in running):
            return
        cluster.note("a run may start now; waiting until it has")
        cluster.sleep(_QUIET.total_seconds() + 2)


def _make(cluster: Cluster, spec: ScheduleSpec, start: datetime | None, *, on: bool) -> Schedule:
    modes = kfp_server_api.RecurringRunMode
    body = kfp_server_api.V2beta1RecurringRun(
        display_name=spec.name,
        description=f"Made by deep-retrieval schedule create. Version {spec.uploaded.version}. "
        f"[content {spec.mark}]",
        experiment_id=spec.experiment_id,
        namespace=cluster.namespace,
        pipeline_version_reference=version_reference(spec.uploaded),
        runtime_config=runtime_config(spec.parameters, spec.pipeline_root),
        service_account=spec.service_account,
        mode=modes.ENABLE if on and not spec.paused else modes.DISABLE,
        trigger=to_api(spec.trigger, start, spec.end),
        max_concurrency="1",
        no_catchup=not spec.catchup,
    )

    def find() -> Schedule | None:
        found = of_name(cluster, spec.name, spec.experiment_id)
        return next((schedule for schedule in found if schedule.mark == spec.mark), None)

    def send() -> Schedule:
        what = f"creating the schedule {spec.name}"
        method = API.recurring_run_service_create_recurring_run
        return Schedule(cluster.send(what, method, recurring_run=body))

    return cluster.create_once(find=find, create=send)[0]
