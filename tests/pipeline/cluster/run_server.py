"""A KFP API server, or its UI's server, that plays runs from stories, with their logs.

Read from KFP 2.17.0, backend/src/apiserver/server/run_log_server.go,
resource/resource_manager.go (ReadLog), archive/log.go, main.go;
frontend/server/handlers/pod-logs.ts.
"""

import json
import re
from datetime import datetime
from typing import Any

from argo_run import ArgoRun
from faulty_http import Request
from kfp_server import KfpServer


class RunServer(KfpServer):
    """A KFP API server, or its UI's server, that plays runs from stories.

    Args:
        is_ui: Whether it is the UI's server, which forwards v1beta1 and v2beta1
            only and has logs of its own.
        pods_alive: Whether the pods of runs are still there.
        archived: Whether Argo archives logs.
        **options: As of `KfpServer`.
    """

    def __init__(
        self,
        *,
        is_ui: bool = False,
        pods_alive: bool = True,
        archived: bool = True,
        **options: Any,
    ):
        super().__init__(**options)
        self.played: dict[str, ArgoRun] = {}
        self.is_ui = is_ui
        self.pods_alive = pods_alive
        self.archived = archived
        self.v1 = True

    def play(self, argo: ArgoRun) -> None:
        """Play the run that was created last."""
        self.played[self.runs[-1]["run_id"]] = argo

    def _shown(self, run: dict[str, Any]) -> dict[str, Any]:
        argo = self.played.get(run["run_id"])
        if not argo:
            return run
        passed = self.clock.now() - datetime.fromisoformat(run["created_at"])
        return argo.run(run, passed.total_seconds())

    def _run_service_get_run(self, request: Request, run_id: str) -> Any:
        return self._shown(self._by_id(self.runs, "run_id", run_id))

    def _run_service_list_runs(self, request: Request) -> Any:
        if request.query.get("sort_by") != "created_at desc":
            return super()._run_service_list_runs(request)
        experiment = request.query.get("experiment_id")
        items = [run for run in self.runs if experiment in (None, "", run["experiment_id"])]
        items.sort(key=lambda run: run["created_at"], reverse=True)
        begin = int(request.query.get("page_token") or 0)
        end = begin + min(int(request.query["page_size"]), self.page_size)
        page: dict[str, Any] = {"runs": [self._shown(run) for run in items[begin:end]]}
        page["total_size"] = len(items)
        return page | ({"next_page_token": str(end)} if end < len(items) else {})

    def _pipeline_service_get_pipeline_version(
        self, request: Request, pipeline_id: str, pipeline_version_id: str
    ) -> Any:
        version = self._by_id(self.versions, "pipeline_version_id", pipeline_version_id)
        assert version["pipeline_id"] == pipeline_id
        return version

    def _answer(self, request: Request, raw: bytes, fault: Any) -> tuple[int, str | bytes]:
        path = request.path
        if fault or not self._lets_in(request):
            return super()._answer(request, raw, fault)
        if found := re.fullmatch(r"/apis/v1beta1/runs/([^/]+)", path):
            argo = self.played.get(found[1]) if self.v1 else None
            manifest = {"workflow_manifest": argo.manifest()} if argo else {}
            detail = {"run": {"id": found[1]}, "pipeline_runtime": manifest}
            return (200, json.dumps(detail)) if argo else (404, '{"error": "not found"}')
        if found := re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path):
            if self.is_ui:
                return 200, "<!doctype html><html><title>Kubeflow Pipelines</title></html>"
            text = self._log(found[1], found[2])
            # It writes the status before it looks for the log.
            error = {"error_message": f"Failed to read logs for run {found[1]}"}
            return 200, text if text is not None else json.dumps(error)
        if path == "/k8s/pod/logs" and self.is_ui:
            text = self._log(request.query["runid"], request.query["podname"])
            return (200, text) if text is not None else (500, "Could not get main container logs")
        return super()._answer(request, raw, fault)

    def _lets_in(self, request: Request) -> bool:
        authorization = request.headers.get("authorization")
        return not self.tokens or authorization in {f"Bearer {token}" for token in self.tokens}

    def _log(self, run_id: str, pod: str) -> str | None:
        argo = self.played.get(run_id)
        return argo.log(pod, alive=self.pods_alive, archived=self.archived) if argo else None
