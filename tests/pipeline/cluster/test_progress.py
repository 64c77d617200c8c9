"""The changes of steps that are shown while a run is followed."""

import itertools
import random
import re
from typing import Any

import pytest
import yaml
from argo_run import ArgoRun, Pod, Story
from cluster_support import (
    connected,
    no_settings,
    real_command_line,
)
from followed import BAD, COMMANDS, LOST, RETRIED, Followed, changes
from run_server import RunServer

from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.progress import follow
from pipeline.cluster.runs.start import start_run
from pipeline.cluster.uploads.upload import upload

__all__ = ["no_settings", "real_command_line"]  # fixtures


SUCCESS = Story(
    pods={"ingest": [Pod(40)], "adapt": [Pod(12)], "train[1]": [LOST, Pod(90)],
          "train[2]": [Pod(70)], "evaluate": [Pod(45, 100)]},
    cached=["train[0]"],
)  # fmt: skip
FAILURE = Story(pods={"train[1]": [LOST, BAD], "train[2]": [Pod(70)]}, cached=["ingest"])


SUCCESS_OUTPUT = """\
pipeline  VERSION uploaded
run       NAME started
  id      ID
  details HOST/#/runs/details/ID
   12.0 s  resolve              running
   24.0 s  resolve              succeeded
   28.0 s  fetch_published      running
   28.0 s  fetch_base           running
   28.0 s  ingest               running
   40.0 s  fetch_published      succeeded
   40.0 s  fetch_base           succeeded
   70.0 s  ingest               succeeded
   74.0 s  check_data           running
   74.0 s  encode_for_published running
   86.0 s  check_data           succeeded
   86.0 s  encode_for_published succeeded
   90.0 s  adapt                running
  104.0 s  adapt                succeeded
  116.0 s  train [32]           reused
  116.0 s  train [64, 32]       running
  116.0 s  train [128, 64, 32]  running
  168.0 s  train [64, 32]       attempt 2 of 3
  188.0 s  train [128, 64, 32]  succeeded
  260.0 s  train [64, 32]       succeeded
  264.0 s  select_model         running
  276.0 s  select_model         succeeded
  280.0 s  export               running
  292.0 s  export               succeeded
  360.0 s  evaluate             pending
  400.0 s  evaluate             running
  441.0 s  evaluate             succeeded
  445.0 s  publish              running
  457.0 s  publish              succeeded
  461.0 s  notify               running
  473.0 s  notify               succeeded
The run has succeeded after 7m53s.
"""
FAILURE_OUTPUT = """\
pipeline  VERSION uploaded
run       NAME started
  id      ID
  details HOST/#/runs/details/ID
   12.0 s  resolve              running
   24.0 s  resolve              succeeded
   28.0 s  ingest               reused
   28.0 s  fetch_published      running
   28.0 s  fetch_base           running
   40.0 s  fetch_published      succeeded
   40.0 s  fetch_base           succeeded
   44.0 s  check_data           running
   44.0 s  encode_for_published running
   56.0 s  check_data           succeeded
   56.0 s  encode_for_published succeeded
   60.0 s  adapt                running
   72.0 s  adapt                succeeded
   84.0 s  train [32]           running
   84.0 s  train [64, 32]       running
   84.0 s  train [128, 64, 32]  running
   96.0 s  train [32]           succeeded
  136.0 s  train [64, 32]       attempt 2 of 3
  156.0 s  train [128, 64, 32]  succeeded
  158.0 s  train [64, 32]       failed
  162.0 s  notify               running
  174.0 s  notify               succeeded
The run has ended: failed after 2m54s.
error: train [64, 32] failed: train.batch_size: 0 is no size choose 1 or more
not run: select_model, export, evaluate, publish
more: deep-retrieval logs --host HOST ID 'train [64, 32]'
"""


