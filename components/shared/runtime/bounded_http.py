"""An HTTP request with a deadline and a size limit for the whole answer."""

import http.client
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The answer of a server.

    Args:
        status: The HTTP status.
        body: The body, up to the limit.
        whole: Whether that is the whole body.
    """

    status: int
    body: bytes
    whole: bool


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Returns redirects as answers.

    urllib would follow them with a GET, without the body but with the headers.
    """

    def redirect_request(self, *_: Any) -> None:
        """Return None, so that urllib does not follow the redirect."""
        return None


def exchange(
    request: urllib.request.Request,
    *,
    seconds: float,
    limit: int,
    opener: urllib.request.OpenerDirector | None = None,
) -> Answer:
    """Send a request once and read the answer.

    urllib's timeout applies to each read from the socket, so a server that sends a
    byte now and then would never exceed it. Here a thread talks to the server, and
    is abandoned at the deadline.

    Args:
        request: The request.
        seconds: Maximum time from the start to the last byte of the answer.
        limit: Maximum number of bytes of the body to read.
        opener: Sends the request; by default through the environment's proxies,
            and without following redirects.

    Raises:
        OSError: If the server cannot be reached, or does not answer in time.
        http.client.HTTPException: If the answer is not valid HTTP.
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
    if errors:  # e.g. an invalid status line or header
        raise http.client.HTTPException(str(errors[0])) from errors[0]
    raise TimeoutError(f"no complete answer within {seconds:g} s")
