"""Starts a run of a schedule now, or for a past time."""

from datetime import UTC, datetime
from typing import Any

from components.resolve.job import SCHEDULED
from components.shared.runtime.errors import InputError
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.runs.start import RunSettings, Started, start_run
from pipeline.cluster.schedules.lookup import find_one
from pipeline.cluster.schedules.schedule import DATA_UNTIL, UNRESOLVED_TIME, Schedule
from pipeline.cluster.uploads.upload import Uploaded


def run_once(
    cluster: Cluster, name: str, at: datetime | None = None, experiment: str | None = None
) -> tuple[Started, Schedule, dict[str, Any]]:
    """Start a run now with a schedule's version, parameters, service account and pipeline root.

    Args:
        cluster: The server.
        name: The schedule's name.
        at: The scheduled time of the run, which takes the data before it; now by default.
        experiment: The experiment's name; None if the schedule's name is enough.

    Returns:
        The run, the schedule, and the run's parameters.

    Raises:
        InputError: If no schedule, or more than one, has this name; if the time is in the future,
            or the schedule's runs do not depend on time.
    """
    now = cluster.now()
    if at and at > now:
        raise InputError(f"--at {at:%Y-%m-%d %H:%M} UTC is in the future.")
    schedule = find_one(cluster, name, experiment)
    if not schedule.version_id:
        raise InputError(f"{name} was made elsewhere: it is not bound to a version.")
    parameters = schedule.parameters
    if at and DATA_UNTIL not in parameters:
        raise InputError(f"--at: each run of {name} takes the whole log, which has no timestamps.")
    time = f"{(at or now).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for key, value in parameters.items():
        if value in (SCHEDULED, UNRESOLVED_TIME) or (at and key == DATA_UNTIL):
            parameters[key] = time
    started = start_run(
        cluster,
        Uploaded(schedule.pipeline_id, schedule.version_id, version="", is_new=False),
        schedule.run.experiment_id,
        name,
        RunSettings(parameters, schedule.run.service_account, schedule.pipeline_root),
    )
    return started, schedule, parameters
