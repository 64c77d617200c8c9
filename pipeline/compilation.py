"""The compiled pipeline: a config's values, its images, its placement on a cluster."""

import hashlib
import inspect
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import compiler, dsl
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_context import Pipeline

from components.notify.component import notify
from components.shared.storage.source_files import paths_of
from pipeline.config.cluster import ClusterConfig
from pipeline.config.pipeline import PipelineConfig
from pipeline.definition import DESCRIPTION, NAME, STEPS, deep_retrieval
from pipeline.images import step_images
from pipeline.placement import place, run_settings


def build_pipeline(
    config: PipelineConfig, images: Mapping[str, str], *, cluster: ClusterConfig | None = None
) -> GraphComponent:
    """Build the pipeline with a config's values as its parameters' defaults.

    Args:
        config: The config.
        images: The image of each step.
        cluster: How steps are placed on nodes; None for a run on this machine.
            On a cluster an exit handler reports how a run ended.

    Returns:
        The pipeline. Its outputs are `pipeline.definition.Outputs`; none on a
        cluster, since kfp 2.17 has no outputs from inside an exit handler.
    """
    constants = {
        "config_name": config.name,
        "images": dict(sorted(images.items())),
        # KFP 2.17 replaces the placeholder only in a constant input of a task, never in a
        # parameter's value. kfp's local runners do not replace it.
        "scheduled_time": dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER if cluster else "",
    }
    signature = _signature(_defaults(config, cluster), on_cluster=cluster is not None)

    def steps(*values: Any) -> Any:
        parameters = dict(zip(signature.parameters, values, strict=True))
        if cluster is None:
            outputs = deep_retrieval.pipeline_func(**parameters, **constants)
        else:
            outputs = None
            with dsl.ExitHandler(_exit_task(config.name, parameters), name="all steps"):
                deep_retrieval.pipeline_func(**parameters, **constants)
        _place_tasks(images, cluster, parameters)
        return outputs

    # kfp reads a pipeline's parameters from its signature, and their descriptions from its
    # docstring.
    steps.__signature__ = signature  # type: ignore[attr-defined]
    steps.__name__ = deep_retrieval.pipeline_func.__name__
    steps.__doc__ = deep_retrieval.pipeline_func.__doc__
    settings = run_settings(cluster) if cluster else None
    return dsl.pipeline(steps, name=NAME, description=DESCRIPTION, pipeline_config=settings)


def _defaults(config: PipelineConfig, cluster: ClusterConfig | None) -> dict[str, Any]:
    """Return the defaults of the pipeline's parameters."""
    values = config.parameters()
    accelerator_type, accelerator_count = cluster.train_accelerator if cluster else ("", "")
    return {
        **{
            name: values[name]
            for name in ("source", "data_until", "table_needs", "features", "layer_stacks")
        },
        **{
            f"{name}_config": values[name]
            for name in ("ingest", "drift", "adapt", "train", "evaluate")
        },
        "seed": values["seed"],
        "publish_location": values["publish"]["location"],
        "warm_start": values["publish"]["warm_start"],
        "checkpoints": cluster.checkpoints if cluster else "",
        "train_accelerator_type": accelerator_type,
        "train_accelerator_count": accelerator_count,
    }


def _signature(defaults: Mapping[str, Any], *, on_cluster: bool) -> inspect.Signature:
    """Return the pipeline's signature with other defaults, without the other parameters."""
    signature = inspect.signature(deep_retrieval.pipeline_func)
    parameters = [
        parameter.replace(default=defaults[name])
        for name, parameter in signature.parameters.items()
        if name in defaults
    ]
    if on_cluster:
        return inspect.Signature(parameters)
    return signature.replace(parameters=parameters)


def _exit_task(config_name: str, parameters: Mapping[str, Any]) -> dsl.PipelineTask:
    task = notify(
        name=config_name,
        run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        layer_stacks=parameters["layer_stacks"],
    )
    # kfp caches exit tasks unless told not to.
    return task.set_caching_options(False)


def _place_tasks(
    images: Mapping[str, str], cluster: ClusterConfig | None, parameters: Mapping[str, Any]
) -> None:
    """Give the tasks of the pipeline that is being built their images and their placement."""
    accelerator = tuple(parameters[f"train_accelerator_{part}"] for part in ("type", "count"))
    for task in Pipeline.get_default_pipeline().tasks.values():
        step = task.component_spec.name.replace("-", "_")
        task.set_container_image(images[step])
        if cluster:
            place(task, step, cluster, accelerator if step == "train" else None)


