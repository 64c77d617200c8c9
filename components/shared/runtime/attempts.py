"""Retries of a failed step in its own pod, on clusters where Argo does not retry it.

The config's `retry.count` covers both steps that fail and pods that are lost. On a
cluster, Argo retries by a policy that a pipeline cannot set: kfp 2.17's `set_retry`
has no argument for it, and the IR has no field (proposed in
kubeflow/pipelines#13386). KFP 2.17 installs the policy `OnError`: lost pods are
retried, and a step that exits with 1 is not. There, a failed step is started again
in its own pod, in a fresh interpreter. If Argo's policy covers failures
(`OnFailure`, the default of KFP 2.16, or `Always`), this module does nothing.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel

# Holds a `RetryPolicy` as JSON. The pipeline sets it on a cluster; without it there is one attempt.
RETRY = "DEEP_RETRIEVAL_RETRY"
# The number of attempts in this pod, and when the current one began (seconds since 1970).
_ATTEMPT = "DEEP_RETRIEVAL_ATTEMPT"
_BEGAN = "DEEP_RETRIEVAL_ATTEMPT_BEGAN"
# KFP 2.16.1 and later sets it to Argo's {{retries}}: the number of earlier pods of this step.
_PODS_BEFORE = "KFP_RETRY_INDEX"
# Argo's executor writes the step's template to this file, world-readable, in every container
# (v3.7 and v4.0, workflow/executor/emissary/emissary.go). Its retryStrategy is the one in force,
# with the controller's defaults merged in.
ARGO_TEMPLATE = Path("/var/run/argo/template")


class RetryPolicy(BaseModel):
    """How often a failed step is started again in its pod.

    Args:
        count: Number of attempts after the first, including those in earlier pods.
        backoff_seconds: The wait before the second attempt.
        backoff_factor: The factor from each wait to the next.
    """

    count: int
    backoff_seconds: int
    backoff_factor: int


def attempt_began() -> float | None:
    """Return when this attempt began, in seconds since 1970; None for the first in a pod."""
    began = os.environ.get(_BEGAN)
    return float(began) if began else None


def next_attempt(
    environ: Mapping[str, str] | None = None, template: Path = ARGO_TEMPLATE
) -> tuple[int, int, float] | None:
    """Return the next attempt of a step that has just failed in this pod.

    Args:
        environ: The environment variables; those of the process by default.
        template: The file to which Argo's executor writes the step's template.

    Returns:
        The number of the next attempt (2 is the first retry), the total number
        of attempts, and the seconds to wait before it. None if there is no next
        attempt in this pod.
    """
    environ = os.environ if environ is None else environ
    if RETRY not in environ or _argo_retries_failures(template):
        return None
    policy = RetryPolicy.model_validate_json(environ[RETRY])
    done = int(environ.get(_PODS_BEFORE) or 0) + int(environ.get(_ATTEMPT) or 1)
    if done > policy.count:
        return None
    wait = policy.backoff_seconds * policy.backoff_factor ** (done - 1)
    return done + 1, policy.count + 1, float(wait)


def start_again(wait: float) -> NoReturn:
    """Replace this process by a fresh one with the same arguments, after a wait in seconds."""
    time.sleep(wait)
    os.environ[_ATTEMPT] = str(int(os.environ.get(_ATTEMPT) or 1) + 1)
    os.environ[_BEGAN] = str(time.time())
    sys.stdout.flush()
    sys.stderr.flush()
    # Not in this process, in which JAX, TensorFlow or Beam may be half initialized.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _argo_retries_failures(template: Path) -> bool:
    try:
        strategy: dict[str, Any] | None = json.loads(template.read_text()).get("retryStrategy")
    except (OSError, ValueError):
        return False  # not Argo, or a version that writes its template elsewhere
    if not strategy:
        return False
    # The same as RetryStrategy.RetryPolicyActual of Argo
    # (pkg/apis/workflow/v1alpha1/workflow_types.go).
    default = "Always" if strategy.get("expression") else "OnFailure"
    return (strategy.get("retryPolicy") or default) in ("Always", "OnFailure")
