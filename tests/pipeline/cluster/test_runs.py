"""The commands `logs` and `runs`: what they print, and what they refuse."""

import functools
import json
import re
from collections.abc import Callable, Iterator

import pytest
import yaml
from argo_run import ArgoRun, Pod, Story
from cluster_support import by, clear, connected, no_settings
from run_server import RunServer

from components.shared.runtime.images import STEP_IMAGES
from components.shared.runtime.quantities import duration
from pipeline.cli.main import main
from pipeline.cluster.client import cluster as client
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.start import start_run
from pipeline.cluster.uploads.upload import upload
from pipeline.compilation import compile_pipeline
from pipeline.config.loading import load_config

__all__ = ["no_settings"]  # a fixture
SAMPLE = compile_pipeline(load_config("sample"), STEP_IMAGES)
LONG_AGO = 1000.0
STORY = Story(
    pods={
        "ingest": [Pod(12, log="[ingest] 3,000 rows\n[ingest] done in 9.8 s\n")],
        "train[0]": [Pod(30, log="[train] small\n")],
        "train[1]": [
            Pod(5, 2, "Error", "[train] begins\n", "pod deleted"),
            Pod(20, 2, "Failed", "[train] \x1b[1mbegins\x1b[0m\n[train] error: no\n", "Error"),
        ],
    },
    cached=["adapt"],
)
Command = Callable[..., int]


@pytest.fixture
def server() -> Iterator[RunServer]:
    with RunServer(page_size=3) as server:
        yield server


@pytest.fixture
def command(server: RunServer, monkeypatch: pytest.MonkeyPatch) -> Command:
    def run(*arguments: str) -> int:
        connect = functools.partial(client.connect, **by(server.clock, server))
        with monkeypatch.context() as patch:
            patch.setattr(client, "connect", connect)
            return main([*arguments, "--host", server.url])

    return run


def played(server: RunServer, story: Story | None = None, name: str = "sample") -> str:
    """Start a run and play it; return its id."""
    cluster = connected(server)
    uploaded = upload(cluster, "sample", SAMPLE)
    run = start_run(cluster, uploaded, experiment(cluster, name), name)
    server.play(ArgoRun(next(iter(yaml.safe_load_all(SAMPLE))), story))
    return run.run_id


# logs


def test_without_a_step_the_log_of_the_failed_one_is_printed(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server, STORY)
    server.clock.passed += LONG_AGO

    assert command("logs", run_id) == 0

    printed = capsys.readouterr()
    assert printed.out == "[train] begins\n[train] error: no\n"
    pod = server.played[run_id].node("train[1]", 1).pod_name
    assert printed.err == f"train [64, 32]: attempt 2 of 2; pod {pod}\nKubernetes says: Error\n"


