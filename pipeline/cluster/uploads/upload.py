"""Uploads the compiled pipeline; a version is named by its content and uploaded once."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]

from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.errors import ClusterError
from pipeline.compilation import version_name
from pipeline.definition import NAME


@dataclass(frozen=True)
class Uploaded:
    """A version of the pipeline on the server.

    Args:
        pipeline_id: The pipeline's id.
        version_id: The version's id.
        version: The version's name.
        is_new: Whether this call uploaded it.
    """

    pipeline_id: str
    version_id: str
    version: str
    is_new: bool


def upload(cluster: Cluster, config_name: str, compiled: str, name: str = NAME) -> Uploaded:
    """Upload the pipeline, unless the server has a version with the same content.

    Args:
        cluster: The server.
        config_name: The config's name, with which the version's name starts.
        compiled: The compiled pipeline, as YAML.
        name: The pipeline's name.

    Raises:
        ClusterError: If the server refuses or cannot be reached. A version is never
            uploaded in part.
    """
    pipeline, _ = cluster.create_once(
        find=lambda: find_pipeline(cluster, name),
        # Not the API that uploads a pipeline: it adds a first version with the pipeline's name.
        create=lambda: cluster.send(
            f"creating the pipeline {name}",
            kfp_server_api.PipelineServiceApi.pipeline_service_create_pipeline,
            pipeline=kfp_server_api.V2beta1Pipeline(
                name=name, display_name=name, namespace=cluster.namespace
            ),
        ),
    )
    version = version_name(config_name, compiled)

    def find_version() -> Any:
        found = cluster.named(
            f"looking for version {version}",
            kfp_server_api.PipelineServiceApi.pipeline_service_list_pipeline_versions,
            "pipeline_versions",
            version,
            key="name",  # a PipelineVersion resource need not have a display name
            pipeline_id=pipeline.pipeline_id,
        )
        return next(iter(found), None)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(compiled, encoding="utf-8")
        try:
            uploaded, is_new = cluster.create_once(
                find=find_version,
                create=lambda: cluster.send(
                    f"uploading version {version}",
                    kfp_server_api.PipelineUploadServiceApi.upload_pipeline_version,
                    uploadfile=str(path),
                    name=version,
                    display_name=version,
                    pipelineid=pipeline.pipeline_id,
                ),
            )
        except ClusterError as error:
            if error.status != 409:
                raise
            raise ClusterError(f"{error} {_unlisted(version, name)}", status=409) from None
    if is_new and cluster.keeps_resources:
        cluster.note(f"uploaded {name}-{version} as a resource. {_unlisted(version, name)}")
    return Uploaded(pipeline.pipeline_id, uploaded.pipeline_version_id, version, is_new)


def _unlisted(version: str, name: str) -> str:
    # ListPipelineVersions selects by this label, and CreatePipelineVersion refuses a name only if
    # its resource has the pipeline as its owner (2.17's backend/src/apiserver/storage/
    # pipeline_store_kubernetes.go). KFP's webhook sets both; no request lists a resource without.
    return (
        f"A PipelineVersion {version} or {name}-{version} that was applied without KFP's webhook "
        "is not listed, as it lacks the label pipelines.kubeflow.org/pipeline-id: see 'kubectl get "
        "pipelineversions --show-labels', and delete it or apply it again with the webhook."
    )


def find_pipeline(cluster: Cluster, name: str = NAME) -> Any:
    """Return the pipeline with this name; None if it does not exist."""
    arguments: dict[str, Any] = {"namespace": cluster.namespace} if cluster.namespace else {}
    try:
        return cluster.call(
            f"looking for the pipeline {name}",
            kfp_server_api.PipelineServiceApi.pipeline_service_get_pipeline_by_name,
            name=name,
            **arguments,
        )
    except ClusterError as error:
        if error.missing:
            return None
        raise


def version_reference(uploaded: Uploaded) -> Any:
    """Return the reference by which runs and schedules name an uploaded version."""
    return kfp_server_api.V2beta1PipelineVersionReference(
        pipeline_id=uploaded.pipeline_id, pipeline_version_id=uploaded.version_id
    )
