"""Finds runs on a cluster, and the compiled pipelines that they come from."""

import re
from collections.abc import Mapping
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from components.shared.kubeflow.api_times import time_of
from components.shared.kubeflow.run_shape import RunShape
from components.shared.runtime.errors import InputError
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.client.redaction import clean
from pipeline.cluster.runs.experiments import find_experiment
from pipeline.cluster.uploads.upload import find_pipeline
from pipeline.definition import NAME

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# A run in a list carries all its tasks: half a megabyte.
_PAGE_SIZE = 10
_MAX_PAGES = 50


def get_run(cluster: Cluster, run_id: str, *, patience: float | None = None) -> Any:
    """Return the run with this id.

    Args:
        cluster: The server.
        run_id: The run's id.
        patience: For how many seconds to repeat the request; None means the default.

    Raises:
        ClusterError: If the run does not exist, or the server cannot be reached.
    """
    return cluster.call(
        f"asking for the run {run_id}",
        kfp_server_api.RunServiceApi.run_service_get_run,
        patience=patience,
        run_id=run_id,
    )


def find_run(cluster: Cluster, text: str) -> Any:
    """Return the run with this id or exactly this display name.

    Raises:
        InputError: If no run, or more than one, has this name.
        ClusterError: If the server refuses or cannot be reached.
    """
    if _ID.fullmatch(text):
        try:
            return get_run(cluster, text)
        except ClusterError as error:
            if error.status != 404:
                raise
    found = cluster.named(
        f"looking for the run {text}",
        kfp_server_api.RunServiceApi.run_service_list_runs,
        "runs",
        text,
        namespace=cluster.namespace,
    )
    if not found:
        raise InputError(
            f"no run has the id or name {text}. 'deep-retrieval runs --cluster' lists the latest "
            "runs."
        )
    if len(found) > 1:
        ids = ", ".join(clean(str(run.run_id), 40) for run in found[:5])
        raise InputError(f"{len(found)} runs are named {text}. Give an id instead: {ids}.")
    return get_run(cluster, found[0].run_id)


def as_json(run: Any) -> Mapping[str, Any]:
    """Return a run as the API's JSON; times may be `datetime` objects."""
    found = run.to_dict()
    return found if isinstance(found, Mapping) else {}


def shape_of(cluster: Cluster, run: Any) -> RunShape:
    """Return the steps of a run's compiled pipeline; empty if it cannot be read."""
    config = run.runtime_config
    parameters = config.parameters if config and isinstance(config.parameters, dict) else None
    specification = run.pipeline_spec
    reference = run.pipeline_version_reference
    if not specification and reference and reference.pipeline_version_id:
        try:
            version = cluster.call(
                "asking for the run's pipeline version",
                kfp_server_api.PipelineServiceApi.pipeline_service_get_pipeline_version,
                patience=10.0,
                pipeline_id=reference.pipeline_id,
                pipeline_version_id=reference.pipeline_version_id,
            )
        except ClusterError:
            return RunShape()  # a version may be deleted before its runs
        specification = version.pipeline_spec
    return RunShape.of(specification, parameters)


def latest_runs(cluster: Cluster, experiment: str | None, limit: int) -> list[Any]:
    """Return the latest runs of the pipeline, newest first.

    Args:
        cluster: The server.
        experiment: The name of an experiment; None means all of the namespace.
        limit: Maximum number of runs.

    Raises:
        InputError: If the experiment or the pipeline does not exist.
        ClusterError: If the server refuses or cannot be reached.
    """
    options: dict[str, Any] = {"namespace": cluster.namespace} if cluster.namespace else {}
    if experiment:
        found = find_experiment(cluster, experiment)
        if not found:
            raise InputError(f"--experiment {experiment}: no experiment has this name.")
        options["experiment_id"] = found.experiment_id
    pipeline = find_pipeline(cluster)
    if pipeline is None:
        raise InputError(
            f"the pipeline {NAME} is not on this cluster: 'deep-retrieval submit' uploads it."
        )
    runs: list[Any] = []
    token = ""
    for _ in range(_MAX_PAGES):
        page = cluster.call(
            "listing runs",
            kfp_server_api.RunServiceApi.run_service_list_runs,
            page_token=token,
            page_size=_PAGE_SIZE,
            sort_by="created_at desc",
            **options,
        )
        runs += [run for run in page.runs or [] if _pipeline_of(run) == pipeline.pipeline_id]
        token = page.next_page_token or ""
        if not token or len(runs) >= limit:
            break
    return runs[:limit]


def seconds_of(run: Mapping[str, Any], now: Any) -> float | None:
    """Return the duration of a run in seconds, up to now if it has not ended.

    Args:
        run: The run, as the API's JSON.
        now: The server's time.
    """
    began = time_of(run.get("created_at"))
    ended = time_of(run.get("finished_at")) or now
    return max(0.0, (ended - began).total_seconds()) if began else None


def _pipeline_of(run: Any) -> str:
    reference = run.pipeline_version_reference
    return str(reference.pipeline_id) if reference else ""
