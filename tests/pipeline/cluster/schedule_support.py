"""Schedules of the tests: made by `create`, shown in one time zone."""

import importlib
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cluster_support import (
    IR,
    connected,
)
from kfp_server import KfpServer

from components.resolve.job import SCHEDULED
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.schedules import replacement
from pipeline.cluster.schedules.cron import parse_cron
from pipeline.cluster.schedules.schedule import Schedule
from pipeline.cluster.schedules.spec import ScheduleSpec
from pipeline.cluster.uploads.upload import upload

LOCAL = "--local-images"
MINUTE = parse_cron("* * * * *")
CET = timezone(timedelta(hours=1), "CET")


@pytest.fixture(autouse=True)
def local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("pipeline.cli.cluster.schedule")
    monkeypatch.setattr(module, "LOCAL_ZONE", CET)


def spec_of(cluster: Cluster, **changes: Any) -> ScheduleSpec:
    content = changes.pop("content", IR)
    name = changes.pop("experiment", "shop")
    values: dict[str, Any] = {
        "name": "nightly",
        "trigger": MINUTE,
        "parameters": {"data_until": SCHEDULED},
    }
    return ScheduleSpec(
        experiment_id=experiment(cluster, name),
        uploaded=upload(cluster, "shop", content),
        **{**values, **changes},
    )


def create(server: KfpServer, **changes: Any) -> tuple[Schedule, str]:
    cluster = connected(server)
    return replacement.create(cluster, spec_of(cluster, **changes))


def ticks(server: KfpServer) -> list[datetime]:
    return [time for time, _ in server.ticks]


def make(server: KfpServer, *names: str, where: str = "shop") -> None:
    for name in names:
        create(server, name=name, experiment=where)
