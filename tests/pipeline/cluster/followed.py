"""Runs of the compiled sample that are followed to their ends."""

import re
from typing import Any

import yaml
from argo_run import ArgoRun, Pod, Story
from cluster_support import (
    connected,
)
from run_server import RunServer

from components.shared.runtime.images import STEP_IMAGES
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.progress import Commands, follow
from pipeline.cluster.runs.start import RunSettings, start_run
from pipeline.cluster.uploads.upload import upload
from pipeline.compilation import compile_pipeline
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig

COMMANDS = Commands(follow="FOLLOW", logs="LOGS")


def compiled(**cluster: Any) -> str:
    """Return the sample, with three layer stacks, compiled for a cluster."""
    values = load_config("sample").model_dump(mode="json", exclude_none=True)
    config = PipelineConfig.model_validate({**values, "cluster": cluster})
    return compile_pipeline(config, STEP_IMAGES)


SAMPLE = compiled()
RETRIED = compiled(defaults={"retry": {"count": 2}})


class Followed:
    """A run of the compiled pipeline, followed to its end.

    Args:
        story: What happens in it.
        text: The compiled pipeline.
        template_defaults: Whether Argo has the defaults that KFP 2.17 ships.
        parameters: The run's values for the pipeline's parameters.
        server: Options of the server.
        **options: Of `follow`.
    """

    def __init__(
        self,
        story: Story | None = None,
        *,
        text: str = SAMPLE,
        template_defaults: bool = True,
        parameters: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        **options: Any,
    ):
        self.lines: list[str] = []
        with RunServer(**(server or {})) as self.server:
            cluster = connected(self.server)
            uploaded = upload(cluster, "sample", text)
            run = start_run(
                cluster,
                uploaded,
                experiment(cluster, "sample"),
                "sample",
                RunSettings(parameters or {}),
            )
            self.argo = ArgoRun(
                next(iter(yaml.safe_load_all(text))),
                story,
                template_defaults=template_defaults,
                parameters=parameters,
            )
            self.server.play(self.argo)
            self.run_id = run.run_id
            # kfp_server_api takes 0.1 s to read a run, so poll rarely.
            options.setdefault("poll", 20.0)
            self.code = follow(
                cluster, run.run_id, show=self.lines.append, commands=COMMANDS, **options
            )

    @property
    def steps(self) -> list[str]:
        """The changes of steps without their times."""
        return changes(self.lines)

    @property
    def end(self) -> list[str]:
        """The lines after the last change of a step."""
        return [line for line in self.lines if not re.match(r" *\d+\.\d s", line)]


def changes(lines: list[str]) -> list[str]:
    return [" ".join(line.split()[2:]) for line in lines if re.match(r" *\d+\.\d s", line)]


LOST = Pod(30, 2, "Error", message="pod deleted")
LOG = """\
[train] reads 3,000 rows
[train] error: train.batch_size: 0 is no size
[train]   choose 1 or more
F1124 03:12:06.714331       1 main.go:57] failed to execute component: exit status 1
"""
BAD = Pod(20, 2, "Failed", LOG, "Error (exit code 1)")
