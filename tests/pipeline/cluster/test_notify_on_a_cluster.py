"""notify in a cluster run: it asks Kubeflow which step failed, and works without an answer."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from argo_run import ArgoRun, Pod, Story
from cluster_support import connected, no_settings
from faulty_http import Fault, status
from run_server import RunServer

from components.notify.job import FinalStatus, notify
from components.notify.kubeflow import Kubeflow
from components.shared.runtime.images import STEP_IMAGES
from components.shared.runtime.progress import progress_lines
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.start import start_run
from pipeline.cluster.uploads.upload import upload
from pipeline.compilation import compile_pipeline
from pipeline.config.loading import load_config

__all__ = ["no_settings"]  # a fixture
SAMPLE = compile_pipeline(load_config("sample"), STEP_IMAGES)
STACKS = [[32], [64.0, 32.0], [128, 64, 32]]
BAD = Pod(20, 2, "Failed", "[train] error: train.batch_size: 0 is no size\n")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunServer]:
    monkeypatch.delenv("DEEP_RETRIEVAL_WEBHOOK", raising=False)
    # An unreachable proxy: notify must not use it inside the cluster.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with RunServer() as server:
        yield server


def played(server: RunServer, story: Story | None = None, seconds: float = 1000.0) -> str:
    """Start a run and play it up to a time; return its id."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("http_proxy")
        cluster = connected(server)
        uploaded = upload(cluster, "sample", SAMPLE)
        run = start_run(cluster, uploaded, experiment(cluster, "sample"), "sample")
    server.play(ArgoRun(next(iter(yaml.safe_load_all(SAMPLE))), story))
    server.clock.passed += seconds
    return run.run_id


def told(server: RunServer, run_id: str, state: str = "FAILED", **options: Any) -> dict[str, Any]:
    kubeflow = Kubeflow(server.url, sleep=server.clock.sleep, **options)
    with progress_lines("notify"):
        return notify(
            name="shop", run="r-7", run_id=run_id, layer_stacks=STACKS,
            status=FinalStatus(state, group="exit-handler-1"), kubeflow=kubeflow,
        )  # fmt: skip


def test_the_failed_step_and_its_error_are_named(
    server: RunServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server, Story(pods={"train[1]": [BAD]}))

    assert told(server, run_id) == {
        "state": "FAILED",
        "step": "train [64, 32]",
        "error": "train.batch_size: 0 is no size",
        "notified": False,
    }
    assert capsys.readouterr().out == (
        "[notify] shop: run r-7 failed: train [64, 32] failed: train.batch_size: 0 is no size\n"
    )


FETCH_FAILS = Story(pods={"fetch-published-2": [Pod(5, 2, "Failed")]})


def test_a_step_has_the_name_that_the_ui_shows(server: RunServer) -> None:
    run_id = played(server, FETCH_FAILS)

    assert told(server, run_id)["step"] == "fetch_base"


@pytest.mark.parametrize(
    "fault", [status(404), status(200, "[]"), status(200, '{"pipeline_spec": 7}'), Fault("drop")]
)
def test_without_the_pipelines_version_a_step_has_its_tasks_name(
    fault: Fault, server: RunServer
) -> None:
    run_id = played(server, FETCH_FAILS)
    server.fail("GET .*/versions/.*", fault, nth=0)

    assert told(server, run_id)["step"] == "fetch_published_2"


def test_an_attempt_that_was_retried_successfully_is_not_named(server: RunServer) -> None:
    lost = Pod(5, 2, "Error", "[ingest] error: lost\n")

    run_id = played(server, Story(pods={"ingest": [lost, Pod()], "export": [Pod(5, 2, "Failed")]}))

    assert told(server, run_id)["step"] == "export"


def test_a_successful_run_is_not_requested(server: RunServer) -> None:
    run_id = played(server)
    before = len(server.requests)

    assert told(server, run_id, "COMPLETE")["state"] == "SUCCEEDED"
    assert len(server.requests) == before


