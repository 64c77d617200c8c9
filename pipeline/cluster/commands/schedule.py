"""The command `deep-retrieval schedule`."""

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.errors import InputError
from components.resolve.job import SCHEDULED
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
        "the data up to its own time, and no results of former runs are reused for other data. "
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
    add_connection(create)

    for action, help_ in (
        ("list", "list the schedules"),
        ("show", "show a schedule: when it runs next, and with what"),
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
        add_connection(parser)


def schedule(options: argparse.Namespace) -> int:
    """Creates, lists, shows, pauses, resumes or deletes schedules.

    Returns:
        0; 1 if the server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
    from pipeline.cluster.api import ClusterError

    try:
        if options.action == "create":
            _create(options)
        else:
            _manage(options, connect(options))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _create(options: argparse.Namespace) -> None:
    from pipeline.cluster.cron import parse_cron
    from pipeline.cluster.schedules import (
        TIMED_PARAMETERS,
        Wish,
        create,
        describe,
        parse_interval,
    )
    from pipeline.cluster.submission import check_size, experiment, pipeline_parameters, upload

    trigger = parse_cron(options.cron) if options.cron else parse_interval(options.interval)
    start, end = _time("--start", options.start), _time("--end", options.end)
    if start and end and end <= start:
        raise InputError(f"--end {options.end}: it must be later than --start {options.start}.")
    config, compiled, given = prepared(options)
    known = pipeline_parameters(compiled)
    timed = {name: SCHEDULED for name in TIMED_PARAMETERS if name in known}
    if config.source.kind == "files" and config.source.columns.timestamp is None:
        timed.pop("data_until", None)
        print("each run takes the whole log, as source.columns.timestamp is not set")
    parameters = {**timed, **given}
    check_size(parameters)
    cluster = connect(options)
    if end and end <= cluster.now():
        raise InputError(f"--end {options.end}: that is over.")
    uploaded = upload(cluster, config.name, compiled)
    print(f"pipeline  {uploaded.version} {'uploaded' if uploaded.is_new else 'is there already'}")
    done = create(
        cluster,
        Wish(
            name=options.name,
            experiment_id=experiment(cluster, options.experiment or config.name),
            uploaded=uploaded,
            trigger=trigger,
            start=start,
            end=end,
            catchup=options.catchup,
            parameters=parameters,
            service_account=service_account(options, config),
            pipeline_root=config.cluster.pipeline_root,
            paused=options.paused,
        ),
    )
    print(f"schedule  {options.name} {done.outcome}")
    print(describe(done.schedule, cluster.now(), cluster.link))


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: write e.g. 2026-12-01T03:00Z or 2026-12-01.") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _manage(options: argparse.Namespace, cluster: "Cluster") -> None:
    from pipeline.cluster import schedules

    if options.action == "list":
        found = schedules.schedules(cluster, options.experiment)
        for run in found:
            state = "on" if schedules.is_enabled(run) else "paused"
            print(
                f"{run.display_name or run.recurring_run_id:<30} {state:<7} {schedules.when(run)}"
            )
        print(schedules.TIME_ZONE_NOTE if found else "there is no schedule")
    elif options.action == "show":
        for run in schedules.show(cluster, options.name, options.experiment):
            print(schedules.describe(run, cluster.now(), cluster.link))
    elif options.action == "delete":
        schedules.delete(cluster, options.name, options.experiment)
        print(f"schedule  {options.name} deleted")
    else:
        change = schedules.pause if options.action == "pause" else schedules.resume
        run = change(cluster, options.name, options.experiment)
        print(schedules.describe(run, cluster.now(), cluster.link))
