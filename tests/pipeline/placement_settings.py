"""Every setting of a step in the section `cluster`, and the messages that it must become."""

from dataclasses import dataclass, field
from typing import Any

from compiled_pipeline import Container
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineTaskSpec

from components.shared.runtime.attempts import RETRY
from pipeline.definition import EXIT_STEP, STEPS

ALL_STEPS = (*STEPS, EXIT_STEP)
# kfp's placeholders for train's accelerator, which comes from parameters of the pipeline.
FROM_PARAMETERS = {
    "accelerator": {
        "resourceType": "{{$.inputs.parameters['pipelinechannel--train_accelerator_type']}}",
        "resourceCount": "{{$.inputs.parameters['pipelinechannel--train_accelerator_count']}}",
    }
}
RetryPolicy = PipelineTaskSpec.RetryPolicy


@dataclass(frozen=True)
class Setting:
    """A setting of a step and the messages it must become, in protobuf's JSON."""

    value: Any
    container: dict[str, Any] = field(default_factory=dict)
    pod: dict[str, Any] = field(default_factory=dict)
    retry: dict[str, Any] = field(default_factory=dict)


def constant(name: str) -> dict[str, Any]:
    """Return a constant name as kfp-kubernetes 2.17 writes it."""
    return {"runtimeValue": {"constant": name}}


STEP_SETTINGS = {
    "cpu_request": Setting(
        "500m", {"resources": {"cpuRequest": 0.5, "resourceCpuRequest": "500m"}}
    ),
    "cpu_limit": Setting("2", {"resources": {"cpuLimit": 2.0, "resourceCpuLimit": "2"}}),
    "memory_request": Setting(
        "1Gi", {"resources": {"memoryRequest": 1.073741824, "resourceMemoryRequest": "1Gi"}}
    ),
    "memory_limit": Setting("2G", {"resources": {"memoryLimit": 2.0, "resourceMemoryLimit": "2G"}}),
    "accelerator": Setting(
        {"type": "amd.com/gpu", "count": 1},
        {
            "resources": {
                "accelerator": {
                    "type": "amd.com/gpu",
                    "count": "1",
                    "resourceType": "amd.com/gpu",
                    "resourceCount": "1",
                }
            }
        },
    ),
    "node_selector": Setting(
        {"pool": "large", "kubernetes.io/arch": "amd64"},
        pod={"nodeSelector": {"labels": {"pool": "large", "kubernetes.io/arch": "amd64"}}},
    ),
    "tolerations": Setting(
        [
            {},
            {"key": "spot"},
            {"key": "pool", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
            {"key": "busy", "effect": "PreferNoSchedule"},
            {"key": "leaving", "effect": "NoExecute", "seconds": 300},
            {"effect": "NoExecute", "seconds": 0},
        ],
        pod={
            "tolerations": [
                {"operator": "Exists"},
                {"key": "spot", "operator": "Exists"},
                {"key": "pool", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
                {"key": "busy", "operator": "Exists", "effect": "PreferNoSchedule"},
                {
                    "key": "leaving",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": "300",
                },
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "0"},
            ]
        },
    ),
    "shared_memory": Setting(
        "2Gi",
        pod={
            "emptyDirMounts": [
                {
                    "volumeName": "shared-memory",
                    "mountPath": "/dev/shm",
                    "medium": "Memory",
                    "sizeLimit": "2Gi",
                }
            ]
        },
    ),
    "timeout_seconds": Setting(7200, pod={"activeDeadlineSeconds": "7200"}),
    "retry": Setting(
        {"count": 3, "backoff_seconds": 30, "backoff_factor": 3, "give_up_seconds": 86400},
        {
            "env": [
                {
                    "name": RETRY,
                    "value": '{"count":3,"backoff_seconds":30,"backoff_factor":3}',
                }
            ]
        },
        retry={
            "maxRetryCount": 3,
            "backoffDuration": "30s",
            "backoffFactor": 3.0,
            "backoffMaxDuration": "86400s",
        },
    ),
    "secrets": Setting(
        [
            {"secret": "s3", "env": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}},
            {"secret": "proxy", "env": {"HTTPS_PROXY": "address"}},
        ],
        pod={
            "secretAsEnv": [
                {
                    "secretName": secret,
                    "secretNameParameter": constant(secret),
                    "keyToEnv": [{"secretKey": key, "envVar": name}],
                    "optional": False,
                }
                for secret, name, key in (
                    ("s3", "AWS_ACCESS_KEY_ID", "id"),
                    ("s3", "AWS_SECRET_ACCESS_KEY", "key"),
                    ("proxy", "HTTPS_PROXY", "address"),
                )
            ]
        },
    ),
    "env": Setting(
        {"OMP_NUM_THREADS": "4", "XLA_FLAGS": "--a=1 --b=2"},
        {
            "env": [
                {"name": "OMP_NUM_THREADS", "value": "4"},
                {"name": "XLA_FLAGS", "value": "--a=1 --b=2"},
            ]
        },
    ),
    "volumes": Setting(
        [
            {"claim": "data", "mount_path": "/data"},
            {"claim": "state", "mount_path": "/state", "sub_path": "shop/a"},
        ],
        pod={
            "pvcMount": [
                {"constant": "data", "pvcNameParameter": constant("data"), "mountPath": "/data"},
                {
                    "constant": "state",
                    "pvcNameParameter": constant("state"),
                    "mountPath": "/state",
                    "subPath": "shop/a",
                },
            ]
        },
    ),
    "labels": Setting(
        {"team": "shop", "acme.example/cost": "ml"},
        pod={"podMetadata": {"labels": {"team": "shop", "acme.example/cost": "ml"}}},
    ),
    "annotations": Setting(
        {"sidecar.istio.io/inject": "false"},
        pod={"podMetadata": {"annotations": {"sidecar.istio.io/inject": "false"}}},
    ),
    "image_pull_policy": Setting("IfNotPresent", pod={"imagePullPolicy": "IfNotPresent"}),
}
EVERYTHING = {name: setting.value for name, setting in STEP_SETTINGS.items()}


def expected_container(step: str, *settings: Setting) -> Container:
    """Return the container with some settings; train's accelerator comes from parameters."""
    message = Container()
    for setting in settings:
        if not (setting.retry and step == EXIT_STEP):
            message.MergeFrom(json_format.ParseDict(setting.container, Container()))
    if step == "train":
        message.resources.ClearField("accelerator")
        message.MergeFrom(json_format.ParseDict({"resources": FROM_PARAMETERS}, Container()))
    return message


def expected_pod(*settings: Setting) -> KubernetesExecutorConfig:
    """Return the pod with some settings."""
    message = KubernetesExecutorConfig()
    for setting in settings:
        message.MergeFrom(json_format.ParseDict(setting.pod, KubernetesExecutorConfig()))
    return message


def expected_retry(step: str, *settings: Setting) -> RetryPolicy:
    """Return the retry policy with some settings; kfp 2.17 refuses one for an exit task."""
    message = RetryPolicy()
    for setting in settings:
        if step != EXIT_STEP:
            message.MergeFrom(json_format.ParseDict(setting.retry, RetryPolicy()))
    return message
