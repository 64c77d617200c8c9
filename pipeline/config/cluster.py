"""The config's section `cluster`: how steps are placed on nodes, and how long they may take."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from components.shared.runtime.images import STEP_IMAGES

_INT32 = 2_147_483_647
_SECRET_NAME = re.compile(
    "TOKEN(?!IZ)|SECRET|PASSWORD|PASSWD|CREDENTIAL|WEBHOOK|(ACCESS|API|PRIVATE)_?KEY",
    re.IGNORECASE,
)


def _as_text(value: Any) -> Any:
    """YAML reads 4 and 0.5 as numbers; Kubernetes wants them as text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _written(pattern: str, advice: str) -> list[Any]:
    """A text of some form, and how to write it."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} cannot be used: {advice}")
        return text

    return [
        BeforeValidator(_as_text, json_schema_input_type=str | int | float),
        AfterValidator(check),
    ]


# As kfp 2.17 and Kubernetes write quantities and names.
Text = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int | float)]
Cpu = Annotated[str, *_written(r"\d+(\.\d+)?m?", "write CPUs as 4, 0.5 or 500m")]
Memory = Annotated[
    str, *_written(r"\d+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?", "write memory as 8Gi or 500Mi")
]
Name = Annotated[
    str,
    *_written(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
        "names in Kubernetes have lower-case letters, digits, - and . only",
    ),
]
EnvName = Annotated[
    str, *_written(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name has letters, digits and _ only")
]
MountPath = Annotated[str, *_written("/.*", "write an absolute path, e.g. /data")]


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
    """How often a step is tried again that fails or whose pod is lost.

    A failed step starts again in its pod where Argo would not retry it, as with
    the defaults of KFP 2.17; see `components.shared.runtime.attempts`. Lost pods are retried by
    Argo: with the defaults of KFP 2.17, not with those of 2.16.

    Args:
        count: Attempts after the first.
        backoff_seconds: The wait before the second attempt.
        backoff_factor: By which each wait is longer than the one before; Argo
            takes whole numbers only.
        give_up_seconds: How long after the first attempt began the step is
            given up, an attempt that runs then included; by default after the
            time that all attempts and waits can take.
    """

    count: int = Field(ge=0)
    backoff_seconds: int = Field(60, ge=0)
    backoff_factor: int = Field(2, ge=1)
    give_up_seconds: int | None = Field(None, ge=1)

    @property
    def waits_seconds(self) -> int:
        """All waits together."""
        return sum(self.backoff_seconds * self.backoff_factor**n for n in range(self.count))


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
        timeout_seconds: After which the step's pod is stopped; attempts that
            start again in the same pod share it.
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
    node_selector: dict[str, Text] = {}
    tolerations: list[Toleration] = []
    shared_memory: Memory | None = None
    timeout_seconds: int | None = Field(None, ge=1)
    retry: Retry | None = None
    secrets: list[SecretEnv] = []
    env: dict[EnvName, Text] = {}
    volumes: list[Volume] = []
    labels: dict[str, Text] = {}
    annotations: dict[str, Text] = {}
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None

    @field_validator("env", mode="before")
    @classmethod
    def _no_secrets(cls, env: Any) -> Any:
        for name in env if isinstance(env, dict) else ():
            if _SECRET_NAME.search(str(name)):
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


def _united(one: list[Any], other: list[Any]) -> list[Any]:
    return [*one, *(item for item in other if item not in one)]


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
        ttl_seconds_after_failure: The same for a failed run; `ttl_seconds` by
            default.
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
    ttl_seconds: int | None = Field(None, ge=1, le=_INT32)
    ttl_seconds_after_failure: int | None = Field(None, ge=1, le=_INT32)
    deadline_seconds: int | None = Field(None, ge=1, le=_INT32)
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
            part = "steps.train" if "accelerator" in self._own("train") else "defaults"
            raise ValueError(
                f"train uses one GPU, not the {accelerator.count} of "
                f"cluster.{part}.accelerator.count; the others would be paid for and stay idle"
            )
        return self

    def of(self, step: str) -> StepScheduling:
        """Returns the settings of a step: its own, else the defaults.

        `resolve` looks at what ingest reads and at what is published, so it has
        their volumes, secrets and environment too, unless it has its own.
        """
        own = self._own(step)
        if step == "resolve":
            ingest, fetch = self.of("ingest"), self.of("fetch_published")
            shared = {
                "volumes": _united(ingest.volumes, fetch.volumes),
                "secrets": _united(ingest.secrets, fetch.secrets),
                "env": {**fetch.env, **ingest.env},
            }
            own = {**shared, **own}
        return self.defaults.model_copy(update=own)

    def _own(self, step: str) -> dict[str, Any]:
        own = self.steps.get(step, StepScheduling())
        return {name: getattr(own, name) for name in own.model_fields_set}

    @property
    def train_accelerator(self) -> tuple[str, str]:
        """Type and count for train, as strings; empty where there is none."""
        accelerator = self.of("train").accelerator
        return (accelerator.type, str(accelerator.count)) if accelerator else ("", "")
