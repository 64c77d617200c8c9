"""The command `deep-retrieval logs`."""

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from components.shared.runtime.quantities import duration
from pipeline.cli.cluster.options import (
    CONNECTING,
    DEFAULT_CONNECTION,
    ConnectionOptions,
    cluster_command,
)
from pipeline.cli.output import Json, print_json

if TYPE_CHECKING:
    from components.shared.kubeflow.run_shape import RunShape
    from components.shared.kubeflow.step import Step
    from pipeline.cluster.client.cluster import Cluster

logs_app = App(
    name="logs",
    help_epilogue=f"""\
Examples:
  deep-retrieval logs 5c8d1f0e-0b59-4f5e-9d0a-7a4b1c8e2f11
  deep-retrieval logs my-shop-20261124-031020-9f3c1a ingest --json
  deep-retrieval logs my-shop-20261124-031020-9f3c1a 'train [64, 32]' --attempt 1
{CONNECTING}""",
)
_MOST_COLUMNS = 10_000


@logs_app.default
@cluster_command
def logs(
    run: Annotated[str, Parameter(help="the run's id or its exact name")],
    step: Annotated[
        str | None, Parameter(help="a step, e.g. ingest or 'train [64, 32]' (default: see above)")
    ] = None,
    /,
    *,
    attempt: Annotated[
        int | None,
        Parameter(metavar="N", help="number of the attempt, from 1 (default: the last)"),
    ] = None,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Print a step's log.

    Returns:
        0; 1 if there is no log, or the server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
    if attempt is not None and attempt < 1:
        raise InputError(f"--attempt {attempt}: attempts are counted from 1.")
    from components.shared.kubeflow.run_steps import read_steps
    from components.shared.kubeflow.step import failed_steps
    from pipeline.cluster.runs.lookup import as_json as fields_of
    from pipeline.cluster.runs.lookup import find_run, shape_of

    cluster = connection.connect()
    found = find_run(cluster, run)
    content, shape = fields_of(found), shape_of(cluster, found)
    steps = read_steps(content)
    failed = failed_steps(steps)
    if step:
        chosen = _chosen(step, steps, failed, shape)
    elif failed:
        chosen = failed[0]
    elif attempt is not None:
        raise InputError("--attempt goes with a step: no step of this run has failed.")
    else:
        _list(content, steps, shape, as_json)
        return 0
    return _print_log(_Log(connection, cluster, content, shape, as_json), chosen, attempt)


def _chosen(text: str, steps: "list[Step]", failed: "list[Step]", shape: "RunShape") -> "Step":
    """The step that a text names: in a loop by its item, or the only one that failed."""
    by_title = {_plain(shape.title(step)): step for step in steps}
    if _plain(text) in by_title:
        return by_title[_plain(text)]
    named = [step for step in steps if _plain(text) == _plain(_name(shape, step))]
    if len(named) > 1:
        named = [step for step in named if step in failed] or named
    if len(named) == 1:
        return named[0]
    if named:
        titles = ", ".join(f"'{shape.title(step)}'" for step in named)
        raise InputError(f"{text} has run {len(named)} times: choose one of {titles}.")
    if _plain(text) in map(_plain, (*shape.titles(), *shape.not_begun(()))):
        raise InputError(f"{text} has not begun in this run.")
    known = shape.titles() or [shape.title(step) for step in steps]
    steps_so_far = ", ".join(known) or "none yet"
    raise InputError(f"the run has no step named {text}. Its steps: {steps_so_far}.")


def _name(shape: "RunShape", step: "Step") -> str:
    known = shape.steps.get(step.path)
    return known.name if known else step.name


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text).replace("_", "-").lower()


def _list(run: Any, steps: "list[Step]", shape: "RunShape", as_json: bool) -> None:
    from pipeline.cluster.client.redaction import clean

    name = clean(str(run.get("display_name")), 80)
    state = clean(str(run.get("state") or "unknown"), 30).lower()
    found: dict[str, dict[str, Any]] = {}
    for step in steps:
        took = (step.ended - step.began).total_seconds() if step.began and step.ended else 0.0
        found[clean(shape.title(step), 80)] = {
            "state": clean(step.state, 30).lower() or "not run",
            "seconds": took if took > 0 else None,
            "attempts": len(step.attempts),
        }
    for title in shape.titles():
        found.setdefault(title, {"state": "not run", "seconds": None, "attempts": 0})
    if as_json:
        rows = [{"step": title, **values} for title, values in found.items()]
        print_json({"run": name, "state": state, "steps": rows})
        return
    print(f"run {name}: {state}")
    width = max(map(len, found), default=0)
    for title, values in found.items():
        seconds = duration(values["seconds"]) if values["seconds"] else ""
        attempts = f"{values['attempts']} attempts" if values["attempts"] > 1 else ""
        text = "  ".join(cell for cell in (values["state"], seconds, attempts) if cell)
        print(f"  {title:<{width}}  {text}")
    if not found:
        print("  no step has begun")


@dataclass(frozen=True)
class _Log:
    """Where a log is: the cluster and the run.

    Args:
        connection: The options that chose the cluster.
        cluster: The connection to it.
        run: The run as the API returns it.
        shape: The steps of the run's pipeline.
        as_json: Whether to print JSON.
    """

    connection: ConnectionOptions
    cluster: "Cluster"
    run: Any
    shape: "RunShape"
    as_json: bool = False


def _print_log(where: _Log, step: "Step", attempt: int | None) -> int:
    from components.shared.runtime.clean_text import printable
    from pipeline.cluster.client.redaction import clean
    from pipeline.cluster.runs.failure import pod_of
    from pipeline.cluster.runs.pod_log import kubectl, read_log

    name, number = clean(where.shape.title(step), 80), len(step.attempts)
    if step.state == "REUSED":
        if where.as_json:
            print_json({"step": name, "state": "reused", "log": None})
        else:
            print(f"{name} was reused from the cache: it has no log in this run.")
        return 0
    if attempt is not None and attempt > number:
        raise InputError(f"--attempt {attempt}: {name} has had {number}.")
    run_id = str(where.run.get("run_id"))
    pod = pod_of(where.cluster, run_id, step, where.shape, attempt)
    found = read_log(where.cluster, where.run, pod) if pod else None
    if pod is None or found is None:
        why = f" Kubernetes says: {clean(pod.message)}." if pod and pod.message else ""
        namespace = where.connection.namespace_of(where.cluster)
        print(
            f"error: the log of {name} cannot be read through Kubeflow: neither its pod nor an "
            f"archived log was found.{why} To look for the pod: {kubectl(run_id, pod, namespace)}",
            file=sys.stderr,
        )
        return 1
    log, is_whole = found
    if where.as_json:
        document = {"step": name, "state": clean(step.state, 30).lower(), "attempts": number}
        pods = {"attempt": attempt or number, "pod": clean(pod.names[0], 260)}
        text = {"log": printable(log), "complete": is_whole, "message": clean(pod.message) or None}
        print_json({**document, **pods, **text})
        return 0
    what = f"attempt {attempt or number} of {number}"
    if step.failed_driver and attempt is None:
        what = "the driver that Kubeflow starts before it"
    print(f"{name}: {what}; pod {clean(pod.names[0], 260)}", file=sys.stderr)
    for line in log.splitlines():
        print(printable(line)[:_MOST_COLUMNS])
    if not is_whole:
        print("(the log goes on; it is too long to be read through Kubeflow)", file=sys.stderr)
    if pod.message:
        print(f"Kubernetes says: {clean(pod.message)}", file=sys.stderr)
    return 0
