"""The local runner, with kfp's real subprocess runner and real steps on a tiny sample."""

import io
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from conftest import EVALUATE
from tiny_config import tiny

from components.shared.runtime.errors import InputError
from pipeline.cli.main import main
from pipeline.config.loading import load_config
from pipeline.local import runner as local_runner
from pipeline.local.runner import Progress, RunFailed, RunResult, run_locally
from pipeline.local.summary import summarize


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def first(output: Path) -> RunResult:
    return run_locally(tiny(), str(output))


def test_a_run_leaves_report_export_numbers_and_config(first: RunResult) -> None:
    names = {path.name for path in first.folder.iterdir()}
    assert names == {
        "config.yaml", "evaluation", "export", "report.html", "run.json", "run.log",
    }  # fmt: skip
    assert load_config(str(first.folder / "config.yaml")) == tiny()
    assert "<html" in (first.folder / "report.html").read_text()
    assert (first.folder / "export" / "saved_model" / "saved_model.pb").is_file()
    run = json.loads((first.folder / "run.json").read_text())
    assert run["good_enough"] == first.evaluation["headline"]["good_enough"]


def test_every_step_ran_and_its_time_is_known(first: RunResult) -> None:
    names = [step.step for step in first.steps]
    assert sorted(names) == sorted(
        [
            "resolve",
            "fetch_published",
            "fetch_published",
            "encode_for_published",
            "ingest",
            "adapt",
            "train",
            "train",
            "select_model",
            "export",
            "evaluate",
            "publish",
        ]
    )
    for step in first.steps:
        assert 0 < step.startup_seconds <= step.seconds <= first.seconds


def test_the_model_that_validation_chose_is_exported(first: RunResult) -> None:
    depths = first.evaluation["depths"]
    best = max(depths, key=lambda depth: depth["validation"])
    assert [depth["layer_sizes"] for depth in depths if depth["exported"]] == [best["layer_sizes"]]
    assert {depth["layer_sizes"] for depth in depths} == {"8", "16-8"}


def test_the_exported_depth_has_the_exports_metrics(first: RunResult) -> None:
    exported = next(depth for depth in first.evaluation["depths"] if depth["exported"])
    for protocol in ("raw", "filtered"):
        for name, value in first.evaluation["metrics"][protocol]["model"].items():
            assert exported["test"][protocol][name] == pytest.approx(value, abs=1e-6)


def test_the_summary_tells_metrics_times_and_places(first: RunResult) -> None:
    text = summarize(first)
    for name in ("most-popular", "most-liked", "EASE", "iALS", "95% interval"):
        assert name in text
    assert "hit_rate_at_20" in text
    assert f"report   {first.folder / 'report.html'}" in text
    for step in first.steps:
        assert f"{step.seconds:.1f}" in text


def test_a_second_run_reuses_every_step_and_says_so(
    first: RunResult, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = run_locally(tiny(), str(output))
    assert [step.step for step in second.steps if not step.reused] == [
        "resolve",
        "publish",
    ]
    assert len(second.steps) == len(first.steps)
    assert capsys.readouterr().out.count("reused: its inputs and its code") == len(first.steps) - 2
    assert second.evaluation == first.evaluation
    assert (output / "latest").resolve() == second.folder


def test_a_changed_setting_runs_only_the_steps_that_it_changes(
    first: RunResult, output: Path
) -> None:
    changed = tiny(evaluate={**EVALUATE, "example_users": 1})
    again = {step.step: step.reused for step in run_locally(changed, str(output)).steps}
    assert not again.pop("evaluate")
    assert not again.pop("publish")
    assert not again.pop("resolve")
    assert all(again.values())


def test_changed_code_runs_its_step_and_those_after_it(
    first: RunResult, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = local_runner.subprocess_images()
    monkeypatch.setattr(
        local_runner, "subprocess_images", lambda: {**images, "export": images["export"] + "0"}
    )
    again = {step.step: step.reused for step in run_locally(tiny(), str(output)).steps}
    assert not again.pop("export")
    assert not again.pop("evaluate")
    assert not again.pop("publish")
    assert not again.pop("resolve")
    assert all(again.values())


def test_a_failed_step_is_named_with_its_message_and_leaves_no_results(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(name="failing", source={"kind": "sample", "users": 1, "items": 40})
    with pytest.raises(RunFailed) as error:
        run_locally(config, str(output))
    assert str(error.value).startswith("ingest: ")
    assert "only one user" in str(error.value)
    assert "Traceback" not in str(error.value)
    assert not (output / "failing").exists()


def test_the_next_run_does_not_take_a_failed_step_for_done(output: Path) -> None:
    config = tiny(name="failing", source={"kind": "sample", "users": 1, "items": 40})
    for _ in range(2):
        with pytest.raises(RunFailed, match="only one user"):
            run_locally(config, str(output))


def test_the_command_prints_one_error_and_exits_with_1(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["run", "--output", str(output), "--set", "source.users=40", "--set", "source.items=30"]
    )
    assert code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "100 candidates, but the catalogue has 30" in error


def test_a_path_that_kfp_cannot_work_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="python3"):
        run_locally(tiny(), str(tmp_path / "python3.11"))


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Choose another folder"):
        run_locally(tiny(), str(tmp_path / "file" / "runs"))


def test_progress_goes_on_when_nobody_reads_it() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    log = io.StringIO()
    progress = Progress(Closed(), log)
    progress.line("[ingest] 5 interactions")
    progress.line("[ingest] done in 2.0 s, 1.5 s of it start-up")
    assert [step.seconds for step in progress.steps] == [2.0]
    assert "5 interactions" in log.getvalue()


def test_an_error_holds_its_own_steps_lines_and_not_those_of_a_step_beside_it() -> None:
    progress = Progress(io.StringIO(), io.StringIO())

    def beside() -> None:
        progress.line("[train] 16-8 epoch 2/2: loss 0.5")

    progress.line("[train] error: The loss became nan.")
    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    progress.line("[train] Lower train.learning_rate.")
    assert progress.errors == ["The loss became nan.", "Lower train.learning_rate."]


def test_progress_shows_the_steps_lines_and_logs_everything() -> None:
    console, log = io.StringIO(), io.StringIO()
    progress = Progress(console, log)
    progress.line("    [KFP Executor 2026-01-01 INFO]: noise")
    progress.line("    [train] 32 epoch 1/2: loss 0.5")
    assert "noise" not in console.getvalue()
    assert "32 epoch 1/2: loss 0.5" in console.getvalue()
    assert log.getvalue().count("\n") == 2


def test_ctrl_c_ends_every_step_and_leaves_no_results(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "pipeline.cli.main", "run", "--config", "sample",
        "--output", str(tmp_path), "--set", "train.epochs=500", "--set", "train.patience=null",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout
        printed = next(line for line in run.stdout if "epoch" in line)
        steps = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        printed += run.stdout.read()
    assert steps
    assert run.returncode == 130
    assert printed.rstrip().endswith("interrupted")
    # A zombie has ended; nobody has asked for its status yet.
    assert not [s for s in steps if s.is_running() and s.status() != psutil.STATUS_ZOMBIE]
    assert not (tmp_path / "sample").exists()
