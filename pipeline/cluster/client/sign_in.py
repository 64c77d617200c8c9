"""Signs in to a KFP API server as kfp's own client does."""

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api  # type: ignore[import-untyped]
import urllib3
from google.auth.exceptions import GoogleAuthError
from kfp.client.token_credentials_base import TokenCredentialsBase

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.connection import Connection, read_secret
from pipeline.cluster.client.redaction import clean, hide_in_logs, never_show

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class _TokenFile(TokenCredentialsBase):
    """Reads a token from a file for each request, and fails with a clear error."""

    def __init__(self, path: str):
        self._path = path

    def refresh_api_key_hook(self, config: Any) -> None:
        config.api_key["authorization"] = read_secret(self._path, "the token file")


class _Client(kfp.Client):
    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        # kfp 2.17's constructor calls this, and repeats it five times, 5 s apart, after any error.
        # `connect` asks instead, with one clear error.
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)


def sign_in(connection: Connection) -> tuple[Any, str]:
    """Sign in as kfp's client does; send nothing to the KFP API.

    Returns:
        The API client, and the user's namespace: the given one, the one in kfp's settings, or
        the pod's; empty if there is no namespace.

    Raises:
        InputError: If no cluster is configured, or there are no usable credentials.
    """
    never_show(connection.token, connection.cookies, connection.app_client_secret)
    hide_in_logs()
    if not connection.verify_ssl:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    client, printed = _make_client(connection)
    if "Failed to load kube config" in printed:
        context = f" context {connection.kube_context}" if connection.kube_context else " config"
        raise InputError(
            "no cluster is configured: there is no host, this process is not in a pod, and no "
            f"kubectl{context} can be used. Give --host, e.g. --host http://localhost:8080 after "
            f"kubectl port-forward --namespace {connection.kfp_namespace} service/ml-pipeline-ui "
            "8080:80; or set KF_PIPELINES_ENDPOINT."
        )
    api = client._healthz_api.api_client  # kfp 2.17 has no public name for it
    if "://" not in api.configuration.host:  # kfp's name of the service in a cluster
        api.configuration.host = f"http://{api.configuration.host}"
    for user, password in re.findall(r"//([^/@:]*):?([^/@]*)@", api.configuration.host):
        never_show(f"{user}:{password}", password)  # from a kubectl config
    # kfp 2.17 takes another namespace of the installation for the user's.
    named = client.get_user_namespace() if connection.kfp_namespace == "kubeflow" else ""
    if not (connection.namespace or named):
        with contextlib.suppress(OSError):
            named = _POD_NAMESPACE.read_text(encoding="utf-8").strip()
    return api, connection.namespace or named


def _make_client(connection: Connection) -> tuple[Any, str]:
    """Return kfp's client, and the output that kfp printed."""
    printed = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if not connection.iap_client_id:  # IAP asks the user to sign in
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
            return client, printed.getvalue()
    # Raised here: the library's error may hold secrets.
    raise InputError(
        f"signing in with {connection.credentials or 'no credentials'} failed: {problem}. Sign in "
        "again, or use a token (--token-file). kfp also reads ~/.config/kfp/context.json."
    )
