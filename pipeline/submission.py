"""Uploads the compiled pipeline, starts runs of it and follows them."""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]
import yaml

from components.errors import InputError
from pipeline.compilation import version_name
from pipeline.definition import NAME
from pipeline.kfp_api import Cluster, ClusterError

# KFP's server refuses more, all parameters of a run together.
MOST_PARAMETERS = 10_000
_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
_KNOWN_STATES = _ENDED | {"PENDING", "RUNNING", "CANCELING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED"}
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "STRING": ((str,), "a text"),
    "NUMBER_INTEGER": ((int,), "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": ((bool,), "true or false"),
    "LIST": ((list,), "a list"),
    "STRUCT": ((dict,), "a mapping"),
}


@dataclass(frozen=True)
class Uploaded:
    """A version of the pipeline on the server.

    Args:
        pipeline_id: The pipeline's id.
        version_id: The version's id.
        version: The version's name.
        is_new: Whether it was not there before.
    """

    pipeline_id: str
    version_id: str
    version: str
    is_new: bool


@dataclass(frozen=True)
class Started:
    """A run on the server.

    Args:
        run_id: Its id.
        name: Its name.
        link: Its page in the UI.
    """

    run_id: str
    name: str
    link: str


def without_caching(compiled: str) -> str:
    """The compiled pipeline with caching off in every task, those in loops as well."""
    # kfp 2.17 has no such option for a run of an uploaded version: it ignores enable_caching
    # there, and elsewhere changes the tasks outside of loops only.
    documents = list(yaml.safe_load_all(compiled))
    specification = documents[0]
    for component in [specification["root"], *specification.get("components", {}).values()]:
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {"enableCache": False}
    return yaml.safe_dump_all(documents, sort_keys=True)


def pipeline_parameters(compiled: str) -> dict[str, str]:
    """The types of the pipeline's parameters, by name, as the IR calls them."""
    specification = next(iter(yaml.safe_load_all(compiled)))
    inputs = specification["root"].get("inputDefinitions", {})
    return {
        name: definition["parameterType"]
        for name, definition in inputs.get("parameters", {}).items()
    }


def read_parameters(pairs: Iterable[str], compiled: str) -> dict[str, Any]:
    """Reads what a run changes of the pipeline's parameters.

    Args:
        pairs: `KEY=VALUE` each; the value is YAML.
        compiled: The compiled pipeline.

    Raises:
        InputError: If there is no such parameter, or the value is of another type.
    """
    types = pipeline_parameters(compiled)
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--param {pair}: write KEY=VALUE, e.g. --param seed=7.")
        if name not in types:
            raise InputError(
                f"--param {pair}: the pipeline has no parameter {name!r}. It has "
                f"{', '.join(sorted(types))}."
            )
        values[name] = _typed(pair, text, types[name])
    return values


def _typed(pair: str, text: str, kind: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        if kind != "STRING":
            raise InputError(f"--param {pair}: the value is no YAML: {error}") from error
        return text
    if kind == "STRING" and not isinstance(value, str):
        return text  # 20261124 is a text where a text is wanted
    allowed, name = _TYPES.get(kind, ((object,), kind))
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise InputError(f"--param {pair}: the value must be {name}.")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"--param {pair}: JSON cannot hold the value: {error}.") from error
    return value


def check_size(parameters: Mapping[str, Any]) -> None:
    """Refuses parameters that the server would refuse.

    Raises:
        InputError: If their JSON is too long.
    """
    length = len(json.dumps(parameters))
    if length > MOST_PARAMETERS:
        longest = max(parameters, key=lambda name: len(json.dumps(parameters[name])))
        raise InputError(
            f"--param: the parameters are {length:,} characters long as JSON, and KFP takes "
            f"{MOST_PARAMETERS:,}. The longest is {longest}. Put it into the config instead: the "
            "config's values are part of the uploaded pipeline."
        )


def upload(cluster: Cluster, config_name: str, compiled: str, name: str = NAME) -> Uploaded:
    """Uploads the pipeline; the same content is uploaded once.

    Args:
        cluster: Where to.
        config_name: The config's name, which the version's name begins with.
        compiled: The compiled pipeline.
        name: The pipeline's name.

    Raises:
        ClusterError: If the server refuses or cannot be reached. Then there is
            the whole version or none.
    """
    pipeline, _ = cluster.create_once(
        find=lambda: _find_pipeline(cluster, name),
        # Not the API that uploads a pipeline: it makes a first version that is named after it.
        create=lambda: cluster.send(
            f"creating the pipeline {name}",
            kfp_server_api.PipelineServiceApi.pipeline_service_create_pipeline,
            pipeline=kfp_server_api.V2beta1Pipeline(
                name=name, display_name=name, namespace=cluster.namespace
            ),
        ),
    )
    version = version_name(config_name, compiled)

    def find_version() -> Any:
        found = cluster.named(
            f"looking for version {version}",
            kfp_server_api.PipelineServiceApi.pipeline_service_list_pipeline_versions,
            "pipeline_versions",
            version,
            pipeline_id=pipeline.pipeline_id,
        )
        return found[0] if found else None

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(compiled, encoding="utf-8")
        uploaded, is_new = cluster.create_once(
            find=find_version,
            create=lambda: cluster.send(
                f"uploading version {version}",
                kfp_server_api.PipelineUploadServiceApi.upload_pipeline_version,
                uploadfile=str(path),
                name=version,
                display_name=version,
                pipelineid=pipeline.pipeline_id,
            ),
        )
    return Uploaded(pipeline.pipeline_id, uploaded.pipeline_version_id, version, is_new)


