"""Asks Kubeflow Pipelines, from inside a run, which step failed."""

import http.client
import json
import os
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.shared.kubeflow.argo_nodes import pod_names
from components.shared.kubeflow.run_shape import RunShape
from components.shared.kubeflow.run_steps import read_steps
from components.shared.kubeflow.step import Step, failed_steps, title
from components.shared.kubeflow.step_error import error_in, task_with_two_records
from components.shared.runtime.bounded_http import NoRedirect, exchange
from components.shared.runtime.clean_text import one_line

# A run of this pipeline is half a megabyte of JSON, its version less.
_JSON_LIMIT = 8 * 2**20
_LOG_LIMIT = 4 * 2**20
_EXTRA_SECONDS = 10.0  # for the version and for each log
# The API server learns of the run's state a few seconds late.
_LOOKS = 3
_PORT = 8888  # for HTTP; KFP's own components use 8887, for gRPC
# KFP 2.15 and later start a step with it: backend/src/v2/driver/driver.go, initPodSpecPatch.
_ADDRESS_OPTION = "--ml_pipeline_server_address"
_TLS_OPTION = "--ml_pipeline_tls_enabled"
_COMMAND = Path("/proc/1/cmdline")
# The variables of kfp's own client.
_ENDPOINT = "KF_PIPELINES_ENDPOINT"
_TOKEN_FILE = "KF_PIPELINES_SA_TOKEN_PATH"


class Unanswered(Exception):
    """Kubeflow does not answer, or sends something other than a run."""


@dataclass(frozen=True)
class Failure:
    """How a run ended, as far as Kubeflow shows it.

    Args:
        step: The step that failed, e.g. `train [64, 32]`; empty if unknown.
        error: The error in the step's log; empty if it cannot be read.
        succeeded: Whether all steps succeeded.
    """

    step: str
    error: str
    succeeded: bool = False


