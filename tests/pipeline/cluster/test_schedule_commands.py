"""`schedule create`, `run`, `pause`, `resume` and `delete`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cluster_support import (
    LASTING,
    PASSING,
    clear,
    command_line,
    connected,
    no_settings,
    real_command_line,
)
from kfp_server import KfpServer
from schedule_support import LOCAL, create, local_zone, make, spec_of

from components.resolve.job import SCHEDULED
from components.shared.runtime.errors import InputError
from pipeline.cluster.schedules import changes, lookup, replacement

__all__ = ["command_line", "local_zone", "no_settings", "real_command_line"]  # fixtures


@pytest.mark.parametrize(
    ("options", "until", "shown"),
    [
        ((), "2026-11-24T03:10:2.Z", "before 2026-11-24 03:10:2"),
        (("--at", "2026-11-20T03:15"), "2026-11-20T03:15:00Z", "before 2026-11-20 03:15 UTC"),
        (("--at", "2026-11-20T04:15+01:00"), "2026-11-20T03:15:00Z", "before 2026-11-20 03:15 UTC"),
    ],
)
def test_a_run_is_started_with_the_schedules_settings_now_or_for_a_past_time(
    command_line: Any,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    until: str,
    shown: str,
) -> None:
    with KfpServer() as server:
        made, _ = create(
            server,
            parameters={"data_until": SCHEDULED, "seed": 7},
            service_account="trainer",
            pipeline_root="s3://root",
            paused=True,
        )
        assert command_line(server, "schedule", "run", "nightly", *options) == 0
        (run,) = server.runs
        parameters = run["runtime_config"]["parameters"]
        assert re.fullmatch(until, parameters.pop("data_until"))
        assert parameters == {"seed": 7}
        assert run["runtime_config"]["pipeline_root"] == "s3://root"
        assert run["service_account"] == "trainer"
        assert run["experiment_id"] == made.run.experiment_id
        assert run["pipeline_version_reference"]["pipeline_version_id"] == made.version_id
        printed = capsys.readouterr().out
        assert f"run       {run['display_name']} started" in printed
        assert run["display_name"].startswith("nightly-20261124-0310")
        assert f"runs/details/{run['run_id']}" in printed
        assert f"data    takes interactions {shown}" in printed
        assert [there["mode"] for there in server.schedules] == ["DISABLE"]


def test_a_given_time_replaces_a_fixed_one(command_line: Any) -> None:
    with KfpServer() as server:
        create(server, parameters={"data_until": "2026-01-01"})
        assert command_line(server, "schedule", "run", "nightly") == 0
        assert command_line(server, "schedule", "run", "nightly", "--at", "2026-02-01") == 0
        assert [run["runtime_config"]["parameters"]["data_until"] for run in server.runs] == [
            "2026-01-01",
            "2026-02-01T00:00:00Z",
        ]


@pytest.mark.parametrize(
    ("parameters", "at", "says"),
    [
        ({"data_until": SCHEDULED}, "2026-11-24T03:11Z", "is in the future"),
        ({"data_until": SCHEDULED}, "soon", "--at soon: write"),
        ({}, "2026-11-20", "takes the whole log, which has no timestamps"),
    ],
)
def test_an_impossible_time_is_refused(
    command_line: Any,
    capsys: pytest.CaptureFixture[str],
    parameters: dict[str, Any],
    at: str,
    says: str,
) -> None:
    with KfpServer() as server:
        create(server, parameters=parameters, paused=True)
        assert command_line(server, "schedule", "run", "nightly", "--at", at) == 2
        assert says in capsys.readouterr().err
        assert server.runs == []


def test_a_run_is_waited_for(command_line: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with KfpServer() as server:
        create(server, paused=True)

        def end(request: Any) -> None:
            for run in server.runs:
                run |= {"state": "FAILED"}

        server.before = end
        assert command_line(server, "schedule", "run", "nightly", "--wait") == 1
        assert "failed" in capsys.readouterr().out


def test_pause_and_resume_may_be_repeated(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        make(server, "nightly")
        for action, mode in (("pause", "DISABLE"), ("resume", "ENABLE")):
            for _ in range(2):
                assert command_line(server, "schedule", action, "nightly") == 0
                assert server.schedules[0]["mode"] == mode
        assert server.count("POST .*able") == 2
        assert "nightly: on" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["show", "run", "pause", "resume", "delete"])
def test_a_missing_schedule_is_reported_with_the_existing_ones(
    command_line: Any, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    with KfpServer() as server:
        make(server, "weekly", "hourly")
        assert command_line(server, "schedule", action, "nightly") == 2
        assert "Schedules: hourly, weekly." in capsys.readouterr().err
        assert len(server.schedules) == 2


def test_a_name_in_two_experiments_needs_the_experiment(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        make(server, "nightly")
        make(server, "nightly", where="test")
        assert command_line(server, "schedule", "delete", "nightly") == 2
        assert "shop, test" in capsys.readouterr().err
        assert command_line(server, "schedule", "delete", "nightly", "--experiment", "test") == 0
        assert len(server.schedules) == 1
        assert command_line(server, "schedule", "show", "nightly", "--experiment", "no") == 2


@pytest.mark.parametrize("number", range(1, 4))  # request 0 is for the server's health
@pytest.mark.parametrize("action", ["pause", "resume", "delete", "show", "list", "run"])
def test_the_commands_survive_a_passing_fault(command_line: Any, action: str, number: int) -> None:
    with KfpServer() as server:
        create(server, paused=action == "resume")
        server.fail(number, PASSING["dropped after"])
        names = [] if action == "list" else ["nightly"]
        assert command_line(server, "schedule", action, *names) == 0
        modes = [run["mode"] for run in server.schedules]
        expected = {"pause": ["DISABLE"], "delete": []}
        assert modes == expected.get(action, ["ENABLE"])
        assert len(server.runs) == (action == "run")


@pytest.mark.parametrize("action", ["pause", "resume", "delete", "show", "list", "run"])
def test_a_refused_command_returns_1_with_one_message(
    command_line: Any, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    with KfpServer() as server:
        create(server)
        server.fail(1, LASTING["403"])
        names = [] if action == "list" else ["nightly"]
        assert command_line(server, "schedule", action, *names) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert clear(error)
        assert [run["mode"] for run in server.schedules] == ["ENABLE"]


def test_a_server_that_passes_no_scheduled_time_is_refused_before_anything_is_sent(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        server.version = "2.16.1"
        arguments = ("schedule", "create", "nightly", LOCAL, "--cron", "15 3 * * *")
        assert command_line(server, *arguments) == 1
        assert "data_until: scheduled needs 2.17.0" in capsys.readouterr().err
        assert server.count("POST .*") == 0
        assert command_line(server, *arguments, "--param", "data_until=2026-01-01") == 0


def test_create_uploads_and_lets_each_run_take_the_data_before_its_time(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        arguments = ("schedule", "create", "nightly", LOCAL, "--cron", "15 3 * * *")
        assert command_line(server, *arguments, "--param", "seed=7") == 0
        (sent,) = server.schedules
        assert sent["runtime_config"]["parameters"] == {
            "data_until": "scheduled",
            "seed": 7,
        }
        printed = capsys.readouterr().out
        assert "schedule  nightly created" in printed
        assert "UTC" in printed
        assert command_line(server, *arguments, "--param", "seed=7") == 0
        assert "schedule  nightly unchanged" in capsys.readouterr().out
        given = ("--param", "data_until=20260101000000", "--paused", "--experiment", "sample")
        assert command_line(server, *arguments, *given) == 0
        (sent,) = server.schedules
        assert sent["runtime_config"]["parameters"]["data_until"] == "20260101000000"
        assert sent["mode"] == "DISABLE"


def test_a_log_without_times_is_read_as_a_whole(
    real_command_line: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(
        "{name: shop, source: {kind: files, interactions: log.csv, candidates: items.csv, "
        "columns: {query_id: user, candidate_id: item}}, "
        "features: {query: {user: {type: id}}, candidate: {item: {type: id}}}}"
    )
    with KfpServer() as server:
        arguments = ("--config", str(config), LOCAL, "--interval", "6h")
        assert real_command_line(server, "schedule", "create", "often", *arguments) == 0
        (sent,) = server.schedules
        assert sent["runtime_config"].get("parameters", {}) == {}
        printed = capsys.readouterr().out
        assert "source.columns.timestamp is not set" in printed
        assert printed.count("CET): takes the whole log") == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--cron", "61 * * * *"), "minute '61'"),
        (("--interval", "5s"), "60s"),
        (("--cron", "0 3 * * *", "--start", "soon"), "--start soon"),
        (("--cron", "0 3 * * *", "--start", "2027-01-01", "--end", "2026-12-01"), "later than"),
    ],
)
def test_a_wrong_time_returns_2_and_reaches_no_server(
    command_line: Any,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    with KfpServer() as server:
        assert command_line(server, "schedule", "create", "nightly", LOCAL, *arguments) == 2
        assert server.requests == []
        assert says in capsys.readouterr().err


def test_schedules_of_different_users_are_separate() -> None:
    with KfpServer(multi_user=True) as server:
        for namespace in ("team-a", "team-b"):
            cluster = connected(server, namespace=namespace)
            replacement.create(cluster, spec_of(cluster))
        assert {run["namespace"] for run in server.schedules} == {"team-a", "team-b"}
        cluster = connected(server, namespace="team-a")
        assert len(lookup.list_all(cluster)) == 1
        changes.delete(cluster, "nightly")
        assert [run["namespace"] for run in server.schedules] == ["team-b"]


def test_resuming_one_of_several_leftovers_is_refused() -> None:
    with KfpServer() as server:
        create(server)
        server.schedules.append({**server.schedules[0], "recurring_run_id": "left"})
        with pytest.raises(InputError, match="schedule create"):
            changes.resume(connected(server), "nightly")
        changes.pause(connected(server), "nightly")
        assert [run["mode"] for run in server.schedules] == ["DISABLE", "DISABLE"]
        changes.delete(connected(server), "nightly")
        assert server.schedules == []


def test_schedule_and_submit_print_one_json_document_if_asked_for(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:

        def document(*arguments: str) -> Any:
            assert command_line(server, *arguments, "--json") == 0
            return json.loads(capsys.readouterr().out)

        timing = ("--interval", "6h", LOCAL)
        assert document("schedule", "create", "often", *timing, "--dry-run")["dry_run"]
        made = document("schedule", "create", "often", *timing)
        assert (made["name"], made["done"], made["is_on"]) == ("often", "created", True)
        assert document("schedule", "pause", "often")["is_on"] is False
        assert document("schedule", "resume", "often")["is_on"] is True
        run = document("schedule", "run", "often")
        assert (run["run"]["id"], run["succeeded"]) == (server.runs[-1]["run_id"], None)
        assert document("schedule", "delete", "often") == {"name": "often", "deleted": True}
        submitted = document("submit", LOCAL)
        assert submitted["run"]["id"] == server.runs[-1]["run_id"]
        assert document("submit", LOCAL, "--dry-run")["dry_run"]
