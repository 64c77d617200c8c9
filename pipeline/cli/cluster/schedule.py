"""The command `deep-retrieval schedule`."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from components.resolve.job import SCHEDULED
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
    from pipeline.cluster.client.cluster import Cluster
    from pipeline.cluster.schedules.schedule import Schedule

# For times beside UTC; none means this machine's.
LOCAL_ZONE: tzinfo | None = None


def add_schedule(subparsers: Any, *, add_config: AddOptions, add_images: AddOptions) -> None:
    """Adds `schedule` to the command's parser."""
    schedule_ = subparsers.add_parser(
        "schedule",
        help="run the pipeline on a cluster again and again",
        description="Keeps schedules (KFP's recurring runs) by name.",
        epilog="See 'deep-retrieval schedule create --help'.",
    )
    actions = schedule_.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create",
        help="make the schedule of a name what it should be",
        description="Uploads the pipeline, if its content is new, and makes the schedule. One of "
        "the same name is replaced without a gap, and left alone if it is the same. Each run sees "
        "the data up to its own time, and reuses no results of previous runs on other data. "
        "KFP reads cron in UTC, unless its administrator has set CRON_SCHEDULE_TIMEZONE.",
        epilog="Examples:\n"
        "  deep-retrieval schedule create nightly --config my-shop.yaml --cron '15 3 * * *'\n"
        "  deep-retrieval schedule create by-day --config my-shop.yaml --interval 6h --paused\n"
        f"{CONNECTING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    create.add_argument("name", metavar="NAME", help="the schedule's name")
    add_pipeline(create, add_config, add_images)
    trigger = create.add_mutually_exclusive_group(required=True)
    trigger.add_argument(
        "--cron",
        help="minute hour day month weekday, e.g. '15 3 * * MON-FRI'; six fields have seconds "
        "first; or @hourly, @daily, @weekly, @monthly, @yearly",
    )
    trigger.add_argument("--interval", help="the time in between, e.g. 90m, 6h or 1d; at least 60s")
    create.add_argument("--start", metavar="TIME", help="not before, e.g. 2026-12-01T00:00Z")
    create.add_argument("--end", metavar="TIME", help="not after, e.g. 2027-06-30T00:00Z")
    create.add_argument(
        "--catchup",
        action="store_true",
        help="run all that was missed, one after the other (default: only the last)",
    )
    create.add_argument("--paused", action="store_true", help="make it, but leave it off")
    create.add_argument(
        "--dry-run", action="store_true", help="say what would change, and change nothing"
    )
    add_connection(create)

    for action, help_ in (
        ("list", "list the schedules"),
        ("show", "show a schedule: when it runs next, and with what data"),
        ("run", "start a run now as the schedule would, also for a past time"),
        ("pause", "turn a schedule off"),
        ("resume", "turn a schedule on; the last run that it has missed starts at once"),
        ("delete", "delete a schedule; its runs stay"),
    ):
        parser = actions.add_parser(
            action,
            help=help_,
            description=f"{help_[0].upper()}{help_[1:]}.",
            epilog=CONNECTING,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if action != "list":
            parser.add_argument("name", metavar="NAME", help="the schedule's name")
        parser.add_argument("--experiment", help="only of this experiment (default: of all)")
        if action == "run":
            parser.add_argument(
                "--at",
                metavar="TIME",
                help="take the data before this time, e.g. 2026-11-20T03:15Z (default: now)",
            )
            parser.add_argument("--wait", action="store_true", help="follow the run to its end")
        add_connection(parser)


@cluster_command
def schedule(options: argparse.Namespace) -> int:
    """Creates, lists, shows, runs, pauses, resumes or deletes schedules.

    Returns:
        0; 1 if the server refused or cannot be reached, or the run that was
        waited for failed; 130 after Ctrl-C while it was followed.

    Raises:
        InputError: If the input cannot be used.
    """
    return _ACTIONS[options.action](options)


def _create(options: argparse.Namespace) -> int:
    from pipeline.cluster.client.server_versions import check_server
    from pipeline.cluster.dry_run import dry_run
    from pipeline.cluster.runs.experiments import experiment
    from pipeline.cluster.schedules.cron import parse_cron
    from pipeline.cluster.schedules.replacement import create
    from pipeline.cluster.schedules.schedule import DATA_UNTIL
    from pipeline.cluster.schedules.spec import ScheduleSpec
    from pipeline.cluster.schedules.triggers import parse_interval
    from pipeline.cluster.uploads.parameters import check_size
    from pipeline.cluster.uploads.upload import Uploaded, upload

    trigger = parse_cron(options.cron) if options.cron else parse_interval(options.interval)
    start, end = _time("--start", options.start), _time("--end", options.end)
    if start and end and end <= start:
        raise InputError(f"--end {options.end}: it must be later than --start {options.start}.")
    config, compiled, parameters = prepared(options)
    if config.source.kind == "files" and config.source.columns.timestamp is None:
        print("each run takes the whole log, as source.columns.timestamp is not set")
    else:
        parameters = {DATA_UNTIL: SCHEDULED, **parameters}
    check_size(parameters)
    cluster = connect(options)
    check_server(cluster, config.cluster, scheduled=SCHEDULED in parameters.values())
    if end and end <= cluster.now():
        raise InputError(f"--end {options.end}: it is in the past.")
    spec = ScheduleSpec(
        name=options.name,
        experiment_id="",
        uploaded=Uploaded("", "", "", is_new=False),
        trigger=trigger,
        start=start,
        end=end,
        catchup=options.catchup,
        parameters=parameters,
        service_account=service_account(options, config),
        pipeline_root=config.cluster.pipeline_root,
        paused=options.paused,
    )
    experiment_name = options.experiment or config.name
    if options.dry_run:
        for line in dry_run(cluster, config.name, compiled, experiment_name, spec):
            print(line)
        return 0
    uploaded = upload(cluster, config.name, compiled)
    print(f"pipeline  {uploaded.version} {'uploaded' if uploaded.is_new else 'exists'}")
    spec = replace(spec, uploaded=uploaded, experiment_id=experiment(cluster, experiment_name))
    made, done = create(cluster, spec)
    print(f"schedule  {options.name} {done}")
    _show_one(cluster, made)
    return 0


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: write e.g. 2026-12-01T03:00Z or 2026-12-01.") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _list(options: argparse.Namespace) -> int:
    from pipeline.cluster.schedules.describe import TIME_ZONE_NOTE, problems, when
    from pipeline.cluster.schedules.lookup import list_all
    from pipeline.cluster.uploads.versions import Definition, definition_of

    cluster = connect(options)
    known: dict[str, Definition] = {}
    found = list_all(cluster, options.experiment)
    for one in found:
        if one.version_id not in known:
            known[one.version_id], _ = definition_of(cluster, one.pipeline_id, one.version_id)
        marks = "".join(f" [{problem.mark}]" for problem in problems(one, known[one.version_id]))
        print(f"{one.name:<30} {'on' if one.is_on else 'paused':<7} {when(one)}{marks}")
    print(TIME_ZONE_NOTE if found else "there is no schedule")
    return 0


def _show(options: argparse.Namespace) -> int:
    from pipeline.cluster.schedules.lookup import find

    cluster = connect(options)
    for found in find(cluster, options.name, options.experiment):
        _show_one(cluster, found)
    return 0


def _show_one(cluster: "Cluster", found: "Schedule") -> None:
    from pipeline.cluster.schedules.describe import describe
    from pipeline.cluster.uploads.versions import definition_of

    definition, version = definition_of(cluster, found.pipeline_id, found.version_id)
    for line in describe(found, definition, version, cluster.now(), cluster.link, LOCAL_ZONE):
        print(line)


def _run(options: argparse.Namespace) -> int:
    from pipeline.cluster.schedules.describe import takes
    from pipeline.cluster.schedules.run_once import run_once
    from pipeline.cluster.uploads.versions import definition_of

    cluster = connect(options)
    at = _time("--at", options.at)
    run, found, parameters = run_once(cluster, options.name, at, options.experiment)
    print(f"run       {run.name} started\n  id      {run.run_id}\n  details {run.link}", flush=True)
    definition, _ = definition_of(cluster, found.pipeline_id, found.version_id)
    print(f"  data    {takes(cluster.now(), parameters, definition)}", flush=True)
    return follow_run(options, cluster, run.run_id) if options.wait else 0


def _pause(options: argparse.Namespace) -> int:
    from pipeline.cluster.schedules.changes import pause

    cluster = connect(options)
    _show_one(cluster, pause(cluster, options.name, options.experiment))
    return 0


def _resume(options: argparse.Namespace) -> int:
    from pipeline.cluster.schedules.changes import resume

    cluster = connect(options)
    _show_one(cluster, resume(cluster, options.name, options.experiment))
    return 0


def _delete(options: argparse.Namespace) -> int:
    from pipeline.cluster.schedules.changes import delete

    delete(connect(options), options.name, options.experiment)
    print(f"schedule  {options.name} deleted")
    return 0


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "create": _create,
    "list": _list,
    "show": _show,
    "run": _run,
    "pause": _pause,
    "resume": _resume,
    "delete": _delete,
}
