"""The command `deep-retrieval submit`."""

import argparse
from typing import TYPE_CHECKING, Any

from components.shared.runtime.errors import InputError
from pipeline.cli.cluster.options import (
    CONNECTING,
    AddOptions,
    add_connection,
    add_pipeline,
    cluster_command,
    connect,
    follow_run,
    prepared,
    service_account,
)

if TYPE_CHECKING:
    pass


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
    submit_.add_argument(
        "--dry-run", action="store_true", help="say what would change, and change nothing"
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


@cluster_command
def submit(options: argparse.Namespace) -> int:
    """Uploads the pipeline and starts a run, or follows one that is there.

    Returns:
        0; 1 if the run failed or is not over in time, or the server refused; 130
        after Ctrl-C while it was followed.

    Raises:
        InputError: If the input cannot be used.
    """
    return _watch(options) if options.watch else _submit(options)


def _submit(options: argparse.Namespace) -> int:
    if options.timeout is not None and not options.wait:
        raise InputError("--timeout goes with --wait or --watch.")
    if options.dry_run and options.wait:
        raise InputError("--dry-run starts no run that --wait could follow.")
    config, compiled, parameters = prepared(options)
    from components.resolve.job import SCHEDULED
    from pipeline.cluster.client.server_versions import check_server
    from pipeline.cluster.dry_run import dry_run
    from pipeline.cluster.runs.experiments import experiment
    from pipeline.cluster.runs.start import RunSettings, start_run
    from pipeline.cluster.uploads.caching import without_caching
    from pipeline.cluster.uploads.parameters import check_size
    from pipeline.cluster.uploads.upload import upload

    if options.no_cache:
        compiled = without_caching(compiled)
    check_size(parameters)
    cluster = connect(options)
    until = parameters.get("data_until", config.data_until)
    check_server(cluster, config.cluster, scheduled=until == SCHEDULED)
    experiment_name = options.experiment or config.name
    if options.dry_run:
        for line in dry_run(cluster, config.name, compiled, experiment_name):
            print(line)
        return 0
    uploaded = upload(cluster, config.name, compiled)
    print(f"pipeline  {uploaded.version} {'uploaded' if uploaded.is_new else 'exists'}")
    run = start_run(
        cluster,
        uploaded,
        experiment(cluster, experiment_name),
        config.name,
        RunSettings(parameters, service_account(options, config), config.cluster.pipeline_root),
    )
    print(f"run       {run.name} started\n  id      {run.run_id}\n  details {run.link}", flush=True)
    return follow_run(options, cluster, run.run_id) if options.wait else 0


def _watch(options: argparse.Namespace) -> int:
    if options.param or options.no_cache or options.dry_run:
        raise InputError(
            "--watch follows a run that is there; --param, --no-cache and --dry-run are for a new "
            "one."
        )
    return follow_run(options, connect(options), options.watch)
