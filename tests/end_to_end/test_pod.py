"""A step's container as KFP's launcher starts it in a pod, with what Argo leaves there.

Skipped, with the reason, if no container engine answers or the images are not built.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from argo import KFP_2_16, KFP_2_17, step_retry_strategy
from compiled_pipeline import Compiled
from test_docker import engine

from pipeline.images import step_images

__all__ = ["engine"]  # a fixture
RETRY = {"defaults": {"retry": {"count": 2, "backoff_seconds": 0}}}


def run_resolve(engine: Any, defaults: dict[str, Any], folder: Path, **changes: Any) -> str:
    """Runs resolve in its image with the command of the compiled pipeline; returns its log."""
    compiled = Compiled.of(RETRY)
    container = compiled.container("resolve")
    strategy = step_retry_strategy(defaults, compiled.task("resolve"))
    (folder / "template").write_text(json.dumps({"retryStrategy": strategy}))
    parameters = {
        "source": compiled.default["source"],
        "data_until": "",
        "scheduled_time": "2026-11-25T03:15:00Z",
        "location": "",
        "warm_start": False,
        **changes,
    }
    executor_input = {
        "inputs": {"parameterValues": parameters},
        "outputs": {"outputFile": "/tmp/kfp/output_metadata.json"},
    }
    pod = engine.containers.create(
        step_images()["resolve"],
        [
            *container.command,
            *(json.dumps(executor_input) if arg == "{{$}}" else arg for arg in container.args),
        ],
        environment={variable.name: variable.value for variable in container.env},
        volumes={str(folder): {"bind": "/var/run/argo", "mode": "ro"}},
        network_mode="none",
        cap_drop=["ALL"],
    )
    try:
        pod.start()
        status = pod.wait(timeout=120)["StatusCode"]
        return f"{pod.logs().decode()}\nexit status {status}"
    finally:
        pod.remove(force=True)


def attempts(log: str) -> int:
    return 1 + log.count("[resolve] starts again in 0 s")


@pytest.mark.parametrize(("defaults", "expected"), [(KFP_2_17, 3), (KFP_2_16, 1)])
def test_a_failed_step_starts_again_in_its_pod_unless_argo_makes_another(
    engine: Any, defaults: dict[str, Any], expected: int, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    log = run_resolve(engine, defaults, tmp_path, data_until="scheduled", scheduled_time="")
    assert attempts(log) == expected
    assert "error: data_until: scheduled stands for the scheduled time of a run" in log
    assert log.endswith("exit status 1")


def test_a_step_that_succeeds_hands_on_the_scheduled_time(engine: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    log = run_resolve(engine, KFP_2_17, tmp_path, data_until="scheduled")
    assert attempts(log) == 1
    assert "takes interactions before 2026-11-25T03:15:00Z" in log
    assert log.endswith("exit status 0")