@pytest.mark.parametrize(
    ("arguments", "log"),
    [
        (["ingest"], "[ingest] 3,000 rows\n[ingest] done in 9.8 s\n"),
        (["train"], "[train] begins\n[train] error: no\n"),  # the one that failed
        (["train [64, 32]", "--attempt", "1"], "[train] begins\n"),
        (["train[32]"], "[train] small\n"),
        (["TRAIN  [32]"], "[train] small\n"),
        (["fetch-published"], ""),
        (["fetch_published"], ""),
    ],
)
def test_the_log_of_a_step_is_printed(
    arguments: list[str],
    log: str,
    server: RunServer,
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_id = played(server, STORY)
    server.clock.passed += LONG_AGO

    assert command("logs", run_id, *arguments) == 0
    assert capsys.readouterr().out == log


def test_a_run_is_found_by_its_name(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    played(server, STORY)
    server.clock.passed += LONG_AGO
    name = server.runs[0]["display_name"]

    assert command("logs", name, "ingest") == 0
    assert capsys.readouterr().out.startswith("[ingest] 3,000 rows\n")

    assert command("logs", name[:-1], "ingest") == 2
    assert "deep-retrieval runs --cluster" in capsys.readouterr().err


def test_a_name_of_two_runs_is_refused_with_their_ids(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [played(server), played(server)]
    for run in server.runs:
        run["display_name"] = "nightly"

    assert command("logs", "nightly") == 2

    error = capsys.readouterr().err
    assert all(run_id in error for run_id in ids)
    assert clear(error)


def test_a_run_in_which_nothing_failed_is_listed_by_its_steps(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = Pod(5, 2, "Error", "", "pod deleted")
    run_id = played(server, Story(pods={"train[1]": [lost, Pod(900)]}, cached=["adapt"]))
    server.clock.passed += 300

    assert command("logs", run_id) == 0

    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"run {server.runs[0]['display_name']}: running"
    expected = """\
  resolve               succeeded  12 s
  fetch_published       succeeded  12 s
  fetch_base            succeeded  12 s
  ingest                succeeded  12 s
  adapt                 reused
  encode_for_published  succeeded  12 s
  train [32]            succeeded  12 s
  train [64, 32]        running  2 attempts
  train [128, 64, 32]   succeeded  12 s
  select_model          not run
  export                not run
  evaluate              not run
  publish               not run
  notify                not run
"""
    of = {line.split("  ")[1]: line for line in lines}
    assert [of[line.split("  ")[1]] for line in expected.splitlines()] == expected.splitlines()
    assert [line for line in lines if "not run" in line] == lines[-5:]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train"], "train has run 3 times: choose one of 'train [32]', 'train [64, 32]'"),
        (["export"], "export has not begun in this run"),
        (["train [64]"], "the run has no step named train [64]. Its steps: "),
        (["ingest", "--attempt", "2"], "--attempt 2: ingest has had 1"),
        (["ingest", "--attempt", "0"], "attempts are counted from 1"),
        (["--attempt", "1"], "--attempt goes with a step"),
    ],
)
def test_an_impossible_choice_is_refused_with_the_possible_ones(
    arguments: list[str],
    says: str,
    server: RunServer,
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_id = played(server, Story(pods={"select-model": [Pod(900)]}))
    server.clock.passed += 300

    assert command("logs", run_id, *arguments) == 2

    error = capsys.readouterr().err
    assert says in error
    assert clear(error)


def test_a_step_from_the_cache_has_no_log(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server, STORY)
    server.clock.passed += LONG_AGO

    assert command("logs", run_id, "adapt") == 0
    assert "adapt was reused from the cache" in capsys.readouterr().out


def test_a_missing_log_is_one_message_with_the_kubectl_command(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    server.pods_alive = server.archived = False
    run_id = played(server, STORY)
    server.clock.passed += LONG_AGO

    assert command("logs", run_id, "--kfp-namespace", "kfp") == 1

    printed = capsys.readouterr()
    pod = server.played[run_id].node("train[1]", 1).pod_name
    assert printed.out == ""
    assert f"kubectl logs --namespace kfp {pod} --container main" in printed.err
    assert "Kubernetes says: Error." in printed.err


def test_the_log_of_a_driver_that_failed_is_printed(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server, Story(pods={"export-driver": [Pod(3, 1, "Failed", "no secret\n")]}))
    server.clock.passed += LONG_AGO

    assert command("logs", run_id) == 0

    printed = capsys.readouterr()
    assert printed.out == "no secret\n"
    assert printed.err.startswith("export: the driver that Kubeflow starts before it; pod ")


def test_logs_are_read_with_the_credentials_of_the_api(
    server: RunServer,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = played(server, STORY)
    server.clock.passed += LONG_AGO
    server.tokens = {"a-token-of-mine"}
    monkeypatch.setenv("KFP_TOKEN", "a-token-of-mine")

    assert command("logs", run_id, "ingest") == 0
    assert capsys.readouterr().out.startswith("[ingest] 3,000 rows\n")


def test_in_a_multi_user_installation_pods_are_in_the_users_namespace(
    command: Command, server: RunServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.multi_user = True
    cluster = connected(server, namespace="team-a")
    uploaded = upload(cluster, "sample", SAMPLE)
    run = start_run(cluster, uploaded, experiment(cluster, "sample"), "sample")
    server.play(ArgoRun(next(iter(yaml.safe_load_all(SAMPLE))), STORY))
    server.pods_alive = server.archived = False
    server.clock.passed += LONG_AGO

    assert command("logs", run.run_id, "--namespace", "team-a") == 1
    assert "kubectl logs --namespace team-a " in capsys.readouterr().err


# runs


def test_the_latest_runs_are_listed(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = []
    for story in (None, STORY, Story(pods={"ingest": [Pod(9000)]})):
        ids.append(played(server, story))
        server.clock.passed += LONG_AGO
    names = [run["display_name"] for run in server.runs]

    assert command("runs", "--cluster") == 0

    took = [duration(int(server.played[run_id].seconds)) for run_id in ids]
    assert [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()] == [
        ["id", "name", "state", "started (UTC)", "took"],
        [ids[2], names[2], "running", "2026-11-24 03:43", "16m40s"],
        [ids[1], names[1], "failed", "2026-11-24 03:27", took[1]],
        [ids[0], names[0], "succeeded", "2026-11-24 03:10", took[0]],
    ]


def test_runs_of_other_pipelines_and_experiments_are_left_out(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [played(server, name=f"shop{number % 2}") for number in range(8)]
    cluster = connected(server)
    other = upload(cluster, "sample", SAMPLE, name="another")
    start_run(cluster, other, experiment(cluster, "shop0"), "another")

    assert command("runs", "--cluster", "--limit", "5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert not any("another" in line for line in lines)

    assert command("runs", "--cluster", "--experiment", "shop1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[1:]} == set(ids[1::2])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--cluster", "--limit", "0"], 2, "--limit 0"),
        (["--cluster", "--experiment", "none"], 2, "no experiment has this name"),
    ],
)
def test_runs_that_cannot_be_listed(
    arguments: list[str],
    code: int,
    says: str,
    server: RunServer,
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    played(server)

    assert command("runs", *arguments) == code
    assert says in capsys.readouterr().err


def test_runs_are_json_if_asked_for(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server)

    assert command("runs", "--cluster", "--json") == 0

    [run] = json.loads(capsys.readouterr().out)
    assert run["id"] == run_id
    assert set(run) == {"id", "name", "state", "started", "seconds"}
    assert run["state"] == run["state"].lower()


def test_a_cluster_without_the_pipeline_is_distinguished_from_one_without_runs(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("runs", "--cluster") == 2
    assert "deep-retrieval submit" in capsys.readouterr().err

    upload(connected(server), "sample", SAMPLE)
    assert command("runs", "--cluster") == 0
    assert capsys.readouterr().out == "no runs\n"


def test_a_server_that_refuses_is_one_message(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server)
    server.tokens = {"another"}

    for arguments in (("runs", "--cluster"), ("logs", run_id)):
        assert command(*arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["logs", "runs"])
def test_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0

    printed = capsys.readouterr().out
    assert f"  deep-retrieval {name} " in printed
    assert "--token-file" in printed


def test_logs_and_steps_are_json_if_asked_for(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = played(server)
    server.clock.passed += LONG_AGO

    assert command("logs", run_id, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["state"] == "succeeded"
    assert {"step", "state", "seconds", "attempts"} == set(listed["steps"][0])

    run_id = played(server, STORY)
    server.clock.passed += LONG_AGO
    assert command("logs", run_id, "ingest", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["attempt"], found["complete"]) == ("ingest", 1, True)
    assert found["log"].startswith("[ingest] 3,000 rows\n")


def test_doctor_asks_the_cluster(
    server: RunServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["cluster"]["state"] == "ok"

    server.tokens = {"another"}

    assert command("doctor", "--json") == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["cluster"]["state"] == "missing"
