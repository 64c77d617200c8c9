"""The errors of requests to a KFP API server, and the messages that explain them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.cluster.client.answers import parse_date, read_error
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.redaction import clean
from pipeline.cluster.client.transport import Unanswered

RETRIED = frozenset({429, 500, 502, 503, 504})


class ClusterError(Exception):
    """The cluster refused a request, was unreachable, or sent an unusable answer.

    Args:
        message: Which request failed, at which host, what came back, what to do.
        status: The HTTP status; 0 without an answer.
        retryable: Whether the same request may succeed later.
        retry_after: The wait that the server asks for, in seconds.
        refused: Whether the request certainly had no effect.
        missing: Whether KFP says that the requested object does not exist.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        retryable: bool = False,
        retry_after: float | None = None,
        refused: bool = False,
        missing: bool = False,
    ):
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.refused = refused
        self.missing = missing


@dataclass(frozen=True)
class Failures:
    """Turns what a request raises into a `ClusterError` with advice.

    Args:
        host: The server's address, for messages.
        connection: Whose credentials were sent.
        now: Returns the server's time.
    """

    host: str
    connection: Connection
    now: Callable[[], datetime]

    def unanswered(self, what: str, error: Unanswered, status: int = 0) -> ClusterError:
        """Return the error for a request without a usable answer.

        Args:
            what: What the request does, e.g. "listing runs".
            error: What happened.
            status: The HTTP status; 0 without an answer.
        """
        return ClusterError(
            f"{what}: {self.host} {error}. {error.advice}",
            status=status,
            retryable=error.retryable,
            refused=error.refused,
        )

    def refused(self, what: str, error: Any, namespace: str | None) -> ClusterError:
        """Return the error for a request that the server refused.

        Args:
            what: What the request does.
            error: kfp_server_api's `ApiException`.
            namespace: The user's namespace; None on a single-user server.
        """
        status = error.status
        said = read_error(status, error.body or "")
        text = clean(said.text).rstrip(".")
        advice = self._advice(status, error.headers.get("location", ""), namespace)
        if said.lasting and status >= 500:
            advice = "Retrying does not help: the server cannot use the request."
        reason = f"{status} {error.reason}".strip()
        return ClusterError(
            f"{what}: {self.host} answered {reason}{f': {text}' if text else ''}. {advice}".strip(),
            status=status,
            retryable=status in RETRIED and not (said.lasting and status >= 500),
            refused=status < 500 or said.lasting,
            retry_after=self._retry_after(error.headers.get("retry-after", "").strip()),
            missing=said.missing,
        )

    def _retry_after(self, text: str) -> float | None:
        if text.isascii() and text.isdecimal():
            return float(text)
        date = parse_date(text)
        return (date - self.now()).total_seconds() if date else None

    def _advice(self, status: int, location: str, namespace: str | None) -> str:
        if 300 <= status < 400:
            to = clean(location.partition("?")[0])  # the query is for the sign-in page
            return (
                f"It redirects to {to or 'another address'}, probably to sign in. Check --host, "
                "and give a token (--token-file) or cookies (KFP_COOKIES)."
            )
        if status == 401:
            if self.connection.credentials:
                return f"Renew {self.connection.credentials}: the server does not accept it."
            return "Give a token (--token-file or KFP_TOKEN) or cookies (KFP_COOKIES)."
        if status == 403:
            where = f"namespace {namespace}" if namespace else "KFP's namespace"
            return (
                f"The user or service account needs the role kubeflow-edit in {where}; or choose "
                "another namespace with --namespace."
            )
        if status == 404:
            return "Either the object was deleted, or the host is not the KFP API: check --host."
        return ""
