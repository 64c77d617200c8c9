"""The command `deep-retrieval runs`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.cluster.options import (
    CONNECTING,
    DEFAULT_CONNECTION,
    ConnectionOptions,
    cluster_command,
)
from pipeline.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from pipeline.cluster.client.cluster import Cluster

runs_app = App(
    name="runs",
    help_epilogue=f"""\
Examples:
  deep-retrieval runs --cluster --host http://localhost:8080
  deep-retrieval runs --cluster --experiment my-shop --limit 50
  deep-retrieval runs --cluster --json
{CONNECTING}""",
)
_COLUMNS = ("id", "name", "state", "started (UTC)", "took")


@dataclass(frozen=True)
class _Run:
    """A run as this command shows it.

    Args:
        id: Its id.
        name: Its display name.
        state: Its state, in lower case.
        started: When it was created; None if the API does not say.
        seconds: How long it took, or has taken so far.
    """

    id: str
    name: str
    state: str
    started: datetime | None
    seconds: float | None

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        from pipeline.cluster.runs.lookup import duration

        return (
            self.id,
            self.name,
            self.state,
            f"{self.started:%Y-%m-%d %H:%M}" if self.started else "",
            duration(self.seconds) if self.seconds is not None else "",
        )


@runs_app.default
@cluster_command
def runs(
    *,
    cluster: Annotated[
        bool, Parameter(help="list the runs on the cluster; required, as no others are kept")
    ] = False,
    experiment: Annotated[
        str | None, Parameter(help="only runs of this experiment (default: all)")
    ] = None,
    limit: Annotated[int, Parameter(metavar="N", help="maximum number of runs")] = 10,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """List the latest runs of the pipeline.

    Returns:
        0; 1 if the server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
    if not cluster:
        raise InputError(
            "runs lists the runs on a cluster: give --cluster. Results of runs on this machine are "
            "in the folder runs."
        )
    if limit < 1:
        raise InputError(f"--limit {limit}: it must be 1 or more.")
    from pipeline.cluster.runs.lookup import as_json as fields_of
    from pipeline.cluster.runs.lookup import latest_runs

    connected = connection.connect()
    found = [_read(connected, fields_of(run)) for run in latest_runs(connected, experiment, limit)]
    if as_json:
        print_json([asdict(run) for run in found])
        return 0
    if not found:
        print("no runs")
        return 0
    rows = [run.cells() for run in found]
    table = [_COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
    print_table(_COLUMNS, rows, lines)
    return 0


def _read(cluster: "Cluster", run: Mapping[str, Any]) -> _Run:
    from components.shared.kubeflow.api_times import time_of
    from pipeline.cluster.client.redaction import clean
    from pipeline.cluster.runs.lookup import seconds_of

    return _Run(
        id=clean(str(run.get("run_id") or ""), 40),
        name=clean(str(run.get("display_name") or ""), 60),
        state=clean(str(run.get("state") or "unknown"), 30).lower(),
        started=time_of(run.get("created_at")),
        seconds=seconds_of(run, cluster.now()),
    )
