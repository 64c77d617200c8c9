"""Uploads the compiled pipeline, and starts runs of it."""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api  # type: ignore[import-untyped]
import yaml

from components.shared.runtime.errors import InputError
from pipeline.cluster.api import Cluster, ClusterError
from pipeline.compilation import version_name
from pipeline.definition import NAME

# KFP's server refuses more, all parameters of a run together.
MOST_PARAMETERS = 10_000
_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "STRING": (str, "a text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": (bool, "true or false"),
    "LIST": (list, "a list"),
    "STRUCT": (dict, "a mapping"),
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
        if kind == "STRING" and not isinstance(value, str):
            return text  # 20261124 is a text where a text is wanted
        json.dumps(value, allow_nan=False)
    except yaml.YAMLError as error:
        if kind == "STRING":
            return text
        raise InputError(f"--param {pair}: the value is no YAML: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"--param {pair}: JSON cannot hold the value: {error}.") from error
    allowed, name = _TYPES.get(kind, (object, kind))
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise InputError(f"--param {pair}: the value must be {name}.")
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
        find=lambda: find_pipeline(cluster, name),
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
            key="name",  # a PipelineVersion resource need not have a display name
            pipeline_id=pipeline.pipeline_id,
        )
        return next(iter(found), None)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(compiled, encoding="utf-8")
        try:
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
        except ClusterError as error:
            if error.status != 409:
                raise
            raise ClusterError(f"{error} {_unlisted(version, name)}", status=409) from None
    if is_new and cluster.keeps_resources:
        cluster.note(f"uploaded {name}-{version} as a resource. {_unlisted(version, name)}")
    return Uploaded(pipeline.pipeline_id, uploaded.pipeline_version_id, version, is_new)


def _unlisted(version: str, name: str) -> str:
    # ListPipelineVersions selects by this label, and CreatePipelineVersion refuses a name only if
    # its resource has the pipeline as its owner (2.17's backend/src/apiserver/storage/
    # pipeline_store_kubernetes.go). KFP's webhook sets both; no request shows one that lacks them.
    return (
        f"A PipelineVersion {version} or {name}-{version} that was applied without KFP's webhook "
        "is not listed, as it lacks the label pipelines.kubeflow.org/pipeline-id: see 'kubectl get "
        "pipelineversions --show-labels', and delete it or apply it again with the webhook."
    )


def find_pipeline(cluster: Cluster, name: str = NAME) -> Any:
    """Finds the pipeline of a name, or none."""
    arguments: dict[str, Any] = {"namespace": cluster.namespace} if cluster.namespace else {}
    try:
        return cluster.call(
            f"looking for the pipeline {name}",
            kfp_server_api.PipelineServiceApi.pipeline_service_get_pipeline_by_name,
            name=name,
            **arguments,
        )
    except ClusterError as error:
        if error.missing:
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
    return next(iter(found), None)


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
        return next(iter(found), None)

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
