"""A KFP API server for tests: speaks the v2beta1 REST API over HTTP, and fails on demand.

Paths, methods, query parameters and bodies are those of kfp_server_api, which is
generated from the API's published description. Whatever is not there is refused.
"""

import base64
import functools
import inspect
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

import kfp_server_api
import yaml

from pipeline.cluster.schedules.cron import Cron, parse_cron

SERVICES = (
    kfp_server_api.ExperimentServiceApi,
    kfp_server_api.HealthzServiceApi,
    kfp_server_api.PipelineServiceApi,
    kfp_server_api.PipelineUploadServiceApi,
    kfp_server_api.RecurringRunServiceApi,
    kfp_server_api.RunServiceApi,
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
# gRPC's codes of the HTTP statuses, which are in the body of an error.
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14}


class Clock:
    """The time of the client and the server, which tests move."""

    def __init__(self, now: str = "2026-11-24T03:10:20+00:00"):
        self.began = datetime.fromisoformat(now)
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Args:
        kind: `status`: it is refused; `drop`: the connection closes before the
            work; `drop_after`: after it; `hang` and `hang_after`: no answer;
            `cut`: the connection closes in the middle of the body.
        status: Of the refusal.
        headers: Of the refusal.
        body: Of the refusal; none means what the server would say.
    """

    kind: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | None = None


def status(code: int, body: str | bytes | None = None, **headers: str) -> Fault:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault("status", code, names, body)


@dataclass
class Request:
    """A request, as the server got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    status: int = 0
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Refusal(Exception):
    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Operation:
    """An operation of the API, as the generated client has it."""

    name: str
    method: str
    pattern: re.Pattern[str]
    query: frozenset[str]


def _operations() -> list[Operation]:
    operations = []
    for service in SERVICES:
        for name, function in inspect.getmembers(service, inspect.isfunction):
            if not name.endswith("_with_http_info"):
                continue
            source = inspect.getsource(function)
            path, method = re.findall(r"'(/apis/[^']*)', '([A-Z]+)',", source)[0]
            pattern = re.sub(
                r"\\\{([\w.\\]+?)\\\}",
                lambda match: f"(?P<{match[1].replace('.', '_').replace(chr(92), '')}>[^/:]+)",
                re.escape(path),
            )
            query = re.findall(r"query_params\.append\(\('(\w+)'", source)
            operations.append(
                Operation(
                    name.removesuffix("_with_http_info"),
                    method,
                    re.compile(pattern),
                    frozenset(query),
                )
            )
    # A path without parameters comes before one with: pipelines/create, pipelines/{pipeline_id}.
    return sorted(operations, key=lambda operation: "(?P" in operation.pattern.pattern)


OPERATIONS = _operations()


def check(kind: str, value: Any, where: str = "body") -> None:
    """Refuses a value that is not of a type of the API, as the server's JSON reader does."""

    def wrong(what: str) -> Refusal:
        return Refusal(400, f"proto: syntax error: {where}: {what}")

    if match := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            raise wrong("not a list")
        for number, item in enumerate(value):
            check(match[1], item, f"{where}[{number}]")
    elif match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        if not isinstance(value, dict):
            raise wrong("not an object")
        for key, item in value.items():
            check(match[1], item, f"{where}.{key}")
    elif kind == "object":
        return
    elif kind == "datetime":
        if not isinstance(value, str) or not TIME.fullmatch(value):
            raise wrong(f"{value!r} is no timestamp")
    elif kind in ("str", "bool", "int"):
        wanted = {"str": str, "bool": bool, "int": int}[kind]
        if type(value) is not wanted:
            raise wrong(f"{value!r} is no {kind}")
    else:
        model = getattr(kfp_server_api, kind)
        allowed = getattr(model, "allowable_values", None)
        if allowed is not None:
            if value not in allowed:
                raise wrong(f"{value!r} is none of {allowed}")
            return
        if not isinstance(value, dict):
            raise wrong("not an object")
        names = {model.attribute_map[attribute]: attribute for attribute in model.openapi_types}
        for key, item in value.items():
            if key not in names:
                raise wrong(f"unknown field {key!r}")
            check(model.openapi_types[names[key]], item, f"{where}.{key}")


def robfig(cron: str) -> None:
    """Refuses what robfig/cron v1 refuses."""
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise Refusal(400, f"Schedule cron is not a supported format: {cron}")
    limits = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
    names = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
    for place, (text, (low, high)) in enumerate(zip(fields, limits, strict=False)):
        table = {4: {n: i + 1 for i, n in enumerate(names)}, 5: {n: i for i, n in enumerate(days)}}
        for part in text.split(","):
            match = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
            ends = [match[1], match[2]] if match else []
            numbers = [
                int(end) if end.isdecimal() else table.get(place, {}).get(end.upper(), -1)
                for end in ends
                if end
            ]
            good = match and all(low <= number <= high for number in numbers)
            if not good or numbers != sorted(numbers) or (match and match[3] == "0"):
                raise Refusal(400, f"Schedule cron is not a supported format: {part} of {cron}")


