"""The command `deep-retrieval compile`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.options import DEFAULT_CONFIG, DEFAULT_IMAGES, ConfigOptions, ImageOptions
from pipeline.cli.output import Json, print_json

compile_app = App(
    name="compile",
    help_epilogue="""\
Examples:
  deep-retrieval compile --config sample --to pipeline.yaml
  deep-retrieval compile --config my-shop.yaml --registry ghcr.io/acme
  deep-retrieval compile --kubernetes --namespace team-a --to manifests.yaml""",
)


@compile_app.default
def compile(
    *,
    config: ConfigOptions = DEFAULT_CONFIG,
    to: Annotated[str, Parameter(help="the file to write")] = "pipeline.yaml",
    kubernetes: Annotated[
        bool,
        Parameter(
            help="write the manifests Pipeline and PipelineVersion for kubectl apply, for a "
            "Kubeflow that keeps pipelines as Kubernetes resources"
        ),
    ] = False,
    namespace: Annotated[
        str | None, Parameter(help="with --kubernetes: the namespace of the manifests")
    ] = None,
    images: ImageOptions = DEFAULT_IMAGES,
    as_json: Json = False,
) -> int:
    """Compile the pipeline, and print its images and how a cluster run differs."""
    loaded = config.load()
    from pipeline.compilation import (
        cluster_images,
        compile_pipeline,
        differences,
        kubernetes_manifests,
    )

    by_step = cluster_images(loaded, images.registry, gpu=images.gpu)
    target = Path(to)
    if target.suffix not in (".yaml", ".yml"):
        raise InputError(f"--to {to}: the name must end with .yaml.")
    text = (
        kubernetes_manifests(loaded, by_step, namespace)
        if kubernetes
        else compile_pipeline(loaded, by_step)
    )
    partial = target.with_name(target.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
    used, notes = sorted(set(by_step.values())), differences(loaded, images.registry)
    if as_json:
        print_json({"file": target, "images": used, "differences": notes})
        return 0
    print(f"wrote {target}; its images:")
    for image in used:
        print(f"  {image}")
    print("How a cluster run differs from 'deep-retrieval run':")
    for line in notes:
        print(f"  - {line}")
    return 0