def cluster_images(config: PipelineConfig, registry: str, *, gpu: bool = False) -> dict[str, str]:
    """Return the full name of each step's image, for a cluster.

    Args:
        config: The config.
        registry: The prefix of the images' names.
        gpu: Whether to take the model image with CUDA even if train asks for no
            accelerator.
    """
    _, accelerators = config.cluster.train_accelerator
    return step_images(registry, gpu=gpu or bool(accelerators))


def compile_pipeline(config: PipelineConfig, images: Mapping[str, str]) -> str:
    """Compile the pipeline with a config's values as its parameters' defaults.

    Args:
        config: The config.
        images: The image of each step.

    Returns:
        YAML: the KFP v2 IR and, as a second document, the settings for
        Kubernetes. The same input gives the same text.
    """
    return _compiled(config, images)


def kubernetes_manifests(
    config: PipelineConfig, images: Mapping[str, str], namespace: str | None = None
) -> str:
    """Compile the pipeline into `Pipeline` and `PipelineVersion` manifests.

    They are for installations that keep pipelines as Kubernetes resources
    (Kubeflow Pipelines 2.5 or newer, with the Kubernetes-native API).

    Args:
        config: The config.
        images: The image of each step.
        namespace: The namespace of the resources; by default that of
            `kubectl apply`.

    Returns:
        YAML: two documents.
    """
    return _compiled(
        config,
        images,
        kubernetes_manifest_format=True,
        kubernetes_manifest_options=compiler.KubernetesManifestOptions(
            pipeline_name=NAME,
            pipeline_version_name=version_name(config.name, compile_pipeline(config, images)),
            namespace=namespace,
            include_pipeline_manifest=True,
        ),
    )


def version_name(config_name: str, compiled: str) -> str:
    """Return the name of a version of the pipeline, which its content determines.

    Args:
        config_name: The config's name.
        compiled: The text from `compile_pipeline`.
    """
    return f"{config_name}-{hashlib.sha256(compiled.encode()).hexdigest()[:12]}"


def _compiled(config: PipelineConfig, images: Mapping[str, str], **options: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        pipeline = build_pipeline(config, images, cluster=config.cluster)
        compiler.Compiler().compile(pipeline, str(path), **options)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    # kfp 2.17 begins with comments that show each default in the order of protobuf's maps, which
    # differs between processes.
    return "".join(itertools.dropwhile(lambda line: line.startswith("#"), lines))


def differences(config: PipelineConfig, registry: str) -> list[str]:
    """Describe how a cluster run differs from a run on this machine, one sentence per item.

    Args:
        config: The config.
        registry: The prefix of the images' names, empty for none.
    """
    cluster = config.cluster
    of_source = config.source.model_dump(exclude_none=True)
    source = [f"kind {of_source['kind']}"]
    source += [f"{key} {' and '.join(paths)}" for key, paths in paths_of(of_source).items()]
    accelerator, count = cluster.train_accelerator
    webhook = f", and to the webhook of secret {cluster.webhook.secret}" if cluster.webhook else ""
    return [
        f"images are pulled from {registry}: deep-retrieval images push --registry {registry}"
        if registry
        else "nodes must have the images already, as no --registry is given",
        f"the source is read where the step runs: {', '.join(source)}",
        f"train asks for {count} {accelerator} and fails on a node without it; its image is built "
        "with --gpu"
        if count
        else "train runs on CPU: cluster.steps.train.accelerator is not set",
        _retries(cluster),
        f"a retried train resumes from {cluster.checkpoints}"
        if cluster.checkpoints
        else "a retried train starts from scratch: cluster.checkpoints is not set",
        f"models that are good enough are published to {config.publish.location}"
        if config.publish.location
        else "nothing is published: publish.location is not set",
        f"notify reports how a run ended: in its log{webhook}",
        "steps are reused from the cluster's cache while the source's files, the end of the data "
        "and the live version stay the same: resolve looks them up in each run",
    ]


def _retries(cluster: ClusterConfig) -> str:
    retried = [
        f"{step} {settings.retry.count}"
        for step in STEPS
        if (settings := cluster.of(step)).retry and settings.retry.count
    ]
    if not retried:
        return "no step is retried"
    return (
        "failed steps are retried, and lost pods if Argo retries errors (as KFP 2.17 installs "
        f"it): {', '.join(retried)}"
    )