class KfpServer:
    """The server and its state.

    Args:
        multi_user: Whether each request must say whose it is.
        clock: The time.
        per_request: How many seconds a request takes by the clock.
        page_size: The most that a page holds.
    """

    def __init__(
        self,
        *,
        multi_user: bool = False,
        clock: Clock | None = None,
        per_request: float = 0.1,
        page_size: int = 2,
    ):
        self.multi_user = multi_user
        self.clock = clock or Clock()
        self.per_request = per_request
        self.page_size = page_size
        self.version = "2.17.0"
        self.store = "database"
        # Names of PipelineVersion resources without the label by which they are listed, and
        # without an owner: of those that were applied without KFP's webhook.
        self.unlisted: set[str] = set()
        self.tokens: set[str] = set()
        self.cookies: set[str] = set()
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.schedules: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.before: Callable[[Request], None] = lambda request: None
        self.ticks: list[tuple[datetime, str]] = []
        self.most_enabled = 0
        self._last_ticks: dict[str, datetime] = {}
        self._numbered: dict[int, Fault] = {}
        self._matched: list[tuple[str, int, Fault]] = []
        self._lock = threading.RLock()
        self._released = threading.Event()

    def __enter__(self) -> "KfpServer":
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in one piece, or TCP waits for more

            def do_GET(self) -> None:
                server._handle(self)

            do_POST = do_DELETE = do_PATCH = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def fail(self, where: str | int, fault: Fault, nth: int = 1) -> None:
        """Makes a request fail.

        Args:
            where: `METHOD pattern`, or how many requests from now on it is (0 is the next).
            fault: How.
            nth: Which of the requests that match; 0 means all.
        """
        with self._lock:
            if isinstance(where, int):
                self._numbered[len(self.requests) + where] = fault
            else:
                self._matched.append((where, nth, fault))

    def count(self, where: str) -> int:
        return sum(1 for request in self.requests if re.fullmatch(where, str(request)))

    def may_hang(self) -> bool:
        """Whether the next request may get no answer."""
        coming = [self._numbered.get(len(self.requests))]
        coming += [fault for where, _, fault in self._matched if where != "used"]
        return any(fault is not None and fault.kind.startswith("hang") for fault in coming)

    # What comes in.

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        address = urlsplit(handler.path)
        request = Request(
            handler.command,
            address.path,
            dict(parse_qsl(address.query, keep_blank_values=True)),
            {name.lower(): value for name, value in handler.headers.items()},
        )
        with self._lock:
            fault = self._fault(request)
            self.requests.append(request)
        length = int(handler.headers.get("content-length") or 0)
        if fault and fault.kind == "cut":
            handler.rfile.read(length // 2)
            return self._close(handler)
        raw = handler.rfile.read(length)
        if fault and fault.kind == "drop":
            return self._close(handler)
        if fault and fault.kind == "hang":
            self._released.wait(3)
            return self._close(handler)
        with self._lock:
            self.clock.passed += self.per_request
            self._tick()
            self.before(request)
            code, answer = self._answer(request, raw, fault)
            request.status = code
            self.most_enabled = max(self.most_enabled, self._enabled())
            self._tick()
        if fault and fault.kind == "drop_after":
            return self._close(handler)
        if fault and fault.kind == "hang_after":
            self._released.wait(3)
            return self._close(handler)
        body = answer.encode() if isinstance(answer, str) else answer
        handler.send_response_only(code, {401: "Unauthorized"}.get(code))
        handler.send_header("Date", format_datetime(self.clock.now(), usegmt=True))
        headers = {"Content-Type": "application/json", **(dict(fault.headers) if fault else {})}
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()

    def _fault(self, request: Request) -> Fault | None:
        found = self._numbered.pop(len(self.requests), None)
        for number, (where, nth, fault) in enumerate(self._matched):
            if found is None and re.fullmatch(where, str(request)):
                if nth <= 1:
                    found = fault
                if nth:
                    self._matched[number] = (where if nth > 1 else "used", nth - 1, fault)
        request.fault = found.kind if found else ""
        return found

    @staticmethod
    def _close(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, request: Request, raw: bytes, fault: Fault | None) -> tuple[int, str | bytes]:
        try:
            if fault and fault.kind == "status":
                if fault.body is not None:
                    return fault.status, fault.body
                raise Refusal(fault.status, "told to fail")
            self._let_in(request)
            return 200, json.dumps(self._work(request, raw))
        except Refusal as refusal:
            # As a proxy does that shows what it got.
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

    # What all operations share.

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
        matching = [item for item in items if _matches(query.get("filter", ""), item)]
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
        # All of backend/src/apiserver/main.go, more than the API describes.
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

    # The controller that starts scheduled runs.

    def _enabled(self) -> int:
        """The most enabled recurring runs of one name in one experiment."""
        on = [
            (run["experiment_id"], run["display_name"])
            for run in self.schedules
            if run["mode"] == "ENABLE"
        ]
        return max((on.count(key) for key in on), default=0)

    def advance(self, seconds: float) -> None:
        """Lets time pass, second by second as the controller sees it."""
        for _ in range(int(seconds)):
            with self._lock:
                self.clock.passed += 1
                self._tick()

    def _tick(self) -> None:
        now = self.clock.now()
        for schedule in self.schedules:
            if schedule["mode"] != "ENABLE":
                continue
            for time in self._due(schedule, now):
                self._last_ticks[schedule["recurring_run_id"]] = time
                self.ticks.append((time, schedule["recurring_run_id"]))
                self.runs.append(self._scheduled_run(schedule, time))

    def _scheduled_run(self, schedule: dict[str, Any], time: datetime) -> "ScheduledRun":
        """The run of a tick. Its parameters are the schedule's as they are: no word is replaced."""
        kept = ("experiment_id", "pipeline_version_reference", "runtime_config", "service_account")
        run = ScheduledRun(
            json.loads(json.dumps({name: schedule[name] for name in kept if name in schedule})),
            run_id=str(uuid.uuid4()),
            display_name=f"{schedule['display_name']}-{len(self.ticks)}",
            recurring_run_id=schedule["recurring_run_id"],
            scheduled_at=f"{time:%Y-%m-%dT%H:%M:%SZ}",
            created_at=self._time(),
            finished_at="1970-01-01T00:00:00Z",
            state="PENDING",
        )
        run.labels[WORKFLOW_EPOCH] = str(int(time.timestamp()))
        return run

    def _pipeline_service_get_pipeline_version(
        self, request: Request, pipeline_id: str, pipeline_version_id: str
    ) -> Any:
        version = self._by_id(self.versions, "pipeline_version_id", pipeline_version_id)
        if version["pipeline_id"] != pipeline_id:
            raise Refusal(404, f"pipeline_version_id {pipeline_version_id} not found")
        # As the server does with settings for Kubernetes (backend/src/apiserver/server/
        # api_util.go, YamlStringToPipelineSpecStruct): both documents, each under its name.
        for upload in self.requests:
            if upload.status == 200 and upload.query.get("name") == version["name"]:
                documents = list(yaml.safe_load_all(upload.body))
                if documents[1:]:
                    both = dict(zip(("pipeline_spec", "platform_spec"), documents, strict=True))
                    return {**version, "pipeline_spec": both}
        return version

    def _due(self, run: dict[str, Any], now: datetime) -> Iterator[datetime]:
        kind = next(iter(run["trigger"]))
        trigger = run["trigger"][kind]
        start = datetime.fromisoformat(trigger.get("start_time") or run["created_at"])
        last = self._last_ticks.get(run["recurring_run_id"], start)
        last = max(last, start)
        if kind == "periodic_schedule":
            step = timedelta(seconds=int(trigger["interval_second"]))
            if last + step <= now:
                yield now if last + 2 * step <= now else last + step
            return
        latest = None
        cron = _cron(trigger["cron"])
        while (following := cron.next_times(latest or last, 1)) and following[0] <= now:
            latest = following[0]
        if latest:
            yield latest


WORKFLOW_EPOCH = "scheduledworkflows.kubeflow.org/workflowEpoch"


class ScheduledRun(dict[str, Any]):
    """A run that the controller has started, with the labels of its Argo workflow."""

    def __init__(self, *values: Any, **more: Any):
        super().__init__(*values, **more)
        self.labels: dict[str, str] = {}


def scheduled_time(run: Mapping[str, Any]) -> str:
    """Return the scheduled time that KFP's driver gives a run in `KfpServer.runs`.

    By resolvePipelineJobScheduleTimeUTCFromWorkflow in backend/src/v2/cmd/driver/main.go: the
    tick in the workflow's labels or, for a run without one, the time of its creation.
    """
    epoch = getattr(run, "labels", {}).get(WORKFLOW_EPOCH)
    if epoch is None:
        return str(run["created_at"])
    return f"{datetime.fromtimestamp(int(epoch), UTC):%Y-%m-%dT%H:%M:%SZ}"


@functools.cache
def _cron(text: str) -> Cron:
    return parse_cron(text)


def _matches(text: str, item: Mapping[str, Any]) -> bool:
    """Evaluates a filter as the server does, which decodes it as a URL once more."""
    if not text:
        return True
    try:
        values = json.loads(unquote_plus(text))
    except ValueError as error:
        raise Refusal(400, f"failed to parse valid filter from {text}") from error
    check("V2beta1Filter", values, "filter")
    for predicate in values.get("predicates", []):
        if predicate["key"] not in ("display_name", "name", "created_at", "description"):
            raise Refusal(400, f"no support for filtering on {predicate['key']}")
        have, want = item.get(predicate["key"]), predicate.get("string_value", "")
        # MySQL compares without regard to case.
        have, want = str(have).lower(), want.lower()
        good = {
            "EQUALS": have == want,
            "NOT_EQUALS": have != want,
            "IS_SUBSTRING": want in have,
        }.get(predicate["operation"])
        if good is None:
            raise Refusal(400, f"unsupported operation {predicate['operation']}")
        if not good:
            return False
    return True
