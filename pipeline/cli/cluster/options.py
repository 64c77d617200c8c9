"""Options that the cluster commands share: the connection, and the pipeline to upload."""

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

from cyclopts import Group, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.options import ConfigOptions, ImageOptions

if TYPE_CHECKING:
    from pipeline.cluster.client.cluster import Cluster
    from pipeline.config.pipeline import PipelineConfig

CONNECTING = """
Connecting, as kfp's client does; the first of these that is set:
  --host URL, KF_PIPELINES_ENDPOINT   the address, e.g. http://localhost:8080 after
                                      kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80
  in a pod of the cluster             its service, with the pod's service account token
  otherwise                           kubectl's proxy; --kube-context chooses the cluster
Signing in (secrets are never taken from the command line, where ps shows them):
  --token-file FILE                   a bearer token, read again for each request
  KFP_TOKEN                           a bearer token
  KF_PIPELINES_SA_TOKEN_PATH          a file with a service account's token
  --cookies-file FILE, KFP_COOKIES    a Cookie header, e.g. authservice_session=...
  --iap-client-id ID                  Google's Identity-Aware Proxy; also
                                      KF_PIPELINES_IAP_OAUTH2_CLIENT_ID and, on a desktop,
                                      KF_PIPELINES_APP_OAUTH2_CLIENT_ID and ..._SECRET"""
_Arguments = ParamSpec("_Arguments")
_CONNECTION = Group("Connection", sort_key=2)


def succeeded(code: int) -> bool | None:
    """Return whether a followed run succeeded; None if following it was interrupted.

    Args:
        code: The exit code of following it.
    """
    return {0: True, 1: False}.get(code)


def cluster_command(command: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
    """Make a command print one line and return 1 if the cluster refuses or is unreachable."""

    @functools.wraps(command)
    def run(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> int:
        from pipeline.cluster.client.errors import ClusterError  # not at import: it imports kfp

        try:
            return command(*arguments, **options)
        except ClusterError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    return run


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PipelineOptions(ConfigOptions, ImageOptions):
    """The options that choose the pipeline to upload, and change it for a run.

    Args:
        local_images: Whether the nodes have the images already.
        experiment: The runs' experiment; the config's name by default.
        param: `KEY=VALUE` for each changed parameter of the pipeline.
        service_account: The service account of the steps; the config's by default.
    """

    local_images: Annotated[
        bool,
        Parameter(
            help="the cluster's nodes have the images already, e.g. after kind load or minikube "
            "image load, so no registry is needed"
        ),
    ] = False
    experiment: Annotated[
        str | None, Parameter(help="the runs' experiment (default: the config's name)")
    ] = None
    param: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="KEY=VALUE",
            help="change a parameter of the pipeline for this run or schedule; the value is YAML, "
            "e.g. --param seed=7; repeatable. To change a part of a parameter, use --set",
            show_default=False,
        ),
    ] = ()
    service_account: Annotated[
        str | None,
        Parameter(
            help="the service account of the steps (default: cluster.service_account of the config)"
        ),
    ] = None

    def compiled(self) -> "tuple[PipelineConfig, str, dict[str, Any]]":
        """Return the config, the compiled pipeline and the changed parameters.

        Needs no cluster.

        Raises:
            InputError: If an option or the config cannot be used.
        """
        if not self.registry and not self.local_images:
            raise InputError(
                "a cluster pulls images from a registry: give --registry, e.g. --registry "
                "ghcr.io/acme, after 'deep-retrieval images push'. If they are on its nodes "
                "already (kind load, minikube image load), give --local-images."
            )
        config = self.load()
        from components.shared.storage.credentials import refuse_credentials
        from pipeline.cluster.uploads.parameters import read_parameters
        from pipeline.compilation import cluster_images, compile_pipeline

        compiled = compile_pipeline(config, cluster_images(config, self.registry, gpu=self.gpu))
        parameters = read_parameters(list(self.param), compiled)
        refuse_credentials(parameters, "--param")
        return config, compiled, parameters

    def account(self, config: "PipelineConfig") -> str | None:
        """Return the service account of the steps: the option, or the config's."""
        return self.service_account or config.cluster.service_account


