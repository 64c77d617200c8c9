"""The command `deep-retrieval schedule`."""

from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

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
from pipeline.cli.cluster.timing import DEFAULT_TIMING, TimingOptions, parse_time
from pipeline.cli.output import Json, print_json, print_table, progress_on_stderr

if TYPE_CHECKING:
    from pipeline.cluster.client.cluster import Cluster
    from pipeline.cluster.schedules.schedule import Schedule

# The time zone of times beside UTC; None means this machine's.
LOCAL_ZONE: tzinfo | None = None

schedule_app = App(
    name="schedule",
    group_commands=Group("Actions"),
    help_epilogue="""\
Examples:
  deep-retrieval schedule create nightly --config my-shop.yaml --cron '15 3 * * *'
  deep-retrieval schedule show nightly
  deep-retrieval schedule create --help""",
)
_Name = Annotated[str, Parameter(help="the schedule's name")]
_Experiment = Annotated[
    str | None, Parameter(help="only schedules of this experiment (default: all)")
]


@schedule_app.command(
    help="Create or replace a schedule.\n\nUploads the pipeline if its content is new. A schedule "
    "of the same name is replaced without a gap, and left alone if it is the same. Each run sees "
    "the data up to its own time, and reuses no results of previous runs on other data. KFP reads "
    "cron in UTC, unless its administrator has set CRON_SCHEDULE_TIMEZONE.",
    help_epilogue=f"""\
Examples:
  deep-retrieval schedule create nightly --config my-shop.yaml --cron '15 3 * * *'
  deep-retrieval schedule create by-day --config my-shop.yaml --interval 6h --paused
{CONNECTING}""",
)
@cluster_command
def create(
    name: _Name,
    /,
    *,
    pipeline: PipelineOptions = DEFAULT_PIPELINE,
    timing: TimingOptions = DEFAULT_TIMING,
    dry_run: Annotated[bool, Parameter(help="print what would change, and change nothing")] = False,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Create a schedule or replace it; return 1 if the server refused or is unreachable."""
    from components.resolve.job import SCHEDULED
    from pipeline.cluster import dry_run as plan
    from pipeline.cluster.client.server_versions import check_server
    from pipeline.cluster.runs.experiments import experiment
    from pipeline.cluster.schedules import replacement
    from pipeline.cluster.schedules.schedule import DATA_UNTIL
    from pipeline.cluster.schedules.spec import ScheduleSpec
    from pipeline.cluster.uploads.parameters import check_size
    from pipeline.cluster.uploads.upload import Uploaded, upload

    trigger = timing.trigger()
    start, end = timing.limits()
    config, compiled, parameters = pipeline.compiled()
    if config.source.kind == "files" and config.source.columns.timestamp is None:
        with progress_on_stderr(as_json):
            print("each run takes the whole log, as source.columns.timestamp is not set")
    else:
        parameters = {DATA_UNTIL: SCHEDULED, **parameters}
    check_size(parameters)
    cluster = connection.connect()
    check_server(cluster, config.cluster, scheduled=SCHEDULED in parameters.values())
    if end and end <= cluster.now():
        raise InputError(f"--end {timing.end}: it is in the past.")
    spec = ScheduleSpec(
        name=name,
        experiment_id="",
        uploaded=Uploaded("", "", "", is_new=False),
        trigger=trigger,
        start=start,
        end=end,
        catchup=timing.catchup,
        parameters=parameters,
        service_account=pipeline.account(config),
        pipeline_root=config.cluster.pipeline_root,
        paused=timing.paused,
    )
    experiment_name = pipeline.experiment or config.name
    if dry_run:
        lines = list(plan.dry_run(cluster, config.name, compiled, experiment_name, spec))
        if as_json:
            print_json({"dry_run": lines})
            return 0
        for line in lines:
            print(line)
        return 0
    with progress_on_stderr(as_json):
        uploaded = upload(cluster, config.name, compiled)
        print(f"pipeline  {uploaded.version} {'uploaded' if uploaded.is_new else 'exists'}")
        spec = replace(spec, uploaded=uploaded, experiment_id=experiment(cluster, experiment_name))
        made, done = replacement.create(cluster, spec)
        print(f"schedule  {name} {done}")
    if as_json:
        print_json({"done": done, **_as_json(cluster, made)})
        return 0
    _print(cluster, made)
    return 0


def _epilogue(*examples: str) -> str:
    lines = "\n".join(f"  deep-retrieval schedule {example}" for example in examples)
    return f"Examples:\n{lines}\n{CONNECTING}"


@schedule_app.command(
    name="list",
    help="List the schedules.",
    help_epilogue=_epilogue("list", "list --experiment my-shop --json"),
)
@cluster_command
def list_(
    *,
    experiment: _Experiment = None,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """List the schedules; return 1 if the server refused or is unreachable."""
    from pipeline.cluster.schedules.describe import TIME_ZONE_NOTE, problems, when
    from pipeline.cluster.schedules.lookup import list_all
    from pipeline.cluster.uploads.versions import Definition, definition_of

    cluster = connection.connect()
    found = list_all(cluster, experiment)
    if as_json:
        print_json([_as_json(cluster, one) for one in found])
        return 0
    known: dict[str, Definition] = {}
    rows = []
    for one in found:
        if one.version_id not in known:
            known[one.version_id], _ = definition_of(cluster, one.pipeline_id, one.version_id)
        marks = " ".join(f"[{problem.mark}]" for problem in problems(one, known[one.version_id]))
        rows.append((one.name, "on" if one.is_on else "paused", when(one), marks))
    lines = (
        f"{name:<30} {state:<7} {when_}{marks and ' ' + marks}"
        for name, state, when_, marks in rows
    )
    if rows:
        print_table(("name", "state", "when", "problems"), rows, lines)
    print(TIME_ZONE_NOTE if found else "no schedules")
    return 0


@schedule_app.command(
    help="Show a schedule: when it runs next, and with what data.",
    help_epilogue=_epilogue("show nightly", "show nightly --json"),
)
@cluster_command
def show(
    name: _Name,
    /,
    *,
    experiment: _Experiment = None,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Show the schedules of a name; return 1 if the server refused or is unreachable."""
    from pipeline.cluster.schedules.lookup import find

    cluster = connection.connect()
    found = find(cluster, name, experiment)
    if as_json:
        print_json([_as_json(cluster, one) for one in found])
        return 0
    for one in found:
        _print(cluster, one)
    return 0


@schedule_app.command(
    help="Start a run now as the schedule would, or for a past time.",
    help_epilogue=_epilogue("run nightly --wait", "run nightly --at 2026-11-20T03:15Z"),
)
@cluster_command
def run(
    name: _Name,
    /,
    *,
    experiment: _Experiment = None,
    at: Annotated[
        str | None,
        Parameter(
            metavar="TIME",
            help="use the data before this time, e.g. 2026-11-20T03:15Z (default: now)",
        ),
    ] = None,
    wait: Annotated[bool, Parameter(help="follow the run to its end")] = False,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Start a run.

    Returns:
        0; 1 if the server refused or is unreachable, or the run failed; 130 after
        Ctrl-C while it was followed.
    """
    from pipeline.cluster.schedules.describe import takes
    from pipeline.cluster.schedules.run_once import run_once
    from pipeline.cluster.uploads.versions import definition_of

    cluster = connection.connect()
    started, found, parameters = run_once(cluster, name, parse_time("--at", at), experiment)
    definition, _ = definition_of(cluster, found.pipeline_id, found.version_id)
    data = takes(cluster.now(), parameters, definition)
    with progress_on_stderr(as_json):
        print(
            f"run       {started.name} started\n  id      {started.run_id}\n"
            f"  details {started.link}\n  data    {data}",
            flush=True,
        )
        code = connection.follow(cluster, started.run_id) if wait else 0
    if as_json:
        run = {"id": started.run_id, "name": started.name, "details": started.link, "data": data}
        print_json({"run": run, "succeeded": succeeded(code) if wait else None})
    return code


@schedule_app.command(
    help="Turn a schedule off.", help_epilogue=_epilogue("pause nightly", "resume nightly")
)
@cluster_command
def pause(
    name: _Name,
    /,
    *,
    experiment: _Experiment = None,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Turn a schedule off; return 1 if the server refused or is unreachable."""
    from pipeline.cluster.schedules import changes

    cluster = connection.connect()
    return _print_changed(cluster, changes.pause(cluster, name, experiment), as_json)


@schedule_app.command(
    help="Turn a schedule on. The last run that it has missed starts at once.",
    help_epilogue=_epilogue("resume nightly", "show nightly"),
)
@cluster_command
def resume(
    name: _Name,
    /,
    *,
    experiment: _Experiment = None,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Turn a schedule on; return 1 if the server refused or is unreachable."""
    from pipeline.cluster.schedules import changes

    cluster = connection.connect()
    return _print_changed(cluster, changes.resume(cluster, name, experiment), as_json)


@schedule_app.command(
    help="Delete a schedule; its runs stay.",
    help_epilogue=_epilogue("delete nightly", "delete nightly --experiment my-shop"),
)
@cluster_command
def delete(
    name: _Name,
    /,
    *,
    experiment: _Experiment = None,
    as_json: Json = False,
    connection: ConnectionOptions = DEFAULT_CONNECTION,
) -> int:
    """Delete a schedule; return 1 if the server refused or is unreachable."""
    from pipeline.cluster.schedules import changes

    changes.delete(connection.connect(), name, experiment)
    if as_json:
        print_json({"name": name, "deleted": True})
        return 0
    print(f"schedule  {name} deleted")
    return 0


def _print_changed(cluster: "Cluster", schedule: "Schedule", as_json: bool) -> int:
    if as_json:
        print_json(_as_json(cluster, schedule))
    else:
        _print(cluster, schedule)
    return 0


def _print(cluster: "Cluster", schedule: "Schedule") -> None:
    from pipeline.cluster.schedules.describe import describe
    from pipeline.cluster.uploads.versions import definition_of

    definition, version = definition_of(cluster, schedule.pipeline_id, schedule.version_id)
    for line in describe(schedule, definition, version, cluster.now(), cluster.link, LOCAL_ZONE):
        print(line)


def _as_json(cluster: "Cluster", schedule: "Schedule") -> dict[str, Any]:
    from pipeline.cluster.schedules.describe import problems, when
    from pipeline.cluster.uploads.versions import definition_of

    definition, version = definition_of(cluster, schedule.pipeline_id, schedule.version_id)
    return {
        "id": schedule.id,
        "name": schedule.name,
        "is_on": schedule.is_on,
        "when": when(schedule),
        "next": [time.isoformat() for time in schedule.next_times(cluster.now()) if schedule.is_on],
        "version": version,
        "parameters": schedule.parameters,
        "service_account": schedule.run.service_account,
        "catchup": not schedule.run.no_catchup,
        "problems": [problem.text for problem in problems(schedule, definition)],
        "details": cluster.link(f"recurringrun/details/{schedule.id}"),
    }
