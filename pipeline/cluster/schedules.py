"""The schedules on a server: KFP's recurring runs, found by name."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from components.resolve.job import SCHEDULED
from components.shared.runtime.errors import InputError
from pipeline.cluster.api import Cluster, Method
from pipeline.cluster.cron import Cron
from pipeline.cluster.submission import Started, Uploaded, find_experiment, start_run
from pipeline.cluster.triggers import Trigger, from_api

DATA_UNTIL = "data_until"
# Earlier versions of this tool sent it. KFP 2 hands it to the runs as it is, letter for letter.
UNRESOLVED_TIME = "[[ScheduledTime]]"
_MARK = re.compile(r"\[content ([0-9a-f]{16})\]")
API = kfp_server_api.RecurringRunServiceApi


@dataclass(frozen=True)
class Schedule:
    """A recurring run on the server.

    Args:
        run: As the API has it.
    """

    run: Any

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.run.recurring_run_id)

    @property
    def name(self) -> str:
        """Its name; the server gives none for one that it cannot read itself."""
        return str(self.run.display_name or self.id)

    @property
    def is_on(self) -> bool:
        """Whether it starts runs."""
        return (self.run.status or f"{self.run.mode}D") == "ENABLED"

    @property
    def mark(self) -> str:
        """The `ScheduleSpec.mark` that it was made of."""
        match = _MARK.search(self.run.description or "")
        return match[1] if match else ""

    @property
    def trigger(self) -> Trigger | None:
        """When it runs; none if it was made elsewhere and cannot be read."""
        return from_api(self.run.trigger)

    @property
    def parameters(self) -> dict[str, Any]:
        """What its runs change of the pipeline's parameters."""
        return dict((self.run.runtime_config and self.run.runtime_config.parameters) or {})

    @property
    def pipeline_id(self) -> str:
        """The pipeline that it runs; empty if it was made elsewhere, of no pipeline."""
        reference = self.run.pipeline_version_reference
        return str((reference and reference.pipeline_id) or "")

    @property
    def version_id(self) -> str:
        """The version that it runs; empty for whichever is the latest."""
        reference = self.run.pipeline_version_reference
        return str((reference and reference.pipeline_version_id) or "")

    def limit(self, name: str) -> datetime | None:
        """Its `start_time` or `end_time`, if it has one."""
        trigger = self.run.trigger and (
            self.run.trigger.cron_schedule or self.run.trigger.periodic_schedule
        )
        time = trigger and getattr(trigger, name)
        return time if isinstance(time, datetime) and time.year > 1970 else None

    @property
    def first_step(self) -> datetime:
        """What an interval is counted from, as far as the API shows it."""
        return self.limit("start_time") or self.run.created_at

    def next_times(self, now: datetime, count: int = 3) -> list[datetime]:
        """Computes the next times it runs; none if its trigger cannot be read."""
        begin, end = max(now, self.limit("start_time") or now), self.limit("end_time")
        trigger = self.trigger
        if trigger is None:
            return []
        if isinstance(trigger, Cron):
            times = trigger.next_times(begin, count)
        else:
            times = trigger.next_times(self.first_step, begin, count)
        return [time for time in times if end is None or time <= end]

    def may_run(self, after: datetime, until: datetime) -> bool:
        """Whether a run may start in that time, whatever the controller's time zone."""
        if isinstance(self.trigger, Cron):
            passed = int((until - after.replace(microsecond=0)).total_seconds())
            seconds = {(after.second + number) % 60 for number in range(1, min(passed, 60) + 1)}
            return bool(seconds & self.trigger.seconds)
        return any(time <= until for time in self.next_times(after, 1))


def of_name(cluster: Cluster, name: str, experiment_id: str | None) -> list[Schedule]:
    """Lists the schedules of a name, the eldest first."""
    found = cluster.named(
        f"looking for the schedule {name}",
        API.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        name,
        namespace=cluster.namespace,
        experiment_id=experiment_id,
    )
    found.sort(key=lambda run: (run.created_at, run.recurring_run_id))
    return [Schedule(run) for run in found]


def list_all(cluster: Cluster, experiment: str | None = None) -> list[Schedule]:
    """Lists all schedules of the namespace, or of an experiment."""
    found = cluster.every(
        "listing schedules",
        API.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        namespace=cluster.namespace,
        experiment_id=_experiment_id(cluster, experiment),
    )
    return sorted(map(Schedule, found), key=lambda schedule: (schedule.name, schedule.id))


def find(cluster: Cluster, name: str, experiment: str | None = None) -> list[Schedule]:
    """Finds the schedules of a name in one experiment; more than one is a leftover.

    Raises:
        InputError: If there is none, or there are some in several experiments.
    """
    found = of_name(cluster, name, _experiment_id(cluster, experiment))
    if not found:
        names = sorted({schedule.name for schedule in list_all(cluster, experiment)})
        raise InputError(
            f"there is no schedule {name}. "
            + (f"There are: {', '.join(names)}." if names else "There is none at all.")
        )
    experiments = {schedule.run.experiment_id for schedule in found}
    if len(experiments) > 1:
        where = ", ".join(sorted(_experiment_name(cluster, id_) for id_ in experiments))
        raise InputError(
            f"there are schedules {name} in the experiments {where}: choose one with --experiment."
        )
    return found


