"""A request whose answer may be late, endless, or missing."""

import contextlib
import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from components.shared.runtime.bounded_http import exchange

Talk = Callable[[socket.socket], None]


@pytest.fixture
def address() -> Iterator[Callable[[Talk], str]]:
    """Start a server that talks in a given way, once for each connection."""
    stop = threading.Event()
    listeners: list[socket.socket] = []

    def start(talk: Talk) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    with contextlib.suppress(OSError):  # the client has closed the connection
                        talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/path"

    yield start
    stop.set()
    for listener in listeners:
        listener.close()


def get(url: str, seconds: float = 5.0, limit: int = 1000) -> tuple[int, bytes, bool]:
    answer = exchange(urllib.request.Request(url), seconds=seconds, limit=limit)
    return answer.status, answer.body, answer.whole


def says(text: bytes) -> Talk:
    return lambda connection: connection.sendall(text)


def drips(connection: socket.socket) -> None:
    """Send a byte of a header now and then, each within a socket's timeout."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(200):
        connection.sendall(b"a")
        time.sleep(0.05)


def drips_a_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"a")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok", True)),
        (b"HTTP/1.1 200 OK\r\n\r\nup to the end", (200, b"up to the end", True)),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", (404, b"no", True)),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", (302, b"", True)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            (200, b"abc", True),
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, (200, b"x" * 1000, False)),
    ],
)
def test_an_answer_is_read_up_to_the_limit(
    sent: bytes, answer: tuple[int, bytes, bool], address: Callable[[Talk], str]
) -> None:
    assert get(address(says(sent))) == answer


def test_a_server_that_drips_its_headers_does_not_block_the_client(
    address: Callable[[Talk], str],
) -> None:
    began = time.monotonic()

    with pytest.raises(TimeoutError, match=r"within 0\.3 s"):
        get(address(drips), seconds=0.3)

    assert time.monotonic() - began < 3


def test_a_dripping_body_is_cut_at_the_deadline(address: Callable[[Talk], str]) -> None:
    began = time.monotonic()

    try:
        status, body, whole = get(address(drips_a_body), seconds=0.3)
    except TimeoutError:
        pass
    else:
        assert (status, whole) == (200, False)
        assert set(body) <= set(b"a")

    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "sent", [b"220 mail.example.com ESMTP\r\n", b"HTTP/1.1 two hundred\r\n\r\n", b""]
)
def test_an_answer_without_http_is_an_error(sent: bytes, address: Callable[[Talk], str]) -> None:
    with pytest.raises((http.client.HTTPException, OSError)):
        get(address(says(sent)))


def test_a_closed_port_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            get(f"http://127.0.0.1:{unused.getsockname()[1]}/")
