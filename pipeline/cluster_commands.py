"""The cluster commands of `deep-retrieval`: submit and schedule."""

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.errors import InputError
from pipeline.config import SCHEDULED_TIME, PipelineConfig, load_config

if TYPE_CHECKING:
    from pipeline.kfp_api import Cluster

_CONNECTING = """
Connecting, as kfp's client does it; the first that is there:
  --host URL, KF_PIPELINES_ENDPOINT   the address, e.g. http://localhost:8080 after
                                      kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80
  in a pod of the cluster             its service, with the pod's service account token
  else                                kubectl's proxy to it; --kube-context chooses the cluster
Signing in (secrets are never taken from the command line, where ps shows them):
  --token-file FILE                   a bearer token, read anew for each request
  KFP_TOKEN                           a bearer token
  KF_PIPELINES_SA_TOKEN_PATH          a file with a service account's token
  --cookies-file FILE, KFP_COOKIES    a Cookie header, e.g. authservice_session=...
  --iap-client-id ID                  Google's Identity-Aware Proxy; also
                                      KF_PIPELINES_IAP_OAUTH2_CLIENT_ID and, on a desktop,
                                      KF_PIPELINES_APP_OAUTH2_CLIENT_ID and ..._SECRET
"""
AddOptions = Callable[[argparse.ArgumentParser], None]


def add_commands(subparsers: Any, *, add_config: AddOptions, add_images: AddOptions) -> None:
    """Adds `submit` and `schedule` to the command's parser.

    Args:
        subparsers: What `add_subparsers` gave.
        add_config: Adds the options that choose a config.
        add_images: Adds the options that choose images.
    """
    submit_ = subparsers.add_parser(
        "submit",
        help="run the pipeline on a Kubeflow cluster",
        description="Compiles the pipeline, uploads it and starts a run. The same pipeline is "
        "uploaded once: a version is named by its content.",
        epilog="Examples:\n"
        "  deep-retrieval submit --config movielens-100k --registry ghcr.io/acme "
        "--host http://localhost:8080 --wait\n"
        "  deep-retrieval submit --config my-shop.yaml --param seed=7 "
        "--param layer_stacks='[[64]]'\n"
        "  deep-retrieval submit --watch 5c8d1f0e-…   # follow a run that is there\n"
        f"{_CONNECTING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_pipeline(submit_, add_config, add_images)
    submit_.add_argument(
        "--no-cache", action="store_true", help="run every step, whatever former runs left"
    )
    submit_.add_argument("--wait", action="store_true", help="follow the run to its end")
    submit_.add_argument(
        "--watch", metavar="RUN_ID", help="follow a run that is there; starts nothing"
    )
    submit_.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="with --wait or --watch: follow it no longer; the run goes on",
    )
    _add_connection(submit_)

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
        f"{_CONNECTING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    create.add_argument("name", metavar="NAME", help="the schedule's name")
    _add_pipeline(create, add_config, add_images)
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
    _add_connection(create)

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
            epilog=_CONNECTING,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if action != "list":
            parser.add_argument("name", metavar="NAME", help="the schedule's name")
        parser.add_argument("--experiment", help="only of this experiment (default: of all)")
        _add_connection(parser)


def _add_pipeline(
    parser: argparse.ArgumentParser, add_config: AddOptions, add_images: AddOptions
) -> None:
    add_config(parser)
    add_images(parser)
    parser.add_argument(
        "--local-images",
        action="store_true",
        help="the images are on the cluster's nodes already, e.g. after kind load or minikube "
        "image load; none needs a registry",
    )
    parser.add_argument("--experiment", help="what runs belong to (default: the config's name)")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a parameter of the pipeline for this run or schedule; the value is YAML: "
        "--param seed=7; may be repeated. To change a part of one, use --set",
    )
    parser.add_argument(
        "--service-account",
        help="what steps run as (default: cluster.service_account of the config)",
    )


def _add_connection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cluster")
    group.add_argument("--host", metavar="URL", help="the KFP API (default: see below)")
    group.add_argument("--namespace", help="yours, where KFP has many users")
    group.add_argument(
        "--kfp-namespace", metavar="NAMESPACE", help="where KFP is installed (default: kubeflow)"
    )
    group.add_argument("--kube-context", metavar="NAME", help="the kubectl context to use")
    for option in ("--token", "--cookies"):  # else an abbreviation of what follows
        group.add_argument(option, action=_NoSecrets, help=argparse.SUPPRESS)
    group.add_argument("--token-file", metavar="FILE", help="holds a bearer token")
    group.add_argument("--cookies-file", metavar="FILE", help="holds a Cookie header's value")
    group.add_argument("--iap-client-id", metavar="ID", help="of Google's Identity-Aware Proxy")
    group.add_argument("--ui-host", metavar="URL", help="the KFP UI, for links (default: the host)")
    group.add_argument("--ssl-ca-cert", metavar="FILE", help="certificates to trust")
    group.add_argument(
        "--no-verify-ssl", action="store_true", help="do not check the server's certificate"
    )


