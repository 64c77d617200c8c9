"""Reports what a submission or a schedule would change on a cluster, and changes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC

from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.runs.experiments import find_experiment
from pipeline.cluster.schedules.lookup import of_name
from pipeline.cluster.schedules.spec import ScheduleSpec
from pipeline.cluster.uploads.diff import differences
from pipeline.cluster.uploads.upload import find_pipeline
from pipeline.cluster.uploads.versions import Definition, definition_of, versions_of
from pipeline.compilation import version_name
from pipeline.definition import NAME


def dry_run(
    cluster: Cluster,
    config_name: str,
    compiled: str,
    experiment: str,
    schedule: ScheduleSpec | None = None,
) -> Iterator[str]:
    """Report what exists, and how the pipeline differs from the config's latest version.

    Args:
        cluster: The server.
        config_name: The config's name, with which the versions' names start.
        compiled: The compiled pipeline, as YAML.
        experiment: The experiment's name.
        schedule: The specification of a schedule; its experiment and version need no ids.

    Yields:
        Lines for the user.
    """
    yield "dry run: nothing is created, uploaded or started"
    version = version_name(config_name, compiled)
    pipeline = find_pipeline(cluster, NAME)
    yield f"pipeline    {NAME} {'exists' if pipeline else 'would be created'}"
    versions = versions_of(cluster, pipeline.pipeline_id, config_name) if pipeline else []
    same = next((found for found in versions if found.display_name == version), None)
    yield f"version     {version} {'exists' if same else 'would be uploaded'}"
    found = find_experiment(cluster, experiment)
    state = "would be created" if found is None else "exists"
    if found and found.storage_state == "ARCHIVED":
        state = "is archived: restore it in the UI, or choose another experiment"
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
        yield f"The server has no version of {config_name} to compare with."
        return
    latest = versions[0]
    yield (
        f"Compared with the latest version of this config, {latest.display_name}, of "
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
        return f"exists, and would be {'paused' if spec.paused else 'resumed'}"
    return f"exists ({when})"
