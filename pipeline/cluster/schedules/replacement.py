"""Creates or replaces a schedule, without missing a run and without an extra one."""

from datetime import datetime, timedelta

import kfp_server_api  # type: ignore[import-untyped]

from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.runs.start import runtime_config
from pipeline.cluster.schedules.changes import get, remove, turn_off, turn_on
from pipeline.cluster.schedules.lookup import of_name
from pipeline.cluster.schedules.schedule import Schedule
from pipeline.cluster.schedules.spec import ScheduleSpec
from pipeline.cluster.schedules.triggers import Interval, to_api
from pipeline.cluster.uploads.upload import version_reference

# A replacement takes a few requests. It starts only if no tick is closer than this.
_QUIET = timedelta(seconds=10)


def create(cluster: Cluster, spec: ScheduleSpec) -> tuple[Schedule, str]:
    """Create a schedule, or replace the one with the same name.

    The API has no update. An identical schedule is kept, a different one is replaced, and two
    are never on at the same time. Leftovers of a failed call are used or removed.

    Args:
        cluster: The server.
        spec: The specification.

    Returns:
        The schedule on the server, and what was done: `created`, `replaced`,
        `unchanged`, `resumed` or `paused`.

    Raises:
        ClusterError: If a request fails. Repeating the call finishes the work.
    """
    try:
        return _create(cluster, spec)
    except ClusterError as error:
        raise ClusterError(
            f"{error} Run the same command again to finish. Until then, the schedule {spec.name} "
            "may be off.",
            status=error.status,
        ) from None


def _create(cluster: Cluster, spec: ScheduleSpec) -> tuple[Schedule, str]:
    there = of_name(cluster, spec.name, spec.experiment_id)
    same = [schedule for schedule in there if schedule.mark == spec.mark]
    others = [schedule for schedule in there if schedule.mark != spec.mark]
    if not same or (any(other.is_on for other in others) and not any(it.is_on for it in same)):
        # The schedules in `same` are left from an unfinished replacement. They would repeat a
        # tick that the schedule in use has run since.
        for schedule in same:
            remove(cluster, schedule)
        keep, done = _replace(cluster, spec, others), "replaced" if others else "created"
    else:
        # The one that is on. If none is, a call ended after it turned the previous schedule off:
        # keep the oldest, which counts every tick since.
        keep = max(same, key=lambda schedule: schedule.is_on)
        done = "unchanged" if keep.is_on != spec.paused else "paused" if keep.is_on else "resumed"
    (turn_off if spec.paused else turn_on)(cluster, keep)
    # Looked up again: an unanswered request to create may have arrived late.
    for schedule in of_name(cluster, spec.name, spec.experiment_id):
        if schedule.id != keep.id:
            remove(cluster, schedule)
    return get(cluster, keep), done


def _replace(cluster: Cluster, spec: ScheduleSpec, others: list[Schedule]) -> Schedule:
    """Create the schedule, turned off while others exist, and turn the others off."""
    if not others:
        # With a start in the past, the last tick before now would run immediately.
        is_ahead = spec.start is not None and spec.start > cluster.now()
        return _make(cluster, spec, spec.start if spec.catchup or is_ahead else None, on=True)
    running = [schedule for schedule in others if schedule.is_on]
    _wait_for_quiet(cluster, running)
    # As soon as a schedule is on, KFP's controller (backend/src/crd/controller/scheduledworkflow/
    # util/cron_schedule.go) runs its latest tick after its last run or, before the first run,
    # after its start time. So a tick between turning the old one off and the new one on is not
    # lost, and a tick before the start does not run twice.
    began = cluster.now()
    made = _make(cluster, spec, _start(spec, others, began), on=False)
    for schedule in running:
        turn_off(cluster, schedule)
    ended = cluster.now()
    if any(schedule.may_run(began, ended + timedelta(seconds=1)) for schedule in running):
        # A tick has passed. The previous schedule may have run it, and the new one would repeat it.
        remove(cluster, made)
        made = _make(cluster, spec, _start(spec, others, ended), on=False)
    return made


def _start(spec: ScheduleSpec, others: list[Schedule], now: datetime) -> datetime:
    if spec.start and spec.start > now:
        return spec.start
    for schedule in others:
        if isinstance(spec.trigger, Interval) and schedule.trigger == spec.trigger:
            return spec.trigger.last_time(schedule.first_step, now)  # keep the same steps
    return now.replace(microsecond=0)


def _wait_for_quiet(cluster: Cluster, running: list[Schedule]) -> None:
    for _ in range(3):  # ticks every few seconds leave no quiet moment
        now = cluster.now()
        if not any(it.may_run(now - timedelta(seconds=1), now + _QUIET) for it in running):
            return
        cluster.note("a run may start now; waiting until it has started")
        cluster.clock.sleep(_QUIET.total_seconds() + 2)


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
        method = kfp_server_api.RecurringRunServiceApi.recurring_run_service_create_recurring_run
        return Schedule(cluster.send(what, method, recurring_run=body))

    return cluster.create_once(find=find, create=send)[0]
