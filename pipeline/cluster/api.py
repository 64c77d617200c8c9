"""The connection to a KFP API server."""

import contextlib
import email.utils
import html
import io
import json
import logging
import os
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import kfp
import kfp_server_api  # type: ignore[import-untyped]
import urllib3
from google.auth.exceptions import GoogleAuthError
from kfp.client import ServiceAccountTokenVolumeCredentials

from components.errors import InputError

T = TypeVar("T")
RETRIED = frozenset({429, 500, 502, 503, 504})
PAGE_SIZE = 100
_SA_TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"
_HIDDEN = "***"
# A server or proxy may send a request's headers back in its error page.
_CREDENTIALS = re.compile(
    r"""(?ix) (?P<header> \b (?:authorization | (?:set-)?cookie) \b ["']? \s* [:=] \s* )
              (?: \[? " [^"]* " | \[? ' [^']* ' | [^\r\n,}<"']+ )
            | \b (?P<scheme> bearer | basic ) \s+ [\w.~+/=-]{8,}"""
)
# Shared by all connections: a log record does not say whose it is.
_SECRETS: set[str] = set()
_LOGGERS = (
    "kfp_server_api.rest",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.util.retry",
    "google.auth.transport.requests",
    "requests_oauthlib.oauth2_session",
)


class ClusterError(Exception):
    """The cluster refused a request or could not be reached.

    Args:
        message: Which request, to where, what came back, what to do.
        status: The HTTP status; 0 if there was no answer.
        retryable: Whether the same request may succeed later.
        retry_after: How many seconds the server asks to wait.
        refused: Whether it is certain that nothing was done.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        retryable: bool = False,
        retry_after: float | None = None,
        refused: bool = False,
    ):
        super().__init__(message)
        self.refused = refused
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


@dataclass(frozen=True)
class Connection:
    """Where the KFP API is, and who asks. Its text form shows no secret.

    Args:
        host: The address; none means the service of the cluster this process
            runs in or, outside of one, kubectl's proxy to it.
        namespace: The user's, in a multi-user installation.
        kfp_namespace: Where KFP is installed; used only where there is no host.
        token: A bearer token.
        token_file: A file that holds one, which is read anew for each request.
        cookies: A Cookie header's value.
        kube_context: The kubectl context; used only where there is no host.
        ssl_ca_cert: A file with certificates to trust.
        verify_ssl: Whether the server's certificate is checked.
        proxy: An HTTP proxy.
        iap_client_id: The OAuth client of Google's Identity-Aware Proxy.
        app_client_id: The OAuth client of a desktop application, for it.
        app_client_secret: That client's secret.
        ui_host: The address of the KFP UI, for links; none means the host.
    """

    host: str | None = None
    namespace: str | None = None
    kfp_namespace: str = "kubeflow"
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    cookies: str | None = field(default=None, repr=False)
    kube_context: str | None = None
    ssl_ca_cert: str | None = None
    verify_ssl: bool = True
    proxy: str | None = field(default=None, repr=False)
    iap_client_id: str | None = None
    app_client_id: str | None = None
    app_client_secret: str | None = field(default=None, repr=False)
    ui_host: str | None = None

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        cookies_file: str | None = None,
        **options: Any,
    ) -> "Connection":
        """Takes what is given as an option, and the rest from the environment.

        Args:
            environ: The environment variables.
            cookies_file: A file that holds a Cookie header's value.
            **options: As of the class; none means not given.

        Raises:
            InputError: If a file cannot be read, or the options do not go together.
        """
        given = {name: value for name, value in options.items() if value is not None}
        for name, variable in (
            ("host", "KF_PIPELINES_ENDPOINT"),
            ("ui_host", "KF_PIPELINES_UI_ENDPOINT"),
            ("iap_client_id", "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID"),
            ("app_client_id", "KF_PIPELINES_APP_OAUTH2_CLIENT_ID"),
            ("app_client_secret", "KF_PIPELINES_APP_OAUTH2_CLIENT_SECRET"),
        ):
            if environ.get(variable):
                given.setdefault(name, environ[variable])
        if "token_file" not in given:
            if environ.get("KFP_TOKEN"):
                given["token"] = environ["KFP_TOKEN"].strip()
            elif environ.get(_SA_TOKEN_PATH):
                given["token_file"] = environ[_SA_TOKEN_PATH]
        if cookies_file:
            given["cookies"] = _secret(cookies_file, "--cookies-file")
        elif environ.get("KFP_COOKIES"):
            given["cookies"] = environ["KFP_COOKIES"].strip()
        connection = cls(**given)
        connection._check()
        return connection

    def _check(self) -> None:
        for name in ("token", "cookies"):
            if re.search(r"[\r\n\0]|[^\x00-\xff]", getattr(self, name) or ""):
                raise InputError(
                    f"KFP_{name.upper()} holds a line break or a character that no HTTP header "
                    "can carry. Copy it again."
                )
        if self.token_file:
            _secret(self.token_file, "the token file")
        if self.ssl_ca_cert and not Path(self.ssl_ca_cert).is_file():
            raise InputError(f"--ssl-ca-cert {self.ssl_ca_cert}: there is no such file.")
        # With a token and no host, kfp 2.17 would send the token to http://localhost.
        if not self.host and self.token:
            raise InputError(
                "KFP_TOKEN is set, and there is no host to send it to. Give --host, or set "
                "KF_PIPELINES_ENDPOINT."
            )

    @property
    def renewable(self) -> bool:
        """Whether asking for the credentials again can give others."""
        return bool(self.token_file or self.iap_client_id or not self.host)

    @property
    def credentials(self) -> str:
        """Where the credentials come from, for messages."""
        if self.iap_client_id:
            return f"the Google account that may use the IAP client {self.iap_client_id}"
        if self.token_file:
            return f"the token in {self.token_file}"
        if self.token:
            return "the token in the environment variable KFP_TOKEN"
        if self.cookies:
            return "the cookies (KFP_COOKIES or --cookies-file)"
        return "" if self.host else "the credentials of the kubectl context or of this pod"

    def hide(self) -> None:
        """Keeps what is secret here out of messages and logs."""
        _never_show(self.token, self.cookies, self.app_client_secret)


def _secret(path: str, what: str) -> str:
    """Reads a token or cookies from a file; the message of an error has no content."""
    try:
        text = Path(path).expanduser().read_text(encoding="latin-1").strip()
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read: {error.strerror}. Write it again, or name another file."
        ) from error
    if not text:
        raise InputError(f"{what} {path} is empty. Write it again, or name another file.")
    if re.search(r"[\r\n\0]", text):
        raise InputError(f"{what} {path} holds more than one line. Write it again.")
    _never_show(text)
    return text


def _never_show(*secrets: str | None) -> None:
    for secret in secrets:
        values = [secret or "", *((secret or "").split(";"))]
        for value in values:
            # The name of a cookie is no secret; its value is.
            for text in (value.strip(), value.partition("=")[2].strip()):
                if len(text) > 3:
                    _SECRETS.add(text)


def hide(text: str) -> str:
    """The text without any secret."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _CREDENTIALS.sub(
        lambda match: f"{match['header'] or match['scheme'] + ' '}{_HIDDEN}", text
    )


