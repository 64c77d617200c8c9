"""Following a run: what is shown of each change, at the end, and when things go wrong."""

import itertools
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from argo_run import ArgoRun, Pod, RunServer, Story
from cluster_support import (
    IR,
    PASSING,
    clear,
    connected,
    no_settings,
    real_command_line,
)
from kfp_server import KfpServer, status

from components.shared.runtime.images import STEP_IMAGES
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.progress import Commands, follow
from pipeline.cluster.runs.start import RunSettings, start_run
from pipeline.cluster.uploads.upload import upload
from pipeline.compilation import compile_pipeline
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig

__all__ = ["no_settings", "real_command_line"]  # fixtures
COMMANDS = Commands(follow="FOLLOW", logs="LOGS")


def compiled(**cluster: Any) -> str:
    """The shipped sample, three layer stacks, as it is compiled for a cluster."""
    values = load_config("sample").model_dump(mode="json", exclude_none=True)
    config = PipelineConfig.model_validate({**values, "cluster": cluster})
    return compile_pipeline(config, STEP_IMAGES)


SAMPLE = compiled()
RETRIED = compiled(defaults={"retry": {"count": 2}})


class Followed:
    """A run of the compiled pipeline that is followed to its end.

    Args:
        story: What happens in it.
        text: The compiled pipeline.
        template_defaults: Whether Argo has the defaults that KFP 2.17 ships.
        parameters: What the run changes of the pipeline's parameters.
        server: Options of the server.
        **options: Of `follow`.
    """

    def __init__(
        self,
        story: Story | None = None,
        *,
        text: str = SAMPLE,
        template_defaults: bool = True,
        parameters: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        **options: Any,
    ):
        self.lines: list[str] = []
        with RunServer(**(server or {})) as self.server:
            cluster = connected(self.server)
            uploaded = upload(cluster, "sample", text)
            run = start_run(
                cluster,
                uploaded,
                experiment(cluster, "sample"),
                "sample",
                RunSettings(parameters or {}),
            )
            self.argo = ArgoRun(
                next(iter(yaml.safe_load_all(text))),
                story,
                template_defaults=template_defaults,
                parameters=parameters,
            )
            self.server.play(self.argo)
            self.run_id = run.run_id
            # kfp_server_api takes 0.1 s to read a run: look seldom.
            options.setdefault("poll", 20.0)
            self.code = follow(
                cluster, run.run_id, show=self.lines.append, commands=COMMANDS, **options
            )

    @property
    def steps(self) -> list[str]:
        """The changes of steps without their times."""
        return changes(self.lines)

    @property
    def end(self) -> list[str]:
        """What is shown after the last change of a step."""
        return [line for line in self.lines if not re.match(r" *\d+\.\d s", line)]


def changes(lines: list[str]) -> list[str]:
    return [" ".join(line.split()[2:]) for line in lines if re.match(r" *\d+\.\d s", line)]


# The whole output.

LOST = Pod(30, 2, "Error", message="pod deleted")
LOG = """\
[train] reads 3,000 rows
[train] error: train.batch_size: 0 is no size
[train]   choose 1 or more
F1124 03:12:06.714331       1 main.go:57] failed to execute component: exit status 1
"""
BAD = Pod(20, 2, "Failed", LOG, "Error (exit code 1)")
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
   74.0 s  adapt                running
   74.0 s  encode_for_published running
   86.0 s  encode_for_published succeeded
   88.0 s  adapt                succeeded
  100.0 s  train [32]           reused
  100.0 s  train [64, 32]       running
  100.0 s  train [128, 64, 32]  running
  152.0 s  train [64, 32]       attempt 2 of 3
  172.0 s  train [128, 64, 32]  succeeded
  244.0 s  train [64, 32]       succeeded
  248.0 s  select_model         running
  260.0 s  select_model         succeeded
  264.0 s  export               running
  276.0 s  export               succeeded
  340.0 s  evaluate             pending
  385.0 s  evaluate             running
  425.0 s  evaluate             succeeded
  429.0 s  publish              running
  441.0 s  publish              succeeded
  445.0 s  notify               running
  457.0 s  notify               succeeded
The run has succeeded after 7m37s.
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
   44.0 s  adapt                running
   44.0 s  encode_for_published running
   56.0 s  adapt                succeeded
   56.0 s  encode_for_published succeeded
   68.0 s  train [32]           running
   68.0 s  train [64, 32]       running
   68.0 s  train [128, 64, 32]  running
   80.0 s  train [32]           succeeded
  120.0 s  train [64, 32]       attempt 2 of 3
  140.0 s  train [128, 64, 32]  succeeded
  142.0 s  train [64, 32]       failed
  146.0 s  notify               running
  158.0 s  notify               succeeded