def _find_pipeline(cluster: Cluster, name: str) -> Any:
    arguments: dict[str, Any] = {"namespace": cluster.namespace} if cluster.namespace else {}
    try:
        return cluster.call(
            f"looking for the pipeline {name}",
            kfp_server_api.PipelineServiceApi.pipeline_service_get_pipeline_by_name,
            name=name,
            **arguments,
        )
    except ClusterError as error:
        if error.status == 404:
            return None
        raise


def find_experiment(cluster: Cluster, name: str) -> Any:
    """The experiment of that name, or none."""
    found = cluster.named(
        f"looking for the experiment {name}",
        kfp_server_api.ExperimentServiceApi.experiment_service_list_experiments,
        "experiments",
        name,
        namespace=cluster.namespace,
    )
    return found[0] if found else None


def experiment(cluster: Cluster, name: str) -> str:
    """The id of the experiment of that name, which is created if need be.

    Raises:
        InputError: If it is archived.
        ClusterError: If the server refuses or cannot be reached.
    """
    found, _ = cluster.create_once(
        find=lambda: find_experiment(cluster, name),
        create=lambda: cluster.send(
            f"creating the experiment {name}",
            kfp_server_api.ExperimentServiceApi.experiment_service_create_experiment,
            experiment=kfp_server_api.V2beta1Experiment(
                display_name=name, namespace=cluster.namespace
            ),
        ),
    )
    if found.storage_state == "ARCHIVED":
        raise InputError(
            f"--experiment {name} is archived. Restore it in the UI, or choose another one."
        )
    return str(found.experiment_id)


def start_run(
    cluster: Cluster,
    uploaded: Uploaded,
    experiment_id: str,
    config_name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    service_account: str | None = None,
    pipeline_root: str | None = None,
    random_text: Callable[[], str] = lambda: secrets.token_hex(3),
) -> Started:
    """Starts a run of an uploaded version.

    Args:
        cluster: Where.
        uploaded: The version.
        experiment_id: What the run belongs to.
        config_name: What its name begins with.
        parameters: What it changes of the pipeline's parameters.
        service_account: What its steps run as; none means the cluster's default.
        pipeline_root: Where artifacts go; none means the cluster's default.
        random_text: Keeps names of runs of the same second apart.

    Raises:
        ClusterError: If the server refuses or cannot be reached.
    """
    name = f"{config_name}-{cluster.now():%Y%m%d-%H%M%S}-{random_text()}"
    body = kfp_server_api.V2beta1Run(
        display_name=name,
        experiment_id=experiment_id,
        pipeline_version_reference=version_reference(uploaded),
        runtime_config=runtime_config(parameters, pipeline_root),
        service_account=service_account,
    )

    def find() -> Any:
        found = cluster.named(
            f"looking for the run {name}",
            kfp_server_api.RunServiceApi.run_service_list_runs,
            "runs",
            name,
            experiment_id=experiment_id,
            namespace=cluster.namespace,
        )
        return found[0] if found else None

    run, _ = cluster.create_once(
        find=find,
        create=lambda: cluster.send(
            f"starting the run {name}",
            kfp_server_api.RunServiceApi.run_service_create_run,
            run=body,
        ),
    )
    return Started(run.run_id, name, cluster.link(f"runs/details/{run.run_id}"))


def version_reference(uploaded: Uploaded) -> Any:
    """How a run or a schedule names an uploaded version."""
    return kfp_server_api.V2beta1PipelineVersionReference(
        pipeline_id=uploaded.pipeline_id, pipeline_version_id=uploaded.version_id
    )


def runtime_config(parameters: Mapping[str, Any] | None, pipeline_root: str | None) -> Any:
    """What a run or a schedule changes of the pipeline."""
    return kfp_server_api.V2beta1RuntimeConfig(
        parameters=dict(parameters or {}), pipeline_root=pipeline_root
    )


