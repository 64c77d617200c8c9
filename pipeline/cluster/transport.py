"""HTTP with limits: no answer takes longer or is larger than it may be."""

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
from pipeline.cluster.redaction import clean, never_show

# In one answer. kfp_server_api 2.17 makes a Python object of what takes two bytes on the way.
_MOST_OBJECTS = 500_000
_PUBLIC_HEADERS = ("accept", "content-type", "user-agent")
_REACH = "Check --host and whether KFP runs; a port-forward may have ended."
_SIGN_IN = (
    "Is it the KFP API, or a sign-in page? Check --host; where people sign in first, give a token "
    "(--token-file) or cookies (KFP_COOKIES)."
)


@dataclass(frozen=True)
class Limits:
    """What an answer may cost.

    Args:
        connect_seconds: To connect to one address.
        seconds: From the start to the answer's last byte.
        answer_bytes: Of an answer, after decompression.
        error_bytes: Of an error's body; the rest is not read.
        pages: Of a list.
        list_seconds: For all pages of a list.
    """

    connect_seconds: float = 10.0
    seconds: float = 60.0
    answer_bytes: int = 64 * 2**20
    error_bytes: int = 64 * 2**10
    pages: int = 1000
    list_seconds: float = 300.0


class Unanswered(Exception):
    """There is no answer, or none that can be used.

    Args:
        message: What happened, as it follows the host's name.
        advice: What to do about it.
        retryable: Whether the same request may succeed later.
        refused: Whether it is certain that nothing was done.
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
    """A whole answer, with what kfp_server_api wants of urllib3's."""

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
    """Sends requests in place of the pool manager in kfp_server_api's client.

    urllib3's timeouts are for a single read, so that a server which sends a byte now
    and then is never too slow for them. Here a timer closes the connection.

    Args:
        pools: urllib3's pool manager, which has the certificates.
        host: The address of the API.
        limits: What an answer may cost.

    Raises:
        InputError: If the host is no address.
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
            raise InputError(f"--host {clean(host)} is no address: {clean(str(error))}.") from error
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
        """Sends a request once and reads all of the answer, whatever kfp_server_api asks for.

        Raises:
            Unanswered: If there is none within the limits, or a success that is no JSON object.
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
            redirect=False,  # it leads to a sign-in page
            retries=False,  # only the caller knows what may be sent again
            **body,
        )
        success = 200 <= response.status < 300
        limit = limits.answer_bytes if success else limits.error_bytes
        data = bytearray()
        with contextlib.closing(response):
            # read1 returns what is there, decompressed, and no more than it is asked for.
            while len(data) <= limit and (part := response.read1(2**16)):
                data += part
        if success and len(data) > limit:
            raise Unanswered(f"sent more than {limit:,} bytes for one answer; it was not read")
        reason = clean(response.reason or "", 60)
        return _Answer(response.status, reason, response.headers, bytes(data[:limit]))

    def watch(self, connection: Any) -> None:
        """Notes which connection is in use, and stops it if the time is over."""
        # A connection forgets its socket at the begin of an answer after which it is to be closed.
        self._connection, self._socket = connection, connection.sock
        if self._over:
            raise TimeoutError

    def _end(self) -> None:
        self._over = True
        sock = self._socket or getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                # SSLSocket's own method would take the TLS state away from the reading thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _problem(self, error: Exception) -> Unanswered:
        if self._over:
            within = f"within {self._limits.seconds:g} s"
            return Unanswered(f"did not send a whole answer {within}", _REACH, retryable=True)
        text = clean(str(error.args[-1] if error.args else error), 200)
        text = re.sub(r"^<?[\w.]+\([^)]*\)>?: ", "", text)  # urllib3's object
        if isinstance(error, http.SSLError) and "CERTIFICATE" in text.upper():
            advice = "Name the file of its authority with --ssl-ca-cert, or check --host."
            return Unanswered(
                f"has a certificate that is not trusted: {text}", advice, refused=True
            )
        if isinstance(error, http.LocationValueError):
            return Unanswered(f"is no address ({text})", "Check --host.", refused=True)
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
    """A class of urllib3's connections that tells a transport which of them is in use."""

    class Watched(kind):
        def connect(self) -> None:
            transport.watch(self)
            super().connect()
            transport.watch(self)  # a request that is given up must not be sent later

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
        raise Unanswered(f"answered with something that is no JSON ({text})") from None
    if not isinstance(content, dict):
        raise Unanswered("answered with JSON that is no object, as the KFP API never does")
    # kfp_server_api 2.17 believes any charset that the header names.
    answer.headers["content-type"] = "application/json"
    return content
