"""Asks Kubeflow Pipelines, from inside of a run, which step failed."""

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
from components.shared.kubeflow.run_steps import Step, failed_steps, read_steps, title
from components.shared.kubeflow.step_error import error_in, task_with_two_records
from components.shared.runtime.bounded_http import NoRedirect, exchange
from components.shared.runtime.clean_text import one_line

# A run of this pipeline is half a megabyte of JSON.
_RUN_LIMIT = 8 * 2**20
_LOG_LIMIT = 4 * 2**20
_LOG_SECONDS = 10.0
# The API server hears from the run a few seconds late.
_LOOKS = 3
_PORT = 8888  # of HTTP; KFP's own components use 8887, for gRPC
# KFP 2.15 and later start a step with it: backend/src/v2/driver/driver.go, initPodSpecPatch.
_ADDRESS_OPTION = "--ml_pipeline_server_address"
_TLS_OPTION = "--ml_pipeline_tls_enabled"
_COMMAND = Path("/proc/1/cmdline")
# As kfp's own client has them.
_ENDPOINT = "KF_PIPELINES_ENDPOINT"
_TOKEN_FILE = "KF_PIPELINES_SA_TOKEN_PATH"


class Unanswered(Exception):
    """Kubeflow does not answer, or not with a run."""


@dataclass(frozen=True)
class Failure:
    """How a run ended, as far as Kubeflow says it.

    Args:
        step: The step that failed, e.g. `train [64, 32]`; empty if it is not known.
        error: What the step's log says; empty if it cannot be had.
        succeeded: Whether the steps ended well.
    """

    step: str
    error: str
    succeeded: bool = False


@dataclass(frozen=True)
class Kubeflow:
    """The API server.

    An installation for a single user answers any pod; one for many users asks for
    a token, which a pod has if KF_PIPELINES_SA_TOKEN_PATH names one.

    Args:
        address: Where it listens, e.g. `http://ml-pipeline.kubeflow:8888`.
        token: A bearer token; none by default.
        seconds: How long all requests may take together.
        sleep: Waits between two looks at a run.
    """

    address: str
    token: str = field(default="", repr=False)
    seconds: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of_this_pod(
        cls, environ: Mapping[str, str] | None = None, command: Path = _COMMAND
    ) -> "Kubeflow":
        """Finds the API server of the Kubeflow that this process runs in.

        Args:
            environ: The environment variables; those of the process by default.
            command: Where Linux shows the command that the container was started with.
        """
        environ = os.environ if environ is None else environ
        token = ""
        if environ.get(_TOKEN_FILE):
            try:
                token = Path(environ[_TOKEN_FILE]).read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                token = ""  # asked without it, the server says what it thinks of that
        return cls(_address(environ, command), token)

    def why_it_failed(self, run_id: str, layer_stacks: Sequence[Any], group: str = "") -> Failure:
        """Asks which step failed, and for the error in its log.

        Args:
            run_id: The run.
            layer_stacks: What the trainings are named by.
            group: The task in which all other steps are.

        Raises:
            Unanswered: If the server does not answer, or no step has failed.
        """
        deadline = time.monotonic() + self.seconds
        for look in range(_LOOKS):
            if look:
                self.sleep(3.0)
            run = self._run(run_id, deadline)
            failed = failed_steps(read_steps(run))
            if failed:
                name = title(failed[0], lambda loop: layer_stacks)
                return Failure(name, self._error(run_id, failed[0], deadline))
            if group and _has_succeeded(run, group):
                return Failure("", "", succeeded=True)
        raise Unanswered(f"{self.address} shows no failed step in run {run_id}")

    def _run(self, run_id: str, deadline: float) -> Mapping[str, Any]:
        body = self._get(f"/apis/v2beta1/runs/{quote(run_id, safe='')}", _RUN_LIMIT, deadline)
        try:
            run = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unanswered(f"{self.address} does not answer in JSON") from error
        if not isinstance(run, dict):
            raise Unanswered(f"{self.address} does not answer with a run")
        return run

    def _error(self, run_id: str, step: Step, deadline: float) -> str:
        node = step.failed_driver or (step.attempts[-1].node_id if step.attempts else "")
        if not node:
            return ""
        path = f"/apis/v1alpha1/runs/{quote(run_id, safe='')}/nodes"
        for pod in pod_names(node, is_driver=bool(step.failed_driver)):
            remaining = min(deadline, time.monotonic() + _LOG_SECONDS)
            try:
                body = self._get(f"{path}/{quote(pod, safe='')}/log", _LOG_LIMIT, remaining)
            except Unanswered:
                return ""
            text = body.decode(errors="replace")
            twice = task_with_two_records(text)
            if twice and step.failed_driver:
                return f"Kubeflow has two records of {twice}; start the run again"
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
            # Not through a proxy: it is in the same cluster.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
            answer = exchange(request, seconds=remaining, limit=limit, opener=opener)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = one_line(str(getattr(error, "reason", error)), 120)
            raise Unanswered(f"{self.address} cannot be asked: {reason}") from error
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
    # Kubernetes tells each pod of the services in its own namespace.
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
