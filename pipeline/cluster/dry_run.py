"""Tells what a submission or a schedule would change on a cluster; sends only questions."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC

from pipeline.cluster.api import Cluster
from pipeline.cluster.diff import differences
from pipeline.cluster.replacement import ScheduleSpec
from pipeline.cluster.schedules import of_name
from pipeline.cluster.submission import find_experiment, find_pipeline
from pipeline.cluster.versions import Definition, definition_of, versions_of
from pipeline.compilation import version_name
from pipeline.definition import NAME


def dry_run(
    cluster: Cluster,
    config_name: str,
    compiled: str,
    experiment: str,
    schedule: ScheduleSpec | None = None,
) -> Iterator[str]:
    """Tells what is there, and how the pipeline differs from the config's latest version.

    Args:
        cluster: Where.
        config_name: The config's name, which the versions' names begin with.
        compiled: The compiled pipeline.
        experiment: The experiment's name.
        schedule: What the schedule should be; its experiment and its version need no id.

    Yields:
        Lines for people.
    """
    yield "dry run: nothing is created, uploaded or started"
    version = version_name(config_name, compiled)
    pipeline = find_pipeline(cluster, NAME)
    yield f"pipeline    {NAME} {'is there already' if pipeline else 'would be created'}"
    versions = versions_of(cluster, pipeline.pipeline_id, config_name) if pipeline else []
    same = next((found for found in versions if found.display_name == version), None)
    yield f"version     {version} {'is there already' if same else 'would be uploaded'}"
    found = find_experiment(cluster, experiment)
    state = "would be created" if found is None else "is there already"
    if found and found.storage_state == "ARCHIVED":
        state = "is archived: restore it in the UI, or choose another one"
    yield f"experiment  {experiment} {state}"
    if schedule:
        spec = replace(
            schedule,
            experiment_id=found.experiment_id if found else "",
            uploaded=replace(
                schedule.uploaded, version_id=same.pipeline_version_id if same else ""
            ),
        )
        yield f"schedule    {spec.name} {_schedule(cluster, spec)}"
    if not versions:
        yield f"There is no version of {config_name} to compare with."
        return
    latest = versions[0]
    yield (
        f"Compared with {latest.display_name}, its latest version, of "
        f"{latest.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC:"
    )
    known, _ = definition_of(cluster, pipeline.pipeline_id, latest.pipeline_version_id)
    lines = differences(known, Definition.read(compiled))
    yield from (f"  {line}" for line in lines or ["nothing would change"])


def _schedule(cluster: Cluster, spec: ScheduleSpec) -> str:
    when = spec.trigger.shown
    there = of_name(cluster, spec.name, spec.experiment_id) if spec.experiment_id else []
    if not there:
        return f"would be created ({when})"
    same = [schedule for schedule in there if schedule.mark == spec.mark]
    if not same:
        old = there[-1].trigger.shown if there[-1].trigger else "another trigger"
        return f"would be replaced ({when if old == when else f'{old} -> {when}'})"
    if any(schedule.is_on == spec.paused for schedule in same):
        return f"is there already, and would be {'paused' if spec.paused else 'resumed'}"
    return f"is there already ({when})"