@pytest.mark.parametrize(
    ("story", "code", "output"),
    [
        pytest.param(SUCCESS, 0, SUCCESS_OUTPUT, marks=pytest.mark.slow),
        (FAILURE, 1, FAILURE_OUTPUT),
    ],
)
def test_the_whole_output_of_waiting_for_a_run(
    story: Story,
    code: int,
    output: str,
    real_command_line: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert waited_for(story, real_command_line, capsys) == (code, output)
    assert output.count("\n") < 40


def waited_for(
    story: Story, command_line: Any, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Runs `submit --wait`, with two retries for each step; requests take no time."""
    with RunServer(per_request=0.0) as server:

        def play(request: Any) -> None:
            if server.runs and not server.played:
                version = server.versions[0]["pipeline_spec"]
                server.play(ArgoRun(version, story))

        server.before = play
        setting = "cluster={defaults: {retry: {count: 2, backoff_seconds: 20}}}"
        arguments = ("submit", "--config", "sample", "--local-images", "--set", setting, "--wait")
        code = command_line(server, *arguments)
        text = capsys.readouterr().out
        run, version = server.runs[0], server.versions[0]
        for found, name in (
            (server.url, "HOST"),
            (run["run_id"], "ID"),
            (run["display_name"], "NAME"),
            (version["name"], "VERSION"),
        ):
            text = text.replace(found, name)
        return code, text


# The changes of a step.


def test_a_run_reads_the_same_with_and_without_argos_defaults() -> None:
    story = Story(pods={"train[1]": [Pod(25)]}, cached=["ingest", "train[2]"])

    runs = [Followed(story, template_defaults=defaults) for defaults in (True, False)]

    assert [run.code for run in runs] == [0, 0]
    assert runs[0].lines == runs[1].lines
    assert len(runs[0].argo.nodes) > 1.5 * len(runs[1].argo.nodes)


def test_steps_in_loops_are_named_by_the_runs_own_items() -> None:
    run = Followed(parameters={"layer_stacks": [[7], [16, 8]]})

    assert [line for line in run.steps if line.startswith("train")] == [
        "train [7] running",
        "train [16, 8] running",
        "train [7] succeeded",
        "train [16, 8] succeeded",
    ]


def test_a_fully_cached_run_shows_one_line_per_step() -> None:
    steps = ("resolve", "fetch-published", "fetch-published-2", "ingest", "check-data", "adapt",
             "encode-for-published", "train[0]", "train[1]", "train[2]", "select-model", "export",
             "evaluate", "publish", "notify")  # fmt: skip

    for defaults in (True, False):
        run = Followed(Story(cached=steps), template_defaults=defaults)

        assert len(run.steps) == len(steps)
        assert all(step.endswith(" reused") for step in run.steps)


@pytest.mark.parametrize("defaults", [True, False])
@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_attempts_are_counted_as_in_argo(defaults: bool, phase: str) -> None:
    story = Story(pods={"export": [Pod(20, 2, phase), Pod(20)]})

    run = Followed(story, text=RETRIED, template_defaults=defaults)

    # Argo retries only lost pods with KFP 2.17's defaults, and only failures without them.
    retried = (phase == "Error") == defaults
    assert run.code == (0 if retried else 1)
    assert [step for step in run.steps if step.startswith("export")] == [
        "export running",
        *(["export attempt 2 of 3", "export succeeded"] if retried else ["export failed"]),
    ]


def test_attempts_from_argos_defaults_have_no_total() -> None:
    story = Story(pods={"export": [Pod(20, 2, "Error"), Pod(20, 2, "Error"), Pod(20)]})

    run = Followed(story)

    assert "export attempt 2" in run.steps
    assert "export attempt 3" in run.steps
    assert run.code == 0


def test_a_group_that_argo_restarts_is_shown_as_attempts_of_its_steps() -> None:
    # Argo's defaults also apply to groups: a step that is lost three times ends the group around
    # it with an error, so the group is retried as well.
    story = Story(pods={"export": [Pod(9, 2, "Error")] * 4 + [Pod(9)]})

    run = Followed(story)

    assert [step for step in run.steps if step.startswith("export")] == [
        "export running",
        "export attempt 2",
        "export attempt 3",
        "export attempt 4",
        "export attempt 5",
        "export succeeded",
    ]
    assert run.code == 0


def test_a_long_waiting_pod_is_shown_as_pending() -> None:
    run = Followed(Story(pods={"adapt": [Pod(20, 100)], "export": [Pod(20, 15)]}))

    assert [step for step in run.steps if "pending" in step] == ["adapt pending"]
    adapt = [step for step in run.steps if step.startswith("adapt")]
    assert adapt == ["adapt pending", "adapt running", "adapt succeeded"]


@pytest.mark.slow
def test_a_waiting_training_is_distinguished_from_running_ones() -> None:
    story = Story(
        pods={
            "train[0]": [Pod(200)],
            "train[1]": [Pod(20, 100)],
            "train[2]": [Pod(200)],
            "train-driver[0]": [Pod(3, 2)],
            "train-driver[1]": [Pod(3, 4)],
            "train-driver[2]": [Pod(3, 6)],
        }
    )

    for defaults in (True, False):
        run = Followed(story, template_defaults=defaults)

        assert [step for step in run.steps if "pending" in step] == ["train [64, 32] pending"]
        assert run.steps.count("train [64, 32] running") == 1


# Unexpected forms of the tasks.


def mutated(kind: str, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if kind == "no histories":
        return [{**task, "state_history": []} for task in tasks]
    if kind == "histories out of order":
        return [{**task, "state_history": task.get("state_history", [])[::-1]} for task in tasks]
    if kind == "another order of tasks":
        return random.Random(len(tasks)).sample(tasks, len(tasks))
    if kind == "tasks without a name":
        return [*tasks, {"task_id": "x"}, {"task_id": "y", "display_name": None, "state": "FAILED"}]
    if kind == "times of another year":
        return [{**task, "end_time": "1970-01-01T00:00:00Z"} for task in tasks]
    if kind == "strange tasks":
        return [
            *tasks,
            {"display_name": "executor(0)", "state": "FAILED", "child_tasks": [{"pod_name": "?"}]},
            {"display_name": "", "child_tasks": [{}, {"task_id": "1"}]},
            {"display_name": "train(0", "state": "HIBERNATING"},
        ]
    return tasks


KINDS = (
    "no histories",
    "histories out of order",
    "another order of tasks",
    "tasks without a name",
    "times of another year",
    "strange tasks",
)


RETRIED_FAILURE = Story(pods={"train[1]": [LOST, BAD]}, cached=["ingest"])


@pytest.fixture(scope="module")
def expected() -> Followed:
    return Followed(RETRIED_FAILURE, text=RETRIED)


@pytest.mark.parametrize("kind", KINDS)
def test_changes_do_not_depend_on_the_form_of_the_tasks(
    kind: str, expected: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = ArgoRun.tasks
    monkeypatch.setattr(ArgoRun, "tasks", lambda *a, **k: mutated(kind, tasks(*a, **k)))

    run = Followed(RETRIED_FAILURE, text=RETRIED)

    assert sorted(run.steps) == sorted(expected.steps)
    assert without_id(run.end) == without_id(expected.end)


def without_id(lines: list[str]) -> list[str]:
    return [re.sub(r"[0-9a-f-]{36}", "ID", line) for line in lines]


@pytest.mark.slow
def test_a_late_report_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Followed(FAILURE, text=RETRIED)
    tasks = ArgoRun.tasks
    looks = itertools.count()

    def stale(self: ArgoRun, run_id: str, began: Any, seconds: float, lag: float = 1.0) -> Any:
        # Every other answer is half a minute old, until the run ends.
        old = next(looks) % 2 and seconds < self.seconds
        return tasks(self, run_id, began, seconds - 30 if old else seconds, lag)

    monkeypatch.setattr(ArgoRun, "tasks", stale)

    run = Followed(FAILURE, text=RETRIED)

    assert sorted(run.steps) == sorted(expected.steps)


def test_without_the_pipelines_version_steps_in_loops_have_numbers() -> None:
    story = Story(pods={"train[1]": [BAD]})
    with RunServer() as server:
        cluster = connected(server)
        uploaded = upload(cluster, "sample", RETRIED)
        run = start_run(cluster, uploaded, experiment(cluster, "sample"), "sample")
        server.play(ArgoRun(next(iter(yaml.safe_load_all(RETRIED))), story))
        server.versions.clear()
        lines: list[str] = []
        assert follow(cluster, run.run_id, show=lines.append, commands=COMMANDS) == 1
    assert "train #2 failed" in changes(lines)
    assert "more: LOGS 'train #2'" in lines
