"""The commands `deep-retrieval logs` and `deep-retrieval runs`."""

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from components.shared.runtime.errors import InputError
from pipeline.cli.cluster.options import CONNECTING, add_connection, cluster_command, connect

if TYPE_CHECKING:
    from components.shared.kubeflow.run_shape import RunShape
    from components.shared.kubeflow.step import Step
    from pipeline.cluster.client.cluster import Cluster


def add_logs(subparsers: Any) -> None:
    """Adds `logs` to the command's parser."""
    parser = subparsers.add_parser(
        "logs",
        help="print the log of a step of a run on a cluster",
        description="Prints the log of a step's pod, while it runs and as long as Kubeflow keeps "
        "it. Without a step: the log of the one that failed; if none did, the steps and their "
        "states.",
        epilog="Examples:\n"
        "  deep-retrieval logs 5c8d1f0e-0b59-4f5e-9d0a-7a4b1c8e2f11\n"
        "  deep-retrieval logs my-shop-20261124-031020-9f3c1a ingest\n"
        "  deep-retrieval logs my-shop-20261124-031020-9f3c1a 'train [64, 32]' --attempt 1\n"
        f"{CONNECTING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, or its name letter for letter")
    parser.add_argument(
        "step",
        metavar="STEP",
        nargs="?",
        help="e.g. ingest or 'train [64, 32]' (default: see above)",
    )
    parser.add_argument(
        "--attempt", type=int, metavar="N", help="which attempt, from 1 (default: the last)"
    )
    add_connection(parser)


def add_runs(subparsers: Any) -> None:
    """Adds `runs` to the command's parser."""
    parser = subparsers.add_parser(
        "runs",
        help="list the latest runs of the pipeline on a cluster",
        description="Lists the latest runs of the pipeline, the newest first: id, name, state, "
        "when it was started (UTC), how long it took.",
        epilog="Examples:\n"
        "  deep-retrieval runs --cluster --host http://localhost:8080\n"
        "  deep-retrieval runs --cluster --experiment my-shop --limit 50\n"
        f"{CONNECTING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cluster", action="store_true", help="list the runs on the cluster (no others are kept)"
    )
    parser.add_argument("--experiment", help="only of this experiment (default: of all)")
    parser.add_argument(
        "--limit", type=int, default=10, metavar="N", help="maximum number of runs (default: 10)"
    )
    add_connection(parser)


@cluster_command
def runs(options: argparse.Namespace) -> int:
    """Lists the latest runs of the pipeline.

    Returns:
        0; 1 if the server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
    if not options.cluster:
        raise InputError(
            "runs lists the runs on a cluster: give --cluster. Results of runs on this machine are "
            "in the folder runs."
        )
    if options.limit < 1:
        raise InputError(f"--limit {options.limit}: it must be 1 or more.")
    from components.shared.kubeflow.api_times import time_of
    from pipeline.cluster.client.redaction import clean
    from pipeline.cluster.runs.lookup import as_json, duration, latest_runs, seconds_of

    cluster = connect(options)
    found = [as_json(run) for run in latest_runs(cluster, options.experiment, options.limit)]
    if not found:
        print("there is no run")
        return 0
    rows = [("id", "name", "state", "started (UTC)", "took")]
    for run in found:
        began = time_of(run.get("created_at"))
        seconds = seconds_of(run, cluster.now())
        rows.append(
            (
                clean(str(run.get("run_id") or ""), 40),
                clean(str(run.get("display_name") or ""), 60),
                clean(str(run.get("state") or "unknown"), 30).lower(),
                f"{began:%Y-%m-%d %H:%M}" if began else "",
                duration(seconds) if seconds is not None else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


@cluster_command
def logs(options: argparse.Namespace) -> int:
    """Prints a step's log.

    Returns:
        0; 1 if there is no log to be had, or the server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
    if options.attempt is not None and options.attempt < 1:
        raise InputError(f"--attempt {options.attempt}: attempts are counted from 1.")
    from components.shared.kubeflow.run_steps import read_steps
    from components.shared.kubeflow.step import failed_steps
    from pipeline.cluster.runs.lookup import as_json, find_run, shape_of

    cluster = connect(options)
    found = find_run(cluster, options.run)
    run, shape = as_json(found), shape_of(cluster, found)
    steps = read_steps(run)
    failed = failed_steps(steps)
    if options.step:
        step = _chosen(options.step, steps, failed, shape)
    elif failed:
        step = failed[0]
    elif options.attempt is not None:
        raise InputError("--attempt goes with a step: no step of this run has failed.")
    else:
        _list(run, steps, shape)
        return 0
    return _print_log(options, cluster, run, step, shape)


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
    raise InputError(f"the run has no step {text}. It has {', '.join(known) or 'none yet'}.")


