"""Further attempts of a step that exits with an error, where Argo makes none.

The config's `retry.count` means both: a step that fails, and a pod that is
lost. On a cluster, Argo retries by a policy that a pipeline cannot set: kfp
2.17's `set_retry` has no argument for it, nor has the IR a field (proposed in
kubeflow/pipelines#13386). With the defaults that KFP 2.17 installs it is
`OnError`: lost pods are retried, and a step that exits with 1 is not. So there
a failed step is started again in its own pod, in a fresh interpreter. Where
Argo's policy covers failures (`OnFailure`, the default of KFP 2.16, or
`Always`), this module does nothing.
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
# How many attempts there were in this pod, and when the current one began (seconds since 1970).
_ATTEMPT = "DEEP_RETRIEVAL_ATTEMPT"
_BEGAN = "DEEP_RETRIEVAL_ATTEMPT_BEGAN"
# KFP 2.16.1 and later sets it to Argo's {{retries}}: how many pods of this step were there before.
_PODS_BEFORE = "KFP_RETRY_INDEX"
# Argo's executor leaves the step's template there, world-readable, in every container: v3.7 and
# v4.0, workflow/executor/emissary/emissary.go. Its retryStrategy is the one that is in force,
# with the controller's defaults merged in.
ARGO_TEMPLATE = Path("/var/run/argo/template")


class RetryPolicy(BaseModel):
    """How often a failed step is started again in its pod.

    Args:
        count: Attempts after the first, those in pods before this one included.
        backoff_seconds: The wait before the second attempt.
        backoff_factor: By which each wait is longer than the one before.
    """

    count: int
    backoff_seconds: int
    backoff_factor: int


def attempt_began() -> float | None:
    """Returns when this attempt began, seconds since 1970; none for the first in a pod."""
    began = os.environ.get(_BEGAN)
    return float(began) if began else None


def next_attempt(
    environ: Mapping[str, str] | None = None, template: Path = ARGO_TEMPLATE
) -> tuple[int, int, float] | None:
    """Says whether a step that has just failed is to be started again here.

    Args:
        environ: The environment variables; those of the process by default.
        template: Where Argo's executor leaves the step's template.

    Returns:
        The number of the next attempt (2 is the first retry), the number of
        attempts in all, and the seconds to wait before it; none if there is no
        next attempt here.
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
    """Replaces this process by a fresh one with the same arguments, after a wait in seconds."""
    time.sleep(wait)
    os.environ[_ATTEMPT] = str(int(os.environ.get(_ATTEMPT) or 1) + 1)
    os.environ[_BEGAN] = str(time.time())
    sys.stdout.flush()
    sys.stderr.flush()
    # Not in this process: a half-initialized JAX, TensorFlow or Beam would be in the way.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _argo_retries_failures(template: Path) -> bool:
    try:
        strategy: dict[str, Any] | None = json.loads(template.read_text()).get("retryStrategy")
    except (OSError, ValueError):
        return False  # not Argo, or a version that keeps its template elsewhere
    if not strategy:
        return False
    # As Argo's RetryStrategy.RetryPolicyActual (pkg/apis/workflow/v1alpha1/workflow_types.go).
    default = "Always" if strategy.get("expression") else "OnFailure"
    return (strategy.get("retryPolicy") or default) in ("Always", "OnFailure")
