"""How often Argo and the step itself retry a step, and how long a finished run is kept."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from argo import (
    ADVISED,
    KFP_2_16,
    KFP_2_17,
    Phase,
    TimeToLive,
    argo_attempts,
    step_retry_strategy,
    time_to_live,
)
from compiled_pipeline import Compiled

from components.shared.runtime.attempts import RETRY, next_attempt
from pipeline.definition import STEPS

ROOT = Path(__file__).parents[2]
THREE = {"defaults": {"retry": {"count": 2, "backoff_seconds": 5, "backoff_factor": 3}}}
DEFAULTS = {"KFP 2.17": KFP_2_17, "KFP 2.16": KFP_2_16, "as advised": ADVISED}


def environment(compiled: Compiled, step: str) -> dict[str, str]:
    return {variable.name: variable.value for variable in compiled.container(step).env}


def failures(defaults: dict[str, Any], step: str, cluster: dict[str, Any], folder: Path) -> int:
    """Count the attempts of a step that always fails, in all pods that Argo creates."""
    compiled = Compiled.of(cluster)
    strategy = step_retry_strategy(defaults, compiled.task(step))
    template = folder / "template"
    template.write_text(json.dumps({"name": "impl", "retryStrategy": strategy or None}))
    attempts = 0
    for pod in range(argo_attempts(strategy, "Failed")):
        in_pod = 0
        while True:
            attempts, in_pod = attempts + 1, in_pod + 1
            variables = {
                **environment(compiled, step),
                "KFP_RETRY_INDEX": str(pod),
                "DEEP_RETRIEVAL_ATTEMPT": str(in_pod),
            }
            if next_attempt(variables, template) is None:
                break
    return attempts


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("defaults", DEFAULTS)
def test_a_failing_step_is_tried_as_often_as_the_config_says(
    defaults: str, step: str, tmp_path: Path
) -> None:
    assert failures(DEFAULTS[defaults], step, THREE, tmp_path) == 3


@pytest.mark.parametrize("defaults", DEFAULTS)
def test_without_retries_a_failing_step_is_tried_once(defaults: str, tmp_path: Path) -> None:
    # With the advised defaults, Argo's own two retries apply to steps without `retry`.
    expected = 3 if defaults == "as advised" else 1
    assert failures(DEFAULTS[defaults], "train", {}, tmp_path) == expected


@pytest.mark.parametrize(
    ("defaults", "pods"), [("KFP 2.17", 3), ("KFP 2.16", 1), ("as advised", 3)]
)
def test_a_lost_pod_is_replaced_if_argo_retries_errors(defaults: str, pods: int) -> None:
    strategy = step_retry_strategy(DEFAULTS[defaults], Compiled.of(THREE).task("train"))
    lost: Phase = "Error"
    assert argo_attempts(strategy, lost) == pods


def test_without_the_steps_own_attempts_kfp_2_17_would_make_one() -> None:
    strategy = step_retry_strategy(KFP_2_17, Compiled.of(THREE).task("train"))
    assert strategy["limit"] == "2"
    assert argo_attempts(strategy, "Failed") == 1


def test_a_lost_pod_counts_as_an_attempt(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_text(json.dumps({"retryStrategy": {"retryPolicy": "OnError", "limit": "2"}}))
    retry = {RETRY: environment(Compiled.of(THREE), "train")[RETRY]}
    assert next_attempt({**retry, "KFP_RETRY_INDEX": "1"}, template) == (3, 3, 15.0)
    assert next_attempt({**retry, "KFP_RETRY_INDEX": "2"}, template) is None


def test_the_waits_grow_by_the_factor(tmp_path: Path) -> None:
    retry = {RETRY: environment(Compiled.of(THREE), "train")[RETRY]}
    nowhere = tmp_path / "no template"
    assert next_attempt(retry, nowhere) == (2, 3, 5.0)
    assert next_attempt({**retry, "DEEP_RETRIEVAL_ATTEMPT": "2"}, nowhere) == (3, 3, 15.0)
    assert next_attempt({**retry, "DEEP_RETRIEVAL_ATTEMPT": "3"}, nowhere) is None


@pytest.mark.parametrize(
    ("strategy", "again"),
    [
        ({"retryPolicy": "OnError"}, True),
        ({"retryPolicy": "OnTransientError"}, True),
        ({"retryPolicy": "OnFailure"}, False),
        ({"retryPolicy": "Always"}, False),
        ({"limit": "2"}, False),  # Argo's default is OnFailure
        ({"expression": "true"}, False),  # with an expression it is Always
        (None, True),
    ],
)
def test_a_step_starts_again_only_if_argo_would_not(
    strategy: dict[str, Any] | None, again: bool, tmp_path: Path
) -> None:
    template = tmp_path / "template"
    template.write_text(json.dumps({"retryStrategy": strategy}))
    retry = {RETRY: environment(Compiled.of(THREE), "train")[RETRY]}
    assert (next_attempt(retry, template) is not None) == again


def test_on_this_machine_there_is_one_attempt(tmp_path: Path) -> None:
    assert next_attempt({}, tmp_path) is None


# A step whose first two attempts fail, in a process in place of kfp's executor.
_STEP = """
import sys
from pathlib import Path
from components.shared.runtime.step import run_step
from components.shared.runtime.errors import InputError

