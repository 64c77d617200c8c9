"""The config's section `cluster`: how steps are placed on nodes, and how long they may take."""

import re
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from components.images import STEP_IMAGES

# As kfp 2.17 and Kubernetes write quantities.
Cpu = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?m?$")]
Memory = Annotated[str, StringConstraints(pattern=r"^\d+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
MountPath = Annotated[str, StringConstraints(pattern=r"^/")]
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(ACCESS|API|PRIVATE)_?KEY", re.I
)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Accelerator(_Settings):
    """Accelerators of a step.

    Args:
        type: The resource's name on the node, e.g. `nvidia.com/gpu`.
        count: How many.
    """

    type: str = Field("nvidia.com/gpu", min_length=1)
    count: int = Field(1, ge=1)


class Toleration(_Settings):
    """A taint that a step tolerates; see Kubernetes.

    Args:
        key: Of the taint; none tolerates all, with `Exists`.
        operator: `Exists`, or `Equal` with a value.
        value: Of the taint, with `Equal`.
        effect: Which effect; all by default.
        seconds: How long a `NoExecute` taint is tolerated; forever by default.
    """

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "Toleration":
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("toleration: operator Equal needs a value, and Exists has none")
        if self.key is None and self.operator == "Equal":
            raise ValueError("toleration: operator Equal needs a key")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("toleration: seconds count only with effect NoExecute")
        return self


class Retry(_Settings):
    """How often a failed step is tried again.

    Args:
        count: Attempts after the first.
        backoff_seconds: The wait before the second attempt.
        backoff_factor: By which each wait is longer than the one before.
        max_backoff_seconds: The longest wait.
    """

    count: int = Field(ge=0)
    backoff_seconds: int = Field(60, ge=0)
    backoff_factor: float = Field(2.0, ge=1)
    max_backoff_seconds: int = Field(3600, ge=0)


class SecretEnv(_Settings):
    """Keys of a Kubernetes secret as environment variables.

    Args:
        secret: Its name, in the run's namespace.
        env: The key of each variable: `AWS_ACCESS_KEY_ID: access-key`.
    """

    secret: Name
    env: dict[EnvName, str] = Field(min_length=1)


class Volume(_Settings):
    """A persistent volume claim.

    Args:
        claim: Its name, in the run's namespace.
        mount_path: Where steps see it.
        sub_path: The part of it that they see; all by default.
    """

    claim: Name
    mount_path: MountPath
    sub_path: str = ""


class StepScheduling(_Settings):
    """How a step is placed on a node, and how long it may take.

    Args:
        cpu_request: CPUs that the node must have free, e.g. `500m` or `4`.
        cpu_limit: CPUs that it may use.
        memory_request: Memory that the node must have free, e.g. `8Gi`.
        memory_limit: Memory that it may use.
        accelerator: GPUs.
        node_selector: Labels that the node must have.
        tolerations: Taints that the node may have.
        shared_memory: Size of /dev/shm; a container's is 64 MiB by default.
        timeout_seconds: After which the step's pod is stopped.
        retry: How often it is tried again.
        secrets: Secrets as environment variables.
        env: Other environment variables. No secrets: they are in the compiled
            file.
        volumes: Persistent volume claims.
        labels: Of the pod.
        annotations: Of the pod.
        image_pull_policy: When the image is pulled; tags name the content, so
            `IfNotPresent` is enough.
    """

    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None
    accelerator: Accelerator | None = None
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    shared_memory: Memory | None = None
    timeout_seconds: int | None = Field(None, ge=1)
    retry: Retry | None = None
    secrets: list[SecretEnv] = []
    env: dict[EnvName, str] = {}
    volumes: list[Volume] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if _SECRET_NAME.search(name):
                raise ValueError(
                    f"{name} looks like a secret, and env is in the compiled file for all to "
                    "read. Put it into a Kubernetes secret and name that under secrets"
                )
        return env


class WebhookSecret(_Settings):
    """Where the address is that is told how a run ended.

    Args:
        secret: The Kubernetes secret.
        key: Its key.
    """

    secret: Name
    key: str = Field(min_length=1)


class ClusterConfig(_Settings):
    """How a run goes on a cluster. Local runs know nothing of it.

    Args:
        service_account: The Kubernetes service account that pods run as.
        pipeline_root: Where artifacts go, e.g. `gs://bucket/kubeflow`; the
            installation's default by default.
        image_pull_secrets: Secrets with the registry's credentials.
        queue: The Kueue queue that admits pods.
        priority: The Kueue priority class of pods. (kfp 2.17 cannot set a pod's
            own `priorityClassName`.)
        ttl_seconds: How long a finished run's pods and workflow are kept.
        ttl_seconds_after_failure: The same for a failed run.
        deadline_seconds: How long a run may take.
        checkpoints: Where train keeps its state so that a retry goes on from
            it: a mounted volume's folder, s3:// or gs://.
        webhook: Is told how a run ended.
        defaults: Of every step.
        steps: Of single steps; each setting here takes the place of the default.
    """

    service_account: Name | None = None
    pipeline_root: str | None = None
    image_pull_secrets: list[Name] = []
    queue: str | None = None
    priority: str | None = None
    ttl_seconds: int | None = Field(None, ge=1)
    ttl_seconds_after_failure: int | None = Field(None, ge=1)
    deadline_seconds: int | None = Field(None, ge=1)
    checkpoints: str = ""
    webhook: WebhookSecret | None = None
    defaults: StepScheduling = StepScheduling()
    steps: dict[str, StepScheduling] = {}

    @field_validator("steps")
    @classmethod
    def _steps_exist(cls, steps: dict[str, StepScheduling]) -> dict[str, StepScheduling]:
        for name in steps:
            if name not in STEP_IMAGES:
                raise ValueError(f"there is no step {name}. Steps are {', '.join(STEP_IMAGES)}")
        return steps

    @model_validator(mode="after")
    def _train_has_one_gpu(self) -> "ClusterConfig":
        accelerator = self.of("train").accelerator
        if accelerator is not None and accelerator.count > 1:
            raise ValueError(
                f"steps.train.accelerator.count: train uses one GPU, not {accelerator.count}; the "
                "others would be paid for and stay idle"
            )
        return self

    def of(self, step: str) -> StepScheduling:
        """The settings of a step: its own, and the defaults for what it has none of."""
        own = self.steps.get(step, StepScheduling())
        chosen = {name: getattr(own, name) for name in own.model_fields_set}
        return self.defaults.model_copy(update=chosen)

    @property
    def train_accelerator(self) -> tuple[str, str]:
        """Type and count for train, as strings; empty where there is none."""
        accelerator = self.of("train").accelerator
        return (accelerator.type, str(accelerator.count)) if accelerator else ("", "")
