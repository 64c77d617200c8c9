"""The runs on a cluster, for the command `deep-retrieval runs`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from components.shared.runtime.quantities import duration
from pipeline.cli.cluster.options import ConnectionOptions, cluster_command
from pipeline.cli.output import print_aligned, print_json

if TYPE_CHECKING:
    from pipeline.cluster.client.cluster import Cluster

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
        return (
            self.id,
            self.name,
            self.state,
            f"{self.started:%Y-%m-%d %H:%M}" if self.started else "",
            duration(self.seconds) if self.seconds is not None else "",
        )


@cluster_command
def list_cluster_runs(
    experiment: str | None, limit: int, as_json: bool, connection: ConnectionOptions
) -> int:
    """Print the latest runs of the pipeline on a cluster.

    Args:
        experiment: Only runs of this experiment; all if it is None.
        limit: Maximum number of runs.
        as_json: Whether to print JSON.
        connection: The cluster.

    Returns:
        0; 1 if the server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
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
    print_aligned(_COLUMNS, [run.cells() for run in found])
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
