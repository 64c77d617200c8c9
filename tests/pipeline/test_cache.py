"""Which steps a cluster reuses from its cache, and which window of the log each tick takes."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from compiled_pipeline import Compiled, sample_with
from kfp_backend import KfpBackend, Run

from components.ingest.job import ingest
from components.resolve.job import resolve
from components.shared.contracts.statistics import Statistics
from components.shared.registry.published_models import PublishedModels
from components.shared.runtime.images import STEP_IMAGES
from components.shared.runtime.step import run_step
from pipeline.compilation import compile_pipeline
from pipeline.config.pipeline import PipelineConfig

ALWAYS = {"resolve", "publish", "notify"}
MANUAL = "2026-11-25T10:00:00Z"


def work(task: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a step's output parameters: resolve's own, and a verdict of evaluate."""
    if task == "resolve":
        # Its times are never the same, and no other step takes them.
        return {**resolve(**parameters), "seconds": perf_counter(), "startup_seconds": 0.0}
    return {"Output": True} if task == "evaluate" else {}


class Cluster:
    """A server to which a pipeline is submitted repeatedly."""

    def __init__(self, *overrides: str, **cluster: Any):
        self._compiled = Compiled.of(cluster, *overrides)
        self._backend = KfpBackend(work)
        self._number = 0

    def submit(self, scheduled_time: str = MANUAL, **parameters: Any) -> Run:
        self._number += 1
        return self._backend.run(
            self._compiled,
            parameters,
            name=f"run {self._number}",
            scheduled_time=scheduled_time,
        )


def steps(run: Run) -> set[str]:
    return {task.replace("-", "_") for task in run.executed}


def publish_something(location: Path, content: str) -> None:
    folder = location.with_name("a version")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_text(content)
    models = PublishedModels.at(str(location))
    before = models.latest()
    models.make_latest(models.add(folder, "shop", ["model"]), before, "publish")


def test_a_second_identical_submit_runs_only_the_uncached_steps() -> None:
    cluster = Cluster("layer_stacks=[[8],[16],[32]]")
    first = cluster.submit()
    assert first.executed.count("train") == 3
    assert not first.reused
    second = cluster.submit()
    assert steps(second) == ALWAYS
    assert second.reused.count("train") == 3


def test_a_new_published_version_is_compared_without_training_again(tmp_path: Path) -> None:
    location = tmp_path / "models"
    cluster = Cluster(f"publish.location={location}")
    cluster.submit()
    publish_something(location, "one")
    compared = {"fetch_published", "check_data", "encode_for_published", "evaluate"}
    assert steps(cluster.submit()) == ALWAYS | compared
    assert steps(cluster.submit()) == ALWAYS
    publish_something(location, "two")
    assert steps(cluster.submit()) == ALWAYS | compared


def test_with_a_warm_start_training_starts_from_a_new_published_version(tmp_path: Path) -> None:
    location = tmp_path / "models"
    cluster = Cluster(f"publish.location={location}", "publish.warm_start=true")
    cluster.submit()
    publish_something(location, "one")
    run = cluster.submit()
    assert {"fetch_published_2", "adapt", "train"} <= steps(run)
    assert "ingest" not in steps(run)
    assert steps(cluster.submit()) == ALWAYS