The run has ended: failed after 2m38s.
error: train [64, 32] failed: train.batch_size: 0 is no size choose 1 or more
not run: select_model, export, evaluate, publish
more: deep-retrieval logs --host HOST ID 'train [64, 32]'
"""


@pytest.mark.parametrize(
    ("story", "code", "output"), [(SUCCESS, 0, SUCCESS_OUTPUT), (FAILURE, 1, FAILURE_OUTPUT)]
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


# What is shown of a step.


def test_a_run_reads_the_same_with_and_without_argos_defaults() -> None:
    story = Story(pods={"train[1]": [Pod(25)]}, cached=["ingest", "train[2]"])

    runs = [Followed(story, template_defaults=defaults) for defaults in (True, False)]

    assert [run.code for run in runs] == [0, 0]
    assert runs[0].lines == runs[1].lines
    assert len(runs[0].argo.nodes) > 1.5 * len(runs[1].argo.nodes)


def test_loops_are_named_by_what_the_run_gives_them() -> None:
    run = Followed(parameters={"layer_stacks": [[7], [16, 8]]})

    assert [line for line in run.steps if line.startswith("train")] == [
        "train [7] running",
        "train [16, 8] running",
        "train [7] succeeded",
        "train [16, 8] succeeded",
    ]


def test_everything_from_the_cache_is_one_line_a_step() -> None:
    steps = ("resolve", "fetch-published", "fetch-published-2", "ingest", "adapt",
             "encode-for-published", "train[0]", "train[1]", "train[2]", "select-model", "export",
             "evaluate", "publish", "notify")  # fmt: skip

    for defaults in (True, False):
        run = Followed(Story(cached=steps), template_defaults=defaults)

        assert len(run.steps) == len(steps)
        assert all(step.endswith(" reused") for step in run.steps)


@pytest.mark.parametrize("defaults", [True, False])
@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_attempts_are_counted_as_argo_makes_them(defaults: bool, phase: str) -> None:
    story = Story(pods={"export": [Pod(20, 2, phase), Pod(20)]})

    run = Followed(story, text=RETRIED, template_defaults=defaults)

    # With KFP 2.17's defaults Argo retries lost pods only, without them failures only.
    retried = (phase == "Error") == defaults
    assert run.code == (0 if retried else 1)
    assert [step for step in run.steps if step.startswith("export")] == [
        "export running",
        *(["export attempt 2 of 3", "export succeeded"] if retried else ["export failed"]),
    ]


def test_attempts_that_the_pipeline_does_not_ask_for_have_no_total() -> None:
    story = Story(pods={"export": [Pod(20, 2, "Error"), Pod(20, 2, "Error"), Pod(20)]})

    run = Followed(story)

    assert "export attempt 2" in run.steps
    assert "export attempt 3" in run.steps
    assert run.code == 0


def test_a_group_that_argo_begins_again_is_shown_as_attempts_of_its_steps() -> None:
    # Argo's defaults hold for groups too: a step that is lost three times makes the group around
    # it end in an error, and be tried again as well.
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


def test_a_pod_that_waits_for_long_is_shown_as_pending() -> None:
    run = Followed(Story(pods={"adapt": [Pod(20, 100)], "export": [Pod(20, 15)]}))

    assert [step for step in run.steps if "pending" in step] == ["adapt pending"]
    adapt = [step for step in run.steps if step.startswith("adapt")]
    assert adapt == ["adapt pending", "adapt running", "adapt succeeded"]


def test_one_training_that_waits_is_told_from_those_that_run() -> None:
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


# The tasks as they should not come, but may.


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


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_the_same_however_the_tasks_are_told(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(pods={"train[1]": [LOST, BAD]}, cached=["ingest"])
    expected = Followed(story, text=RETRIED)
    tasks = ArgoRun.tasks
    monkeypatch.setattr(ArgoRun, "tasks", lambda *a, **k: mutated(kind, tasks(*a, **k)))

    run = Followed(story, text=RETRIED)

    assert sorted(run.steps) == sorted(expected.steps)
    assert without_id(run.end) == without_id(expected.end)


def without_id(lines: list[str]) -> list[str]:
    return [re.sub(r"[0-9a-f-]{36}", "ID", line) for line in lines]


def test_a_report_that_comes_late_shows_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Followed(FAILURE, text=RETRIED)
    tasks = ArgoRun.tasks
    looks = itertools.count()

    def stale(self: ArgoRun, run_id: str, began: Any, seconds: float, lag: float = 1.0) -> Any:
        # Every other answer is of half a minute ago, until the run is over.
        old = next(looks) % 2 and seconds < self.seconds
        return tasks(self, run_id, began, seconds - 30 if old else seconds, lag)

    monkeypatch.setattr(ArgoRun, "tasks", stale)

    run = Followed(FAILURE, text=RETRIED)

    assert sorted(run.steps) == sorted(expected.steps)


def test_without_the_pipelines_version_steps_have_their_numbers() -> None:
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


# The end of a run that failed.


def test_the_error_of_an_attempt_that_was_retried_with_success_is_not_blamed() -> None:
    story = Story(pods={"adapt": [LOST, Pod(10)], "export": [Pod(20, 2, "Failed", "no error")]})

    for text in (SAMPLE, RETRIED):
        run = Followed(story, text=text)
        assert run.end[1:] == [
            "error: export failed; its log shows no error",
            "not run: evaluate, publish",
            "more: LOGS export",
        ]


def test_the_first_of_several_steps_that_fail_is_blamed_and_the_others_named() -> None:
    run = Followed(Story(pods={"train[0]": [Pod(60, 2, "Failed")], "train[2]": [BAD]}))

    assert run.end[1].startswith("error: train [128, 64, 32] failed: train.batch_size")
    assert run.end[2] == "also failed: train [32]"


@pytest.mark.parametrize(
    ("message", "log", "says"),
    [
        ("OOMKilled (exit code 137)", "epoch 1\n", "OOMKilled (exit code 137)"),
        ("pod deleted", "", "pod deleted"),
        (
            "Error (exit code 1)",
            'Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 7\n',
            "KeyError: 7",
        ),
        (
            "Error (exit code 1)",
            "F1124 03:12:06.7 1 main.go:57] failed to execute component: no bucket\n",
            "failed to execute component: no bucket",
        ),
        ("Error (exit code 1)", "nothing of use\n", "Error (exit code 1)"),
        ("Error (exit code 1)", "[train] error: \x1b[31mred\x1b[0m\n", "red"),
    ],
)
def test_what_is_known_of_a_failure_is_said(message: str, log: str, says: str) -> None:
    run = Followed(Story(pods={"train[1]": [Pod(20, 2, "Failed", log, message)]}))

    assert run.end[1] == f"error: train [64, 32] failed: {says}"


def test_a_log_is_read_through_the_servers_of_the_api_and_of_the_ui() -> None:
    for options in ({}, {"is_ui": True}, {"pods_alive": False}):
        run = Followed(Story(pods={"train[1]": [BAD]}), server=options)

        assert run.end[1] == (
            "error: train [64, 32] failed: train.batch_size: 0 is no size choose 1 or more"
        )


@pytest.mark.parametrize("text", [SAMPLE, RETRIED])
def test_where_a_log_cannot_be_read_the_command_of_kubectl_is_shown(text: str) -> None:
    story = Story(pods={"train[1]": [BAD]})

    run = Followed(story, text=text, server={"pods_alive": False, "archived": False})

    pod = run.argo.node("train[1]").pod_name
    assert run.end[1:3] == [
        "error: train [64, 32] failed: Error (exit code 1)",
        "Its log cannot be read through Kubeflow. To see it: kubectl logs --namespace kubeflow "
        f"{pod} --container main",
    ]


@pytest.mark.parametrize("text", [SAMPLE, RETRIED])
def test_a_pods_name_is_known_without_the_workflow(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArgoRun, "manifest", lambda self: "[]")
    story = Story(pods={"train[1]": [BAD]})

    run = Followed(story, text=text, server={"pods_alive": False, "archived": False})

    assert run.end[1] == "error: train [64, 32] failed"
    assert f" {run.argo.node('train[1]').pod_name} --container main" in run.end[2]


DRIVER = (
    "F1124 03:12:06.714331       1 main.go:126] KFP driver: driver.Container(pipelineName=deep, "
    'runID=5, task="export", component="comp-export", dagExecutionID=23, componentSpec) failed: '
)
TWICE = (
    "failed to get executions in DAG(executionID=23): two tasks have the same task name "
    '"select-model_23", id1=41 id2=43\n'
)


@pytest.mark.parametrize("defaults", [True, False])
def test_a_run_that_a_preempted_driver_has_broken_is_recognized(defaults: bool) -> None:
    driver = Pod(3, 1, "Failed", DRIVER + TWICE)

    run = Followed(Story(pods={"export-driver": [driver]}), template_defaults=defaults)

    assert "export failed" in run.steps
    assert run.end[1:3] == [
        "error: export could not start: Kubeflow has two records of select-model, "
        "because the pod of its driver was lost and replaced (e.g. its node was preempted).",
        "This run cannot continue. Start a new run: it reuses completed steps from the cache.",
    ]


@pytest.mark.parametrize("defaults", [True, False])
@pytest.mark.parametrize("step", ["export", "train[1]"])
def test_a_driver_that_fails_is_told_from_a_step_that_does(step: str, defaults: bool) -> None:
    name, _, item = step.partition("[")
    key = f"{name}-driver[{item}" if item else f"{name}-driver"
    driver = Pod(3, 1, "Failed", DRIVER + "no such secret\n")

    run = Followed(Story(pods={key: [driver]}), template_defaults=defaults)

    title = "train [64, 32]" if item else "export"
    assert run.end[1] == (f"error: {title} could not start: its driver failed: no such secret")
    assert run.end[-1] == f"more: LOGS {repr(title) if item else title}"


def test_a_loop_whose_driver_fails_is_named() -> None:
    for defaults in (True, False):
        driver = Pod(3, 1, "Failed", DRIVER + "no list\n")

        run = Followed(Story(pods={"iteration-driver": [driver]}), template_defaults=defaults)

        assert run.end[1] == "error: for_loop_2 could not start: its driver failed: no list"
        assert run.end[2] == "not run: train, select_model, export, evaluate, publish"


# Simple runs, whose tasks have names only, and what happens between two looks.


class Scenes:
    """A run that goes on by one scene with each request."""

    def __init__(self, server: KfpServer, *scenes: dict[str, Any]):
        self.cluster = connected(server)
        uploaded = upload(self.cluster, "shop", IR)
        self.run = start_run(self.cluster, uploaded, experiment(self.cluster, "shop"), "shop")
        self.lines: list[str] = []
        self._scenes = list(scenes)
        server.before = self._go_on
        self._server = server

    def _go_on(self, request: Any) -> None:
        if "v2beta1/runs/" in request.path and request.fault != "status" and self._scenes:
            self._server.runs[0].update(self._scenes.pop(0))

    def follow(self, **options: Any) -> int:
        return follow(
            self.cluster, self.run.run_id, show=self.lines.append, commands=COMMANDS, **options
        )

    @property
    def steps(self) -> list[str]:
        return changes(self.lines)


def scene(state: str, **tasks: str) -> dict[str, Any]:
    details = [
        {"task_id": name, "display_name": name.replace("_", "-"), "state": task_state}
        for name, task_state in tasks.items()
    ]
    return {"state": state, "run_details": {"task_details": details}}


GOOD = (
    scene("RUNNING", root_driver="SUCCEEDED", ingest="PENDING"),
    scene("RUNNING", root_driver="SUCCEEDED", ingest="RUNNING"),
    scene("RUNNING", root_driver="SUCCEEDED", ingest="RUNNING"),
    scene("RUNNING", root_driver="SUCCEEDED", ingest="SUCCEEDED", adapt="RUNNING"),
    scene("SUCCEEDED", root_driver="SUCCEEDED", ingest="SUCCEEDED", adapt="SUCCEEDED"),
)
GOOD_STEPS = ["ingest running", "ingest succeeded", "adapt running", "adapt succeeded"]


def test_each_change_of_a_step_is_shown_once_and_in_order() -> None:
    with KfpServer() as server:
        story = Scenes(server, *GOOD)
        assert story.follow() == 0
        assert story.steps == GOOD_STEPS
        assert server.clock.slept == [5.0] * 4
        assert story.lines[-1].startswith("The run has succeeded")


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("number", range(5))
def test_following_outlives_a_passing_fault(number: int, kind: str) -> None:
    with KfpServer() as server:
        story = Scenes(server, *GOOD)
        server.fail("GET .*/runs/.*", PASSING[kind], nth=number + 1)
        assert story.follow() == 0
        seen = [step for step in GOOD_STEPS if step in story.steps]
        assert story.steps == seen  # none twice, none out of order
        assert story.steps[-1] == "adapt succeeded"


def test_a_token_that_ends_while_a_run_is_followed_is_renewed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    with KfpServer() as server:
        story = Scenes(server, *GOOD)
        story.cluster = connected(server, token_file=str(file))
        server.tokens = {"first"}
        go_on = server.before

        def rotate(request: Any) -> None:
            if server.count("GET .*/runs/.*") == 3 and server.tokens == {"first"}:
                server.tokens = {"second"}
                file.write_text("second")
            else:
                go_on(request)

        server.before = rotate
        assert story.follow() == 0
        assert 401 in [request.status for request in server.requests]
        assert story.steps == GOOD_STEPS


def test_a_step_that_has_ended_before_it_was_seen_has_begun_too() -> None:
    task = {
        "task_id": "1",
        "display_name": "ingest",
        "state": "SUCCEEDED",
        "start_time": "2026-11-24T03:00:05Z",
        "end_time": "2026-11-24T03:00:31Z",
    }
    with KfpServer() as server:
        end = {"state": "SUCCEEDED", "run_details": {"task_details": [task]}}
        story = Scenes(server, end, end)
        server.runs[0]["created_at"] = "2026-11-24T03:00:00Z"
        assert story.follow() == 0
        assert [" ".join(line.split()) for line in story.lines[:-1]] == [
            "5.0 s ingest running",
            "31.0 s ingest succeeded",
        ]


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_a_run_that_does_not_succeed_gives_1(state: str) -> None:
    with KfpServer() as server:
        story = Scenes(server, scene(state, train="FAILED", export="CANCELED"))
        assert story.follow() == 1
        assert story.steps == [
            "train running",
            "train failed",
            "export running",
            "export canceled",
        ]
        assert f"The run has ended: {state.lower()} after " in "\n".join(story.lines)
        assert "error: train failed" in story.lines
        assert any("--selector pipeline/runid=" in line for line in story.lines)
        assert story.lines[-1] == "more: LOGS train"


def test_a_run_that_fails_without_a_failed_step_says_what_is_known() -> None:
    with KfpServer() as server:
        for error, says in (
            ({"message": "no\nworkflow"}, "error: no workflow"),
            (None, "error: Kubeflow does not report which step failed."),
        ):
            story = Scenes(server, {**scene("FAILED"), "error": error or {}})
            assert story.follow() == 1
            assert story.lines[-1] == says
            server.runs.clear()


def test_a_state_that_is_not_known_is_shown_as_it_is() -> None:
    with KfpServer() as server:
        story = Scenes(
            server,
            scene("RUNNING", ingest="HIBERNATING"),
            {**scene("EVAPORATED", ingest="EVAPORATED"), "finished_at": "2026-11-24T04:00:00Z"},
        )
        assert story.follow() == 1
        assert story.steps == ["ingest HIBERNATING", "ingest EVAPORATED"]
        assert any("EVAPORATED" in line for line in story.lines)


def test_when_time_is_over_the_run_goes_on() -> None:
    with KfpServer() as server:
        story = Scenes(server, scene("RUNNING", ingest="RUNNING"))
        assert story.follow(timeout=12) == 1
        assert "not ended after 12 s; it continues" in story.lines[-1]
        assert "FOLLOW" in story.lines[-1]
        assert sum(server.clock.slept) == pytest.approx(12, abs=1)
        assert server.count("POST .*") == 4  # to create and upload: nothing ends the run


def test_ctrl_c_leaves_the_run_and_says_how_to_follow_it_again() -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with KfpServer() as server:
        story = Scenes(server, scene("RUNNING", ingest="RUNNING"))
        story.cluster.clock = replace(story.cluster.clock, sleep=interrupt)
        assert story.follow() == 130
        assert "the run continues" in story.lines[-1]
        assert "FOLLOW" in story.lines[-1]
        assert server.count("POST .*") == 4


def test_a_run_that_is_not_there_is_one_message() -> None:
    with KfpServer() as server, pytest.raises(ClusterError, match="404") as caught:
        follow(connected(server), "no-such-run")
    assert clear(str(caught.value))


def test_a_server_that_stays_away_ends_following_in_one_message() -> None:
    with KfpServer() as server:
        story = Scenes(server, scene("RUNNING"))
        server.fail("GET .*/runs/.*", status(503), nth=0)
        with pytest.raises(ClusterError, match="FOLLOW") as caught:
            story.follow()
        assert clear(str(caught.value))
        assert 200 < sum(server.clock.slept) <= 300
