"""The command `deep-retrieval submit`."""

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.errors import InputError
from pipeline.cluster.commands.options import (
    CONNECTING,
    AddOptions,
    add_connection,
    add_pipeline,
    connect,
    prepared,
    service_account,
)

if TYPE_CHECKING:
    from pipeline.cluster.api import Cluster


def add_submit(subparsers: Any, *, add_config: AddOptions, add_images: AddOptions) -> None:
    """Adds `submit` to the command's parser."""
    submit_ = subparsers.add_parser(
        "submit",
        help="run the pipeline on a Kubeflow cluster",
        description="Compiles the pipeline, uploads it and starts a run. The same pipeline is "
        "uploaded once: a version is named by its content.",
        epilog="Examples:\n"
        "  deep-retrieval submit --config movielens-100k --registry ghcr.io/acme "
        "--host http://localhost:8080 --wait\n"
        "  deep-retrieval submit --config my-shop.yaml --param seed=7 "
        "--param layer_stacks='[[64]]'\n"
        "  deep-retrieval submit --watch 5c8d1f0e-…   # follow a run that is there\n"
        f"{CONNECTING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_pipeline(submit_, add_config, add_images)
    submit_.add_argument(
        "--no-cache", action="store_true", help="run every step, whatever former runs left"
    )
    submit_.add_argument("--wait", action="store_true", help="follow the run to its end")
    submit_.add_argument(
        "--watch", metavar="RUN_ID", help="follow a run that is there; starts nothing"
    )
    submit_.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="with --wait or --watch: follow it no longer; the run goes on",
    )
    add_connection(submit_)


def submit(options: argparse.Namespace) -> int:
    """Uploads the pipeline and starts a run, or follows one that is there.

    Returns:
        0; 1 if the run failed or is not over in time, or the server refused; 130
        after Ctrl-C while it was followed.

    Raises:
        InputError: If the input cannot be used.
    """
    from pipeline.cluster.api import ClusterError

    try:
        return _watch(options) if options.watch else _submit(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _submit(options: argparse.Namespace) -> int:
    if options.timeout is not None and not options.wait:
        raise InputError("--timeout goes with --wait or --watch.")
    config, compiled, parameters = prepared(options)
    from pipeline.cluster.submission import (
        check_size,
        experiment,
        pipeline_parameters,
        start_run,
        upload,
        without_caching,
    )

    if options.no_cache:
        compiled = without_caching(compiled)
    # What the source holds may have changed since a former run, whose result is in the cache.
    if config.source.kind != "sample" and "source_fingerprint" in pipeline_parameters(compiled):
        parameters.setdefault("source_fingerprint", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    check_size(parameters)
    cluster = connect(options)
    uploaded = upload(cluster, config.name, compiled)
    print(f"pipeline  {uploaded.version} {'uploaded' if uploaded.is_new else 'is there already'}")
    run = start_run(
        cluster,
        uploaded,
        experiment(cluster, options.experiment or config.name),
        config.name,
        parameters=parameters,
        service_account=service_account(options, config),
        pipeline_root=config.cluster.pipeline_root,
    )
    print(f"run       {run.name} started\n  id      {run.run_id}\n  details {run.link}", flush=True)
    return _follow(options, cluster, run.run_id) if options.wait else 0


def _watch(options: argparse.Namespace) -> int:
    if options.param or options.no_cache:
        raise InputError("--watch follows a run that is there; --param and --no-cache start one.")
    return _follow(options, connect(options), options.watch)


def _follow(options: argparse.Namespace, cluster: "Cluster", run_id: str) -> int:
    from pipeline.cluster.progress import Commands, follow

    where = f" --host {cluster.host}" if options.host else ""
    return follow(
        cluster,
        run_id,
        timeout=options.timeout,
        commands=Commands(
            follow=f"deep-retrieval submit --watch {run_id}{where}",
            logs=f"deep-retrieval logs{where} {run_id}",
            namespace=cluster.namespace or options.kfp_namespace or "kubeflow",
        ),
    )