def _name(shape: "RunShape", step: "Step") -> str:
    known = shape.steps.get(step.path)
    return known.name if known else step.name


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text).replace("_", "-").lower()


def _list(run: Any, steps: "list[Step]", shape: "RunShape") -> None:
    from pipeline.cluster.client.redaction import clean
    from pipeline.cluster.runs.lookup import duration

    state = clean(str(run.get("state") or "unknown"), 30).lower()
    print(f"run {clean(str(run.get('display_name')), 80)}: {state}")
    rows = {}
    for step in steps:
        took = (
            duration((step.ended - step.began).total_seconds())
            if step.began and step.ended and step.ended > step.began
            else ""
        )
        attempts = f"{len(step.attempts)} attempts" if len(step.attempts) > 1 else ""
        cells = [clean(step.state, 30).lower() or "not run", took, attempts]
        rows[clean(shape.title(step), 80)] = "  ".join(cell for cell in cells if cell)
    for name in shape.titles():
        rows.setdefault(name, "not run")
    width = max(map(len, rows), default=0)
    for name, text in rows.items():
        print(f"  {name:<{width}}  {text}")
    if not rows:
        print("  no step has begun")


def _print_log(
    options: argparse.Namespace,
    cluster: "Cluster",
    run: Any,
    step: "Step",
    shape: "RunShape",
) -> int:
    from components.shared.runtime.clean_text import printable
    from pipeline.cluster.client.redaction import clean
    from pipeline.cluster.runs.failure import pod_of
    from pipeline.cluster.runs.pod_log import kubectl, read_log

    name, number = clean(shape.title(step), 80), len(step.attempts)
    if step.state == "REUSED":
        print(f"{name} was reused from the cache: it has no log in this run.")
        return 0
    if options.attempt is not None and options.attempt > number:
        raise InputError(f"--attempt {options.attempt}: {name} has had {number}.")
    run_id = str(run.get("run_id"))
    pod = pod_of(cluster, run_id, step, shape, options.attempt)
    found = read_log(cluster, run, pod) if pod else None
    namespace = cluster.namespace or options.kfp_namespace or "kubeflow"
    if pod is None or found is None:
        why = f" Kubernetes says: {clean(pod.message)}." if pod and pod.message else ""
        print(
            f"error: the log of {name} cannot be read through Kubeflow: neither its pod nor an "
            f"archived log was found.{why} To look for the pod: {kubectl(run_id, pod, namespace)}",
            file=sys.stderr,
        )
        return 1
    log, is_whole = found
    what = f"attempt {options.attempt or number} of {number}"
    if step.failed_driver and options.attempt is None:
        what = "the driver that Kubeflow starts before it"
    print(f"{name}: {what}; pod {clean(pod.names[0], 260)}", file=sys.stderr)
    for line in log.splitlines():
        print(printable(line)[:10_000])
    if not is_whole:
        print("(the log goes on; it is too long to be read through Kubeflow)", file=sys.stderr)
    if pod.message:
        print(f"Kubernetes says: {clean(pod.message)}", file=sys.stderr)
    return 0
