"""Compiles the pipeline for a cluster."""

import hashlib
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import compiler

from components.shared.storage.source_files import SOURCE_PATHS
from pipeline.config.pipeline import PipelineConfig
from pipeline.definition import NAME, STEPS, build_pipeline
from pipeline.images import step_images


def cluster_images(config: PipelineConfig, registry: str, *, gpu: bool = False) -> dict[str, str]:
    """The full name of each step's image, for a cluster.

    Args:
        config: The config.
        registry: What goes before the images' names.
        gpu: The model image with CUDA, though train asks for no accelerator.
    """
    _, accelerators = config.cluster.train_accelerator
    return step_images(registry, gpu=gpu or bool(accelerators))


def compile_pipeline(config: PipelineConfig, images: Mapping[str, str]) -> str:
    """Compiles the pipeline, with a config's values as its parameters' defaults.

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
    """Compiles the pipeline into `Pipeline` and `PipelineVersion` manifests.

    They are for installations that keep pipelines as Kubernetes resources
    (Kubeflow Pipelines 2.5 or newer, with the Kubernetes-native API).

    Args:
        config: The config.
        images: The image of each step.
        namespace: Of the resources; that of `kubectl apply` by default.

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
    """Names a version of the pipeline by its content.

    Args:
        config_name: The config's name.
        compiled: What `compile_pipeline` made of it.
    """
    return f"{config_name}-{hashlib.sha256(compiled.encode()).hexdigest()[:12]}"


def _compiled(config: PipelineConfig, images: Mapping[str, str], **options: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        pipeline = build_pipeline(config, images, cluster=config.cluster)
        compiler.Compiler().compile(pipeline, str(path), **options)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    # kfp 2.17 begins with comments that show each default in the order of protobuf's maps, which
    # is another one in each process.
    return "".join(itertools.dropwhile(lambda line: line.startswith("#"), lines))


def differences(config: PipelineConfig, registry: str) -> list[str]:
    """Says what is other on a cluster than in a run on this machine, in sentences."""
    cluster = config.cluster
    lines = [
        f"images are pulled from {registry}: deep-retrieval images push --registry {registry}"
        if registry
        else "nodes must have the images already, as no --registry is given",
        "the source is read where the step runs: "
        + ", ".join(f"{key} {value}" for key, value in config.source.model_dump().items()
                    if key in ("kind", *SOURCE_PATHS) and value),
    ]  # fmt: skip
    kind, count = cluster.train_accelerator
    lines.append(
        f"train asks for {count} {kind}, and fails where it is not there; its image is built with "
        "--gpu"
        if count
        else "train runs on CPU: cluster.steps.train.accelerator is not set"
    )
    retried = [
        f"{step} {settings.retry.count}"
        for step in STEPS
        if (settings := cluster.of(step)).retry and settings.retry.count
    ]
    lines.append(
        f"steps that fail are tried again, and lost pods where Argo retries errors (as KFP 2.17 "
        f"installs it): {', '.join(retried)}"
        if retried
        else "no step is retried"
    )
    lines.append(
        f"a retried train resumes from {cluster.checkpoints}"
        if cluster.checkpoints
        else "a retried train starts from scratch: cluster.checkpoints is not set"
    )
    lines.append(
        f"what is good enough is published to {config.publish.location}"
        if config.publish.location
        else "nothing is published: publish.location is not set"
    )
    lines.append(
        "notify says how a run ended: in its log"
        + (f", and to the webhook of secret {cluster.webhook.secret}" if cluster.webhook else "")
    )
    lines.append(
        "steps are reused from the cluster's cache while the files of the source, the time that "
        "data_until stands for and the live version are the same: resolve finds out in each run"
    )
    return lines
