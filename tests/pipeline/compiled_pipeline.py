"""A compiled pipeline as kfp's own messages; a key that they do not have is an error."""

from dataclasses import dataclass
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import (
    PipelineDeploymentConfig,
    PipelineSpec,
    PipelineTaskSpec,
    PlatformSpec,
    SinglePlatformSpec,
)

from components.shared.runtime.images import STEP_IMAGES
from pipeline.compilation import compile_pipeline
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig

Settings = dict[str, Any]
Container = PipelineDeploymentConfig.PipelineContainerSpec


def sample_with(cluster: Settings | None = None, *overrides: str) -> PipelineConfig:
    """The shipped sample with a section `cluster`."""
    values = load_config("sample", overrides).model_dump(mode="json", exclude_none=True)
    return PipelineConfig.model_validate({**values, "cluster": cluster or {}})


@dataclass(frozen=True)
class Compiled:
    """The two documents of a compiled pipeline."""

    ir: PipelineSpec
    platform: PlatformSpec

    @classmethod
    def of(cls, cluster: Settings | None = None, *overrides: str) -> "Compiled":
        """Compiles the sample with a section `cluster`."""
        return cls.read(compile_pipeline(sample_with(cluster, *overrides), STEP_IMAGES))

    @classmethod
    def read(cls, text: str) -> "Compiled":
        """Reads what `compile_pipeline` wrote; a key that kfp does not know is an error."""
        documents = list(yaml.safe_load_all(text))
        return cls(
            json_format.ParseDict(documents[0], PipelineSpec()),
            json_format.ParseDict(documents[1] if documents[1:] else {}, PlatformSpec()),
        )

    @property
    def default(self) -> dict[str, Any]:
        """The pipeline's parameters and their defaults."""
        parameters = self.ir.root.input_definitions.parameters
        return {
            name: json_format.MessageToDict(spec.default_value) for name, spec in parameters.items()
        }

    @property
    def on_kubernetes(self) -> SinglePlatformSpec:
        """The settings for Kubernetes."""
        return self.platform.platforms["kubernetes"]

    def task(self, step: str) -> PipelineTaskSpec:
        """A step's task, wherever it is: in the exit handler's group, in its loop, beside it."""
        name = step.replace("_", "-")
        groups = [self.ir.root.dag, *(component.dag for component in self.ir.components.values())]
        found = [group.tasks[name] for group in groups if name in group.tasks]
        assert len(found) == 1, f"{step} is {len(found)} times in the pipeline"
        return found[0]

    def container(self, step: str) -> Container:
        """A step's container, with its image and its command."""
        executors: dict[str, Any] = json_format.MessageToDict(self.ir.deployment_spec)["executors"]
        return json_format.ParseDict(
            executors[f"exec-{step.replace('_', '-')}"]["container"], Container()
        )

    def scheduled(self, step: str) -> Container:
        """A step's container without what it has on every machine."""
        container = self.container(step)
        for field in ("image", "command", "args"):
            container.ClearField(field)
        return container

    def pod(self, step: str) -> KubernetesExecutorConfig:
        """What a step's pod gets by Kubernetes' own means."""
        executors = self.on_kubernetes.deployment_spec.executors
        name = f"exec-{step.replace('_', '-')}"
        values = json_format.MessageToDict(executors[name]) if name in executors else {}
        return json_format.ParseDict(values, KubernetesExecutorConfig())
