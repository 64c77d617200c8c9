"""Which KFP API server to use, and with which credentials."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import refuse_in_address
from pipeline.cluster.client.redaction import never_show

_VARIABLES = {
    "host": "KF_PIPELINES_ENDPOINT",
    "ui_host": "KF_PIPELINES_UI_ENDPOINT",
    "iap_client_id": "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID",
    "app_client_id": "KF_PIPELINES_APP_OAUTH2_CLIENT_ID",
    "app_client_secret": "KF_PIPELINES_APP_OAUTH2_CLIENT_SECRET",
}
_SIGN_IN = "Give a token (--token-file or KFP_TOKEN) or cookies (--cookies-file or KFP_COOKIES)."


@dataclass(frozen=True)
class Connection:
    """The address of a KFP API server, and the credentials. Its text form shows no secret.

    Args:
        host: The address; if empty, the service of the cluster that this process runs in or,
            outside of a cluster, kubectl's proxy to it.
        namespace: The user's namespace in a multi-user installation.
        kfp_namespace: The namespace of the KFP installation; used only without a host.
        token: A bearer token.
        token_file: A file with a bearer token, read again for each request.
        cookies: The value of a Cookie header.
        kube_context: The kubectl context; used only without a host.
        ssl_ca_cert: A file with certificates to trust.
        verify_ssl: Whether to check the server's certificate.
        iap_client_id: The OAuth client of Google's Identity-Aware Proxy.
        app_client_id: The OAuth client of a desktop application, for that proxy.
        app_client_secret: The secret of that client.
        ui_host: The address of the KFP UI, for links; if empty, the host.

    Raises:
        InputError: If an address contains credentials.
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

    def __post_init__(self) -> None:
        for option, address in (("--host", self.host), ("--ui-host", self.ui_host)):
            refuse_in_address(option, address or "", "messages, links and logs show it", _SIGN_IN)

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        cookies_file: str | None = None,
        **options: Any,
    ) -> "Connection":
        """Return a connection from options and, where an option is missing, the environment.

        Args:
            environ: The environment variables.
            cookies_file: A file with the value of a Cookie header.
            **options: The fields of the class; None means that the option is not given.

        Raises:
            InputError: If a file cannot be read, options conflict, or an address contains
                credentials.
        """
        given: dict[str, Any] = {key: environ.get(name) or None for key, name in _VARIABLES.items()}
        given |= {key: value for key, value in options.items() if value is not None}
        if "token_file" not in given and environ.get("KFP_TOKEN"):
            given["token"] = _header_value(environ["KFP_TOKEN"], "KFP_TOKEN")
        elif "token_file" not in given and environ.get("KF_PIPELINES_SA_TOKEN_PATH"):
            given["token_file"] = environ["KF_PIPELINES_SA_TOKEN_PATH"]
        if "token_file" in given:
            read_secret(given["token_file"], "the token file")
        if cookies_file:
            given["cookies"] = read_secret(cookies_file, "--cookies-file")
        elif environ.get("KFP_COOKIES"):
            given["cookies"] = _header_value(environ["KFP_COOKIES"], "KFP_COOKIES")
        connection = cls(**given)
        if connection.ssl_ca_cert and not Path(connection.ssl_ca_cert).is_file():
            raise InputError(f"--ssl-ca-cert {connection.ssl_ca_cert}: the file does not exist.")
        # With a token and no host, kfp 2.17 would send the token to http://localhost.
        if connection.token and not connection.host:
            raise InputError(
                "KFP_TOKEN is set, but there is no host to send it to. Give --host, or set "
                "KF_PIPELINES_ENDPOINT."
            )
        return connection

    @property
    def renewable(self) -> bool:
        """Whether signing in again can give new credentials."""
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


def read_secret(path: str, what: str) -> str:
    """Read a token or cookies from a file.

    Args:
        path: The file.
        what: What the file is, for messages.

    Raises:
        InputError: If the file cannot be read, or holds no header value. The message does not
            show the content.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read: {error.strerror}. Write it again, or give another file."
        ) from error
    return _header_value(text, f"{what} {path}")


def _header_value(text: str, where: str) -> str:
    text = text.strip()
    never_show(text)
    if not text:
        raise InputError(f"{where} is empty. Write it again, or give another file.")
    if re.search(r"[^\x20-\x7e\x80-\xff]", text):
        raise InputError(
            f"{where} has more than one line, or a character that an HTTP header cannot carry. "
            "Write it again."
        )
    return text
