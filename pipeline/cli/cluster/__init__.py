"""The cluster commands of `deep-retrieval`."""

from typing import Any

from pipeline.cli.cluster.options import AddOptions
from pipeline.cli.cluster.runs import add_logs, add_runs, logs, runs
from pipeline.cli.cluster.schedule import add_schedule, schedule
from pipeline.cli.cluster.submit import add_submit, submit

__all__ = ["add_commands", "logs", "runs", "schedule", "submit"]


def add_commands(subparsers: Any, *, add_config: AddOptions, add_images: AddOptions) -> None:
    """Adds the cluster commands to the command's parser.

    Args:
        subparsers: The object that `add_subparsers` returned.
        add_config: Adds the options that choose a config.
        add_images: Adds the options that choose images.
    """
    add_submit(subparsers, add_config=add_config, add_images=add_images)
    add_schedule(subparsers, add_config=add_config, add_images=add_images)
    add_runs(subparsers)
    add_logs(subparsers)
