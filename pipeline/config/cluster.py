"""The config's section `cluster`: the placement of steps on nodes, and the limits of runs."""

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
    """Return a number as text: YAML reads 4 and 0.5 as numbers, Kubernetes takes text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _matching(pattern: str, advice: str) -> list[Any]:
    """Return validators for text that matches a pattern; the advice says how to write it."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not valid: {advice}")
        return text

    return [
        BeforeValidator(_as_text, json_schema_input_type=str | int | float),
        AfterValidator(check),
    ]


# The forms of quantities and names in kfp 2.17 and Kubernetes.
Text = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int | float)]
Cpu = Annotated[str, *_matching(r"\d+(\.\d+)?m?", "write CPUs as 4, 0.5 or 500m")]
Memory = Annotated[
    str, *_matching(r"\d+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?", "write memory as 8Gi or 500Mi")
]
Name = Annotated[
    str,
    *_matching(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
        "names in Kubernetes have only lower-case letters, digits, - and .",
    ),
]
EnvName = Annotated[
    str, *_matching(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name has only letters, digits and _")
]
MountPath = Annotated[str, *_matching("/.*", "write an absolute path, e.g. /data")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Accelerator(_Settings):
    """Accelerators of a step.

    Args:
        type: The name of the node's resource, e.g. `nvidia.com/gpu`.
        count: Number of accelerators.
    """

    type: str = Field("nvidia.com/gpu", min_length=1)
    count: int = Field(1, ge=1)


class Toleration(_Settings):
    """A taint that a step tolerates, as in Kubernetes.

    Args:
        key: The taint's key; omit it with `Exists` to tolerate all taints.
        operator: `Exists`, or `Equal` with a value.
        value: The taint's value, with `Equal`.
        effect: The taint's effect; all effects by default.
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
            raise ValueError("toleration: operator Equal needs a value; Exists takes no value")
        if self.key is None and self.operator == "Equal":
            raise ValueError("toleration: operator Equal needs a key")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("toleration: seconds needs effect NoExecute")
        return self


class Retry(_Settings):
    """How often a step is retried if it fails or its pod is lost.

    If Argo does not retry a failed step, as with the defaults of KFP 2.17, the step starts
    again in its pod; see `components.shared.runtime.attempts`. Argo retries lost pods with
    the defaults of KFP 2.17, but not with those of 2.16.

    Args:
        count: Number of attempts after the first.
        backoff_seconds: The wait before the second attempt.
        backoff_factor: The ratio of each wait to the previous one; Argo takes
            only whole numbers.
        give_up_seconds: The time after the start of the first attempt at which the
            step fails, even during an attempt; by default, the time that all
            attempts and waits can take.
    """

    count: int = Field(ge=0)
    backoff_seconds: int = Field(60, ge=0)
    backoff_factor: int = Field(2, ge=1)
    give_up_seconds: int | None = Field(None, ge=1)

    @property
    def waits_seconds(self) -> int:
        """The sum of all waits."""
        return sum(self.backoff_seconds * self.backoff_factor**n for n in range(self.count))


class SecretEnv(_Settings):
    """Keys of a Kubernetes secret as environment variables.

    Args:
        secret: The secret's name, in the run's namespace.
        env: The secret's key for each variable: `AWS_ACCESS_KEY_ID: access-key`.
    """

    secret: Name
    env: dict[EnvName, str] = Field(min_length=1)


class Volume(_Settings):
    """A persistent volume claim.

    Args:
        claim: The claim's name, in the run's namespace.
        mount_path: The path in the step's container, e.g. `/data`.
        sub_path: The folder of the volume that is mounted; the whole volume by default.
    """

    claim: Name
    mount_path: MountPath
    sub_path: str = ""


class StepPlacement(_Settings):
    """The placement of a step on a node, its resources, and its limits.

    Args:
        cpu_request: CPUs that the node must have free, e.g. `500m` or `4`.
        cpu_limit: CPUs that the step may use.
        memory_request: Memory that the node must have free, e.g. `8Gi`.
        memory_limit: Memory that the step may use.
        accelerator: The step's GPUs or other accelerators.
        node_selector: Labels that the node must have.
        tolerations: Taints that the node may have.
        shared_memory: Size of /dev/shm; 64 MiB by default.
        timeout_seconds: Maximum run time of the step's pod; attempts in the same
            pod share it.
        retry: How often the step is retried.
        secrets: Secrets as environment variables.
        env: Other environment variables. Not for secrets, as the compiled file
            contains them.
        volumes: Persistent volume claims.
        labels: Labels of the pod.
        annotations: Annotations of the pod.
        image_pull_policy: When the image is pulled. Tags identify the content, so
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
                    f"{name} looks like a secret, and everybody who has the compiled file can "
                    "read env. Put it into a Kubernetes secret, and name that under secrets"
                )
        return env


class WebhookSecret(_Settings):
    """The Kubernetes secret with the address that notify posts to.

    Args:
        secret: The secret's name, in the run's namespace.
        key: The key of the address.
    """

    secret: Name
    key: str = Field(min_length=1)


def _united(one: list[Any], other: list[Any]) -> list[Any]:
    return [*one, *(item for item in other if item not in one)]


class ClusterConfig(_Settings):
    """Settings of cluster runs. Local runs ignore them.

    Args:
        service_account: The Kubernetes service account of the pods.
        pipeline_root: Where artifacts are stored, e.g. `gs://bucket/kubeflow`; the
            installation's own location by default.
        image_pull_secrets: Secrets with the registry's credentials.
        queue: The Kueue queue that admits the pods.
        priority: The Kueue priority class of the pods. (kfp 2.17 cannot set a pod's
            own `priorityClassName`.)
        ttl_seconds: How long a finished run's workflow and pods are kept.
        ttl_seconds_after_failure: The same for a failed run; `ttl_seconds` by
            default.
        deadline_seconds: Maximum duration of a run.
        checkpoints: Where train stores its state, from which a retry resumes: a
            folder of a mounted volume, s3:// or gs://.
        webhook: The webhook that notify posts to.
        defaults: Placement of every step.
        steps: Placement of single steps; each setting here replaces the default.
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
    defaults: StepPlacement = StepPlacement()
    steps: dict[str, StepPlacement] = {}

    @field_validator("steps")
    @classmethod
    def _steps_exist(cls, steps: dict[str, StepPlacement]) -> dict[str, StepPlacement]:
        for name in steps:
            if name not in STEP_IMAGES:
                raise ValueError(f"no step is named {name}. Steps are {', '.join(STEP_IMAGES)}")
        return steps

    @model_validator(mode="after")
    def _train_has_one_gpu(self) -> "ClusterConfig":
        accelerator = self.of("train").accelerator
        if accelerator is not None and accelerator.count > 1:
            part = "steps.train" if "accelerator" in self._own("train") else "defaults"
            raise ValueError(
                f"train uses one GPU, not the {accelerator.count} of "
                f"cluster.{part}.accelerator.count; the others would cost money and stay idle"
            )
        return self

    def of(self, step: str) -> StepPlacement:
        """Return the placement of a step: its own settings, else the defaults.

        `resolve` inspects the input of ingest and the published versions, so it gets the
        volumes, secrets and environment of ingest and fetch_published, unless it sets its own.
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
        own = self.steps.get(step, StepPlacement())
        return {name: getattr(own, name) for name in own.model_fields_set}

    @property
    def train_accelerator(self) -> tuple[str, str]:
        """The type and count of train's accelerator, as strings; empty without one."""
        accelerator = self.of("train").accelerator
        return (accelerator.type, str(accelerator.count)) if accelerator else ("", "")
