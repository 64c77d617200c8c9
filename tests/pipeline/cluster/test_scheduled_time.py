"""The scheduled time that KFP gives the runs of a schedule."""

from collections.abc import Mapping
from typing import Any

import pytest
from cluster_support import (
    connected,
    no_settings,
)
from compiled_pipeline import Compiled
from kfp_backend import KfpBackend
from kfp_controller import scheduled_time
from kfp_server import KfpServer
from schedule_support import create

from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.start import start_run
from pipeline.cluster.schedules import changes
from pipeline.cluster.schedules.cron import parse_cron
from pipeline.cluster.uploads.upload import upload

__all__ = ["no_settings"]  # fixtures


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A compiled pipeline whose first step takes `data_until` and the scheduled time."""
    from kfp import compiler, dsl

    @dsl.component(base_image="image")
    def resolve(data_until: str, scheduled_time: str) -> str:
        return scheduled_time if data_until == "scheduled" else data_until

    @dsl.component(base_image="image")
    def train(size: int, seed: int, until: str, scheduled_time: str) -> None: ...

    @dsl.pipeline(name="deep-retrieval")
    def pipeline(data_until: str = "", seed: int = 42, sizes: list[int] = [1, 2]) -> None:  # noqa: B006
        until = resolve(
            data_until=data_until, scheduled_time=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER
        )
        with dsl.ParallelFor(items=sizes) as size:
            train(
                size=size,
                seed=seed,
                until=until.output,
                scheduled_time=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
            )

    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return path.read_text()


def resolved_inputs(compiled: str, run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the inputs that KFP's driver gives the steps of a run."""

    def work(task: str, inputs: dict[str, Any]) -> dict[str, Any]:
        until = inputs.get("data_until")
        until = inputs["scheduled_time"] if until == "scheduled" else until
        return {"Output": until} if task == "resolve" else {}

    return (
        KfpBackend(work)
        .run(
            Compiled.read(compiled),
            run.get("runtime_config", {}).get("parameters", {}),
            name=run["display_name"],
            scheduled_time=scheduled_time(run),
        )
        .inputs
    )


def test_each_tick_gives_its_run_its_own_time_and_unchanged_parameters(
    compiled: str,
) -> None:
    with KfpServer() as server:
        made, _ = create(
            server, content=compiled, parameters={"data_until": "[[ScheduledTime]]", "seed": 7}
        )
        server.advance(120)
        assert [run["recurring_run_id"] for run in server.runs] == [made.id] * 2
        for run, minute in zip(server.runs, (11, 12), strict=True):
            time = f"2026-11-24T03:{minute}:00Z"
            assert run["scheduled_at"] == time
            assert run["runtime_config"]["parameters"]["data_until"] == "[[ScheduledTime]]"
            inputs = resolved_inputs(compiled, run)
            assert inputs["resolve"] == {
                "data_until": "[[ScheduledTime]]",
                "scheduled_time": time,
            }
            assert inputs["train"] == {
                "size": 2, "seed": 7, "until": "[[ScheduledTime]]", "scheduled_time": time
            }  # fmt: skip


def test_a_manual_run_gets_the_time_of_its_creation(compiled: str) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        uploaded = upload(cluster, "shop", compiled)
        server.advance(77)
        start_run(cluster, uploaded, experiment(cluster, "shop"), "shop")
        (run,) = server.runs
        assert resolved_inputs(compiled, run)["resolve"] == {
            "data_until": "",
            "scheduled_time": run["created_at"],
        }
        assert run["created_at"].startswith("2026-11-24T03:11:3")


def test_a_late_run_keeps_the_time_of_its_tick(compiled: str) -> None:
    with KfpServer() as server:
        create(server, content=compiled, trigger=parse_cron("15 3 * * *"))
        changes.pause(connected(server), "nightly")
        server.advance(600)
        changes.resume(connected(server), "nightly")
        (run,) = server.runs
        inputs = resolved_inputs(compiled, run)
        assert inputs["resolve"] == {
            "data_until": "scheduled",
            "scheduled_time": "2026-11-24T03:15:00Z",
        }
        assert run["created_at"] > "2026-11-24T03:20"