def _hide_in_log(record: logging.LogRecord) -> bool:
    record.msg = hide(record.getMessage())
    record.args = ()
    return True


class _TokenFile(ServiceAccountTokenVolumeCredentials):
    """kfp's credentials of a file, with one clear error and no log line."""

    def _get_token(self) -> str:
        return _secret(self._token_path, "the token file")


class _Client(kfp.Client):
    """kfp 2.17's client without what it sleeps, logs and leaves unsaid when it is made."""

    def _load_config(self, *args: Any, **kwargs: Any) -> Any:
        config = super()._load_config(*args, **kwargs)
        # By default urllib3 2 sends a request again by itself, up to three times, and follows a
        # redirect to a sign-in page, whose HTML kfp_server_api 2.17 takes for an empty answer.
        config.retries = urllib3.Retry(0, raise_on_redirect=False, raise_on_status=False)
        if "://" not in config.host:  # kfp's name of the service in a cluster has no scheme
            config.host = f"http://{config.host}"
        return config

    def _load_context_setting_or_default(self) -> None:
        try:
            super()._load_context_setting_or_default()
        except ValueError as error:
            raise InputError(
                f"{self._LOCAL_KFP_CONTEXT} is no JSON. Mend it or delete it."
            ) from error
        self._context_setting.setdefault("namespace", "")

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        # kfp asks when it is made, five times with 5 s in between, whatever the answer.
        # `connect` asks, with one clear error.
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    def set_user_namespace(self, namespace: str) -> None:
        # kfp would write it to ~/.config/kfp/context.json, for every later client.
        self._context_setting["namespace"] = namespace


