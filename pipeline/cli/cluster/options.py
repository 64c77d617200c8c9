"""Options that the cluster commands share: the connection, and the pipeline that is sent."""

import argparse
import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import refuse_credentials
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig

if TYPE_CHECKING:
    from pipeline.cluster.client.cluster import Cluster

CONNECTING = """
Connecting, as kfp's client does it; the first that is there:
  --host URL, KF_PIPELINES_ENDPOINT   the address, e.g. http://localhost:8080 after
                                      kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80
  in a pod of the cluster             its service, with the pod's service account token
  else                                kubectl's proxy to it; --kube-context chooses the cluster
Signing in (secrets are never taken from the command line, where ps shows them):
  --token-file FILE                   a bearer token, read anew for each request
  KFP_TOKEN                           a bearer token
  KF_PIPELINES_SA_TOKEN_PATH          a file with a service account's token
  --cookies-file FILE, KFP_COOKIES    a Cookie header, e.g. authservice_session=...
  --iap-client-id ID                  Google's Identity-Aware Proxy; also
                                      KF_PIPELINES_IAP_OAUTH2_CLIENT_ID and, on a desktop,
                                      KF_PIPELINES_APP_OAUTH2_CLIENT_ID and ..._SECRET
"""
Command = Callable[[argparse.Namespace], int]
AddOptions = Callable[[argparse.ArgumentParser], None]


def cluster_command(command: Command) -> Command:
    """Makes a command say in one line why a cluster refused or was not reached, and return 1."""

    @functools.wraps(command)
    def run(options: argparse.Namespace) -> int:
        from pipeline.cluster.client.errors import ClusterError  # not at import: it imports kfp

        try:
            return command(options)
        except ClusterError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    return run


def add_pipeline(
    parser: argparse.ArgumentParser, add_config: AddOptions, add_images: AddOptions
) -> None:
    """Adds the options that choose the pipeline to send, and what a run changes of it."""
    add_config(parser)
    add_images(parser)
    parser.add_argument(
        "--local-images",
        action="store_true",
        help="the images are on the cluster's nodes already, e.g. after kind load or minikube "
        "image load; none needs a registry",
    )
    parser.add_argument("--experiment", help="what runs belong to (default: the config's name)")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a parameter of the pipeline for this run or schedule; the value is YAML: "
        "--param seed=7; may be repeated. To change a part of one, use --set",
    )
    parser.add_argument(
        "--service-account",
        help="what steps run as (default: cluster.service_account of the config)",
    )


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where the cluster is and who asks."""
    group = parser.add_argument_group("cluster")
    group.add_argument("--host", metavar="URL", help="the KFP API (default: see below)")
    group.add_argument("--namespace", help="yours, where KFP has many users")
    group.add_argument(
        "--kfp-namespace", metavar="NAMESPACE", help="where KFP is installed (default: kubeflow)"
    )
    group.add_argument("--kube-context", metavar="NAME", help="the kubectl context to use")
    for option in ("--token", "--cookies"):  # else an abbreviation of what follows
        group.add_argument(option, action=_NoSecrets, help=argparse.SUPPRESS)
    group.add_argument("--token-file", metavar="FILE", help="holds a bearer token")
    group.add_argument("--cookies-file", metavar="FILE", help="holds a Cookie header's value")
    group.add_argument("--iap-client-id", metavar="ID", help="of Google's Identity-Aware Proxy")
    group.add_argument("--ui-host", metavar="URL", help="the KFP UI, for links (default: the host)")
    group.add_argument("--ssl-ca-cert", metavar="FILE", help="certificates to trust")
    group.add_argument(
        "--no-verify-ssl", action="store_true", help="do not check the server's certificate"
    )


class _NoSecrets(argparse.Action):
    """Refuses a secret, and does not repeat it as argparse does with an unknown option."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: object) -> None:
        parser.error(
            f"{self.option_strings[0]}: a command line shows a secret to everyone on this machine. "
            "Put it into a file (--token-file, --cookies-file) or the environment (KFP_TOKEN, "
            "KFP_COOKIES)."
        )


def connect(options: argparse.Namespace) -> "Cluster":
    """Connects as the options and the environment say."""
    from pipeline.cluster.client import cluster
    from pipeline.cluster.client.connection import Connection

    return cluster.connect(
        Connection.of(
            os.environ,
            cookies_file=options.cookies_file,
            host=options.host,
            namespace=options.namespace,
            kfp_namespace=options.kfp_namespace,
            kube_context=options.kube_context,
            token_file=options.token_file,
            iap_client_id=options.iap_client_id,
            ui_host=options.ui_host,
            ssl_ca_cert=options.ssl_ca_cert,
            verify_ssl=False if options.no_verify_ssl else None,
        )
    )


def prepared(options: argparse.Namespace) -> tuple[PipelineConfig, str, dict[str, Any]]:
    """Reads the config and compiles it; needs no cluster."""
    if not options.registry and not options.local_images:
        raise InputError(
            "a cluster pulls images from a registry: give --registry, e.g. --registry "
            "ghcr.io/acme, after 'deep-retrieval images push'. If they are on its nodes already "
            "(kind load, minikube image load), give --local-images."
        )
    config = load_config(options.config, options.overrides)
    from pipeline.cluster.uploads.parameters import read_parameters
    from pipeline.compilation import cluster_images, compile_pipeline

    compiled = compile_pipeline(config, cluster_images(config, options.registry, gpu=options.gpu))
    parameters = read_parameters(options.param, compiled)
    refuse_credentials(parameters, "--param")
    return config, compiled, parameters


def service_account(options: argparse.Namespace, config: PipelineConfig) -> str | None:
    """Returns the service account that steps run as: the option, else the config's."""
    return options.service_account or config.cluster.service_account


def follow_run(options: argparse.Namespace, cluster: "Cluster", run_id: str) -> int:
    """Follows a run to its end, or for `--timeout` seconds; returns the exit code."""
    from pipeline.cluster.runs.progress import Commands, follow

    where = f" --host {cluster.host}" if options.host else ""
    return follow(
        cluster,
        run_id,
        timeout=getattr(options, "timeout", None),
        commands=Commands(
            follow=f"deep-retrieval submit --watch {run_id}{where}",
            logs=f"deep-retrieval logs{where} {run_id}",
            namespace=cluster.namespace or options.kfp_namespace or "kubeflow",
        ),
    )