@dataclass(frozen=True)
class Kubeflow:
    """The API server.

    A single-user installation answers any pod. A multi-user installation requires a token,
    which KF_PIPELINES_SA_TOKEN_PATH names in a pod that has one.

    Args:
        address: Its address, e.g. `http://ml-pipeline.kubeflow:8888`.
        token: A bearer token; empty for none.
        seconds: Maximum time for all requests together.
        sleep: Waits for a number of seconds.
    """

    address: str
    token: str = field(default="", repr=False)
    seconds: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of_this_pod(
        cls, environ: Mapping[str, str] | None = None, command: Path = _COMMAND
    ) -> "Kubeflow":
        """Return the API server of the Kubeflow installation that this process runs in.

        Args:
            environ: The environment variables; the process's own by default.
            command: The file in which Linux shows the container's command.
        """
        environ = os.environ if environ is None else environ
        token = ""
        if environ.get(_TOKEN_FILE):
            try:
                token = Path(environ[_TOKEN_FILE]).read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                token = ""  # the server's answer to a request without one is the error
        return cls(_address(environ, command), token)

    def why_it_failed(self, run_id: str, layer_stacks: Sequence[Any], group: str = "") -> Failure:
        """Ask which step failed, and for the error in its log.

        Args:
            run_id: The run's id.
            layer_stacks: The layer stacks of the trainings, in order.
            group: The task that contains all other steps.

        Raises:
            Unanswered: If the server does not answer, or shows no failed step.
        """
        deadline = time.monotonic() + self.seconds
        for look in range(_LOOKS):
            if look:
                self.sleep(3.0)
            run = self._json(f"/apis/v2beta1/runs/{quote(run_id, safe='')}", deadline)
            failed = failed_steps(read_steps(run))
            if failed:
                name = self._shape(run, deadline).name(failed[0])
                step = title(failed[0], lambda loop: layer_stacks, name)
                return Failure(step, self._error(run_id, failed[0], deadline))
            if group and _has_succeeded(run, group):
                return Failure("", "", succeeded=True)
        raise Unanswered(f"{self.address} shows no failed step in run {run_id}")

    def _shape(self, run: Mapping[str, Any], deadline: float) -> RunShape:
        """Read the steps' display names from the run's version; no names if it cannot be read.

        The run itself has only the names of tasks: `fetch-published-2` for `fetch_base`.
        """
        reference = run.get("pipeline_version_reference")
        if not isinstance(reference, Mapping):
            return RunShape.of(run.get("pipeline_spec"))
        pipeline, version = (
            quote(str(reference.get(key)), safe="")
            for key in ("pipeline_id", "pipeline_version_id")
        )
        try:
            found = self._json(
                f"/apis/v2beta1/pipelines/{pipeline}/versions/{version}",
                min(deadline, time.monotonic() + _EXTRA_SECONDS),
            )
        except Unanswered:
            return RunShape()
        return RunShape.of(found.get("pipeline_spec"))

    def _json(self, path: str, deadline: float) -> Mapping[str, Any]:
        body = self._get(path, _JSON_LIMIT, deadline)
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unanswered(f"{self.address} does not answer in JSON") from error
        if not isinstance(values, dict):
            raise Unanswered(f"{self.address} does not answer with a JSON object")
        return values

    def _error(self, run_id: str, step: Step, deadline: float) -> str:
        node = step.failed_driver or (step.attempts[-1].node_id if step.attempts else "")
        if not node:
            return ""
        path = f"/apis/v1alpha1/runs/{quote(run_id, safe='')}/nodes"
        for pod in pod_names(node, is_driver=bool(step.failed_driver)):
            remaining = min(deadline, time.monotonic() + _EXTRA_SECONDS)
            try:
                body = self._get(f"{path}/{quote(pod, safe='')}/log", _LOG_LIMIT, remaining)
            except Unanswered:
                return ""
            text = body.decode(errors="replace")
            twice = task_with_two_records(text)
            if twice and step.failed_driver:
                return f"Kubeflow has two records of {twice}; start a new run"
            found = error_in(text, 300)
            if found:
                return found
        return ""

    def _get(self, path: str, limit: int, deadline: float) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise Unanswered(f"{self.address} did not answer within {self.seconds:g} s")
        try:
            request = urllib.request.Request(f"{self.address}{path}", headers=headers)
            # Without a proxy: the server is in the same cluster.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
            answer = exchange(request, seconds=remaining, limit=limit, opener=opener)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = one_line(str(getattr(error, "reason", error)), 120)
            raise Unanswered(f"{self.address} cannot be reached: {reason}") from error
        if answer.status != 200 or not answer.whole:
            raise Unanswered(f"{self.address} answered {answer.status}")
        return answer.body


def _address(environ: Mapping[str, str], command: Path) -> str:
    if environ.get(_ENDPOINT):
        endpoint = environ[_ENDPOINT].rstrip("/")
        return endpoint if "://" in endpoint else f"http://{endpoint}"
    try:
        words = command.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = []
    scheme = "https" if _TLS_OPTION in words else "http"
    if _ADDRESS_OPTION in words[:-1]:
        return f"{scheme}://{words[words.index(_ADDRESS_OPTION) + 1]}:{_PORT}"
    # Kubernetes sets variables for the services in a pod's own namespace.
    host = environ.get("ML_PIPELINE_SERVICE_HOST", "ml-pipeline.kubeflow")
    port = environ.get("ML_PIPELINE_SERVICE_PORT_HTTP", str(_PORT))
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _has_succeeded(run: Mapping[str, Any], group: str) -> bool:
    details = run.get("run_details")
    tasks = details.get("task_details") if isinstance(details, Mapping) else None
    return any(
        isinstance(task, Mapping)
        and task.get("display_name") == group
        and task.get("state") == "SUCCEEDED"
        for task in (tasks if isinstance(tasks, Sequence) else ())
    )