@pytest.fixture
def log(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a log with a number of days of interactions since 2026-11-20, and a catalogue."""

    def write(days: int) -> Path:
        users, items, times = [], [], []
        for day in range(days):
            for user in range(12):
                for item in range(5):
                    users.append(f"user {user}")
                    items.append(f"item {(user + item + day) % 9}")
                    times.append(_seconds("2026-11-20T00:00:00") + day * 86_400 + user * 60 + item)
        log = pa.table({"user": users, "item": items, "at": times})
        pa_csv.write_csv(log, tmp_path / "log.csv")
        catalogue = pa.table({"item": [f"item {n}" for n in range(9)]})
        pa_csv.write_csv(catalogue, tmp_path / "items.csv")
        return tmp_path

    return write


def _seconds(time: str) -> int:
    return int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp())


def shop(folder: Path, *, timestamp: bool = True) -> Compiled:
    """Return the sample's pipeline on the log in a folder."""
    config = sample_with().model_dump(mode="json", exclude_none=True)
    columns = {"query_id": "user", "candidate_id": "item"}
    if timestamp:
        columns["timestamp"] = "at"
    config |= {
        "source": {
            "kind": "files",
            "interactions": f"{folder}/log.csv",
            "candidates": f"{folder}/items.csv",
            "columns": columns,
            "dtypes": {"at": "int64"},
        },
        "features": {"query": {"user": {"type": "id"}}, "candidate": {"item": {"type": "id"}}},
        "ingest": {"window_days": 2, "duplicates": "keep"} if timestamp else {},
    }
    return Compiled.read(compile_pipeline(PipelineConfig.model_validate(config), STEP_IMAGES))


def test_the_scheduled_time_is_a_constant_input_of_resolve_alone() -> None:
    ir = Compiled.of().ir
    placeholder = "{{$.pipeline_job_schedule_time_utc}}"
    found = [
        (task_name, name)
        for component in (ir.root, *ir.components.values())
        for task_name, task in component.dag.tasks.items()
        for name, source in task.inputs.parameters.items()
        if source.runtime_value.constant.string_value == placeholder
    ]
    assert found == [("resolve", "scheduled_time")]
    assert not Compiled.of().task("resolve").caching_options.enable_cache


def test_each_tick_of_a_schedule_takes_its_own_window_of_a_grown_log(
    log: Callable[[int], Path], tmp_path: Path
) -> None:
    backend = KfpBackend(work)
    scheduled = {"data_until": "scheduled"}
    windows = []
    for days, tick in ((3, "2026-11-23T03:15:00Z"), (5, "2026-11-25T03:15:00Z")):
        compiled = shop(log(days))
        run = backend.run(compiled, scheduled, name=tick, scheduled_time=tick)
        assert "ingest" in run.executed
        inputs = run.inputs["ingest"]
        assert inputs["data_until"] == tick
        folder = tmp_path / f"{days} days"
        ingest(
            source=inputs["source"],
            config=inputs["config"],
            seed=int(inputs["seed"]),
            data_until=inputs["data_until"],
            tables=str(folder / "tables"),
            rejects=str(folder / "rejects"),
        )
        times = Statistics.read(folder / "tables").times
        windows.append((min(t[0] for t in times.values()), max(t[1] for t in times.values())))
        # The same tick again, e.g. after a later step failed, comes from the cache.
        again = backend.run(compiled, scheduled, name="again", scheduled_time=tick)
        assert "ingest" in again.reused
    # Two days before each tick at 03:15; the first rows are at the next midnight.
    assert windows == [
        (_seconds("2026-11-22T00:00:00"), _seconds("2026-11-22T00:11:04")),
        (_seconds("2026-11-24T00:00:00"), _seconds("2026-11-24T00:11:04")),
    ]


def test_a_log_without_times_is_read_again_only_after_it_has_changed(
    log: Callable[[int], Path],
) -> None:
    backend = KfpBackend(work)
    compiled = shop(log(3), timestamp=False)

    def tick(hour: int) -> Run:
        time = f"2026-11-23T{hour:02}:00:00Z"
        return backend.run(compiled, {}, name=time, scheduled_time=time)

    assert "ingest" in tick(1).executed
    assert steps(tick(2)) == ALWAYS
    log(4)
    assert "ingest" in tick(3).executed


def test_a_macro_of_kfp_1_in_a_parameter_arrives_unchanged_and_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Cluster().submit(data_until="2026-11-24")
    with pytest.raises(SystemExit):
        run_step("resolve", resolve, **{**run.inputs["resolve"], "data_until": "[[ScheduledTime]]"})
    said = capsys.readouterr().out
    assert "did not replace the placeholder [[ScheduledTime]]. " in said
    assert "2.17 or later" in said


def test_an_empty_scheduled_time_is_refused_with_the_needed_version() -> None:
    # KFP 2.16 replaces the placeholder with an empty string.
    with pytest.raises(ValueError, match=r"Kubeflow Pipelines 2\.17 or later"):
        Cluster().submit(scheduled_time="", data_until="scheduled")
