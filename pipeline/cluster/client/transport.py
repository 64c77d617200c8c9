"""HTTP with limits on the time and the size of an answer."""

import contextlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

import urllib3
from urllib3 import exceptions as http

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.redaction import clean, never_show

# In one answer. kfp_server_api 2.17 makes a Python object of every two bytes `{}`.
_MOST_OBJECTS = 500_000
_PUBLIC_HEADERS = ("accept", "content-type", "user-agent")
_REACH = "Check --host and whether KFP is running; a port-forward may have ended."
_SIGN_IN = (
    "Is it the KFP API, or a sign-in page? Check --host; if users sign in first, give a token "
    "(--token-file) or cookies (KFP_COOKIES)."
)


@dataclass(frozen=True)
class Limits:
    """Limits on the answers of a server.

    Args:
        connect_seconds: Maximum time to connect to one address.
        seconds: Maximum time from the start of a request to the last byte of its answer.
        answer_bytes: Maximum size of an answer after decompression.
        error_bytes: How much of an error's body is read.
        pages: Maximum number of pages in a list.
        list_seconds: Maximum time for all pages of a list.
    """

    connect_seconds: float = 10.0
    seconds: float = 60.0
    answer_bytes: int = 64 * 2**20
    error_bytes: int = 64 * 2**10
    pages: int = 1000
    list_seconds: float = 300.0


class Unanswered(Exception):
    """A request got no answer, or an unusable one.

    Args:
        message: What happened, as a predicate of the host.
        advice: What to do about it.
        retryable: Whether the same request may succeed later.
        refused: Whether the request certainly had no effect.
    """

    def __init__(
        self,
        message: str,
        advice: str = _SIGN_IN,
        *,
        retryable: bool = False,
        refused: bool = False,
    ):
        super().__init__(message)
        self.advice = advice
        self.retryable = retryable
        self.refused = refused


@dataclass
class _Answer:
    """A complete answer, with the attributes of urllib3's that kfp_server_api uses."""

    status: int
    reason: str
    headers: Any
    data: bytes
    content: dict[str, Any] = field(default_factory=dict)

    def getheaders(self) -> Any:
        return self.headers

    def getheader(self, name: str, default: Any = None) -> Any:
        return self.headers.get(name, default)