def make_client(connection: Connection) -> kfp.Client:
    """Makes kfp's client; sends nothing.

    Raises:
        InputError: If there is no way to a cluster, or the credentials cannot be had.
    """
    connection.hide()
    printed = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if not connection.iap_client_id:  # signing in to IAP asks the user
            stack.enter_context(contextlib.redirect_stdout(printed))
            stack.enter_context(_no_logging())
        try:
            client = _Client(
                host=connection.host,
                client_id=connection.iap_client_id,
                namespace=connection.kfp_namespace,
                other_client_id=connection.app_client_id,
                other_client_secret=connection.app_client_secret,
                existing_token=connection.token,
                cookies=connection.cookies,
                proxy=connection.proxy,
                ssl_ca_cert=connection.ssl_ca_cert,
                kube_context=connection.kube_context,
                credentials=_TokenFile(connection.token_file) if connection.token_file else None,
                ui_host=connection.ui_host,
                verify_ssl=connection.verify_ssl,
            )
        except InputError:
            raise
        except (OSError, ValueError, KeyError, GoogleAuthError) as error:
            problem = hide(f"{type(error).__name__}: {error}")
        else:
            problem = ""
    if problem:
        raise InputError(
            f"signing in with {connection.credentials or 'no credentials'} failed: "
            f"{_one_line(problem)}. Sign in again, or use a token (--token-file)."
        )
    if "Failed to load kube config" in printed.getvalue():
        context = f" context {connection.kube_context}" if connection.kube_context else ""
        raise InputError(
            f"there is no way to a cluster: no host, no pod to run in, and no usable kubectl"
            f"{context or ' config'}. Give --host, e.g. --host http://localhost:8080 after "
            f"kubectl port-forward --namespace {connection.kfp_namespace} "
            "service/ml-pipeline-ui 8080:80; or set KF_PIPELINES_ENDPOINT."
        )
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_hide_in_log)
    return client


@contextlib.contextmanager
def _no_logging() -> Iterator[None]:
    former = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(former)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"


