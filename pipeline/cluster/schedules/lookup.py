"""Finds schedules by name."""

from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.runs.experiments import find_experiment
from pipeline.cluster.schedules.schedule import Schedule

_API = kfp_server_api.RecurringRunServiceApi


def of_name(cluster: Cluster, name: str, experiment_id: str | None) -> list[Schedule]:
    """Return the schedules with this name, oldest first.

    Args:
        cluster: The server.
        name: The name.
        experiment_id: The experiment; None means all experiments.
    """
    found = cluster.named(
        f"looking for the schedule {name}",
        _API.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        name,
        namespace=cluster.namespace,
        experiment_id=experiment_id,
    )
    found.sort(key=lambda run: (run.created_at, run.recurring_run_id))
    return [Schedule(run) for run in found]


def list_all(cluster: Cluster, experiment: str | None = None) -> list[Schedule]:
    """Return all schedules, sorted by name.

    Args:
        cluster: The server.
        experiment: The name of an experiment; None means all of the namespace.
    """
    found = cluster.every(
        "listing schedules",
        _API.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        namespace=cluster.namespace,
        experiment_id=_experiment_id(cluster, experiment),
    )
    return sorted(map(Schedule, found), key=lambda schedule: (schedule.name, schedule.id))


def find(cluster: Cluster, name: str, experiment: str | None = None) -> list[Schedule]:
    """Return the schedules with this name in one experiment, oldest first.

    A failed replacement leaves more than one.

    Args:
        cluster: The server.
        name: The schedule's name.
        experiment: The experiment's name; None if the schedule's name is enough.

    Raises:
        InputError: If no schedule has this name, or several experiments have one.
    """
    found = of_name(cluster, name, _experiment_id(cluster, experiment))
    if not found:
        names = sorted({schedule.name for schedule in list_all(cluster, experiment)})
        raise InputError(
            f"no schedule is named {name}. "
            + (f"Schedules: {', '.join(names)}." if names else "The cluster has no schedules.")
        )
    experiments = {schedule.run.experiment_id for schedule in found}
    if len(experiments) > 1:
        where = ", ".join(sorted(_experiment_name(cluster, id_) for id_ in experiments))
        raise InputError(
            f"several experiments have a schedule {name}: {where}. Choose one with --experiment."
        )
    return found


def find_one(cluster: Cluster, name: str, experiment: str | None = None) -> Schedule:
    """Return the only schedule with this name.

    Args:
        cluster: The server.
        name: The schedule's name.
        experiment: The experiment's name; None if the schedule's name is enough.

    Raises:
        InputError: If no schedule, or more than one, has this name.
    """
    found = find(cluster, name, experiment)
    if len(found) > 1:
        raise InputError(
            f"{len(found)} schedules are named {name}, left by a replacement that failed. Run "
            "'schedule create' again: it keeps one of them."
        )
    return found[0]


def _experiment_id(cluster: Cluster, name: str | None) -> str | None:
    found = find_experiment(cluster, name) if name else None
    if name and found is None:
        raise InputError(f"--experiment {name}: no experiment has this name.")
    return found and str(found.experiment_id)


def _experiment_name(cluster: Cluster, experiment_id: str) -> str:
    found: Any = cluster.call(
        f"asking for the experiment {experiment_id}",
        kfp_server_api.ExperimentServiceApi.experiment_service_get_experiment,
        experiment_id=experiment_id,
    )
    return str(found.display_name)
