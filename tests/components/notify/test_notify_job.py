"""The report of a run's end: a line in the log, and a webhook, here a real server."""

import contextlib
import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from components.notify.job import WEBHOOK, FinalStatus, notify

SECRET = "/services/T0000/S3CR3T"


class Webhook:
    """A local server that gives prepared answers and records its requests.

    Args:
        answers: The status of each answer; the last one is repeated. None closes the
            connection, bytes are sent as they are, and a function sends what it likes.
    """

    def __init__(self) -> None:
        self.answers: list[int | bytes | Callable[[Any], None] | None] = [200]
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {key.lower(): value for key, value in self.headers.items()}
                webhook.requests.append((self.command, self.path, headers, body))
                answers = webhook.answers
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if callable(answer):
                    answer(self)
                elif isinstance(answer, bytes):
                    with contextlib.suppress(OSError):  # the client has closed the connection
                        self.wfile.write(answer)
                elif answer is not None:
                    self.send_response(answer)
                    self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        """Its address, with a secret path."""
        return f"http://127.0.0.1:{self.server.server_port}{SECRET}"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of notify, in seconds."""
    slept: list[float] = []
    # Only in this module: other threads of the tests also sleep.
    monkeypatch.setattr("components.notify.webhook.time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.fixture
def webhook(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A webhook whose address is in the environment."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    webhook = Webhook()
    thread = threading.Thread(target=webhook.server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv(WEBHOOK, webhook.address)
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()
    thread.join()


def tell(state: str = "COMPLETE", error: str = "") -> dict[str, Any]:
    return notify(name="shop", run="r-7", status=FinalStatus(state, error=error))


def told(notified: bool, state: str = "SUCCEEDED", error: str = "") -> dict[str, Any]:
    return {"state": state, "step": "", "error": error, "notified": notified}


@pytest.mark.parametrize(
    ("state", "outcome", "line"),
    [
        ("COMPLETE", "SUCCEEDED", "shop: run r-7 succeeded"),
        ("CACHED", "SUCCEEDED", "shop: run r-7 succeeded"),
        ("SUCCEEDED", "SUCCEEDED", "shop: run r-7 succeeded"),
        ("CANCELED", "CANCELLED", "shop: run r-7 cancelled"),
        ("CANCELLED", "CANCELLED", "shop: run r-7 cancelled"),
        ("FAILED", "FAILED", "shop: run r-7 failed: a step failed"),
        # A failed driver leaves this state in ML Metadata.
        ("RUNNING", "FAILED", "shop: run r-7 failed: a step failed"),
        ("UNKNOWN", "FAILED", "shop: run r-7 failed: a step failed"),
        ("", "FAILED", "shop: run r-7 failed: a step failed"),
    ],
)
def test_without_a_webhook_there_is_one_line(
    state: str,
    outcome: str,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)

    assert tell(state=state) == told(False, outcome)

    assert capsys.readouterr().out == f"[notify] {line}\n"


def test_an_error_in_the_final_status_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)

    tell(state="FAILED", error="out of\nmemory")

    assert capsys.readouterr().out == (
        "[notify] shop: run r-7 failed: a step failed: out of memory\n"
    )


def test_an_empty_address_is_no_webhook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WEBHOOK, "")

    assert tell() == told(False)
    assert capsys.readouterr().out == "[notify] shop: run r-7 succeeded\n"


def test_the_webhook_gets_a_sentence_and_its_parts(
    webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    error = "no disk left: größer wählen"
    assert tell(state="FAILED", error=error) == told(True, "FAILED", error)
    ((method, path, headers, body),) = webhook.requests
    assert (method, path) == ("POST", SECRET)
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "text": "shop: run r-7 failed: a step failed: no disk left: größer wählen",
        "name": "shop",
        "run": "r-7",
        "run_id": "",
        "state": "FAILED",
        "step": "",
        "error": "no disk left: größer wählen",
    }
    assert capsys.readouterr().out.splitlines()[1:] == [
        "[notify] the webhook at 127.0.0.1 answered 200"
    ]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_counts_as_accepted(webhook: Webhook, status: int) -> None:
    webhook.answers = [status]

    assert tell()["notified"] is True
    assert len(webhook.requests) == 1


def test_a_newline_at_the_end_of_the_address_does_not_matter(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEBHOOK, f"{webhook.address}\n")

    assert tell()["notified"] is True
    assert webhook.requests[0][1] == SECRET


@pytest.mark.parametrize("failing", [500, 503, 429, None])
def test_a_webhook_that_fails_twice_gets_three_attempts(
    webhook: Webhook, pauses: list[float], failing: int | None
) -> None:
    webhook.answers = [failing, failing, 200]

    assert tell()["notified"] is True

    assert len(webhook.requests) == 3
    assert len({body for *_, body in webhook.requests}) == 1
    assert pauses == [2.0, 2.0]


def test_a_webhook_that_keeps_failing_is_a_warning(
    webhook: Webhook, pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.answers = [500]

    assert tell() == told(False)

    assert len(webhook.requests) == 3
    assert len(pauses) == 2
    assert capsys.readouterr().out.splitlines()[-1] == (
        "[notify] warning: the webhook at 127.0.0.1 answered 500"
    )


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusing_webhook_gets_one_attempt(
    webhook: Webhook, pauses: list[float], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.answers = [status, 200]

    assert tell()["notified"] is False

    assert len(webhook.requests) == 1
    assert pauses == []
    assert f"warning: the webhook at 127.0.0.1 answered {status}" in capsys.readouterr().out


def test_an_unreachable_webhook_is_a_warning(
    webhook: Webhook,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # an unused port
        monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{unused.getsockname()[1]}{SECRET}")

        assert tell() == told(False)

    assert len(pauses) == 2
    assert webhook.requests == []
    assert "warning: the webhook at 127.0.0.1 cannot be reached: " in capsys.readouterr().out


@pytest.mark.parametrize("address", ["ftp://127.0.0.1", "file://", "127.0.0.1:80", "no address"])
def test_an_address_that_is_not_http_is_a_warning(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WEBHOOK, f"{address}{SECRET}")

    assert tell()["notified"] is False

    assert capsys.readouterr().out.splitlines()[1:] == [
        f"[notify] warning: {WEBHOOK} is not an http:// or https:// address"
    ]


@pytest.mark.parametrize("answer", [200, 404, 500, None])
def test_the_path_of_the_address_is_never_shown(
    webhook: Webhook, answer: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    webhook.answers = [answer]

    result = tell(state="FAILED", error="out of memory")

    captured = capfd.readouterr()
    assert webhook.requests[0][1] == SECRET
    assert "127.0.0.1" in captured.out
    assert "S3CR3T" not in captured.out + captured.err + json.dumps(result)


@pytest.mark.parametrize(
    "address",
    [
        f"http://[127.0.0.1{SECRET}",
        f"http://127.0.0.1:port{SECRET}",
        f"http://user:S3CR3T@127.0.0.1{SECRET}",
        f"http://127.0.0.1:9{SECRET} and more",
    ],
)
def test_an_invalid_address_is_a_warning(
    webhook: Webhook,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(WEBHOOK, address)

    assert tell()["notified"] is False

    said = capsys.readouterr().out
    assert "[notify] warning: " in said
    assert "S3CR3T" not in said


def test_a_server_that_does_not_speak_http_is_a_warning(
    webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.answers = [b"220 mail.example.com ESMTP\r\n"]

    assert tell()["notified"] is False

    assert "warning: the webhook at 127.0.0.1" in capsys.readouterr().out


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_drops_the_message_is_not_taken_for_success(
    webhook: Webhook, status: int
) -> None:
    webhook.answers = [status, 200]

    result = tell()

    arrived = [body for method, path, _, body in webhook.requests if path == "/elsewhere" and body]
    assert result["notified"] is bool(arrived)


def test_a_slow_answer_of_a_webhook_does_not_hang_the_run(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("components.notify.webhook._SECONDS", 0.2)
    slow = threading.Event()

    def drip(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(100):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            if slow.wait(0.05):
                return

    webhook.answers = [drip]
    began = time.monotonic()

    assert tell()["notified"] is False

    slow.set()
    assert time.monotonic() - began < 3
    assert "cannot be reached: no complete answer within 0.2 s" in capsys.readouterr().out


def test_an_endless_answer_of_a_webhook_is_not_read_to_its_end(webhook: Webhook) -> None:
    webhook.answers = [b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2**22]

    assert tell()["notified"] is True


def test_a_servers_message_is_cleaned(webhook: Webhook, capsys: pytest.CaptureFixture[str]) -> None:
    webhook.answers = [b"\x1b[31mHTTP/9.9 what\r\n\r\n"]

    tell(state="FAILED", error="\x1b[2Jgone")

    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "gone" in printed
