"""Who asks which KFP API server, and how kfp's client signs in."""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api  # type: ignore[import-untyped]
import urllib3
from google.auth.exceptions import GoogleAuthError
from kfp.client.token_credentials_base import TokenCredentialsBase

from components.shared.runtime.errors import InputError
from pipeline.cluster.redaction import clean, hide_in_logs, never_show

_VARIABLES = {
    "host": "KF_PIPELINES_ENDPOINT",
    "ui_host": "KF_PIPELINES_UI_ENDPOINT",
    "iap_client_id": "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID",
    "app_client_id": "KF_PIPELINES_APP_OAUTH2_CLIENT_ID",
    "app_client_secret": "KF_PIPELINES_APP_OAUTH2_CLIENT_SECRET",
}
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Connection:
    """Where the KFP API is, and who asks. Its text form shows no secret.

    Args:
        host: The address; if empty, the service of the cluster this process runs in or,
            outside of one, kubectl's proxy to it.
        namespace: The user's, in a multi-user installation.
        kfp_namespace: Where KFP is installed; used only if there is no host.
        token: A bearer token.
        token_file: A file that holds one, which is read again for each request.
        cookies: A Cookie header's value.
        kube_context: The kubectl context; used only if there is no host.
        ssl_ca_cert: A file with certificates to trust.
        verify_ssl: Whether the server's certificate is checked.
        iap_client_id: The OAuth client of Google's Identity-Aware Proxy.
        app_client_id: The OAuth client of a desktop application, for it.
        app_client_secret: That client's secret.
        ui_host: The address of the KFP UI, for links; if empty, the host.
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
            **options: As of the class; None means not given.

        Raises:
            InputError: If a file cannot be read, or the options do not go together.
        """
        given: dict[str, Any] = {key: environ.get(name) or None for key, name in _VARIABLES.items()}
        given |= {key: value for key, value in options.items() if value is not None}
        if "token_file" not in given and environ.get("KFP_TOKEN"):
            given["token"] = _header_value(environ["KFP_TOKEN"], "KFP_TOKEN")
        elif "token_file" not in given and environ.get("KF_PIPELINES_SA_TOKEN_PATH"):
            given["token_file"] = environ["KF_PIPELINES_SA_TOKEN_PATH"]
        if "token_file" in given:
            _read(given["token_file"], "the token file")
        if cookies_file:
            given["cookies"] = _read(cookies_file, "--cookies-file")
        elif environ.get("KFP_COOKIES"):
            given["cookies"] = _header_value(environ["KFP_COOKIES"], "KFP_COOKIES")
        connection = cls(**given)
        if connection.ssl_ca_cert and not Path(connection.ssl_ca_cert).is_file():
            raise InputError(f"--ssl-ca-cert {connection.ssl_ca_cert}: there is no such file.")
        # With a token and no host, kfp 2.17 would send the token to http://localhost.
        if connection.token and not connection.host:
            raise InputError(
                "KFP_TOKEN is set, and there is no host to send it to. Give --host, or set "
                "KF_PIPELINES_ENDPOINT."
            )
        return connection

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


def _header_value(text: str, where: str) -> str:
    """Checks a token or cookies; the message of an error does not show them."""
    text = text.strip()
    never_show(text)
    if not text:
        raise InputError(f"{where} is empty. Write it again, or name another file.")
    if re.search(r"[^\x20-\x7e\x80-\xff]", text):
        raise InputError(
            f"{where} holds more than one line, or a character that no HTTP header can carry. "
            "Write it again."
        )
    return text


def _read(path: str, what: str) -> str:
    try:
        text = Path(path).expanduser().read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read: {error.strerror}. Write it again, or name another file."
        ) from error
    return _header_value(text, f"{what} {path}")


class _TokenFile(TokenCredentialsBase):
    """Reads a token from a file for each request, with one clear error."""

    def __init__(self, path: str):
        self._path = path

    def refresh_api_key_hook(self, config: Any) -> None:
        config.api_key["authorization"] = _read(self._path, "the token file")


class _Client(kfp.Client):
    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        # kfp 2.17 calls this when it is made, and would ask five times, 5 s apart, whatever the
        # answer. `connect` asks, with one clear error.
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)


def sign_in(connection: Connection) -> tuple[Any, str]:
    """Signs in as kfp's client does; sends nothing to the KFP API.

    Returns:
        The client of the API, and the user's namespace, as given, as kfp's settings have it, or
        the pod's; empty if there is none.

    Raises:
        InputError: If there is no way to a cluster, or the credentials cannot be had.
    """
    never_show(connection.token, connection.cookies, connection.app_client_secret)
    never_show(*re.findall(r"//([^/@]*)@", connection.host or ""))
    hide_in_logs()
    if not connection.verify_ssl:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    printed = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if not connection.iap_client_id:  # signing in to IAP asks the user
            stack.enter_context(contextlib.redirect_stdout(printed))
        try:
            client = _Client(
                host=connection.host,
                client_id=connection.iap_client_id,
                namespace=connection.kfp_namespace,
                other_client_id=connection.app_client_id,
                other_client_secret=connection.app_client_secret,
                existing_token=connection.token,
                cookies=connection.cookies,
                ssl_ca_cert=connection.ssl_ca_cert,
                kube_context=connection.kube_context,
                credentials=_TokenFile(connection.token_file) if connection.token_file else None,
                verify_ssl=connection.verify_ssl,
            )
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, GoogleAuthError) as error:
            problem = clean(f"{type(error).__name__}: {error}")
        else:
            problem = ""
    if problem:  # raised here: the library's error may hold secrets
        raise InputError(
            f"signing in with {connection.credentials or 'no credentials'} failed: {problem}. Sign "
            "in again, or use a token (--token-file). kfp also reads ~/.config/kfp/context.json."
        )
    if "Failed to load kube config" in printed.getvalue():
        context = f" context {connection.kube_context}" if connection.kube_context else " config"
        raise InputError(
            "there is no way to a cluster: no host, no pod to run in, and no usable "
            f"kubectl{context}. Give --host, e.g. --host http://localhost:8080 after kubectl "
            f"port-forward --namespace {connection.kfp_namespace} service/ml-pipeline-ui 8080:80; "
            "or set KF_PIPELINES_ENDPOINT."
        )
    api = client._healthz_api.api_client  # kfp 2.17 has no public name for it
    if "://" not in api.configuration.host:  # as kfp names the service in a cluster
        api.configuration.host = f"http://{api.configuration.host}"
    # kfp 2.17 takes another namespace of the installation for the user's.
    named = client.get_user_namespace() if connection.kfp_namespace == "kubeflow" else ""
    if not (connection.namespace or named):
        with contextlib.suppress(OSError):
            named = _POD_NAMESPACE.read_text(encoding="utf-8").strip()
    return api, connection.namespace or named
