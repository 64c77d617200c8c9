"""Reads the versions of the pipeline that are on the server."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]
import yaml

from pipeline.cluster.api import Cluster, ClusterError
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
        """Reads what `compile_pipeline` wrote."""
        return cls(*list(yaml.safe_load_all(compiled))[:2])

    @classmethod
    def from_api(cls, version: Any) -> "Definition":
        """Reads a version as the server sends it: the IR alone, or both documents."""
        found = version.pipeline_spec or {}
        return cls(found.get("pipeline_spec", found), found.get("platform_spec", {}))

    def default(self, name: str) -> Any:
        """A pipeline parameter's default; none if there is no such parameter or default."""
        parameters = self.ir.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
        return parameters.get(name, {}).get("defaultValue")

    @property
    def images(self) -> frozenset[str]:
        """All images of the steps."""
        return frozenset(image for _, image in self._step_images())

    def superseded_images(self) -> dict[str, str]:
        """Compares its images with those that this checkout would use.

        Returns:
            For each image that differs, this checkout's one, in the same registry.

        Raises:
            InputError: If this is not a checkout.
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
    """Lists the versions that were made of a config, the newest first."""
    found = cluster.every(
        "listing the pipeline's versions",
        _API.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
    )
    # As `version_name` makes it; the versions of another config may begin with the same word.
    pattern = re.compile(f"{re.escape(config_name)}-[0-9a-f]{{12}}")
    named = [version for version in found if pattern.fullmatch(version.display_name or "")]
    return sorted(named, key=lambda version: version.created_at, reverse=True)


def definition_of(cluster: Cluster, pipeline_id: str, version_id: str) -> tuple[Definition, str]:
    """Asks for a version's definition and its name; an empty one if there is no such version."""
    if not version_id:
        return Definition({}), "whichever is the latest"
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
