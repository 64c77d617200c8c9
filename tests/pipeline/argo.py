"""The retries and times to live of a compiled pipeline in KFP and Argo Workflows.

The rules are read from the sources of KFP 2.17.0 and Argo Workflows 4.0.5 (the
same in 3.7.8); each function names its own.
"""

from dataclasses import dataclass
from typing import Any, Literal

from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineTaskSpec

# manifests/kustomize/third-party/argo/base/workflow-controller-configmap-patch.yaml of KFP 2.17.0.
KFP_2_17: dict[str, Any] = {
    "ttlStrategy": {
        "secondsAfterCompletion": 3600,
        "secondsAfterSuccess": 3600,
        "secondsAfterFailure": 3600,
    },
    "templateDefaults": {"retryStrategy": {"limit": "2", "retryPolicy": "OnError"}},
}
# KFP 2.14 to 2.16 install Argo without workflowDefaults.
KFP_2_16: dict[str, Any] = {}
# The advice of docs/cluster.md to administrators.
ADVISED: dict[str, Any] = {
    **KFP_2_17,
    "templateDefaults": {"retryStrategy": {"limit": "2", "retryPolicy": "Always"}},
}

Phase = Literal["Failed", "Error"]  # a container exits with an error; its pod is lost


def retry_strategy(policy: PipelineTaskSpec.RetryPolicy) -> dict[str, Any]:
    """Return the retryStrategy that KFP gives a step's template.

    KFP: backend/src/v2/compiler/argocompiler/container.go,
    getTaskRetryStrategyFromInput. It sets no retryPolicy, and none without a
    retry policy in the IR.
    """
    if not policy.ByteSize():
        return {}
    return {
        "limit": str(policy.max_retry_count),
        "backoff": {
            "duration": str(policy.backoff_duration.seconds),
            "factor": f"{policy.backoff_factor:g}",
            "maxDuration": str(policy.backoff_max_duration.seconds),
        },
    }


def merged(defaults: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge the controller's defaults with a workflow's own values, which take precedence.

    Argo: a strategic merge patch of the own value over the defaults, for the
    workflow in workflow/util/merge.go (MergeTo), for each template in
    workflow/controller/operator.go (mergedTemplateDefaultsInto). None of the
    fields here is a list, for which a strategic merge has other rules.
    """
    result = dict(defaults)
    for name, value in own.items():
        default = result.get(name)
        both = isinstance(value, dict) and isinstance(default, dict)
        result[name] = merged(default, value) if both else value
    return result


def step_retry_strategy(defaults: dict[str, Any], task: PipelineTaskSpec) -> dict[str, Any]:
    """Return the retryStrategy in force, which Argo's executor shows the step."""
    of_templates = defaults.get("templateDefaults", {}).get("retryStrategy", {})
    return merged(of_templates, retry_strategy(task.retry_policy))


def argo_attempts(strategy: dict[str, Any], phase: Phase) -> int:
    """Count the pods of a step that ends in the same phase each time.

    Argo: workflow/controller/operator.go, processNodeRetries;
    pkg/apis/workflow/v1alpha1/workflow_types.go, RetryPolicyActual.
    """
    if not strategy:
        return 1
    policy = strategy.get("retryPolicy") or "OnFailure"
    retried = {"Always": ("Failed", "Error"), "OnFailure": ("Failed",), "OnError": ("Error",)}
    return 1 + int(strategy["limit"]) if phase in retried[policy] else 1


@dataclass(frozen=True)
class TimeToLive:
    """How many seconds Argo keeps successful and failed workflows."""

    success: int | None
    failure: int | None


def time_to_live(defaults: dict[str, Any], pipeline_config: Any) -> TimeToLive:
    """Return how long a finished run is kept.

    KFP: backend/src/v2/compiler/argocompiler/argo.go, buildTTLStrategy. Argo:
    workflow/gccontroller/gc_controller.go, expiresIn: the value for success or
    failure wins over the one for completion.
    """
    own = {
        name: seconds
        for name, seconds in (
            ("secondsAfterCompletion", pipeline_config.resource_ttl_on_completion),
            ("secondsAfterSuccess", pipeline_config.resource_ttl_on_success),
            ("secondsAfterFailure", pipeline_config.resource_ttl_on_failure),
        )
        if seconds > 0
    }
    strategy = merged(defaults.get("ttlStrategy", {}), own)
    completion = strategy.get("secondsAfterCompletion")
    return TimeToLive(
        strategy.get("secondsAfterSuccess", completion),
        strategy.get("secondsAfterFailure", completion),
    )