def follow(
    cluster: Cluster,
    run_id: str,
    *,
    timeout: float | None = None,
    poll: float = 5.0,
    attach: str = "",
    show: Callable[[str], None] = lambda line: print(line, flush=True),
) -> int:
    """Follows a run to its end, and shows each change of a step once.

    Args:
        cluster: Where it runs.
        run_id: Its id.
        timeout: How many seconds to follow it; none means to the end.
        poll: How many seconds to wait before asking again.
        attach: The command that follows it again.
        show: Takes the lines.

    Returns:
        0 if the run succeeded; 1 if not, or if time is over; 130 after Ctrl-C.

    Raises:
        ClusterError: If the server refuses, or cannot be reached for a while.
    """
    began = cluster.clock()
    progress = _Progress(show)
    again = f" To follow it again: {attach}" if attach else ""
    try:
        while True:
            left = None if timeout is None else timeout - (cluster.clock() - began)
            try:
                run = cluster.call(
                    f"asking for the run {run_id}",
                    kfp_server_api.RunServiceApi.run_service_get_run,
                    patience=300.0 if left is None else max(0.0, min(300.0, left)),
                    run_id=run_id,
                )
            except ClusterError as error:
                raise ClusterError(f"{error}{again}", status=error.status) from None
            progress.take(run, cluster.now())
            if _ended(run):
                return _end(run, show)
            if left is not None and left <= 0:
                show(f"The run is not over after {timeout:.0f} s; it goes on.{again}")
                return 1
            cluster.sleep(poll if left is None else min(poll, left))
    except KeyboardInterrupt:
        show(f"Not followed any more; the run goes on.{again}")
        return 130


@dataclass
class _Progress:
    """Shows the changes of a run's steps, each once, in the order of their times."""

    show: Callable[[str], None]
    _shown: dict[str, list[str]] = field(default_factory=dict)

    def take(self, run: Any, now: datetime) -> None:
        """Shows what has changed since the last time."""
        began = _time(run.created_at) or now
        changes = []
        for task in (run.run_details and run.run_details.task_details) or []:
            key = task.task_id or task.display_name or ""
            shown = self._shown.setdefault(key, [])
            history = _states(task)
            # A history may come late or never; what was shown from the state alone is in it.
            new = history[len(shown) :] if _names(history)[: len(shown)] == shown else []
            if not new and task.state and (not shown or shown[-1] != task.state):
                new = [(task.state, None)]
            for place, (state, time) in enumerate(new):
                shown.append(state)
                changes.append((time or now, place, str(task.display_name or key), state))
        for time, _, name, state in sorted(changes, key=lambda change: change[:2]):
            if not _behind_the_scenes(name) or state == "FAILED":
                seconds = max(0.0, (time - began).total_seconds())
                self.show(f"{seconds:7.1f} s  {name:<14} {_in_words(state)}")


def _states(task: Any) -> list[tuple[str, datetime | None]]:
    states: list[tuple[str, datetime | None]] = []
    for status in task.state_history or []:
        if status.state and (not states or states[-1][0] != status.state):
            states.append((status.state, _time(status.update_time)))
    if task.state and (not states or states[-1][0] != task.state):
        ended = _time(task.end_time) if task.state in _ENDED else None
        states.append((task.state, ended))
    return states


def _names(states: Iterable[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in states]


def _behind_the_scenes(name: str) -> bool:
    # KFP 2 starts a driver before each step, and names the step's own container "executor".
    return name.endswith("-driver") or name in ("executor", "root")


def _in_words(state: str) -> str:
    return state.lower() if state in _KNOWN_STATES else state


def _time(value: Any) -> datetime | None:
    # KFP's server gives 1970 for a time that has not come.
    if not isinstance(value, datetime) or value.year <= 1970:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _ended(run: Any) -> bool:
    if run.state in _KNOWN_STATES or run.state is None:
        return run.state in _ENDED
    return _time(run.finished_at) is not None


def _end(run: Any, show: Callable[[str], None]) -> int:
    if run.state == "SUCCEEDED":
        show("The run has succeeded.")
        return 0
    failed = [
        task
        for task in (run.run_details and run.run_details.task_details) or []
        if task.state == "FAILED"
    ]
    # A loop, or the whole, fails because of what is in it.
    inner = [task for task in failed if not task.child_tasks] or failed
    inner.sort(
        key=lambda task: (
            not _message(task),
            _time(task.end_time) or datetime.max.replace(tzinfo=UTC),
        )
    )
    show(f"The run has ended: {_in_words(str(run.state))}.")
    if inner:
        name, message = inner[0].display_name or inner[0].task_id, _message(inner[0])
        show(f"error: {name} failed{f': {message}' if message else '; its log says why.'}")
    elif _message(run):
        show(f"error: {_message(run)}")
    return 1


def _message(of: Any) -> str:
    return " ".join(str((of.error and of.error.message) or "").split())
