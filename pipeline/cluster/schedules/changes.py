"""Turns schedules on and off, and deletes them."""

from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from pipeline.cluster.client.cluster import Cluster, Method
from pipeline.cluster.schedules.lookup import find, find_one
from pipeline.cluster.schedules.schedule import Schedule

_API = kfp_server_api.RecurringRunServiceApi


def get(cluster: Cluster, schedule: Schedule) -> Schedule:
    """Return the current state of a schedule."""
    method = _API.recurring_run_service_get_recurring_run
    return Schedule(_request(cluster, "asking for", method, schedule))


def turn_on(cluster: Cluster, schedule: Schedule) -> None:
    """Make a schedule start runs; do nothing if it is on."""
    if not schedule.is_on:
        method = _API.recurring_run_service_enable_recurring_run
        _request(cluster, "resuming", method, schedule)


def turn_off(cluster: Cluster, schedule: Schedule) -> None:
    """Keep a schedule from starting runs; do nothing if it is off."""
    if schedule.is_on:
        method = _API.recurring_run_service_disable_recurring_run
        _request(cluster, "pausing", method, schedule)


def remove(cluster: Cluster, schedule: Schedule) -> None:
    """Delete a schedule; keep its runs."""
    cluster.delete(
        f"deleting the schedule {schedule.name}",
        _API.recurring_run_service_delete_recurring_run,
        recurring_run_id=schedule.id,
    )


def pause(cluster: Cluster, name: str, experiment: str | None = None) -> Schedule:
    """Turn the schedule with this name off, and return it.

    Args:
        cluster: The server.
        name: The schedule's name.
        experiment: The experiment's name; None if the schedule's name is enough.
    """
    found = find(cluster, name, experiment)
    for schedule in found:
        turn_off(cluster, schedule)
    return get(cluster, found[0])


def resume(cluster: Cluster, name: str, experiment: str | None = None) -> Schedule:
    """Turn the schedule with this name on, and return it.

    Args:
        cluster: The server.
        name: The schedule's name.
        experiment: The experiment's name; None if the schedule's name is enough.

    Raises:
        InputError: If no schedule, or more than one, has this name.
    """
    schedule = find_one(cluster, name, experiment)
    turn_on(cluster, schedule)
    return get(cluster, schedule)


def delete(cluster: Cluster, name: str, experiment: str | None = None) -> None:
    """Delete the schedule with this name, and the leftovers of failed replacements.

    Args:
        cluster: The server.
        name: The schedule's name.
        experiment: The experiment's name; None if the schedule's name is enough.
    """
    for schedule in find(cluster, name, experiment):
        remove(cluster, schedule)


def _request(cluster: Cluster, what: str, method: Method, schedule: Schedule) -> Any:
    return cluster.call(
        f"{what} the schedule {schedule.name}", method, recurring_run_id=schedule.id
    )