@Parameter(name="*", group=_CONNECTION)
@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """The options that choose the cluster and the way to sign in.

    Args:
        host: The address of the KFP API.
        namespace: The user's namespace, if KFP has several users.
        kfp_namespace: The namespace that KFP is installed in.
        kube_context: The kubectl context.
        token_file: A file with a bearer token.
        cookies_file: A file with the value of a Cookie header.
        iap_client_id: The client id of Google's Identity-Aware Proxy.
        ui_host: The address of the KFP UI, for links.
        ssl_ca_cert: A file with the certificates to trust.
        no_verify_ssl: Whether to accept any certificate of the server.
    """

    host: Annotated[
        str | None, Parameter(metavar="URL", help="the KFP API (default: see below)")
    ] = None
    namespace: Annotated[str | None, Parameter(help="your namespace, if KFP has several users")] = (
        None
    )
    kfp_namespace: Annotated[
        str | None,
        Parameter(metavar="NAMESPACE", help="the namespace of KFP itself (default: kubeflow)"),
    ] = None
    kube_context: Annotated[str | None, Parameter(metavar="NAME", help="the kubectl context")] = (
        None
    )
    token_file: Annotated[
        str | None, Parameter(metavar="FILE", help="a file with a bearer token")
    ] = None
    cookies_file: Annotated[
        str | None, Parameter(metavar="FILE", help="a file with the value of a Cookie header")
    ] = None
    iap_client_id: Annotated[
        str | None, Parameter(metavar="ID", help="client id of Google's Identity-Aware Proxy")
    ] = None
    ui_host: Annotated[
        str | None, Parameter(metavar="URL", help="the KFP UI, for links (default: the host)")
    ] = None
    ssl_ca_cert: Annotated[str | None, Parameter(metavar="FILE", help="certificates to trust")] = (
        None
    )
    no_verify_ssl: Annotated[bool, Parameter(help="do not check the server's certificate")] = False

    def connect(self, within: float | None = None) -> "Cluster":
        """Connect to the cluster of the options and the environment.

        Args:
            within: Seconds for one attempt; by default, attempts are repeated for two minutes.
        """
        from pipeline.cluster.client import cluster
        from pipeline.cluster.client.connection import Connection
        from pipeline.cluster.client.transport import Limits

        once: dict[str, Any] = {}
        if within is not None:
            limits = Limits(connect_seconds=within, seconds=within)
            once = {"limits": limits, "patience": 0.0}
        return cluster.connect(
            Connection.of(
                os.environ,
                cookies_file=self.cookies_file,
                host=self.host,
                namespace=self.namespace,
                kfp_namespace=self.kfp_namespace,
                kube_context=self.kube_context,
                token_file=self.token_file,
                iap_client_id=self.iap_client_id,
                ui_host=self.ui_host,
                ssl_ca_cert=self.ssl_ca_cert,
                verify_ssl=False if self.no_verify_ssl else None,
            ),
            **once,
        )

    def namespace_of(self, cluster: "Cluster") -> str:
        """Return the namespace of the cluster's runs."""
        return cluster.namespace or self.kfp_namespace or "kubeflow"

    def follow(self, cluster: "Cluster", run_id: str, timeout: float | None = None) -> int:
        """Follow a run and return the exit code.

        Args:
            cluster: The connection.
            run_id: The run's id.
            timeout: Seconds after which to stop following; until the run ends by default.
        """
        from pipeline.cluster.runs.progress import Commands, follow

        where = f" --host {cluster.host}" if self.host else ""
        return follow(
            cluster,
            run_id,
            timeout=timeout,
            commands=Commands(
                follow=f"deep-retrieval submit --watch {run_id}{where}",
                logs=f"deep-retrieval logs{where} {run_id}",
                namespace=self.namespace_of(cluster),
            ),
        )


DEFAULT_PIPELINE = PipelineOptions()
DEFAULT_CONNECTION = ConnectionOptions()
