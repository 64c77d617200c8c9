"""The command `deep-retrieval runs`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.cluster.options import CONNECTING, DEFAULT_CONNECTION, ConnectionOptions
from pipeline.cli.options import RunFolder
from pipeline.cli.output import Json, note, print_aligned, print_json

if TYPE_CHECKING:
    from pipeline.local.stored_runs import StoredRun

runs_app = App(
    name="runs",
    help_epilogue=f"""\
Examples:
  deep-retrieval runs
  deep-retrieval runs --name my-shop --limit 50 --json
  deep-retrieval runs --host http://localhost:8080 --experiment my-shop
  deep-retrieval runs --cluster   # the cluster of the environment or of kubectl
{CONNECTING}""",
)
_COLUMNS = ("run", "metric", "model", "over most-popular", "verdict", "published", "took")


@runs_app.default
def runs(
    *,
    output: RunFolder = "runs",
    name: Annotated[
        str | None, Parameter(help="only runs of the config of this name (default: all)")
    ] = None,
    limit: Annotated[int, Parameter(metavar="N", help="maximum number of runs")] = 10,
    as_json: Json = False,
    cluster: Annotated[
        bool, Parameter(help="list the runs on a cluster; implied by --host and --kube-context")
    ] = False,
    experiment: Annotated[
        str | None, Parameter(help="on a cluster: only runs of this experiment (default: all)")
    ] = None,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """List the latest runs, of this machine or of a cluster.

    Returns:
        0; 1 if a cluster's server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
    if limit < 1:
        raise InputError(f"--limit {limit}: it must be 1 or more.")
    if cluster or connection.host or connection.kube_context:
        if name is not None:
            raise InputError("--name is for runs on this machine; for a cluster: --experiment.")
        from pipeline.cli.cluster.runs import list_cluster_runs

        return list_cluster_runs(experiment, limit, as_json, connection)
    if experiment is not None or connection != DEFAULT_CONNECTION:
        raise InputError(
            "the options of a cluster go with --host or --cluster; without, runs lists those of "
            "this machine."
        )
    return _list_local_runs(output, name, limit, as_json)


def _list_local_runs(output: str, name: str | None, limit: int, as_json: bool) -> int:
    from pipeline.local.stored_runs import list_runs

    found = list_runs(output, name)
    if as_json:
        print_json([_as_json(run) for run in found[:limit]])
        return 0
    if not found:
        print(f"no runs in {output}" + (f" of {name}" if name else ""))
        return 0
    print_aligned(_COLUMNS, [_cells(run) for run in found[:limit]])
    for run in found[:limit]:
        if run.problem:
            note(f"{run.folder} cannot be read: {run.problem}")
    if len(found) > limit:
        note(f"{len(found) - limit} older ones: --limit {len(found)}")
    return 0


def _cells(run: "StoredRun") -> tuple[str, ...]:
    if run.result is None:
        return (run.id, "", "", "", "cannot be read", "", "")
    from components.shared.runtime.quantities import duration

    headline = run.result.evaluation.headline
    return (
        run.id,
        str(headline.metric.by(headline.protocol)),
        f"{headline.model:.4f}",
        f"{headline.lead:+.4f}",
        "good enough" if headline.good_enough else "not good enough",
        run.result.publication.version,
        duration(run.result.seconds),
    )


def _as_json(run: "StoredRun") -> dict[str, Any]:
    if run.result is None:
        return {"id": run.id, "folder": run.folder, "problem": run.problem}
    headline = run.result.evaluation.headline
    return {
        "id": run.id,
        "folder": run.folder,
        "problem": None,
        "name": run.result.run.name,
        "started": run.result.run.started,
        "runner": run.result.run.runner,
        "seconds": run.result.seconds,
        "metric": str(headline.metric.by(headline.protocol)),
        "values": headline.values,
        "lead": headline.lead,
        "good_enough": headline.good_enough,
        "reasons": headline.reasons,
        "published": run.result.publication.version or None,
    }