class Transport:
    """Replaces the pool manager in kfp_server_api's client, and adds limits.

    urllib3 2's timeouts are for a single read, so a server that sends a byte now and then
    never exceeds them. Here a timer closes the connection.

    Args:
        pools: urllib3's pool manager, which holds the certificates.
        host: The address of the API.
        limits: The limits of an answer.

    Raises:
        InputError: If the host is not an address.
    """

    def __init__(self, pools: Any, host: str, limits: Limits):
        self.answer: _Answer | None = None
        self._pools = pools
        self._limits = limits
        self._connection: Any = None
        self._socket: Any = None
        self._over = False
        try:
            if re.search(r"\s", host):
                raise http.LocationParseError(host)
            pool = pools.connection_from_url(host)
        except http.LocationValueError as error:
            raise InputError(
                f"--host {clean(host)} is not an address: {clean(str(error))}."
            ) from error
        pool.ConnectionCls = _watched(pool.ConnectionCls, self)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        preload_content: bool = True,
        timeout: Any = None,
        **body: Any,
    ) -> _Answer:
        """Send a request once, and read the whole answer.

        The arguments are those that kfp_server_api passes to urllib3; the last two are ignored.

        Raises:
            Unanswered: If no answer arrives within the limits, or a success is not a JSON object.
        """
        never_show(*(text for name, text in headers.items() if name.lower() not in _PUBLIC_HEADERS))
        self.answer, self._connection, self._socket, self._over = None, None, None, False
        timer = threading.Timer(self._limits.seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            answer = self._exchange(method, url, headers, body)
            if self._over:
                raise TimeoutError
        except (http.HTTPError, OSError) as error:
            raise self._problem(error) from None
        finally:
            timer.cancel()
        self.answer = answer
        if 200 <= answer.status < 300:
            answer.content = _parsed(answer)
        else:  # kfp_server_api 2.17 decodes an error's body, whatever it is
            answer.data = answer.data.decode("utf-8", errors="replace").encode()
        return answer

    def _exchange(self, method: str, url: str, headers: Any, body: Any) -> _Answer:
        limits = self._limits
        response = self._pools.request(
            method,
            url,
            headers=headers,
            timeout=urllib3.Timeout(connect=limits.connect_seconds, read=limits.seconds),
            preload_content=False,
            redirect=False,  # redirects lead to sign-in pages
            retries=False,  # only the caller can tell which requests may be repeated
            **body,
        )
        success = 200 <= response.status < 300
        limit = limits.answer_bytes if success else limits.error_bytes
        data = bytearray()
        with contextlib.closing(response):
            # read1 returns available bytes, decompressed, up to the given size.
            while len(data) <= limit and (part := response.read1(2**16)):
                data += part
        if success and len(data) > limit:
            raise Unanswered(f"sent more than {limit:,} bytes for one answer; it was not read")
        reason = clean(response.reason or "", 60)
        return _Answer(response.status, reason, response.headers, bytes(data[:limit]))

    def watch(self, connection: Any) -> None:
        """Remember the connection in use, and stop it if the time is over."""
        # A connection drops its socket when an answer starts after which it will be closed.
        self._connection, self._socket = connection, connection.sock
        if self._over:
            raise TimeoutError

    def _end(self) -> None:
        self._over = True
        sock = self._socket or getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                # SSLSocket's own method would remove the TLS state under the reading thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _problem(self, error: Exception) -> Unanswered:
        if self._over:
            within = f"within {self._limits.seconds:g} s"
            return Unanswered(f"did not send a complete answer {within}", _REACH, retryable=True)
        text = clean(str(error.args[-1] if error.args else error), 200)
        text = re.sub(r"^<?[\w.]+\([^)]*\)>?: ", "", text)  # the repr of urllib3's object
        if isinstance(error, http.SSLError) and "CERTIFICATE" in text.upper():
            advice = "Give the certificate of its authority with --ssl-ca-cert, or check --host."
            return Unanswered(f"has an untrusted certificate: {text}", advice, refused=True)
        if isinstance(error, http.LocationValueError):
            return Unanswered(f"is not an address ({text})", "Check --host.", refused=True)
        if isinstance(error, http.DecodeError):
            return Unanswered(f"sent an answer that cannot be decompressed ({text})")
        unsent = http.NewConnectionError | http.ConnectTimeoutError | http.SSLError
        return Unanswered(
            f"cannot be reached or closed the connection ({text})",
            _REACH,
            retryable=True,
            refused=isinstance(error, unsent),
        )


def _watched(kind: Any, transport: Transport) -> Any:
    """Return a subclass of a urllib3 connection that reports its use to a transport."""

    class Watched(kind):
        def connect(self) -> None:
            transport.watch(self)
            super().connect()
            transport.watch(self)  # an abandoned request must not be sent later

        def request(self, *args: Any, **kwargs: Any) -> None:
            transport.watch(self)
            super().request(*args, **kwargs)

    return Watched


def _parsed(answer: _Answer) -> dict[str, Any]:
    kind = answer.getheader("content-type") or "application/json"
    if "json" not in kind.lower():
        raise Unanswered(f"answered with a page of type {clean(kind, 60)!r} instead of JSON")
    if answer.data.count(b"{") > _MOST_OBJECTS:
        raise Unanswered(f"sent more than {_MOST_OBJECTS:,} objects at once; they were not read")
    try:
        content = json.loads(answer.data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        text = clean(f"{type(error).__name__}: {error}", 120)
        raise Unanswered(f"answered with something that is not JSON ({text})") from None
    if not isinstance(content, dict):
        raise Unanswered("answered with JSON that is not an object, as the KFP API never does")
    # kfp_server_api 2.17 trusts any charset in the header.
    answer.headers["content-type"] = "application/json"
    return content