def test_a_failed_driver_is_found_although_the_state_is_still_running(
    server: RunServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fatal = "F1124 03:12:06.7 1 main.go:126] KFP driver: driver.Container(x) failed: no secret\n"
    run_id = played(server, Story(pods={"export-driver": [Pod(3, 1, "Failed", fatal)]}))

    assert told(server, run_id, "RUNNING") == {
        "state": "FAILED",
        "step": "export",
        "error": "no secret",
        "notified": False,
    }


def test_a_run_broken_by_a_preempted_driver_is_recognized(server: RunServer) -> None:
    twice = 'two tasks have the same task name "ingest_4", id1=4 id2=7\n'
    run_id = played(server, Story(pods={"adapt-driver": [Pod(3, 1, "Failed", twice)]}))

    assert told(server, run_id, "RUNNING")["error"] == (
        "Kubeflow has two records of ingest; start a new run"
    )


@pytest.mark.parametrize("state", ["RUNNING", "NEW", "FAILED"])
def test_a_state_that_was_not_recorded_is_looked_up(state: str, server: RunServer) -> None:
    run_id = played(server)

    assert told(server, run_id, state)["state"] == "SUCCEEDED"


def test_an_api_server_that_learns_of_the_failure_late_is_asked_again(server: RunServer) -> None:
    argo = ArgoRun(
        next(iter(yaml.safe_load_all(SAMPLE))), Story(pods={"train[1]": [Pod(0, 0, "Failed")]})
    )
    ended = argo.node("train[1]").finished
    assert ended is not None
    run_id = played(server, Story(pods={"train[1]": [Pod(0, 0, "Failed")]}), seconds=ended - 1)

    assert told(server, run_id)["step"] == "train [64, 32]"
    assert server.clock.slept


@pytest.mark.parametrize(
    "fault",
    [
        status(401),
        status(403, "RBAC: access denied"),
        status(200, "<html>Sign in</html>"),
        status(200, "[1, 2]"),
        status(200, "[" * 100_000),
        status(302, "", Location="http://127.0.0.1:9/"),
        Fault("drop"),
        Fault("cut"),
    ],
)
def test_without_an_answer_from_kubeflow_a_step_failed(
    fault: Fault, server: RunServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server, Story(pods={"train[1]": [BAD]}))
    server.fail("GET .*/runs/.*", fault, nth=0)

    assert told(server, run_id) == {
        "state": "FAILED", "step": "", "error": "", "notified": False
    }  # fmt: skip

    warning, line = capsys.readouterr().out.splitlines()
    assert warning.startswith("[notify] warning: cannot tell which step failed: ")
    assert line == f"[notify] shop: run r-7 failed: a step failed (run {run_id})"


def test_waiting_for_kubeflow_ends_in_time(server: RunServer) -> None:
    run_id = played(server, Story(pods={"train[1]": [BAD]}))
    server.fail("GET .*/runs/.*", Fault("hang"), nth=0)
    began = time.monotonic()

    assert told(server, run_id, seconds=0.5)["step"] == ""

    assert time.monotonic() - began < 3


def test_without_a_log_the_step_is_still_named(server: RunServer) -> None:
    run_id = played(server, Story(pods={"train[1]": [BAD]}))
    server.pods_alive = server.archived = False

    result = told(server, run_id)

    assert (result["step"], result["error"]) == ("train [64, 32]", "")


def test_a_pods_token_is_sent(server: RunServer, tmp_path: Path) -> None:
    run_id = played(server, Story(pods={"train[1]": [BAD]}))
    server.tokens = {"a-token"}
    (tmp_path / "token").write_text("a-token\n")
    environ = {
        "KF_PIPELINES_ENDPOINT": server.url,
        "KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "token"),
    }

    kubeflow = Kubeflow.of_this_pod(environ)

    assert "a-token" not in repr(kubeflow)
    assert kubeflow.why_it_failed(run_id, STACKS).step == "train [64, 32]"


@pytest.mark.parametrize(
    ("environ", "command", "address"),
    [
        ({}, "", "http://ml-pipeline.kubeflow:8888"),
        ({"KF_PIPELINES_ENDPOINT": "ml.example.com/"}, "", "http://ml.example.com"),
        ({"KF_PIPELINES_ENDPOINT": "https://ml.example.com"}, "", "https://ml.example.com"),
        ({"ML_PIPELINE_SERVICE_HOST": "10.0.0.7"}, "", "http://10.0.0.7:8888"),
        (
            {"ML_PIPELINE_SERVICE_HOST": "fd00::7", "ML_PIPELINE_SERVICE_PORT_HTTP": "80"},
            "",
            "http://[fd00::7]:80",
        ),
        (
            {"ML_PIPELINE_SERVICE_HOST": "10.0.0.7"},
            "/kfp-launcher/launch --run_id 5 --ml_pipeline_server_address "
            "ml-pipeline.kfp.svc.cluster.local --ml_pipeline_server_port 8887 -- python3",
            "http://ml-pipeline.kfp.svc.cluster.local:8888",
        ),
        (
            {},
            "launch --ml_pipeline_server_address ml-pipeline.kfp --ml_pipeline_tls_enabled --",
            "https://ml-pipeline.kfp:8888",
        ),
        ({}, "launch --ml_pipeline_server_address", "http://ml-pipeline.kubeflow:8888"),
    ],
)
def test_the_api_server_is_found_from_the_pods_environment_and_command(
    environ: dict[str, str], command: str, address: str, tmp_path: Path
) -> None:
    path = tmp_path / "cmdline"
    path.write_bytes(command.replace(" ", "\0").encode())

    assert Kubeflow.of_this_pod(environ, path).address == address


def test_the_component_gets_the_runs_id_and_the_stacks() -> None:
    ir = next(iter(yaml.safe_load_all(SAMPLE)))

    inputs = ir["root"]["dag"]["tasks"]["notify"]["inputs"]["parameters"]

    assert inputs["run_id"]["runtimeValue"]["constant"] == "{{$.pipeline_job_uuid}}"
    assert inputs["layer_stacks"] == {"componentInputParameter": "layer_stacks"}
    assert json.dumps(inputs["status"]) == '{"taskFinalStatus": {"producerTask": "exit-handler-1"}}'