class Method(Protocol):
    """A method of kfp_server_api's classes of services."""

    __qualname__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Sends a request."""


class Cluster:
    """A KFP API server: sends requests, again where that is safe.

    Args:
        connection: Where it is, and who asks.
        request_timeout: Seconds to connect, and to wait for an answer.
        patience: How many seconds a request may be tried again.
        sleep: Waits so many seconds.
        clock: Seconds that only grow.
        now: The time of this machine.
        jitter: A random number from 0 to 1.
        note: Takes lines about what is waited for.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        request_timeout: tuple[float, float] = (10.0, 60.0),
        patience: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
        note: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ):
        self.connection = connection
        self.namespace: str | None = None
        self.sleep = sleep
        self.clock = clock
        self.note = note
        self._now = now
        self._jitter = jitter
        self._timeout = request_timeout
        self._patience = patience
        self._ahead = timedelta(0)
        if not connection.verify_ssl:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._client = make_client(connection)

    @property
    def _api_client(self) -> Any:
        return self._client._run_api.api_client

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

    def settle_namespace(self) -> None:
        """Asks the server whether it has namespaces, and finds the user's.

        Raises:
            InputError: If it has, and there is none given.
            ClusterError: If it cannot be asked.
        """
        health = self.call(
            "asking for the server's health",
            kfp_server_api.HealthzServiceApi.healthz_service_get_healthz,
        )
        if not health.multi_user:
            return  # a single-user server refuses a namespace
        namespace = self.connection.namespace or self._client.get_user_namespace()
        if not namespace:
            with contextlib.suppress(OSError):
                namespace = Path(self._client._NAMESPACE_PATH).read_text().strip()
        if not namespace:
            raise InputError(f"{self.host} has many users: give yours with --namespace.")
        self.namespace = namespace

    def send(self, what: str, method: Method, **arguments: Any) -> Any:
        """Sends a request once.

        Args:
            what: What the request does, as in "listing runs"; for messages.
            method: A method of one of kfp_server_api's classes of services.
            **arguments: Its arguments.

        Returns:
            The answer.

        Raises:
            ClusterError: If it fails.
            InputError: If the credentials cannot be read.
        """
        service = getattr(kfp_server_api, method.__qualname__.partition(".")[0])
        try:
            answer = method(
                # kfp_server_api 2.17 ignores a timeout that is a float, without a word.
                service(self._api_client),
                **arguments,
                _request_timeout=self._timeout,
            )
        except kfp_server_api.ApiException as error:
            failure = self._refused(what, error)
        except UnicodeDecodeError as error:
            # kfp_server_api 2.17 decodes the body of an error whatever it is.
            if not isinstance(error.__context__, kfp_server_api.ApiException):
                raise
            failure = self._refused(what, error.__context__)
        except urllib3.exceptions.HTTPError as error:
            failure = self._no_answer(what, error)
        else:
            self._set_clock()
            if not str(self._api_client.last_response.data).lstrip().startswith("{"):
                raise ClusterError(
                    f"{what}: {self.host} answered with a page that is no JSON. Is it the KFP "
                    "API, or a sign-in page? Check --host; where people sign in first, give a "
                    "token (--token-file) or cookies (KFP_COOKIES)."
                )
            return answer
        # Raised here, not above: the library's error holds the request's headers.
        raise failure

    def call(
        self,
        what: str,
        method: Method,
        *,
        patience: float | None = None,
        **arguments: Any,
    ) -> Any:
        """Sends a request that may be repeated, until it succeeds or patience ends.

        Args:
            what: What it does; for messages.
            method: As of `send`.
            patience: How many seconds it may be tried again; none means the default.
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
        if failure.status == 409:
            found = find()  # someone else was faster
            if found is not None:
                return found, False
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
            if error.status != 404:
                raise

    def every(self, what: str, method: Method, items: str, **arguments: Any) -> list[Any]:
        """Lists all there is, page by page.

        Args:
            what: What it does; for messages.
            method: A method that lists.
            items: The answer's attribute that holds a page's items.
            **arguments: The method's arguments.
        """
        found: list[Any] = []
        token = ""
        while True:
            page = self.call(
                what, method, page_token=token, page_size=PAGE_SIZE, **_without_none(arguments)
            )
            found += getattr(page, items) or []
            token = page.next_page_token or ""
            if not token:
                return found

    def named(
        self, what: str, method: Method, items: str, name: str, **arguments: Any
    ) -> list[Any]:
        """Lists all that has a display name, letter for letter."""
        found = self.every(what, method, items, filter=name_filter(name), **arguments)
        # A database may take upper and lower case for the same.
        return [item for item in found if item.display_name == name]

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
                self._client = make_client(self.connection)
                continue
            if not failure.retryable:
                raise failure
            wait = failure.retry_after
            if wait is None:
                wait = min(30.0, 2.0 ** (tries - 1)) * (0.5 + self._jitter() / 2)
            if self.clock() + wait > deadline:
                raise ClusterError(
                    f"{failure} Tried {tries} times in {self.clock() - began:.0f} s.",
                    status=failure.status,
                    refused=failure.refused,
                )
            self.note(f"{str(failure).partition('. ')[0]}; trying again in {wait:.0f} s")
            self.sleep(wait)

    def _set_clock(self) -> None:
        date = self._api_client.last_response.getheader("date")
        with contextlib.suppress(TypeError, ValueError):
            ahead = email.utils.parsedate_to_datetime(date) - self._now()
            # The header has whole seconds; a clock that agrees with it is more exact.
            self._ahead = ahead if abs(ahead) > timedelta(seconds=2) else timedelta(0)

    def _hide(self, text: str) -> str:
        # kubectl's credentials are read, and read again, inside of kfp.
        for key in self._api_client.configuration.api_key.values():
            _never_show(str(key).removeprefix("Bearer "))
        _never_show(self._api_client.cookie)
        return hide(text)

    def _refused(self, what: str, error: Any) -> ClusterError:
        status = int(error.status or 0)
        said = _one_line(self._hide(_said(error.body))).rstrip(".")
        reason = f"{status} {error.reason or ''}".strip()
        return ClusterError(
            f"{what}: {self.host} answered {reason}{f': {said}' if said else ''}. "
            f"{self._advice(status, error)}".rstrip(),
            status=status,
            retryable=status in RETRIED,
            refused=status < 500,
            retry_after=_retry_after(error.headers, self.now()),
        )

    def _advice(self, status: int, error: Any) -> str:
        if 300 <= status < 400:
            to = self._hide(str((error.headers or {}).get("location", "")))
            to = to.partition("?")[0]  # the rest holds what the sign-in page wants to know
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

    def _no_answer(self, what: str, error: Exception) -> ClusterError:
        cause: BaseException = getattr(error, "reason", None) or error
        if not isinstance(cause, BaseException):
            cause = error
        text = _one_line(self._hide(str(cause)))
        text = re.sub(r"^<?[\w.]*(Connection|Pool)\([^)]*\)>?: ", "", text)
        if isinstance(cause, urllib3.exceptions.SSLError):
            return ClusterError(
                f"{what}: the certificate of {self.host} is not trusted: {text}. Name the file "
                "of its certificate authority with --ssl-ca-cert, or check --host.",
                refused=True,
            )
        if isinstance(cause, urllib3.exceptions.LocationValueError):
            raise InputError(f"--host {self.host} is no address: {text}.") from None
        refused = isinstance(  # the first is a kind of the second in urllib3
            cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
        )
        if isinstance(cause, urllib3.exceptions.TimeoutError) and not isinstance(
            cause, urllib3.exceptions.NewConnectionError
        ):
            said = f"{self.host} did not answer in time"
        else:
            said = f"{self.host} cannot be reached or closed the connection ({text})"
        return ClusterError(
            f"{what}: {said}. Check --host and whether KFP runs; a port-forward may have ended.",
            retryable=True,
            refused=refused,
        )


def connect(connection: Connection, **options: Any) -> Cluster:
    """Connects to a cluster and asks once whether it is there.

    Args:
        connection: Where it is, and who asks.
        **options: As of `Cluster`.

    Raises:
        InputError: If there is no way to a cluster, or a namespace is missing.
        ClusterError: If it refuses, or cannot be reached.
    """
    cluster = Cluster(connection, **options)
    cluster.settle_namespace()
    return cluster


def name_filter(name: str) -> str:
    """The API's filter for a display name."""
    predicate = {"key": "display_name", "operation": "EQUALS", "string_value": name}
    text = json.dumps({"predicates": [predicate]})
    # KFP's server decodes the text as a URL once more; JSON's escapes are safe from that.
    return text.replace("%", "\\u0025").replace("+", "\\u002b")


def _without_none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _said(body: Any) -> str:
    """What a server says in the body of an error."""
    if isinstance(body, bytes):
        body = body.decode("utf-8", errors="replace")
    text = str(body or "")
    try:
        values = json.loads(text)
    except ValueError:
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return html.unescape(title.group(1) if title else re.sub(r"<[^>]*>", " ", text))
    if isinstance(values, dict):
        for key in ("error_message", "message", "error"):
            if isinstance(values.get(key), str) and values[key]:
                return str(values[key])
    return text


def _retry_after(headers: Any, now: datetime) -> float | None:
    text = str((headers or {}).get("retry-after") or "")
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):
        return None
