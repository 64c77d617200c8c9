"""One HTTP request whose whole answer has a deadline and a size limit."""

import http.client
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a server sent.

    Args:
        status: The HTTP status.
        body: The body, up to the limit.
        whole: Whether the body ended within the limit.
    """

    status: int
    body: bytes
    whole: bool


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an answer like any other.

    urllib would follow it with a GET, without the message, and with the headers.
    """

    def redirect_request(self, *_: Any) -> None:
        """Follows nothing."""
        return None


def exchange(
    request: urllib.request.Request,
    *,
    seconds: float,
    limit: int,
    opener: urllib.request.OpenerDirector | None = None,
) -> Answer:
    """Sends a request once and reads the answer.

    urllib's timeout is for a single read from the socket, so a server that sends
    a byte now and then would never be too slow for it. Here a thread talks to the
    server, and is left behind when the time is over.

    Args:
        request: What is sent.
        seconds: From the start to the last byte of the answer.
        limit: Maximum number of bytes of the body to read.
        opener: How to send it; by default through the environment's proxies, and
            without following redirects.

    Raises:
        OSError: If the server cannot be reached, or time is over.
        http.client.HTTPException: If it does not speak HTTP.
    """
    opener = opener or urllib.request.build_opener(NoRedirect)
    deadline = time.monotonic() + seconds
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def talk() -> None:
        try:
            try:
                response = opener.open(request, timeout=seconds)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                body = bytearray()
                part = b"-"
                while part and len(body) <= limit and time.monotonic() < deadline:
                    part = response.read1(2**16)
                    body += part
                answers.append(Answer(response.status, bytes(body[:limit]), not part))
        except (OSError, http.client.HTTPException, ValueError) as error:
            errors.append(error)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    if errors and not isinstance(errors[0], ValueError):
        raise errors[0]
    if errors:  # e.g. a status line or a header that cannot be read
        raise http.client.HTTPException(str(errors[0])) from errors[0]
    raise TimeoutError(f"no whole answer within {seconds:g} s")
