"""Following a run through faults, time-outs and interrupts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_support import (
    IR,
    PASSING,
    PASSING_EFFECTS,
    clear,
    connected,
    no_settings,
)
from faulty_http import status
from followed import COMMANDS, changes
from kfp_server import KfpServer

from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.progress import follow
from pipeline.cluster.runs.start import start_run
from pipeline.cluster.uploads.upload import upload

__all__ = ["no_settings"]  # a fixture


class Scenes:
    """A run that advances by one scene with each request."""

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


@pytest.mark.parametrize("kind", PASSING_EFFECTS)
@pytest.mark.parametrize("number", range(5))
def test_following_survives_a_passing_fault(number: int, kind: str) -> None:
    with KfpServer() as server:
        story = Scenes(server, *GOOD)
        server.fail("GET .*/runs/.*", PASSING[kind], nth=number + 1)
        assert story.follow() == 0
        seen = [step for step in GOOD_STEPS if step in story.steps]
        assert story.steps == seen  # none twice, none out of order
        assert story.steps[-1] == "adapt succeeded"


def test_a_token_that_expires_while_a_run_is_followed_is_renewed(tmp_path: Path) -> None:
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


def test_a_step_that_ended_between_two_requests_is_shown_with_its_start() -> None:
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
def test_a_run_that_does_not_succeed_returns_1(state: str) -> None:
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


def test_a_run_that_fails_without_a_failed_step_shows_its_own_error() -> None:
    with KfpServer() as server:
        for error, says in (
            ({"message": "no\nworkflow"}, "error: no workflow"),
            (None, "error: Kubeflow does not report which step failed."),
        ):
            story = Scenes(server, {**scene("FAILED"), "error": error or {}})
            assert story.follow() == 1
            assert story.lines[-1] == says
            server.runs.clear()


def test_an_unknown_state_is_shown_unchanged() -> None:
    with KfpServer() as server:
        story = Scenes(
            server,
            scene("RUNNING", ingest="HIBERNATING"),
            {**scene("EVAPORATED", ingest="EVAPORATED"), "finished_at": "2026-11-24T04:00:00Z"},
        )
        assert story.follow() == 1
        assert story.steps == ["ingest HIBERNATING", "ingest EVAPORATED"]
        assert any("EVAPORATED" in line for line in story.lines)


def test_the_run_continues_after_the_timeout() -> None:
    with KfpServer() as server:
        story = Scenes(server, scene("RUNNING", ingest="RUNNING"))
        assert story.follow(timeout=12) == 1
        assert "not ended after 12 s; it continues" in story.lines[-1]
        assert "FOLLOW" in story.lines[-1]
        assert sum(server.clock.slept) == pytest.approx(12, abs=1)
        assert server.count("POST .*") == 4  # to create and upload: nothing ends the run


def test_ctrl_c_leaves_the_run_running_and_says_how_to_follow_it_again() -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with KfpServer() as server:
        story = Scenes(server, scene("RUNNING", ingest="RUNNING"))
        story.cluster.clock = replace(story.cluster.clock, sleep=interrupt)
        assert story.follow() == 130
        assert "the run continues" in story.lines[-1]
        assert "FOLLOW" in story.lines[-1]
        assert server.count("POST .*") == 4


def test_a_missing_run_is_one_message() -> None:
    with KfpServer() as server, pytest.raises(ClusterError, match="404") as caught:
        follow(connected(server), "no-such-run")
    assert clear(str(caught.value))


def test_an_unreachable_server_ends_following_in_one_message() -> None:
    with KfpServer() as server:
        story = Scenes(server, scene("RUNNING"))
        server.fail("GET .*/runs/.*", status(503), nth=0)
        with pytest.raises(ClusterError, match="FOLLOW") as caught:
            story.follow()
        assert clear(str(caught.value))
        assert 200 < sum(server.clock.slept) <= 300
