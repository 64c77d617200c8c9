"""A KFP API server: sends requests to it, and repeats those that may be repeated."""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

import kfp_server_api  # type: ignore[import-untyped]

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.answers import check, not_as_kfp, parse_date
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.errors import ClusterError, Failures
from pipeline.cluster.client.filters import name_filter
from pipeline.cluster.client.redaction import clean
from pipeline.cluster.client.retries import Clock, repeat
from pipeline.cluster.client.sign_in import sign_in
from pipeline.cluster.client.transport import Limits, Transport, Unanswered

T = TypeVar("T")
Method = Callable[..., Any]  # a method of one of kfp_server_api's service classes
PAGE_SIZE = 100
# What kfp_server_api 2.17 raises for values that it cannot parse.
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


class Cluster:
    """A KFP API server.

    Args:
        connection: The address and the credentials.
        limits: How long and how large an answer may be.
        patience: For how many seconds a request may be repeated.
        clock: Time and waiting.
        note: Takes lines for the user, e.g. the reason for a wait.

    Attributes:
        namespace: The user's namespace; None on a single-user server.
        version: The version that the server reports; empty if it reports none.
        keeps_resources: Whether the server keeps pipelines as Kubernetes resources.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        limits: Limits | None = None,
        patience: float = 120.0,
        clock: Clock | None = None,
        note: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ):
        self.connection = connection
        self.namespace: str | None = None
        self.version = ""
        self.keeps_resources = False
        self.clock = clock or Clock()
        self.note = note
        self._limits = limits or Limits()
        self._patience = patience
        self._ahead = timedelta(0)
        self._sign_in()

    def _sign_in(self) -> None:
        self._api_client, self._user_namespace = sign_in(self.connection)
        rest, host = self._api_client.rest_client, self._api_client.configuration.host
        self._transport = rest.pool_manager = Transport(rest.pool_manager, host, self._limits)
        self._failures = Failures(self.host, self.connection, self.now)

    @property
    def host(self) -> str:
        """The server's address; a user name and password from a kubectl config are removed."""
        return re.sub(r"//[^/@]*@", "//", str(self._api_client.configuration.host))

    def link(self, page: str) -> str:
        """Return the address of a page of the UI.

        Args:
            page: The page, e.g. `runs/details/ID`.
        """
        ui = self.connection.ui_host or self.connection.host
        if not ui:
            return f"(KFP UI)/#/{page}"
        ui = ui if "://" in ui else f"https://{ui}"
        return f"{ui.rstrip('/')}/#/{page}"

    def now(self) -> datetime:
        """Return the server's time, by which schedules run, to about a second."""
        return self.clock.now() + self._ahead

    def greet(self) -> None:
        """Ask the server for its version, and find the user's namespace.

        Raises:
            InputError: If the server has namespaces and no namespace is given.
            ClusterError: If the server refuses or cannot be reached.
        """
        health = self._repeat(self._ask_for_health, None)
        # The generated type lacks the version. The UI, which may answer in place of the API
        # server, has other names (frontend/server/handlers/healthz.ts).
        self.version = clean(str(health.get("tag_name") or health.get("apiServerTagName") or ""))
        store = health.get("pipeline_store") or health.get("pipelineStore")
        self.keeps_resources = store == "kubernetes"
        if health["multi_user"]:
            self.namespace = self._user_namespace
            if not self.namespace:
                raise InputError(f"{self.host} has many users: give your namespace (--namespace).")
        elif self.connection.namespace:  # a single-user server would refuse it
            self.note(
                f"--namespace {self.connection.namespace} is ignored: {self.host} is a single-user "
                "installation, which has no user namespaces"
            )

    def _ask_for_health(self) -> dict[str, Any]:
        what = "asking for the server's health"
        self.send(what, kfp_server_api.HealthzServiceApi.healthz_service_get_healthz)
        health = self._transport.answer.content if self._transport.answer else {}
        if health.get("apiServerReady") is False:  # the UI starts before the API server does
            raise ClusterError(
                f"{what}: the UI at {self.host} does not reach the API server.", retryable=True
            )
        if not isinstance(health.get("multi_user"), bool):
            raise self._unanswered(what, not_as_kfp("it has no multi_user"))
        return health

    def send(self, what: str, method: Method, **arguments: Any) -> Any:
        """Send a request once.

        Args:
            what: What the request does, e.g. "listing runs"; for messages.
            method: A method of one of kfp_server_api's service classes.
            **arguments: The method's arguments.

        Returns:
            The answer, whose values all have the API's types.

        Raises:
            ClusterError: If the request fails.
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
            if error.status:
                failure = self._failures.refused(what, error, self.namespace)
            else:  # how kfp_server_api 2.17 reports a time that it cannot parse
                failure = self._unanswered(what, not_as_kfp(clean(str(error.reason), 120)))
        except _UNREADABLE as error:
            if self._transport.answer is None:
                raise  # no answer arrived: the request itself is wrong
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
        """Send a request that may be repeated, until it succeeds or patience ends.

        Args:
            what: What the request does; for messages.
            method: As for `send`.
            patience: For how many seconds to repeat it; None means the default.
            **arguments: The method's arguments.

        Raises:
            ClusterError: If the request is refused, or still fails at the end.
        """
        return self._repeat(lambda: self.send(what, method, **arguments), patience)

    def create_once(
        self, *, find: Callable[[], T | None], create: Callable[[], T]
    ) -> tuple[T, bool]:
        """Create an object, and never create it twice.

        A request to create that gets no answer may have succeeded. So after each failure,
        the object is looked up before the request is repeated.

        Args:
            find: Looks the object up by its unique name.
            create: Sends the request to create it, with `send`.

        Returns:
            The object, and whether this call created it.

        Raises:
            ClusterError: If the object does not exist in the end.
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
            return self._repeat(find_or_create, None), True
        except ClusterError as error:
            failure = error
        # The server answered, so it has finished the request: look up the result.
        answered = failure.status in (409, 500) or 200 <= failure.status < 300
        if answered and (unclear or failure.status == 409):
            with suppress(ClusterError):
                found = find()
                if found is not None:  # after 409: created by somebody else
                    return found, failure.status != 409
                unclear &= failure.status != 500
        if unclear:
            raise ClusterError(
                f"{failure} It is not known whether the request was carried out; check before you "
                "repeat it.",
                status=failure.status,
            )
        raise failure

    def delete(self, what: str, method: Method, **arguments: Any) -> None:
        """Delete an object; do nothing if it does not exist."""
        try:
            self.call(what, method, **arguments)
        except ClusterError as error:
            if not error.missing:
                raise

    def every(self, what: str, method: Method, items: str, **arguments: Any) -> list[Any]:
        """Return all objects of a list, page by page.

        Args:
            what: What the request does; for messages.
            method: A method that lists objects.
            items: The answer's attribute that holds a page's objects.
            **arguments: The method's arguments.

        Raises:
            ClusterError: If a page fails, or the pages do not make a complete list.
        """
        arguments = {name: value for name, value in arguments.items() if value is not None}
        found: list[Any] = []
        tokens = [""]
        began = self.clock.monotonic()
        while True:
            page = self.call(what, method, page_token=tokens[-1], page_size=PAGE_SIZE, **arguments)
            found += getattr(page, items) or []
            token = page.next_page_token
            if not token:
                break
            late = self.clock.monotonic() - began > self._limits.list_seconds
            if token in tokens or len(tokens) >= self._limits.pages or late:
                problem = f"a list repeats a page or does not end, after {len(tokens)} pages"
                raise self._unanswered(what, not_as_kfp(problem))
            tokens.append(token)
        # KFP counts in the transaction in which it lists (backend/src/apiserver/storage/
        # *_store.go), and omits 0 and empty values.
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
        """Return all objects with exactly this name.

        Args:
            what: What the request does; for messages.
            method: A method that lists objects.
            items: The answer's attribute that holds a page's objects.
            name: The name.
            key: The field that holds the name.
            **arguments: The method's arguments.
        """
        found = self.every(what, method, items, filter=name_filter(name, key), **arguments)
        # The database may ignore case.
        return [item for item in found if getattr(item, key) == name]

    def _repeat(self, attempt: Callable[[], T], patience: float | None) -> T:
        return repeat(
            attempt,
            clock=self.clock,
            patience=self._patience if patience is None else patience,
            note=lambda line: self.note(line),
            renew=self._renew,
        )

    def _renew(self) -> bool:
        if self.connection.renewable:
            self._sign_in()
        return self.connection.renewable

    def _set_clock(self, date: datetime | None) -> None:
        if date:
            ahead = date - self.clock.now()
            # The header has whole seconds; a clock that agrees with it is more exact.
            self._ahead = ahead if abs(ahead) > timedelta(seconds=2) else timedelta(0)

    def _unanswered(self, what: str, error: Unanswered) -> ClusterError:
        answer = self._transport.answer
        return self._failures.unanswered(what, error, answer.status if answer else 0)


def connect(connection: Connection, **options: Any) -> Cluster:
    """Connect to a KFP API server, and ask once for its version and namespaces.

    Args:
        connection: The address and the credentials.
        **options: As for `Cluster`.

    Raises:
        InputError: If no cluster is configured, or a namespace is missing.
        ClusterError: If the server refuses or cannot be reached.
    """
    cluster = Cluster(connection, **options)
    cluster.greet()
    return cluster
