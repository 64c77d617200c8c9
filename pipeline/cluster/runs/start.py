"""Starts runs of an uploaded version of the pipeline."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.uploads.upload import Uploaded, version_reference


@dataclass(frozen=True)
class Started:
    """A run on the server.

    Args:
        run_id: Its id.
        name: Its name.
        link: The address of its page in the UI.
    """

    run_id: str
    name: str
    link: str


@dataclass(frozen=True)
class RunSettings:
    """What a run changes of the uploaded pipeline.

    Args:
        parameters: Values for the pipeline's parameters.
        service_account: The service account of its steps; None means the cluster's default.
        pipeline_root: Where artifacts are stored; None means the cluster's default.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    service_account: str | None = None
    pipeline_root: str | None = None


def start_run(
    cluster: Cluster,
    uploaded: Uploaded,
    experiment_id: str,
    name_prefix: str,
    settings: RunSettings | None = None,
    *,
    random_text: Callable[[], str] = lambda: secrets.token_hex(3),
) -> Started:
    """Start a run of an uploaded version.

    Args:
        cluster: The server.
        uploaded: The version.
        experiment_id: The experiment that the run belongs to.
        name_prefix: The start of the run's name, e.g. the config's name.
        settings: What the run changes of the pipeline; nothing by default.
        random_text: Returns a suffix that distinguishes runs of the same second.

    Raises:
        ClusterError: If the server refuses or cannot be reached.
    """
    settings = settings or RunSettings()
    name = f"{name_prefix}-{cluster.now():%Y%m%d-%H%M%S}-{random_text()}"
    body = kfp_server_api.V2beta1Run(
        display_name=name,
        experiment_id=experiment_id,
        pipeline_version_reference=version_reference(uploaded),
        runtime_config=runtime_config(settings.parameters, settings.pipeline_root),
        service_account=settings.service_account,
    )

    def find() -> Any:
        found = cluster.named(
            f"looking for the run {name}",
            kfp_server_api.RunServiceApi.run_service_list_runs,
            "runs",
            name,
            experiment_id=experiment_id,
            namespace=cluster.namespace,
        )
        return next(iter(found), None)

    run, _ = cluster.create_once(
        find=find,
        create=lambda: cluster.send(
            f"starting the run {name}",
            kfp_server_api.RunServiceApi.run_service_create_run,
            run=body,
        ),
    )
    return Started(run.run_id, name, cluster.link(f"runs/details/{run.run_id}"))


def runtime_config(parameters: Mapping[str, Any], pipeline_root: str | None) -> Any:
    """Return the parameters and the artifact store of a run or a schedule, as the API has them."""
    return kfp_server_api.V2beta1RuntimeConfig(
        parameters=dict(parameters), pipeline_root=pipeline_root
    )
