"""The command `deep-retrieval doctor`."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from cyclopts import App

from pipeline.cli.cluster.options import CONNECTING, DEFAULT_CONNECTION, ConnectionOptions
from pipeline.cli.options import RunFolder
from pipeline.cli.output import Json, print_aligned, print_json

if TYPE_CHECKING:
    from pipeline.local.doctor import Check

doctor_app = App(
    name="doctor",
    help_epilogue=f"""\
Examples:
  deep-retrieval doctor
  deep-retrieval doctor --host http://localhost:8080 --json
{CONNECTING}""",
)
_SECONDS = 5.0  # for the cluster's answer


@doctor_app.default
def doctor(
    *,
    output: RunFolder = "runs",
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Check the machine; return 1 if something is missing that every run needs."""
    from pipeline.local.doctor import check_machine

    checks = check_machine(output)
    # Without an address, kfp would start kubectl's proxy, which takes its time to fail.
    if connection.host or connection.kube_context or os.environ.get("KF_PIPELINES_ENDPOINT"):
        checks.append(_cluster(connection))
    is_ready = all(check.state != "missing" for check in checks)
    if as_json:
        print_json({"ready": is_ready, "checks": [asdict(check) for check in checks]})
        return 0 if is_ready else 1
    rows = [
        (
            check.state,
            check.name,
            check.found + (f". To fix: {check.advice}" if check.advice else ""),
        )
        for check in checks
    ]
    print_aligned(("state", "check", "found"), rows)
    return 0 if is_ready else 1


def _cluster(connection: ConnectionOptions) -> "Check":
    from components.shared.runtime.errors import InputError
    from pipeline.cluster.client.errors import ClusterError
    from pipeline.local.doctor import Check

    advice = "see 'deep-retrieval doctor --help' for ways to connect"
    try:
        cluster = connection.connect(within=_SECONDS)
    except (ClusterError, InputError) as error:
        # It was asked for, so a script should see that it is missing.
        return Check("cluster", "missing", str(error).rstrip("."), advice)
    version = f"Kubeflow Pipelines {cluster.version or '(it reports no version)'}"
    return Check("cluster", "ok", f"{cluster.host} answers: {version}")
