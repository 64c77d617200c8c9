"""The command `deep-retrieval run`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    ConfigOptions,
    ImageOptions,
    OutputFolder,
)
from pipeline.cli.output import Json, print_json, progress_on_stderr

if TYPE_CHECKING:
    from pipeline.config.pipeline import PipelineConfig
    from pipeline.local.docker_runner import Containers

run_app = App(
    name="run",
    help_epilogue="""\
Examples:
  deep-retrieval run --config sample
  deep-retrieval run --config movielens-100k --set source.path=ml-100k.zip
  deep-retrieval run --config my-shop.yaml --set layer_stacks='[[64]]'""",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunnerOptions(ImageOptions):
    """The options that say how steps run.

    Args:
        runner: Whether steps are processes or containers.
        memory: A container's memory limit, as docker takes it; no limit by default.
    """

    runner: Annotated[
        Literal["subprocess", "docker"],
        Parameter(help="run steps as processes of this environment, or in containers"),
    ] = "subprocess"
    memory: Annotated[
        str | None, Parameter(help="with --runner docker: a container's memory limit, e.g. 8g")
    ] = None


_DEFAULT_RUNNER = RunnerOptions()


@run_app.default
def run(
    *,
    config: ConfigOptions = DEFAULT_CONFIG,
    output: OutputFolder = "runs",
    no_reuse: Annotated[
        bool, Parameter(help="run every step, even if a result could be reused")
    ] = False,
    runner: RunnerOptions = _DEFAULT_RUNNER,
    as_json: Json = False,
) -> int:
    """Run the pipeline and print its metrics; return 1 if a step failed."""
    loaded = config.load()
    from pipeline.local.failure import RunFailed
    from pipeline.local.runner import run_locally
    from pipeline.local.summary import summarize

    containers = None
    try:
        with progress_on_stderr(as_json):
            if runner.runner == "docker":
                containers, loaded = _in_containers(config, loaded, runner)
            result = run_locally(loaded, output, reuse=not no_reuse, containers=containers)
    except RunFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if as_json:
        print_json(result.to_json())
    else:
        print(summarize(result))
    return 0


def _in_containers(
    options: ConfigOptions, config: "PipelineConfig", runner: RunnerOptions
) -> "tuple[Containers, PipelineConfig]":
    """Return the containers, and the config with MovieLens downloaded, which steps cannot do."""
    from components.ingest.config import MovieLensSource
    from pipeline.images import step_images
    from pipeline.local.docker_runner import Containers

    containers = Containers(
        step_images(runner.registry, gpu=runner.gpu), gpu=runner.gpu, memory=runner.memory
    )
    if isinstance(config.source, MovieLensSource) and config.source.path is None:
        folder = Path(config.source.download_dir).expanduser()
        archive = containers.fetch(config.source.version, folder)
        config = options.load(f"source.path={archive}")
    return containers, config
