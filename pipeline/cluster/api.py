"""The connection to a KFP API server: sends requests, and repeats those that may be repeated."""

import json
import random
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import kfp_server_api  # type: ignore[import-untyped]

from components.shared.runtime.errors import InputError
from pipeline.cluster.answers import check, not_as_kfp, parse_date, read_error
from pipeline.cluster.connection import Connection, sign_in
from pipeline.cluster.redaction import clean
from pipeline.cluster.transport import Limits, Transport, Unanswered

__all__ = ["Cluster", "ClusterError", "Connection", "Limits", "connect"]
T = TypeVar("T")
Method = Callable[..., Any]  # of one of kfp_server_api's classes of services
RETRIED = frozenset({429, 500, 502, 503, 504})
PAGE_SIZE = 100
_MOST_TRIES = 20
_LEAST_WAIT, _MOST_WAIT = 1.0, 3600.0
# What kfp_server_api 2.17 raises for values that it cannot read.
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


class ClusterError(Exception):
    """The cluster refused a request, could not be reached or gave no usable answer.

    Args:
        message: Which request, to where, what came back, what to do.
        status: The HTTP status; 0 if there was no answer.
        retryable: Whether the same request may succeed later.
        retry_after: How many seconds the server asks to wait.
        refused: Whether it is certain that nothing was done.
        missing: Whether KFP says that there is no such thing.
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


class Cluster:
    """A KFP API server.

    Args:
        connection: Where it is, and who asks.
        limits: What an answer may cost.
        patience: How many seconds a request may be tried again.
        sleep: Waits so many seconds.
        clock: Seconds that only grow.
        now: The time of this machine.
        jitter: A random number from 0 to 1.
        note: Takes lines for the user, such as what is waited for.

    Attributes:
        namespace: The user's; None if the server has a single user.
        version: What the server calls its version; empty if it does not say.
        keeps_resources: Whether it keeps pipelines as Kubernetes resources.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        limits: Limits | None = None,
        patience: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
        note: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ):
        self.connection = connection
        self.namespace: str | None = None
        self.version = ""
        self.keeps_resources = False
        self.sleep = sleep
        self.clock = clock
        self.note = note
        self._now = now
        self._jitter = jitter
        self._limits = limits or Limits()
        self._patience = patience
        self._ahead = timedelta(0)
        self._sign_in()

    def _sign_in(self) -> None:
        self._api_client, self._user_namespace = sign_in(self.connection)
        rest, host = self._api_client.rest_client, self._api_client.configuration.host
        self._transport = rest.pool_manager = Transport(rest.pool_manager, host, self._limits)

    @property
    def host(self) -> str:
        """The address, without a user name and password."""
        return re.sub(r"//[^/@]*@", "//", str(self._api_client.configuration.host))

    def link(self, page: str) -> str:
        """The address of a page of the UI, e.g. `runs/details/ID`."""
        ui = self.connection.ui_host or self.connection.host
        if not ui:
            return f"(KFP UI)/#/{page}"
        ui = ui if "://" in ui else f"https://{ui}"
        return f"{re.sub(r'//[^/@]*@', '//', ui).rstrip('/')}/#/{page}"

    def now(self) -> datetime:
        """The server's time, to about a second; it, not this machine's, decides on ticks."""
        return self._now() + self._ahead

    def greet(self) -> None:
        """Asks the server what it is, and finds the user's namespace.

        Raises:
            InputError: If it has namespaces, and none is given.
            ClusterError: If it cannot be asked.
        """
        health = self._again(self._ask_for_health, None)
        # The generated type lacks the version; the UI, which may answer in place of the API
        # server, has other names (frontend/server/handlers/healthz.ts).
        self.version = clean(str(health.get("tag_name") or health.get("apiServerTagName") or ""))
        store = health.get("pipeline_store") or health.get("pipelineStore")
        self.keeps_resources = store == "kubernetes"
        if health["multi_user"]:
            self.namespace = self._user_namespace
            if not self.namespace:
                raise InputError(f"{self.host} has many users: give yours with --namespace.")
        elif self.connection.namespace:  # which a single-user server would refuse
            self.note(
                f"--namespace {self.connection.namespace} is ignored: {self.host} is a single-user "
                "installation, which has no namespaces of users"
            )

    def _ask_for_health(self) -> dict[str, Any]:
        what = "asking for the server's health"
        self.send(what, kfp_server_api.HealthzServiceApi.healthz_service_get_healthz)
        health = self._transport.answer.content if self._transport.answer else {}
        if health.get("apiServerReady") is False:  # the UI is there before the API server is
            raise ClusterError(
                f"{what}: the UI at {self.host} does not reach the API server.", retryable=True
            )
        if not isinstance(health.get("multi_user"), bool):
            raise self._unanswered(what, not_as_kfp("it has no multi_user"))
        return health

    def send(self, what: str, method: Method, **arguments: Any) -> Any:
        """Sends a request once.

        Args:
            what: What the request does, as in "listing runs"; for messages.
            method: A method of one of kfp_server_api's classes of services.
            **arguments: Its arguments.

        Returns:
            The answer, which is of the API's type throughout.

        Raises:
            ClusterError: If it fails.
            InputError: If the credentials cannot be read.
        """
        service = getattr(kfp_server_api, method.__qualname__.partition(".")[0])
        self._transport.answer = None
        try:
            answer = method(service(self._api_client), **arguments)
            received = self._transport.answer
            if received:
                check(received.content, type(answer).__name__)
        except InputError:
            raise
        except Unanswered as error:
            failure = self._unanswered(what, error)
        except kfp_server_api.ApiException as error:
            failure = self._refused(what, error)
        except _UNREADABLE as error:
            if self._transport.answer is None:
                raise  # nothing was received: the request itself is wrong
            failure = self._unanswered(what, not_as_kfp(clean(str(error), 120)))
        except OSError as error:  # a pod's token, which kfp reads for each request
            failure = ClusterError(f"{what}: the credentials cannot be read: {error}", refused=True)
        else:
            self._set_clock(received and parse_date(received.getheader("date")))
            return answer
        # Raised here, not above: the library's error holds the request's headers.
        raise failure

    def call(
        self, what: str, method: Method, *, patience: float | None = None, **arguments: Any
    ) -> Any:
        """Sends a request that may be repeated, until it succeeds or patience ends.

        Args:
            what: What it does; for messages.
            method: As of `send`.
            patience: How many seconds it may be tried again; None means the default.
            **arguments: The method's arguments.

        Raises:
            ClusterError: If it is refused, or still fails at the end.
        """
        return self._again(lambda: self.send(what, method, **arguments), patience)

    def create_once(
        self, *, find: Callable[[], T | None], create: Callable[[], T]
    ) -> tuple[T, bool]:
        """Creates something, and never twice.

        A request to create that gets no answer may have done its work. So after
        each failure it is looked for before it is asked for again.

        Args:
            find: Looks for it by its unique name.
            create: Sends the request to create it, with `send`.

        Returns:
            It, and whether this call made it.

        Raises:
            ClusterError: If it is not there in the end.
        """
        found = find()
        if found is not None:
            return found, False
        asked = unclear = False

        def find_or_create() -> T:
            nonlocal asked, unclear
            if asked:
                made = find()
                if made is not None:
                    return made
                unclear = False
            asked = True
            try:
                return create()
            except ClusterError as error:
                unclear = not error.refused
                raise

        try:
            return self._again(find_or_create, None), True
        except ClusterError as error:
            failure = error
        # The server is there and has done with the request: look what came of it.
        answered = failure.status in (409, 500) or 200 <= failure.status < 300
        if answered and (unclear or failure.status == 409):
            with suppress(ClusterError):
                found = find()
                if found is not None:  # with 409 someone else was faster
                    return found, failure.status != 409
                unclear &= failure.status != 500
        if unclear:
            raise ClusterError(
                f"{failure} It is not known whether that was done; look before you repeat it.",
                status=failure.status,
            )
        raise failure

    def delete(self, what: str, method: Method, **arguments: Any) -> None:
        """Deletes something; that it is gone already is fine."""
        try:
            self.call(what, method, **arguments)
        except ClusterError as error:
            if not error.missing:
                raise

    def every(self, what: str, method: Method, items: str, **arguments: Any) -> list[Any]:
        """Lists all there is, page by page.

        Args:
            what: What it does; for messages.
            method: A method that lists.
            items: The answer's attribute that holds a page's items.
            **arguments: The method's arguments.

        Raises:
            ClusterError: If a page cannot be had, or the pages do not make a whole list.
        """
        arguments = {name: value for name, value in arguments.items() if value is not None}
        found: list[Any] = []
        tokens = [""]
        began = self.clock()
        while True:
            page = self.call(what, method, page_token=tokens[-1], page_size=PAGE_SIZE, **arguments)
            found += getattr(page, items) or []
            token = page.next_page_token
            if not token:
                break
            late = self.clock() - began > self._limits.list_seconds
            if token in tokens or len(tokens) >= self._limits.pages or late:
                problem = f"a list repeats a page or has no end, after {len(tokens)} pages"
                raise self._unanswered(what, not_as_kfp(problem))
            tokens.append(token)
        # KFP counts in the transaction in which it lists (backend/src/apiserver/storage/
        # *_store.go), and leaves out what is 0 or empty.
        total = page.total_size or 0
        if len(found) < total or (len(tokens) > 1 and not total):
            problem = f"a list of {total or 'many'} has {len(found)} entries"
            raise self._unanswered(what, not_as_kfp(problem))
        return found

    def named(
        self,
        what: str,
        method: Method,
        items: str,
        name: str,
        *,
        key: str = "display_name",
        **arguments: Any,
    ) -> list[Any]:
        """Lists all that has a name, letter for letter.

        Args:
            what: What it does; for messages.
            method: A method that lists.
            items: The answer's attribute that holds a page's items.
            name: The name.
            key: The field that holds it.
            **arguments: The method's arguments.
        """
        found = self.every(what, method, items, filter=name_filter(name, key), **arguments)
        # A database may take upper and lower case for the same.
        return [item for item in found if getattr(item, key) == name]

    def _again(self, attempt: Callable[[], T], patience: float | None) -> T:
        began = self.clock()
        deadline = began + (self._patience if patience is None else patience)
        renewed = False
        tries = 0
        while True:
            tries += 1
            try:
                return attempt()
            except ClusterError as error:
                failure = error
            if failure.status == 401 and self.connection.renewable and not renewed:
                renewed = True
                self._sign_in()
                continue
            if not failure.retryable:
                raise failure
            wait = failure.retry_after
            if wait is None:
                wait = min(30.0, 2.0 ** (tries - 1)) * (0.5 + self._jitter() / 2)
            wait = min(max(wait, _LEAST_WAIT), _MOST_WAIT)
            if self.clock() + wait > deadline or tries == _MOST_TRIES:
                raise ClusterError(
                    f"{failure} Tried {tries} times in {self.clock() - began:.0f} s.",
                    status=failure.status,
                    refused=failure.refused,
                )
            self.note(f"{str(failure).partition('. ')[0]}; trying again in {wait:.0f} s")
            self.sleep(wait)

    def _set_clock(self, date: datetime | None) -> None:
        if date:
            ahead = date - self._now()
            # The header has whole seconds; a clock that agrees with it is more exact.
            self._ahead = ahead if abs(ahead) > timedelta(seconds=2) else timedelta(0)

    def _retry_after(self, text: str) -> float | None:
        if re.fullmatch(r"[0-9]+", text):
            return float(text)
        date = parse_date(text)
        return (date - self.now()).total_seconds() if date else None

    def _unanswered(self, what: str, error: Unanswered) -> ClusterError:
        answer = self._transport.answer
        return ClusterError(
            f"{what}: {self.host} {error}. {error.advice}",
            status=answer.status if answer else 0,
            retryable=error.retryable,
            refused=error.refused,
        )

    def _refused(self, what: str, error: Any) -> ClusterError:
        status = error.status
        if not status:  # kfp_server_api 2.17 so reports a time that it cannot read
            return self._unanswered(what, not_as_kfp(clean(str(error.reason), 120)))
        said = read_error(status, error.body or "")
        text = clean(said.text).rstrip(".")
        advice = self._advice(status, error.headers.get("location", ""))
        if said.lasting and status >= 500:
            advice = "It would be refused again: the server cannot use what was sent."
        reason = f"{status} {error.reason}".strip()
        return ClusterError(
            f"{what}: {self.host} answered {reason}{f': {text}' if text else ''}. {advice}".strip(),
            status=status,
            retryable=status in RETRIED and not (said.lasting and status >= 500),
            refused=status < 500 or said.lasting,
            retry_after=self._retry_after(error.headers.get("retry-after", "").strip()),
            missing=said.missing,
        )

    def _advice(self, status: int, location: str) -> str:
        if 300 <= status < 400:
            to = clean(location.partition("?")[0])  # the rest is for the sign-in page
            return (
                f"It sends to {to or 'another address'}, perhaps to sign in. Check --host, and "
                "give a token (--token-file) or cookies (KFP_COOKIES)."
            )
        if status == 401:
            if self.connection.credentials:
                return f"Renew {self.connection.credentials}: it is not or no longer accepted."
            return "Give a token (--token-file or KFP_TOKEN) or cookies (KFP_COOKIES)."
        if status == 403:
            where = f"namespace {self.namespace}" if self.namespace else "KFP's namespace"
            return (
                f"The user or service account needs the role kubeflow-edit in {where}; or choose "
                "another one with --namespace."
            )
        if status == 404:
            return "Either it is gone, or the host is not the KFP API: check --host."
        return ""


def connect(connection: Connection, **options: Any) -> Cluster:
    """Connects to a cluster and asks once whether it is there, and what it is.

    Args:
        connection: Where it is, and who asks.
        **options: As of `Cluster`.

    Raises:
        InputError: If there is no way to a cluster, or a namespace is missing.
        ClusterError: If it refuses, or cannot be reached.
    """
    cluster = Cluster(connection, **options)
    cluster.greet()
    return cluster


def name_filter(name: str, key: str = "display_name") -> str:
    """The API's filter for a name."""
    predicate: Mapping[str, str] = {"key": key, "operation": "EQUALS", "string_value": name}
    text = json.dumps({"predicates": [predicate]})
    # KFP's server decodes the text as a URL once more; JSON's escapes are safe from that.
    return text.replace("%", "\\u0025").replace("+", "\\u002b")