class _NoSecrets(argparse.Action):
    """Refuses a secret, and does not repeat it as argparse does with an unknown option."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: object) -> None:
        parser.error(
            f"{self.option_strings[0]}: a command line shows a secret to everyone on this machine. "
            "Put it into a file (--token-file, --cookies-file) or the environment (KFP_TOKEN, "
            "KFP_COOKIES)."
        )


def _connect(options: argparse.Namespace) -> "Cluster":
    from pipeline.kfp_api import Connection, connect

    return connect(
        Connection.of(
            os.environ,
            cookies_file=options.cookies_file,
            host=options.host,
            namespace=options.namespace,
            kfp_namespace=options.kfp_namespace,
            kube_context=options.kube_context,
            token_file=options.token_file,
            iap_client_id=options.iap_client_id,
            ui_host=options.ui_host,
            ssl_ca_cert=options.ssl_ca_cert,
            verify_ssl=False if options.no_verify_ssl else None,
        )
    )


def submit(options: argparse.Namespace) -> int:
    """Uploads the pipeline and starts a run, or follows one that is there.

    Returns:
        0; 1 if the run failed or is not over in time, or the server refused; 130
        after Ctrl-C while it was followed.

    Raises:
        InputError: If the input cannot be used.
    """
    from pipeline.kfp_api import ClusterError

    try:
        return _watch(options) if options.watch else _submit(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _submit(options: argparse.Namespace) -> int:
    if options.timeout is not None and not options.wait:
        raise InputError("--timeout goes with --wait or --watch.")
    config, compiled, parameters = _prepared(options)
    from pipeline.submission import (
        check_size,
        experiment,
        pipeline_parameters,
        start_run,
        upload,
        without_caching,
    )

    if options.no_cache:
        compiled = without_caching(compiled)
    # What the source holds may have changed since a former run, whose result is in the cache.
    if config.source.kind != "sample" and "source_fingerprint" in pipeline_parameters(compiled):
        parameters.setdefault("source_fingerprint", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    check_size(parameters)
    cluster = _connect(options)
    uploaded = upload(cluster, config.name, compiled)
    print(f"pipeline  {uploaded.version} {'uploaded' if uploaded.is_new else 'is there already'}")
    run = start_run(
        cluster,
        uploaded,
        experiment(cluster, options.experiment or config.name),
        config.name,
        parameters=parameters,
        service_account=_service_account(options, config),
        pipeline_root=config.cluster.pipeline_root,
    )
    print(f"run       {run.name} started\n  id      {run.run_id}\n  details {run.link}", flush=True)
    return _follow(options, cluster, run.run_id) if options.wait else 0


def _watch(options: argparse.Namespace) -> int:
    if options.param or options.no_cache:
        raise InputError("--watch follows a run that is there; --param and --no-cache start one.")
    return _follow(options, _connect(options), options.watch)


def _follow(options: argparse.Namespace, cluster: "Cluster", run_id: str) -> int:
    from pipeline.submission import follow

    where = f" --host {cluster.host}" if options.host else ""
    return follow(
        cluster,
        run_id,
        timeout=options.timeout,
        attach=f"deep-retrieval submit --watch {run_id}{where}",
    )


def _prepared(options: argparse.Namespace) -> tuple[PipelineConfig, str, dict[str, Any]]:
    """Reads the config and compiles it; needs no cluster."""
    if not options.registry and not options.local_images:
        raise InputError(
            "a cluster pulls images from a registry: give --registry, e.g. --registry "
            "ghcr.io/acme, after 'deep-retrieval images push'. If they are on its nodes already "
            "(kind load, minikube image load), give --local-images."
        )
    config = load_config(options.config, options.overrides)
    from pipeline.compilation import cluster_images, compile_pipeline
    from pipeline.submission import read_parameters

    compiled = compile_pipeline(config, cluster_images(config, options.registry, gpu=options.gpu))
    return config, compiled, read_parameters(options.param, compiled)


def _service_account(options: argparse.Namespace, config: PipelineConfig) -> str | None:
    return options.service_account or config.cluster.service_account


def schedule(options: argparse.Namespace) -> int:
    """Creates, lists, shows, pauses, resumes or deletes schedules.

    Returns:
        0; 1 if the server refused or cannot be reached.

    Raises:
        InputError: If the input cannot be used.
    """
    from pipeline.kfp_api import ClusterError

    try:
        if options.action == "create":
            _create(options)
        else:
            _manage(options, _connect(options))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _create(options: argparse.Namespace) -> None:
    from pipeline.cron import parse_cron
    from pipeline.schedules import (
        TIMED_PARAMETERS,
        Wish,
        create,
        describe,
        parse_interval,
    )
    from pipeline.submission import check_size, experiment, pipeline_parameters, upload

    trigger = parse_cron(options.cron) if options.cron else parse_interval(options.interval)
    start, end = _time("--start", options.start), _time("--end", options.end)
    if start and end and end <= start:
        raise InputError(f"--end {options.end}: it must be later than --start {options.start}.")
    config, compiled, given = _prepared(options)
    known = pipeline_parameters(compiled)
    timed = {name: SCHEDULED_TIME for name in TIMED_PARAMETERS if name in known}
    if config.source.kind == "files" and config.source.columns.timestamp is None:
        timed.pop("data_until", None)
        print("each run takes the whole log, as source.columns.timestamp is not set")
    parameters = {**timed, **given}
    check_size(parameters)
    cluster = _connect(options)
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
            service_account=_service_account(options, config),
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
    from pipeline import schedules

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