def _find_one(cluster: Cluster, name: str, experiment: str | None) -> Schedule:
    found = find(cluster, name, experiment)
    if len(found) > 1:
        raise InputError(
            f"there are {len(found)} schedules {name}, left by a replacement that failed. Run "
            "'schedule create' again: it keeps one."
        )
    return found[0]


def _experiment_id(cluster: Cluster, name: str | None) -> str | None:
    found = find_experiment(cluster, name) if name else None
    if name and found is None:
        raise InputError(f"--experiment {name}: there is none of that name.")
    return found and str(found.experiment_id)


def _experiment_name(cluster: Cluster, experiment_id: str) -> str:
    found = cluster.call(
        f"asking for the experiment {experiment_id}",
        kfp_server_api.ExperimentServiceApi.experiment_service_get_experiment,
        experiment_id=experiment_id,
    )
    return str(found.display_name)


def _change(cluster: Cluster, what: str, method: Method, schedule: Schedule) -> Any:
    return cluster.call(
        f"{what} the schedule {schedule.name}", method, recurring_run_id=schedule.id
    )


def get(cluster: Cluster, schedule: Schedule) -> Schedule:
    """Asks for a schedule as it is now."""
    method = API.recurring_run_service_get_recurring_run
    return Schedule(_change(cluster, "asking for", method, schedule))


def turn_on(cluster: Cluster, schedule: Schedule) -> None:
    """Lets a schedule start runs, if it does not."""
    if not schedule.is_on:
        method = API.recurring_run_service_enable_recurring_run
        _change(cluster, "resuming", method, schedule)


def turn_off(cluster: Cluster, schedule: Schedule) -> None:
    """Keeps a schedule from starting runs, if it does."""
    if schedule.is_on:
        method = API.recurring_run_service_disable_recurring_run
        _change(cluster, "pausing", method, schedule)


def remove(cluster: Cluster, schedule: Schedule) -> None:
    """Deletes a schedule; its runs stay."""
    cluster.delete(
        f"deleting the schedule {schedule.name}",
        API.recurring_run_service_delete_recurring_run,
        recurring_run_id=schedule.id,
    )


def pause(cluster: Cluster, name: str, experiment: str | None = None) -> Schedule:
    """Turns the schedule of a name off; off already is fine."""
    found = find(cluster, name, experiment)
    for schedule in found:
        turn_off(cluster, schedule)
    return get(cluster, found[0])


def resume(cluster: Cluster, name: str, experiment: str | None = None) -> Schedule:
    """Turns the schedule of a name on; on already is fine.

    Raises:
        InputError: If there are several of the name, so that it is not clear which.
    """
    schedule = _find_one(cluster, name, experiment)
    turn_on(cluster, schedule)
    return get(cluster, schedule)


def delete(cluster: Cluster, name: str, experiment: str | None = None) -> None:
    """Deletes the schedule of a name, and what a replacement that failed has left of it."""
    for schedule in find(cluster, name, experiment):
        remove(cluster, schedule)


def run_once(
    cluster: Cluster, name: str, at: datetime | None = None, experiment: str | None = None
) -> tuple[Started, Schedule, dict[str, Any]]:
    """Starts a run now as a schedule would: its version, parameters, account and root.

    Args:
        cluster: Where.
        name: The schedule's name.
        at: What stands for the scheduled time, so that the run takes the data before it; now by
            default.
        experiment: The schedule's experiment; none if its name is enough.

    Returns:
        The run, the schedule, and the run's parameters.

    Raises:
        InputError: If there is no such schedule, or several; or the time is in the future, or
            the schedule's runs do not go by time.
    """
    now = cluster.now()
    if at and at > now:
        raise InputError(f"--at {at:%Y-%m-%d %H:%M} UTC is in the future.")
    schedule = _find_one(cluster, name, experiment)
    if not schedule.version_id:
        raise InputError(f"{name} was made elsewhere: it is not bound to a version.")
    parameters = schedule.parameters
    if at and DATA_UNTIL not in parameters:
        raise InputError(f"--at: each run of {name} takes the whole log, which has no timestamps.")
    time = f"{(at or now).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for key, value in parameters.items():
        if value in (SCHEDULED, UNRESOLVED_TIME) or (at and key == DATA_UNTIL):
            parameters[key] = time
    config = schedule.run.runtime_config
    started = start_run(
        cluster,
        Uploaded(schedule.pipeline_id, schedule.version_id, version="", is_new=False),
        schedule.run.experiment_id,
        name,
        parameters=parameters,
        service_account=schedule.run.service_account,
        pipeline_root=config and config.pipeline_root,
    )
    return started, schedule, parameters
