"""Jobs in processes of their own."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.shared.runtime.errors import InputError
from pipeline.experiments import processes
from pipeline.experiments.processes import run_job
from pipeline.heartbeat import Heartbeat

Call = Callable[..., Any]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "experiments.log"


@pytest.fixture
def call(log: Path) -> Call:
    return lambda module, job, say=print, **arguments: run_job(module, job, arguments, log, say)


def test_a_job_s_result_comes_back_and_its_output_goes_to_the_log(
    call: Call, log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("json", "loads", s='{"a": [1, 2]}') == {"a": [1, 2]}
    call("warnings", "warn", message="said by the job")

    assert "said by the job" in log.read_text()
    assert "said by the job" not in capfd.readouterr().err


def test_a_silent_job_is_reported_with_the_last_message_of_its_log(
    call: Call, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text("[wait] of an earlier job\n")
    quiet = functools.partial(Heartbeat, quiet_seconds=0.05)
    monkeypatch.setattr(processes, "Heartbeat", quiet)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        with open(log, "a") as file:
            file.write("[wait] epoch 1/2\n[other] noise\n")

    call("multiprocessing.connection", "wait", say, object_list=[], timeout=1)

    assert said[0] == "wait  still running, 0 s"
    assert said[-1].endswith("; last: epoch 1/2")


@pytest.mark.parametrize(
    ("module", "job", "arguments", "message"),
    [
        (
            "pipeline.config.loading",
            "load_config",
            {"name_or_path": "no.yaml"},
            "no such file",
        ),
        ("pipeline.config.tune", "TuneConfig", {"trials": 0}, "trials\n"),
        ("os", "listdir", {"path": "/nowhere"}, "No such file or directory: /nowhere"),
    ],
)
def test_errors_that_a_user_can_fix_arrive_as_input_errors(
    call: Call, module: str, job: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        call(module, job, **arguments)


def test_an_unexpected_error_keeps_its_type_and_traceback(call: Call) -> None:
    with pytest.raises(TypeError) as raised:
        call("json", "loads", s=1)

    assert 'json/__init__.py", line' in str(raised.value.__cause__)


@pytest.mark.parametrize(("module", "job"), [("os", "abort"), ("sys", "exit")])
def test_a_job_that_is_killed_or_told_to_end_gives_one_message(
    call: Call, log: Path, module: str, job: str
) -> None:
    with pytest.raises(InputError) as ended:
        call(module, job)

    assert str(ended.value).startswith(f"{module} was killed, perhaps because memory ran out.")
    assert str(log) in str(ended.value)


def test_a_job_ends_with_the_command_that_was_killed(tmp_path: Path) -> None:
    script = (
        "from pipeline.experiments.trainings import Experiments\n"
        "if __name__ == '__main__':\n"
        f"    Experiments({str(tmp_path)!r})._run("
        "'multiprocessing.connection', 'wait', object_list=[], timeout=8)\n"
    )
    (tmp_path / "command.py").write_text(script)
    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py")],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    log = tmp_path / "work" / "experiments" / "experiments.log"
    jobs: list[psutil.Process] = []
    try:
        while not log.exists():
            assert command.poll() is None
            time.sleep(0.1)
        jobs = [
            job
            for job in psutil.Process(command.pid).children()
            if "spawn_main" in str(job.cmdline())
        ]
        command.send_signal(signal.SIGKILL)
        command.wait()
        assert len(jobs) == 1
        _, alive = psutil.wait_procs(jobs, timeout=4)
        assert alive == []
    finally:
        command.kill()
        command.wait()
        for job in jobs:
            if job.is_running():
                job.kill()
