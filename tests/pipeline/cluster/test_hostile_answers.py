"""Whatever a server sends, a command ends soon, with one clear message, and claims nothing."""

import gzip
import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from cluster_support import by, clear, no_settings
from faulty_http import Clock

from pipeline.cli.main import main
from pipeline.cluster.client import cluster as client
from pipeline.cluster.client.cluster import Cluster, connect
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.client.transport import Limits

__all__ = ["no_settings"]  # a fixture
LIMITS = Limits(connect_seconds=0.3, seconds=0.3, answer_bytes=2**21, error_bytes=2**16, pages=5)
HEALTH = b'{"multi_user": false, "tag_name": "2.17.0"}'
Send = Callable[[bytes], None]
Script = Callable[[Send], None]


def answer(body: bytes | str, status: str = "200 OK", **headers: str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    values = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    values |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in values.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n".encode("latin-1") + body


def runs(**fields: Any) -> bytes:
    return answer(json.dumps({"recurringRuns": [{"recurring_run_id": "1", **fields}]}))


def then(begin: bytes, more: bytes, pause: float = 0.0) -> Script:
    """Return a script that sends something once, and something else forever."""

    def script(send: Send) -> None:
        send(begin)
        while True:
            send(more)
            time.sleep(pause)

    return script


def endless_pages() -> Script:
    number = 0

    def script(send: Send) -> None:
        nonlocal number
        number += 1
        send(answer(json.dumps({"total_size": 9, "next_page_token": f"page {number}"})))

    return script


CHUNKED = {"Content_Length": "", "Transfer_Encoding": "chunked"}
ESCAPES = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://x\x1b\\link\r\n\x9b1m\u202e\x00"
KINDS: dict[str, bytes | Script] = {
    # Not JSON.
    "nothing": answer(""),
    "no JSON": answer("welcome"),
    "JSON that is cut": answer('{"recurringRuns": [{"recurr'),
    "cut, without a length": answer('{"recurringRuns": [{"re', Content_Length=""),
    "less than its length": answer("{}", Content_Length="200"),
    "chunks that are cut": answer('5\r\n{"rec', **CHUNKED),
    "a chunk of no size": answer("zz\r\n{}\r\n0\r\n\r\n", **CHUNKED),
    "a chunk of negative size": answer("-5\r\n{}\r\n0\r\n\r\n", **CHUNKED),
    "two lengths": answer("{}", Content_Length="2\r\nContent-Length: 9"),
    "a web page": answer("<html>Sign in</html>", Content_Type="text/html"),
    "a page that begins like JSON": answer("{% if user %}", Content_Type="text/html"),
    "JSON as a web page": answer("{}", Content_Type="text/html"),
    "JSON as text": answer("{}", Content_Type="text/plain"),
    "no content": answer("", "204 No Content"),
    "no UTF-8": answer(b'{"recurringRuns": [{"display_name": "\xff\xfe"}]}'),
    "UTF-16": answer('{"recurringRuns": []}'.encode("utf-16")),
    "nested lists": answer('{"recurringRuns": ' + "[" * 100_000),
    "nested objects": answer('{"a":' * 100_000 + "1" + "}" * 100_000),
    "a number of 5,000 digits": answer('{"total_size": ' + "9" * 5000 + "}"),
    "a broken archive": answer(b"\x1f\x8b\x08 and more", Content_Encoding="gzip"),
    "an unknown compression": answer(b"\x01\x02\x03", Content_Encoding="br"),
    # JSON, but not an answer.
    "null": answer("null"),
    "a list": answer("[]"),
    "a text": answer('"{}"'),
    "an answer to something else": answer('{"runs": [{"run_id": "1"}]}'),
    "an error that says it is a success": answer('{"error": "no", "code": 5, "message": "no"}'),
    "null for a list": answer('{"recurringRuns": null}'),
    "a text for a list": answer('{"recurringRuns": "none"}'),
    "an object for a list": answer('{"recurringRuns": {"1": {}}}'),
    "numbers for objects": answer('{"recurringRuns": [1, 2]}'),
    "a thing without an id": answer('{"recurringRuns": [{"display_name": "nightly"}]}'),
    "a number for a text": runs(display_name=5),
    "a text for a truth": runs(no_catchup="false"),
    "a text for an object": runs(trigger="daily"),
    "no time": runs(created_at="yesterday"),
    "a time without a zone": runs(created_at="2026-11-24T03:10:20"),
    "a time that is none": runs(created_at="2026-99-99T99:99:99Z"),
    "infinitely many": answer('{"total_size": Infinity}'),
    # Incomplete lists.
    "less than it counts": answer(
        '{"recurringRuns": [{"recurring_run_id": "1"}], "total_size": 2}'
    ),
    "none of what it counts": answer('{"total_size": 2}'),
    "the same page again": answer('{"total_size": 2, "next_page_token": "again"}'),
    "pages without end": endless_pages(),
    # Too much.
    "too large": answer('{"a": "' + "x" * 2**21 + '"}'),
    "too large, without a length": then(answer('{"a": "', Content_Length=""), b"x" * 4096),
    "a bomb": answer(gzip.compress(b'{"a": "' + b"x" * 2**24), Content_Encoding="gzip"),
    "a bomb of bombs": answer(
        gzip.compress(gzip.compress(b"x" * 2**26)), Content_Encoding="gzip, gzip"
    ),
    "too many objects": answer('{"recurringRuns": [' + "{}," * 500_001),
    "a header that is too long": answer("{}", X=("x" * 2**17)),
    "too many headers": answer("{}", **{f"X{number}": "x" for number in range(200)}),
    # Too slow.
    "closed at once": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "silence": then(b"", b"", 0.05),
    "a slow first line": then(b"HTTP/1.1 2", b"0", 0.05),
    "slow headers": then(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n", 0.05),
    "a slow header": then(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
    "a slow body": then(answer("{", Content_Length="9999"), b" ", 0.05),
    "a slow body without a length": then(answer("{", Content_Length=""), b" ", 0.05),
    "slow chunks": then(answer("", **CHUNKED), b"1\r\n \r\n", 0.05),
    "trailers without end": then(answer("2\r\n{}\r\n0\r\n", **CHUNKED), b"X: x\r\n", 0.0),
    "to be continued": then(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
    # Errors.
    "escape codes": answer(ESCAPES, "403 Forbidden"),
    "escape codes in JSON": answer(json.dumps({"message": ESCAPES + "\ud800"}), "403 Forbidden"),
    "escape codes in the status": answer("", "403 \x1b[31mred"),
    "escape codes in the type": answer("{}", Content_Type="\x1b[31m\x9b1m"),
    "escape codes in the location": answer("", "302 Found", Location="\x1b]0;title\x07x"),
    "an error of a megabyte": answer("x" * 2**20, "403 Forbidden"),
    "an error without end": then(answer("", "500 No", Content_Length=""), b"x" * 4096),
    "a slow error": then(answer("", "500 No", Content_Length="9999"), b"x", 0.05),
    "nested errors": answer("[" * 60_000, "400 Bad Request"),
    "only angle brackets": answer("<" * 60_000, "400 Bad Request"),
    "only titles": answer("<title>" * 9000, "400 Bad Request"),
    "an error that is no text": answer(b"\xff\xfe" * 500, "502 Bad Gateway"),
    "a redirect to itself": answer("", "307 Temporary Redirect", Location="/apis"),
    "a status beyond": answer("{}", "799 Beyond"),
    "a status that is none": answer("{}", "2000 OK"),
}


class Hostile(socketserver.ThreadingTCPServer):
    """Answers all requests by a script, or all but the one for the server's health."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, kind: bytes | Script, *, healthy: bool):
        self.kind = kind
        self.healthy = healthy
        self.requests = 0
        super().__init__(("127.0.0.1", 0), Hostile.handle_one)

    @staticmethod
    def handle_one(connection: socket.socket, address: Any, server: Any) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += (part := connection.recv(65536))
            if not part:
                return
        server.requests += 1
        try:
            if server.healthy and b"/healthz" in received:
                connection.sendall(answer(HEALTH))
            elif isinstance(server.kind, bytes):
                connection.sendall(server.kind)
            else:
                server.kind(connection.sendall)
        except OSError:
            pass  # the client has closed the connection

    def __enter__(self) -> "Hostile":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lists the schedules of a server; returns the exit code and the waits."""

    def run(server: Hostile, patience: float = 0.5) -> tuple[int, list[float]]:
        clock = Clock()
        options = by(clock) | {"limits": LIMITS, "patience": patience}
        monkeypatch.setattr(client, "connect", lambda to: connect(to, **options))
        return main(["schedule", "list", "--host", server.url]), clock.slept

    return run


# Lists and the server's health come through the same transport, so of its faults one each of a
# page, an end, a delay, a size and an error is enough for health; its content is checked elsewhere.
TO_HEALTH = (
    "nothing", "a web page", "closed at once", "silence", "a slow body", "too large",
    "too many objects", "an error without end", "escape codes", "a redirect to itself",
    "null", "a list", "a text", "an answer to something else",
    "an error that says it is a success",
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "healthy"), [*((kind, True) for kind in KINDS), *((kind, False) for kind in TO_HEALTH)]
)
def test_a_hostile_answer_ends_soon_in_one_message(
    run: Any, capsys: pytest.CaptureFixture[str], kind: str, healthy: bool
) -> None:
    began = time.monotonic()
    with Hostile(KINDS[kind], healthy=healthy) as server:
        assert run(server)[0] == 1
        assert time.monotonic() - began < 10
        assert server.requests <= 1 + LIMITS.pages
        printed = capsys.readouterr()
        assert printed.out == ""
        *notes, message = printed.err.splitlines()
        assert message.startswith("error: ")
        assert server.url in message
        assert clear(message)
        assert len(message) < 700
        assert all("trying again in" in note for note in notes)
        assert printed.err.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "wait",
    ["0", "-1", "²", "\u0661", "1e9", "0.5", "", "soon", "Mon, 01 Jan 1990 00:00:00 GMT", "9" * 400,
     "Mon, 99 Foo 99999 99:99:99 +9999999999", "\x1b[31m1"],
)  # fmt: skip
def test_every_wait_is_at_least_a_second_and_bounded(
    run: Any, capsys: pytest.CaptureFixture[str], wait: str
) -> None:
    header = wait.encode().decode("latin-1")
    with Hostile(answer("{}", "503 Unavailable", Retry_After=header), healthy=True) as server:
        code, slept = run(server, patience=120.0)
        assert code == 1
        assert all(1 <= seconds <= 30 for seconds in slept)
        assert server.requests <= 1 + 20
        message = capsys.readouterr().err.splitlines()[-1]
        assert re.search(r"Tried \d+ times in \d+ s\.$", message)
        assert clear(message)
        assert len(message) < 300


def test_an_invalid_date_header_does_not_spoil_an_answer(run: Any) -> None:
    for date in ("x", "Mon, 99 Foo 99999 99:99:99 +9999999999", "\x1b[31m", "0"):
        with Hostile(answer('{"total_size": 0}', Date=date), healthy=True) as server:
            assert run(server)[0] == 0


def test_an_empty_list_is_an_answer(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Hostile(answer("{}"), healthy=True) as server:
        assert run(server)[0] == 0
        assert capsys.readouterr().out == "no schedules\n"


def test_a_compressed_answer_within_the_limits_is_read(run: Any) -> None:
    body = gzip.compress(json.dumps({"total_size": 0, "next_page_token": ""}).encode())
    with Hostile(answer(body, Content_Encoding="gzip"), healthy=True) as server:
        assert run(server)[0] == 0


def test_an_abandoned_connection_sends_nothing_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        # TLS, so that connecting is slow: the server does not answer the handshake.
        cluster = Cluster(
            Connection(host=f"https://127.0.0.1:{server.getsockname()[1]}"),
            **by(Clock()) | {"limits": LIMITS, "patience": 0.0},
        )
        with pytest.raises(ClusterError, match="did not"):
            cluster.greet()
        connection, _ = server.accept()
        connection.settimeout(5)
        while received := connection.recv(65536):
            assert b"healthz" not in received
