"""A KFP API server for tests: speaks the v2beta1 REST API over HTTP, and fails on demand.

Paths, methods, query parameters and bodies are those of kfp_server_api, which is
generated from the API's published description. Anything else is refused.
"""

import base64
import json
import uuid
from datetime import datetime
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import unquote

import yaml
from faulty_http import Clock, Fault, FaultyServer, Request
from kfp_api import CODES, OPERATIONS, Refusal, check, matches, robfig
from kfp_controller import Controller


class KfpServer(FaultyServer):
    """The server and its state.

    Args:
        multi_user: Whether each request must name a namespace.
        clock: The time.
        per_request: How many seconds a request takes by the clock.
        page_size: Maximum number of objects on a page.
    """

    def __init__(
        self,
        *,
        multi_user: bool = False,
        clock: Clock | None = None,
        per_request: float = 0.1,
        page_size: int = 2,
    ):
        super().__init__(clock or Clock(), per_request)
        self.multi_user = multi_user
        self.page_size = page_size
        self.version = "2.17.0"
        self.store = "database"
        # The names of PipelineVersion resources that were applied without KFP's webhook, so they
        # lack an owner and the label by which they are listed.
        self.unlisted: set[str] = set()
        self.tokens: set[str] = set()
        self.cookies: set[str] = set()
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.schedules: list[dict[str, Any]] = []
        self._controller = Controller(self.clock, self.schedules, self.runs)

    @property
    def ticks(self) -> list[tuple[datetime, str]]:
        """The ticks that started runs, with the ids of their schedules."""
        return self._controller.ticks

    @property
    def most_enabled(self) -> int:
        """The most schedules of one name that were on at the same time."""
        return self._controller.most_enabled

    def advance(self, seconds: float) -> None:
        """Let time pass; the controller looks once per second."""
        for _ in range(int(seconds)):
            with self._lock:
                self.clock.passed += 1
                self._controller.tick()

    def _before_answer(self) -> None:
        self._controller.tick()

    def _after_answer(self) -> None:
        self._controller.count_enabled()
        self._controller.tick()

    def _answer(self, request: Request, raw: bytes, fault: Fault | None) -> tuple[int, str | bytes]:
        try:
            if fault and fault.kind == "status":
                if fault.body is not None:
                    return fault.status, fault.body
                raise Refusal(fault.status, "told to fail")
            self._let_in(request)
            return 200, json.dumps(self._work(request, raw))
        except Refusal as refusal:
            # Some proxies repeat a request's headers.
            shown = " ".join(f"{k}: {request.headers.get(k)}" for k in ("authorization", "cookie"))
            message = f"{refusal.message}; request had {shown}"
            if "/upload" in request.path:
                values = {"error_message": message, "error_details": message}
            else:
                code = CODES.get(refusal.code, 2)
                values = {"error": message, "code": code, "message": message, "details": []}
            return refusal.code, json.dumps(values)

    def _let_in(self, request: Request) -> None:
        if self.tokens and request.headers.get("authorization") not in {
            f"Bearer {token}" for token in self.tokens
        }:
            raise Refusal(401, "Unauthenticated")
        if self.cookies and request.headers.get("cookie") not in self.cookies:
            raise Refusal(401, "Unauthenticated")

    def _work(self, request: Request, raw: bytes) -> Any:
        path = request.path
        for operation in OPERATIONS:
            match = operation.pattern.fullmatch(path)
            if match and operation.method == request.method:
                break
        else:
            raise Refusal(404, "Not Found")
        for name in request.query:
            if name not in operation.query:
                raise Refusal(400, f"unknown query parameter {name}")
        if "upload" in operation.name:
            request.body = self._file(request, raw)
        elif raw:
            request.body = json.loads(raw)
        work = getattr(self, f"_{operation.name}", None)
        if work is None:
            raise Refusal(404, f"the tests' server has no {operation.name}")
        return work(request, **{name: unquote(value) for name, value in match.groupdict().items()})

    @staticmethod
    def _file(request: Request, raw: bytes) -> str:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        message: Message = BytesParser().parsebytes(head + raw)
        parts = message.get_payload()
        if not message.is_multipart() or len(parts) != 1:
            raise Refusal(400, "Failed to read pipeline from file")
        part = parts[0]
        if part.get_param("name", header="content-disposition") != "uploadfile":
            raise Refusal(400, "Failed to read pipeline from file")
        if not str(part.get_filename()).endswith((".yaml", ".yml")):
            raise Refusal(400, "Unexpected pipeline file format")
        text = part.get_payload(decode=True).decode()
        documents = list(yaml.safe_load_all(text))
        if "pipelineInfo" not in documents[0] or "root" not in documents[0]:
            raise Refusal(400, "Invalid pipeline spec")
        return str(text)

    # Shared by all operations.

    def _time(self) -> str:
        return f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"

    def _namespace(self, namespace: str | None) -> str:
        if self.multi_user and not namespace:
            raise Refusal(400, "Namespace cannot be empty in multi-user mode")
        if not self.multi_user and namespace:
            raise Refusal(400, "In single-user mode, the namespace must be empty")
        return namespace or ""

    def _by_id(self, items: list[dict[str, Any]], key: str, value: str | None) -> dict[str, Any]:
        for item in items:
            if item[key] == value:
                return item
        raise Refusal(404, f"{key} {value} not found")

    def _page(
        self, request: Request, items: list[dict[str, Any]], key: str, model: str
    ) -> dict[str, Any]:
        query = request.query
        matching = [item for item in items if matches(query.get("filter", ""), item)]
        matching.sort(key=lambda item: item["created_at"])
        size = min(int(query.get("page_size") or 20), self.page_size)
        begin = 0
        if query.get("page_token"):
            try:
                token = json.loads(base64.b64decode(query["page_token"]))
            except ValueError as error:
                raise Refusal(400, "Invalid package token") from error
            if token["filter"] != query.get("filter", ""):
                raise Refusal(400, "page token does not match the supplied filter")
            begin = token["begin"]
        page: dict[str, Any] = {"total_size": len(matching)}
        page[key] = matching[begin : begin + size]
        if begin + size < len(matching):
            token = {"begin": begin + size, "filter": query.get("filter", "")}
            page["next_page_token"] = base64.b64encode(json.dumps(token).encode()).decode()
        check(model, page, "answer")
        return page

    # Health.

    def _healthz_service_get_healthz(self, request: Request) -> Any:
        # From backend/src/apiserver/main.go, with more fields than the API describes.
        return {
            "commit_sha": "4a3592cb2dd0a91a4652ab93893ec8beda1f3158",
            "tag_name": self.version,
            "multi_user": self.multi_user,
            "pipeline_store": self.store,
        }

    # Pipelines.

    def _pipeline_service_create_pipeline(self, request: Request) -> Any:
        check("V2beta1Pipeline", request.body)
        name = request.body.get("name") or request.body.get("display_name")
        namespace = request.body.get("namespace", "")
        if not self.multi_user:
            self._namespace(namespace)
        for pipeline in self.pipelines:
            if (pipeline["name"], pipeline.get("namespace", "")) == (name, namespace):
                raise Refusal(409, f"The name {name} already exists")
        pipeline = {
            **request.body,
            "name": name,
            "pipeline_id": str(uuid.uuid4()),
            "created_at": self._time(),
        }
        self.pipelines.append(pipeline)
        return pipeline

    def _pipeline_service_get_pipeline_by_name(self, request: Request, name: str) -> Any:
        namespace = request.query.get("namespace", "")
        for pipeline in self.pipelines:
            if (pipeline["name"], pipeline.get("namespace", "")) == (name, namespace):
                return pipeline
        raise Refusal(404, f"Pipeline {name} not found")

    def _upload_pipeline_version(self, request: Request) -> Any:
        query = request.query
        if not any(item["pipeline_id"] == query.get("pipelineid") for item in self.pipelines):
            raise Refusal(400, "Failed to create a pipeline version")
        version = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid4()),
            "name": query["name"],
            "display_name": query.get("display_name") or query["name"],
            "created_at": self._time(),
            "pipeline_spec": next(iter(yaml.safe_load_all(request.body))),
        }
        for other in self.versions:
            if all(other[key] == version[key] for key in ("pipeline_id", "name")):
                raise Refusal(409, "Failed to create a pipeline version")
        # createPipelineVersionWithPipeline, 2.17's backend/src/apiserver/storage/
        # pipeline_store_kubernetes.go: a resource with the very name is in the way, and another
        # one of the version's name is looked at only if the pipeline owns it.
        pipeline = self._by_id(self.pipelines, "pipeline_id", query["pipelineid"])
        if f"{pipeline['name']}-{version['name']}" in self.unlisted:
            raise Refusal(409, "Failed to create a pipeline version")
        self.versions.append(version)
        return version

    def _pipeline_service_list_pipeline_versions(self, request: Request, pipeline_id: str) -> Any:
        self._by_id(self.pipelines, "pipeline_id", pipeline_id)
        items = [item for item in self.versions if item["pipeline_id"] == pipeline_id]
        return self._page(
            request, items, "pipeline_versions", "V2beta1ListPipelineVersionsResponse"
        )

    def _pipeline_service_get_pipeline_version(
        self, request: Request, pipeline_id: str, pipeline_version_id: str
    ) -> Any:
        version = self._by_id(self.versions, "pipeline_version_id", pipeline_version_id)
        if version["pipeline_id"] != pipeline_id:
            raise Refusal(404, f"pipeline_version_id {pipeline_version_id} not found")
        # With settings for Kubernetes, the server sends (backend/src/apiserver/server/
        # api_util.go, YamlStringToPipelineSpecStruct): both documents, each under its name.
        for upload in self.requests:
            if upload.status == 200 and upload.query.get("name") == version["name"]:
                documents = list(yaml.safe_load_all(upload.body))
                if documents[1:]:
                    both = dict(zip(("pipeline_spec", "platform_spec"), documents, strict=True))
                    return {**version, "pipeline_spec": both}
        return version

    # Experiments.

    def _experiment_service_list_experiments(self, request: Request) -> Any:
        namespace = self._namespace(request.query.get("namespace"))
        items = [item for item in self.experiments if item.get("namespace", "") == namespace]
        return self._page(request, items, "experiments", "V2beta1ListExperimentsResponse")

    def _experiment_service_create_experiment(self, request: Request) -> Any:
        check("V2beta1Experiment", request.body)
        namespace = self._namespace(request.body.get("namespace"))
        name = request.body["display_name"]
        for other in self.experiments:
            if (other["display_name"], other.get("namespace", "")) == (name, namespace):
                raise Refusal(409, f"The name {name} already exists")
        experiment = {
            **request.body,
            "experiment_id": str(uuid.uuid4()),
            "created_at": self._time(),
            "storage_state": "AVAILABLE",
        }
        self.experiments.append(experiment)
        return experiment

    def _experiment_service_get_experiment(self, request: Request, experiment_id: str) -> Any:
        return self._by_id(self.experiments, "experiment_id", experiment_id)

    # Runs and recurring runs.

    def _check_work(self, body: dict[str, Any]) -> None:
        self._by_id(self.experiments, "experiment_id", body.get("experiment_id"))
        reference = body.get("pipeline_version_reference") or {}
        version = self._by_id(
            self.versions, "pipeline_version_id", reference.get("pipeline_version_id")
        )
        if version["pipeline_id"] != reference.get("pipeline_id"):
            raise Refusal(400, "the version is of another pipeline")
        parameters = body.get("runtime_config", {}).get("parameters", {})
        if len(json.dumps(parameters)) > 10000:
            raise Refusal(400, "The input parameter length exceed maximum size of 10000.")
        inputs = version["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in parameters:
            if name not in inputs:
                raise Refusal(400, f"parameter {name} is not in the pipeline")

    def _run_service_create_run(self, request: Request) -> Any:
        check("V2beta1Run", request.body)
        self._check_work(request.body)
        run = {
            **request.body,
            "run_id": str(uuid.uuid4()),
            "created_at": self._time(),
            "finished_at": "1970-01-01T00:00:00Z",
            "state": "PENDING",
        }
        self.runs.append(run)
        return run

    def _run_service_list_runs(self, request: Request) -> Any:
        experiment = request.query.get("experiment_id")
        if not experiment:
            self._namespace(request.query.get("namespace"))
        items = [run for run in self.runs if experiment in (None, "", run["experiment_id"])]
        return self._page(request, items, "runs", "V2beta1ListRunsResponse")

    def _run_service_get_run(self, request: Request, run_id: str) -> Any:
        return self._by_id(self.runs, "run_id", run_id)

    def _recurring_run_service_create_recurring_run(self, request: Request) -> Any:
        body = request.body
        check("V2beta1RecurringRun", body)
        self._check_work(body)
        self._namespace(body.get("namespace"))
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise Refusal(400, "The max concurrency of the recurring run is out of range.")
        trigger = body.get("trigger", {})
        if len(trigger) != 1:
            raise Refusal(400, "one trigger is required")
        if "cron_schedule" in trigger:
            robfig(trigger["cron_schedule"]["cron"])
        elif int(trigger["periodic_schedule"]["interval_second"]) < 1:
            raise Refusal(400, "Found invalid period schedule interval")
        enabled = body.get("mode") == "ENABLE"
        run = {
            **body,
            "recurring_run_id": str(uuid.uuid4()),
            "created_at": self._time(),
            "updated_at": self._time(),
            "mode": "ENABLE" if enabled else "DISABLE",
            "status": "ENABLED" if enabled else "DISABLED",
        }
        self.schedules.append(run)
        return run

    def _recurring_run_service_list_recurring_runs(self, request: Request) -> Any:
        experiment = request.query.get("experiment_id")
        namespace = request.query.get("namespace")
        if not experiment:
            self._namespace(namespace)
        items = [
            run
            for run in self.schedules
            if experiment in (None, "", run["experiment_id"])
            and namespace in (None, "", run.get("namespace"))
        ]
        return self._page(request, items, "recurringRuns", "V2beta1ListRecurringRunsResponse")

    def _recurring_run_service_get_recurring_run(
        self, request: Request, recurring_run_id: str
    ) -> Any:
        return self._by_id(self.schedules, "recurring_run_id", recurring_run_id)

    def _recurring_run_service_delete_recurring_run(
        self, request: Request, recurring_run_id: str
    ) -> Any:
        self.schedules.remove(self._by_id(self.schedules, "recurring_run_id", recurring_run_id))
        return {}

    def _recurring_run_service_enable_recurring_run(
        self, request: Request, recurring_run_id: str
    ) -> Any:
        run = self._by_id(self.schedules, "recurring_run_id", recurring_run_id)
        run |= {"mode": "ENABLE", "status": "ENABLED"}
        return {}

    def _recurring_run_service_disable_recurring_run(
        self, request: Request, recurring_run_id: str
    ) -> Any:
        run = self._by_id(self.schedules, "recurring_run_id", recurring_run_id)
        run |= {"mode": "DISABLE", "status": "DISABLED"}
        return {}
