"""Reads the pipeline's versions on the server, and their definitions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]
import yaml

from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.errors import ClusterError
from pipeline.images import superseding_image

_API = kfp_server_api.PipelineServiceApi


@dataclass(frozen=True)
class Definition:
    """A compiled pipeline.

    Args:
        ir: KFP's intermediate representation, as plain JSON values.
        platform: The settings for Kubernetes.
    """

    ir: Mapping[str, Any]
    platform: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, compiled: str) -> "Definition":
        """Read the output of `compile_pipeline`."""
        return cls(*list(yaml.safe_load_all(compiled))[:2])

    @classmethod
    def from_api(cls, version: Any) -> "Definition":
        """Read a version as the server sends it: the IR alone, or both documents."""
        found = version.pipeline_spec or {}
        return cls(found.get("pipeline_spec", found), found.get("platform_spec", {}))

    def default(self, name: str) -> Any:
        """Return a pipeline parameter's default; None if the parameter or default is missing."""
        parameters = self.ir.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
        return parameters.get(name, {}).get("defaultValue")

    @property
    def images(self) -> frozenset[str]:
        """All images of the steps."""
        return frozenset(image for _, image in self._step_images())

    def superseded_images(self) -> dict[str, str]:
        """Return the images that differ from this checkout's.

        Returns:
            For each image that differs, this checkout's image in the same registry.

        Raises:
            InputError: If the code does not run from a checkout.
        """
        return {
            image: current
            for step, image in self._step_images()
            if (current := superseding_image(step, image)) is not None
        }

    def _step_images(self) -> Iterator[tuple[str, str]]:
        executors = self.ir.get("deploymentSpec", {}).get("executors", {})
        for label, executor in sorted(executors.items()):
            if image := executor.get("container", {}).get("image"):
                # kfp numbers the second task of a step: exec-fetch-published-2.
                task = re.sub(r"-\d+$", "", label.removeprefix("exec-"))
                yield task.replace("-", "_"), image


def versions_of(cluster: Cluster, pipeline_id: str, config_name: str) -> list[Any]:
    """Return the versions of a config, newest first.

    Args:
        cluster: The server.
        pipeline_id: The pipeline's id.
        config_name: The config's name, with which the versions' names start.
    """
    found = cluster.every(
        "listing the pipeline's versions",
        _API.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
    )
    # The form of `version_name`; another config's name may start with this one.
    pattern = re.compile(f"{re.escape(config_name)}-[0-9a-f]{{12}}")
    named = [version for version in found if pattern.fullmatch(version.display_name or "")]
    return sorted(named, key=lambda version: version.created_at, reverse=True)


def definition_of(cluster: Cluster, pipeline_id: str, version_id: str) -> tuple[Definition, str]:
    """Return a version's definition and name; an empty definition if the version is missing.

    Args:
        cluster: The server.
        pipeline_id: The pipeline's id.
        version_id: The version's id; empty for the latest version at the time of a run.
    """
    if not version_id:
        return Definition({}), "the latest at the time of a run"
    try:
        version = cluster.call(
            f"asking for the pipeline's version {version_id}",
            _API.pipeline_service_get_pipeline_version,
            pipeline_id=pipeline_id,
            pipeline_version_id=version_id,
        )
    except ClusterError as error:
        if error.missing:
            return Definition({}), f"{version_id}, which was deleted"
        raise
    return Definition.from_api(version), str(version.display_name)
