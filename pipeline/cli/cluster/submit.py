"""The command `deep-retrieval submit`."""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.cluster.options import (
    CONNECTING,
    DEFAULT_CONNECTION,
    DEFAULT_PIPELINE,
    ConnectionOptions,
    PipelineOptions,
    cluster_command,
    succeeded,
)
from pipeline.cli.output import Json, print_json, progress_on_stderr

submit_app = App(
    name="submit",
    help_epilogue=f"""\
Examples:
  deep-retrieval submit --config movielens-100k --registry ghcr.io/acme \
--host http://localhost:8080 --wait
  deep-retrieval submit --config my-shop.yaml --wait --json
  deep-retrieval submit --config my-shop.yaml --param seed=7 --param layer_stacks='[[64]]'
  deep-retrieval submit --watch 5c8d1f0e-0b59-4f5e-9d0a-7a4b1c8e2f11   # follow an existing run
{CONNECTING}""",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """The options of a new run.

    Args:
        no_cache: Whether to run every step.
        dry_run: Whether to print what would change, and change nothing.
        wait: Whether to follow the run to its end.
    """

    no_cache: Annotated[bool, Parameter(help="run every step, even if a result is cached")] = False
    dry_run: Annotated[bool, Parameter(help="print what would change, and change nothing")] = False
    wait: Annotated[bool, Parameter(help="follow the run to its end")] = False


_DEFAULT_START = StartOptions()


@submit_app.default
@cluster_command
def submit(
    *,
    pipeline: PipelineOptions = DEFAULT_PIPELINE,
    start: StartOptions = _DEFAULT_START,
    watch: Annotated[
        str | None,
        Parameter(metavar="RUN_ID", help="follow an existing run instead of starting one"),
    ] = None,
    timeout: Annotated[
        float | None,
        Parameter(
            metavar="SECONDS",
            help="with --wait or --watch: stop following after this time; the run goes on",
        ),
    ] = None,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Upload the pipeline and start a run, or follow an existing one.

    Returns:
        0; 1 if the run failed or did not end in time, or the server refused;
        130 after Ctrl-C while it was followed.

    Raises:
        InputError: If the input cannot be used.
    """
    if not watch:
        with progress_on_stderr(as_json):
            code, document = _submit(pipeline, start, timeout, connection)
        if as_json:
            print_json(document)
        return code
    if pipeline.param or start.no_cache or start.dry_run:
        raise InputError(
            "--watch follows an existing run; --param, --no-cache and --dry-run are for a new one."
        )
    with progress_on_stderr(as_json):
        code = connection.follow(connection.connect(), watch, timeout)
    if as_json:
        print_json({"run": {"id": watch}, "succeeded": succeeded(code)})
    return code


def _submit(
    pipeline: PipelineOptions,
    start: StartOptions,
    timeout: float | None,
    connection: ConnectionOptions,
) -> tuple[int, dict[str, Any]]:
    """Return the exit code, and what --json prints."""
    if timeout is not None and not start.wait:
        raise InputError("--timeout goes with --wait or --watch.")
    if start.dry_run and start.wait:
        raise InputError("--dry-run starts no run that --wait could follow.")
    config, compiled, parameters = pipeline.compiled()
    from components.resolve.job import SCHEDULED
    from pipeline.cluster.client.server_versions import check_server
    from pipeline.cluster.dry_run import dry_run
    from pipeline.cluster.runs.experiments import experiment
    from pipeline.cluster.runs.start import RunSettings, start_run
    from pipeline.cluster.uploads.caching import without_caching
    from pipeline.cluster.uploads.parameters import check_size
    from pipeline.cluster.uploads.upload import upload

    if start.no_cache:
        compiled = without_caching(compiled)
    check_size(parameters)
    cluster = connection.connect()
    until = parameters.get("data_until", config.data_until)
    check_server(cluster, config.cluster, scheduled=until == SCHEDULED)
    experiment_name = pipeline.experiment or config.name
    if start.dry_run:
        lines = list(dry_run(cluster, config.name, compiled, experiment_name))
        for line in lines:
            print(line)
        return 0, {"dry_run": lines}
    uploaded = upload(cluster, config.name, compiled)
    print(f"pipeline  {uploaded.version} {'uploaded' if uploaded.is_new else 'exists'}")
    run = start_run(
        cluster,
        uploaded,
        experiment(cluster, experiment_name),
        config.name,
        RunSettings(parameters, pipeline.account(config), config.cluster.pipeline_root),
    )
    print(f"run       {run.name} started\n  id      {run.run_id}\n  details {run.link}", flush=True)
    code = connection.follow(cluster, run.run_id, timeout) if start.wait else 0
    return code, {
        "pipeline": {"version": uploaded.version, "is_new": uploaded.is_new},
        "run": {"id": run.run_id, "name": run.name, "details": run.link},
        "succeeded": succeeded(code) if start.wait else None,
    }