def job(note):
    path = Path(note)
    done = len(path.read_text().splitlines()) if path.exists() else 0
    with path.open("a") as file:
        file.write(f"{sys.argv[1:]}\\n")
    if done == 0:
        raise InputError("the bucket does not answer")
    if done == 1:
        raise ZeroDivisionError("a bug")
    return {}

print("seconds", run_step("train", job, note=sys.argv[1])["seconds"] < 60)
"""


def run_step_in_a_process(tmp_path: Path, count: int) -> subprocess.CompletedProcess[str]:
    policy = json.dumps({"count": count, "backoff_seconds": 0, "backoff_factor": 2})
    return subprocess.run(
        [sys.executable, "-c", _STEP, str(tmp_path / "note"), "and more"],
        cwd=ROOT,
        env={**os.environ, RETRY: policy, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_failed_step_starts_again_in_a_fresh_interpreter_with_the_same_arguments(
    tmp_path: Path,
) -> None:
    done = run_step_in_a_process(tmp_path, count=2)
    assert done.returncode == 0, done.stderr
    arguments = f"['{tmp_path / 'note'}', 'and more']"
    assert (tmp_path / "note").read_text().splitlines() == [arguments] * 3
    assert "[train] failed: the bucket does not answer" in done.stdout
    assert "[train] starts again in 0 s: attempt 2 of 3" in done.stdout
    assert "ZeroDivisionError: a bug" in done.stdout
    assert "[train] starts again in 0 s: attempt 3 of 3" in done.stdout
    assert "[train] error" not in done.stdout
    assert "seconds True" in done.stdout


def test_the_last_attempt_fails_like_a_step_without_retries(tmp_path: Path) -> None:
    done = run_step_in_a_process(tmp_path, count=1)
    assert done.returncode == 1
    assert len((tmp_path / "note").read_text().splitlines()) == 2
    assert done.stderr.rstrip().endswith("ZeroDivisionError: a bug")


WEEK = {"ttl_seconds": 604_800}


@pytest.mark.parametrize("defaults", DEFAULTS)
@pytest.mark.parametrize(
    ("cluster", "kept"),
    [
        (WEEK, TimeToLive(604_800, 604_800)),
        (WEEK | {"ttl_seconds_after_failure": 60}, TimeToLive(604_800, 60)),
    ],
)
def test_a_finished_run_is_kept_as_long_as_the_config_says(
    defaults: str, cluster: dict[str, Any], kept: TimeToLive
) -> None:
    config = Compiled.of(cluster).on_kubernetes.pipelineConfig
    assert time_to_live(DEFAULTS[defaults], config) == kept


def test_without_a_setting_the_installations_own_applies() -> None:
    config = Compiled.of().on_kubernetes.pipelineConfig
    assert time_to_live(KFP_2_17, config) == TimeToLive(3600, 3600)
    assert time_to_live(KFP_2_16, config) == TimeToLive(None, None)
