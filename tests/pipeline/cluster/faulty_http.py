"""An HTTP server that records requests and fails on demand, by a clock that tests move."""

import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


class Clock:
    """The common time of client and server, which tests move."""

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
    """A fault of a request.

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
    """A request as the server received it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    status: int = 0
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class FaultyServer:
    """Answers requests, or fails to, as tests demand.

    Args:
        clock: The time.
        per_request: How many seconds a request takes by the clock.
    """

    def __init__(self, clock: Clock, per_request: float):
        self.clock = clock
        self.per_request = per_request
        self.requests: list[Request] = []
        self.before: Callable[[Request], None] = lambda request: None
        self._numbered: dict[int, Fault] = {}
        self._matched: list[tuple[str, int, Fault]] = []
        self._lock = threading.RLock()
        self._released = threading.Event()

    def _answer(self, request: Request, raw: bytes, fault: Fault | None) -> tuple[int, str | bytes]:
        """Return the status and the body of an answer."""
        raise NotImplementedError

    def _before_answer(self) -> None:
        """Called when a request has arrived and the clock has moved."""

    def _after_answer(self) -> None:
        """Called when the answer exists and has not been sent."""

    def __enter__(self) -> "FaultyServer":
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
        """Make a request fail.

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
            self._before_answer()
            self.before(request)
            code, answer = self._answer(request, raw, fault)
            request.status = code
            self._after_answer()
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
