"""Schedules, with every request failing in turn, and a controller that starts runs."""

import importlib
import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cluster_support import (
    IR,
    LASTING,
    PASSING,
    clear,
    command_line,
    connected,
    no_settings,
    real_command_line,
)
from kfp_server import Clock, Fault, KfpServer, resolved_inputs, status

from components.resolve.job import SCHEDULED
from components.shared.runtime.errors import InputError
from components.shared.runtime.images import STEP_IMAGES
from pipeline.cluster import replacement, schedules
from pipeline.cluster.api import Cluster, ClusterError
from pipeline.cluster.cron import parse_cron
from pipeline.cluster.replacement import ScheduleSpec
from pipeline.cluster.schedules import Schedule
from pipeline.cluster.submission import experiment, start_run, upload
from pipeline.cluster.triggers import Interval, parse_interval
from pipeline.images import image_reference

__all__ = ["command_line", "no_settings", "real_command_line"]  # fixtures
LOCAL = "--local-images"
MINUTE = parse_cron("* * * * *")
CET = timezone(timedelta(hours=1), "CET")


@pytest.fixture(autouse=True)
def local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("pipeline.cli.cluster.schedule")
    monkeypatch.setattr(module, "LOCAL_ZONE", CET)


def spec_of(cluster: Cluster, **changes: Any) -> ScheduleSpec:
    content = changes.pop("content", IR)
    name = changes.pop("experiment", "shop")
    values: dict[str, Any] = {
        "name": "nightly",
        "trigger": MINUTE,
        "parameters": {"data_until": SCHEDULED},
    }
    return ScheduleSpec(
        experiment_id=experiment(cluster, name),
        uploaded=upload(cluster, "shop", content),
        **{**values, **changes},
    )


def create(server: KfpServer, **changes: Any) -> tuple[Schedule, str]:
    cluster = connected(server)
    return replacement.create(cluster, spec_of(cluster, **changes))


def number_of_requests() -> int:
    """How many requests it takes to replace a schedule."""
    with KfpServer() as server:
        create(server)
        cluster = connected(server)
        new = spec_of(cluster, content=IR + "# new\n")
        begun = len(server.requests)
        replacement.create(cluster, new)
        return len(server.requests) - begun


REPLACING = number_of_requests()


def is_as_specified(server: KfpServer, new: ScheduleSpec) -> bool:
    (there,) = server.schedules
    return (
        there["mode"] == "ENABLE"
        and there["pipeline_version_reference"]["pipeline_version_id"] == new.uploaded.version_id
    )


def ticks(server: KfpServer) -> list[datetime]:
    return [time for time, _ in server.ticks]


def minutes(begin: datetime, end: datetime) -> list[datetime]:
    first = begin.replace(second=0, microsecond=0) + timedelta(minutes=1)
    count = int((end - first) // timedelta(minutes=1)) + 1
    return [first + timedelta(minutes=number) for number in range(max(0, count))]


def test_a_schedule_is_bound_to_a_version_and_has_its_settings() -> None:
    with KfpServer() as server:
        cluster = connected(server)
        new = spec_of(
            cluster,
            trigger=parse_cron("15 3 * * 7"),
            parameters={"data_until": SCHEDULED, "seed": 7},
            service_account="trainer",
            pipeline_root="s3://root",
            end=datetime.fromisoformat("2027-01-01T00:00:00+00:00"),
        )
        assert replacement.create(cluster, new)[1] == "created"
        (sent,) = server.schedules
        assert sent["trigger"] == {
            "cron_schedule": {"cron": "0 15 3 * * 0", "end_time": "2027-01-01T00:00:00+00:00"}
        }
        assert sent["pipeline_version_reference"] == {
            "pipeline_id": new.uploaded.pipeline_id,
            "pipeline_version_id": new.uploaded.version_id,
        }
        assert sent["runtime_config"] == {
            "parameters": {"data_until": "scheduled", "seed": 7},
            "pipeline_root": "s3://root",
        }
        assert sent["service_account"] == "trainer"
        assert sent["max_concurrency"] == "1"
        assert sent["no_catchup"] is True
        assert sent["mode"] == "ENABLE"


def test_an_interval_is_sent_in_seconds() -> None:
    with KfpServer() as server:
        create(server, trigger=parse_interval("6h"), catchup=True)
        (sent,) = server.schedules
        assert sent["trigger"] == {"periodic_schedule": {"interval_second": "21600"}}
        assert sent["no_catchup"] is False


def test_creating_the_same_again_changes_nothing() -> None:
    with KfpServer() as server:
        first, _ = create(server)
        posts = server.count("POST .*")
        again, done = create(server)
        assert done == "unchanged"
        assert again.id == first.id
        assert server.count("(POST|DELETE) .*") == posts


@pytest.mark.parametrize(
    "changes",
    [
        {"content": IR + "# new\n"},
        {"trigger": parse_cron("*/5 * * * *")},
        {"trigger": Interval(600)},
        {"parameters": {"seed": 8}},
        {"service_account": "other"},
        {"end": datetime.fromisoformat("2027-01-01T00:00:00+00:00")},
    ],
)
def test_another_one_of_the_name_is_replaced(changes: dict[str, Any]) -> None:
    with KfpServer() as server:
        first, _ = create(server)
        _, done = create(server, **changes)
        assert done == "replaced"
        (there,) = server.schedules
        assert there["recurring_run_id"] != first.id
        assert there["mode"] == "ENABLE"
        assert server.most_enabled == 1


def test_the_new_one_is_made_off_before_the_old_one_is_turned_off_and_deleted_last() -> None:
    with KfpServer() as server:
        first = create(server)[0].id
        done = len(server.requests)
        second = create(server, catchup=True)[0].id
        runs = "/apis/v2beta1/recurringruns"
        changes = [str(r) for r in server.requests[done:] if r.method != "GET" and runs in r.path]
        assert changes == [
            f"POST {runs}",
            f"POST {runs}/{first}:disable",
            f"POST {runs}/{second}:enable",
            f"DELETE {runs}/{first}",
        ]


@pytest.mark.parametrize("second", [0, 20, 40, 45, 50, 55, 59])
@pytest.mark.parametrize("per_request", [0.1, 3.0, 9.0, 25.0])
def test_each_tick_starts_one_run_while_a_schedule_is_replaced(
    second: int, per_request: float
) -> None:
    clock = Clock(f"2026-11-24T03:10:{second:02d}.500+00:00")
    with KfpServer(clock=clock, per_request=0.1) as server:
        create(server)
        begin = clock.now()
        server.advance(120)
        server.per_request = per_request
        create(server, catchup=True)
        server.per_request = 0.1
        server.advance(180)
        expected = minutes(begin, clock.now())
        counted = Counter(ticks(server))
        assert max(counted.values()) == 1
        if per_request <= 9:  # else it is off for more than a minute, and only the last tick runs
            assert sorted(counted) == expected
        assert server.most_enabled == 1


def test_a_replacement_waits_for_a_tick_that_is_near() -> None:
    clock = Clock("2026-11-24T03:10:54+00:00")
    with KfpServer(clock=clock, per_request=0.1) as server:
        create(server)
        create(server, catchup=True)
        assert len(clock.slept) == 1
        assert 5 < clock.slept[0] < 15
        (there,) = server.schedules
        start = datetime.fromisoformat(there["trigger"]["cron_schedule"]["start_time"])
        assert start.minute == 11


def test_with_ticks_every_second_it_waits_only_so_long() -> None:
    with KfpServer() as server:
        create(server, trigger=parse_cron("* * * * * *"))
        create(server)
        assert len(server.clock.slept) == 3
        assert len(server.schedules) == 1


def test_an_interval_keeps_its_step_when_the_schedule_is_replaced() -> None:
    with KfpServer() as server:
        create(server, trigger=Interval(600))
        began = server.clock.now()
        for _ in range(3):
            server.advance(400)
            create(server, trigger=Interval(600), parameters={"seed": int(server.clock.passed)})
        server.advance(700)
        steps = [round((time - began).total_seconds() / 600, 1) for time in ticks(server)]
        assert steps == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("kind", ["503", "dropped before", "no answer, but done"])
@pytest.mark.parametrize("number", range(REPLACING))
def test_a_replacement_outlives_a_passing_fault_without_gap_or_double(
    number: int, kind: str
) -> None:
    with KfpServer() as server:
        create(server)
        begin = server.clock.now()
        cluster = connected(server)
        new = spec_of(cluster, content=IR + "# new\n")
        server.fail(number, PASSING[kind])
        replacement.create(cluster, new)
        assert is_as_specified(server, new)
        assert server.most_enabled == 1
        server.advance(130)
        assert ticks(server) == minutes(begin, server.clock.now())


@pytest.mark.parametrize("kind", ["403", "a web page"])
@pytest.mark.parametrize("number", range(REPLACING))
def test_a_replacement_that_is_refused_says_how_to_finish_it(number: int, kind: str) -> None:
    with KfpServer() as server:
        create(server)
        begin = server.clock.now()
        cluster = connected(server)
        new = spec_of(cluster, content=IR + "# new\n")
        server.fail(number, LASTING[kind])
        with pytest.raises(ClusterError) as caught:
            replacement.create(cluster, new)
        message = str(caught.value)
        assert clear(message)
        assert "Run the same command again" in message
        assert "nightly may be off" in message
        assert server.most_enabled == 1
        replacement.create(cluster, new)
        assert is_as_specified(server, new)
        assert server.most_enabled == 1
        server.advance(130)
        assert ticks(server) == minutes(begin, server.clock.now())


@pytest.mark.parametrize("number", range(REPLACING))
def test_a_replacement_whose_process_dies_is_finished_by_the_next(number: int) -> None:
    class Dead(BaseException):
        pass

    with KfpServer() as server:
        create(server)
        cluster = connected(server)
        new = spec_of(cluster, content=IR + "# new\n")
        last = len(server.requests) + number
        server.fail(number, Fault("drop_after"))

        def die(line: str) -> None:
            raise Dead

        cluster.note = die  # what it does first after a request has failed
        with pytest.raises(Dead):
            replacement.create(cluster, new)
        assert len(server.requests) == last + 1
        server.advance(300)
        begin = server.clock.now()
        replacement.create(connected(server), new)
        assert is_as_specified(server, new)
        assert server.most_enabled == 1
        server.advance(130)
        counted = Counter(ticks(server))
        assert max(counted.values()) == 1
        assert set(minutes(begin, server.clock.now())) <= set(counted)


@pytest.mark.parametrize("kind", ["503", "no answer, but done"])
@pytest.mark.parametrize("number", range(4))
def test_a_first_creation_outlives_a_passing_fault(number: int, kind: str) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        new = spec_of(cluster)
        server.fail(number, PASSING[kind])
        replacement.create(cluster, new)
        assert is_as_specified(server, new)
        assert server.most_enabled == 1


@pytest.mark.parametrize("number", range(4))
def test_a_first_creation_that_is_refused_can_be_repeated(number: int) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        new = spec_of(cluster)
        server.fail(number, LASTING["403"])
        with pytest.raises(ClusterError) as caught:
            replacement.create(cluster, new)
        assert clear(str(caught.value))
        replacement.create(cluster, new)
        assert is_as_specified(server, new)
        assert server.most_enabled == 1


def test_a_fault_that_stays_while_replacing_leaves_the_previous_one_on() -> None:
    with KfpServer() as server:
        create(server)
        server.fail("POST .*/recurringruns", status(503), nth=0)
        with pytest.raises(ClusterError, match="Run the same command again"):
            create(server, catchup=True)
        assert [run["mode"] for run in server.schedules] == ["ENABLE"]


def test_of_two_leftovers_that_are_off_the_one_that_has_seen_more_ticks_is_kept() -> None:
    with KfpServer() as server:
        create(server, paused=True)
        (eldest,) = server.schedules
        younger = {"recurring_run_id": "younger", "created_at": "2026-11-24T03:10:40Z"}
        server.schedules.insert(0, {**eldest, **younger})
        assert create(server)[0].id == eldest["recurring_run_id"]
        assert len(server.schedules) == 1


def test_a_paused_schedule_is_made_off_and_stays_off() -> None:
    with KfpServer() as server:
        assert create(server, paused=True)[1] == "created"
        assert create(server, paused=True)[1] == "unchanged"
        assert server.most_enabled == 0
        assert create(server)[1] == "resumed"
        assert create(server, paused=True)[1] == "paused"
        assert create(server, paused=True, catchup=True)[1] == "replaced"
        assert [run["mode"] for run in server.schedules] == ["DISABLE"]


def test_a_start_in_the_past_starts_no_run_at_once() -> None:
    with KfpServer() as server:
        past = datetime.fromisoformat("2026-11-01T00:00:00+00:00")
        create(server, trigger=parse_cron("0 3 * * *"), start=past)
        create(server, trigger=parse_cron("0 3 * * *"), start=past, parameters={"seed": 1})
        server.advance(60)
        assert server.ticks == []


def test_a_start_in_the_future_is_kept_to() -> None:
    with KfpServer() as server:
        create(server, start=server.clock.now() + timedelta(seconds=200))
        server.advance(300)
        assert [f"{time:%H:%M}" for time in ticks(server)] == ["03:14", "03:15"]


# --- list and show --------------------------------------------------------------------------------


def make(server: KfpServer, *names: str, where: str = "shop") -> None:
    for name in names:
        create(server, name=name, experiment=where)


def test_all_schedules_are_listed_beyond_the_first_page(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer(page_size=1) as server:
        make(server, "a", "b", "c")
        schedules.pause(connected(server), "b")
        assert command_line(server, "schedule", "list") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines[:3]] == [
            ["a", "on"],
            ["b", "paused"],
            ["c", "on"],
        ]
        assert "UTC" in lines[3]


def test_schedules_are_json_if_asked_for(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        make(server, "a", "b")
        schedules.pause(connected(server), "b")
        assert command_line(server, "schedule", "list", "--json") == 0
        listed = json.loads(capsys.readouterr().out)
        assert command_line(server, "schedule", "show", "a", "--json") == 0
        [shown] = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["is_on"], len(one["next"])) for one in listed] == [
        ("a", True, 3),
        ("b", False, 0),
    ]
    assert shown == listed[0]
    assert shown["details"].endswith(shown["id"])


def test_show_tells_when_it_runs_in_words_and_what_data_the_next_runs_take(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server, trigger=parse_cron("15 23 * * *"))
        assert command_line(server, "schedule", "show", "nightly") == 0
        printed = capsys.readouterr().out
        assert "when        At 23:15 every day (cron 15 23 * * *)" in printed
        for number, day in enumerate((24, 25, 26)):
            start = "next" if number == 0 else ""
            assert (
                f"  {start:<11} 2026-11-{day} 23:15 UTC (2026-11-{day + 1} 00:15 CET): "
                f"takes interactions before 2026-11-{day} 23:15 UTC\n" in printed
            )
        assert "CRON_SCHEDULE_TIMEZONE" in printed
        assert 'data_until = "scheduled"' in printed
        assert "warning" not in printed


@pytest.mark.parametrize(
    ("parameters", "data"),
    [
        (
            {"data_until": "scheduled", "ingest_config": {"window_days": 7}},
            "takes interactions from 2026-11-17 03:15 UTC to 2026-11-24 03:15 UTC",
        ),
        (
            {"data_until": "2026-11-01", "ingest_config": {"window_days": 1}},
            "takes interactions from 2026-10-31 00:00 UTC to 2026-11-01 00:00 UTC",
        ),
        ({"data_until": "20261101000000"}, "takes interactions before 20261101000000"),
        ({"seed": 7}, "takes the whole log"),
    ],
)
def test_what_a_run_takes_follows_from_its_parameters(
    command_line: Any, capsys: pytest.CaptureFixture[str], parameters: dict[str, Any], data: str
) -> None:
    ir = IR.replace("      rate:", "      ingest_config: {parameterType: STRUCT}\n      rate:")
    with KfpServer() as server:
        create(server, trigger=parse_cron("15 3 * * *"), parameters=parameters, content=ir)
        assert command_line(server, "schedule", "show", "nightly") == 0
        assert f"2026-11-24 03:15 UTC (04:15 CET): {data}\n" in capsys.readouterr().out


def test_what_a_run_takes_follows_from_the_versions_defaults(
    real_command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        arguments = ("--config", "movielens-100k", LOCAL, "--set", "ingest.window_days=2")
        windowed = ("--set", "data_until=2026-01-01", "--cron", "15 3 * * *")
        assert real_command_line(server, "schedule", "create", "by-day", *arguments, *windowed) == 0
        created = capsys.readouterr().out
        data = "takes interactions from 2026-11-22 03:15 UTC to 2026-11-24 03:15 UTC"
        assert data in created
        assert real_command_line(server, "schedule", "show", "by-day") == 0
        assert data in capsys.readouterr().out


def images_ir(*tags: str) -> str:
    """A pipeline of two steps with images of these tags."""
    return IR + (
        "deploymentSpec:\n  executors:\n"
        f"    exec-ingest: {{container: {{image: 'ghcr.io/acme/deep-retrieval-data:{tags[0]}'}}}}\n"
        f"    exec-train: {{container: {{image: 'ghcr.io/acme/deep-retrieval-model:{tags[1]}'}}}}\n"
    )


def test_superseded_images_are_told_with_what_to_do(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = (
        image_reference(STEP_IMAGES[step], gpu=True).rpartition(":")[2]
        for step in ("ingest", "train")
    )
    with KfpServer() as server:
        create(server, name="old", content=images_ir(data, "0123456789ab-gpu"))
        create(server, name="new", content=images_ir(data, model))
        assert command_line(server, "schedule", "list") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.endswith(" [superseded images]") for line in lines] == [False, True, False]
        assert command_line(server, "schedule", "show", "old") == 0
        assert (
            "its images are not those of this checkout; to move on: deep-retrieval images push "
            "--registry ghcr.io/acme --gpu, then deep-retrieval schedule create old … again"
        ) in capsys.readouterr().out
        assert command_line(server, "schedule", "show", "new") == 0
        assert "not those of this checkout" not in capsys.readouterr().out


def test_a_schedule_of_an_earlier_version_of_this_tool_is_told_with_what_to_do(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server, parameters={"data_until": "[[ScheduledTime]]"})
        assert command_line(server, "schedule", "list") == 0
        assert "[unresolved time]" in capsys.readouterr().out
        assert command_line(server, "schedule", "show", "nightly") == 0
        shown = capsys.readouterr().out
        assert "KFP 2 does not replace it" in shown
        assert "to fix this: deep-retrieval schedule create nightly … again" in shown
        create(server)
        assert command_line(server, "schedule", "list") == 0
        assert "[" not in capsys.readouterr().out


def test_a_schedule_whose_version_was_deleted_is_shown(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server)
        server.versions.clear()
        assert command_line(server, "schedule", "list") == 0
        assert command_line(server, "schedule", "show", "nightly") == 0
        assert "which was deleted" in capsys.readouterr().out


# --- schedule run ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "until", "shown"),
    [
        ((), "2026-11-24T03:10:2.Z", "before 2026-11-24 03:10:2"),
        (("--at", "2026-11-20T03:15"), "2026-11-20T03:15:00Z", "before 2026-11-20 03:15 UTC"),
        (("--at", "2026-11-20T04:15+01:00"), "2026-11-20T03:15:00Z", "before 2026-11-20 03:15 UTC"),
    ],
)
def test_a_run_is_started_as_the_schedule_would_and_for_a_past_time(
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


def test_a_run_for_another_time_takes_the_place_of_a_fixed_one(command_line: Any) -> None:
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
def test_a_time_that_no_run_can_be_for_is_refused(
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


# --- the other commands ---------------------------------------------------------------------------


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
def test_one_that_is_not_there_is_told_with_what_is_there(
    command_line: Any, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    with KfpServer() as server:
        make(server, "weekly", "hourly")
        assert command_line(server, "schedule", action, "nightly") == 2
        assert "There are: hourly, weekly." in capsys.readouterr().err
        assert len(server.schedules) == 2


def test_a_name_in_two_experiments_is_told_apart(
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


@pytest.mark.parametrize("number", range(1, 4))  # the first asks for the server's health
@pytest.mark.parametrize("action", ["pause", "resume", "delete", "show", "list", "run"])
def test_the_commands_outlive_a_passing_fault(command_line: Any, action: str, number: int) -> None:
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
def test_a_command_that_is_refused_gives_1_and_one_message(
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


def test_a_server_that_does_not_tell_runs_their_time_is_refused_before_anything_is_sent(
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
def test_a_wrong_time_gives_2_and_reaches_no_server(
    command_line: Any,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    with KfpServer() as server:
        assert command_line(server, "schedule", "create", "nightly", LOCAL, *arguments) == 2
        assert server.requests == []
        assert says in capsys.readouterr().err


def test_many_users_schedules_are_apart() -> None:
    with KfpServer(multi_user=True) as server:
        for namespace in ("team-a", "team-b"):
            cluster = connected(server, namespace=namespace)
            replacement.create(cluster, spec_of(cluster))
        assert {run["namespace"] for run in server.schedules} == {"team-a", "team-b"}
        cluster = connected(server, namespace="team-a")
        assert len(schedules.list_all(cluster)) == 1
        schedules.delete(cluster, "nightly")
        assert [run["namespace"] for run in server.schedules] == ["team-b"]


def test_resuming_one_of_several_leftovers_is_refused() -> None:
    with KfpServer() as server:
        create(server)
        server.schedules.append({**server.schedules[0], "recurring_run_id": "left"})
        with pytest.raises(InputError, match="schedule create"):
            schedules.resume(connected(server), "nightly")
        schedules.pause(connected(server), "nightly")
        assert [run["mode"] for run in server.schedules] == ["DISABLE", "DISABLE"]
        schedules.delete(connected(server), "nightly")
        assert server.schedules == []


def test_one_that_was_made_elsewhere_is_shown_and_replaced(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server)
        # Off, as the tests' controller cannot read it either.
        server.schedules[0] |= {
            "description": "made in the UI",
            "mode": "DISABLE",
            "status": "DISABLED",
            "trigger": {"cron_schedule": {"cron": "0 0 0 L * *"}},
        }
        assert command_line(server, "schedule", "show", "nightly") == 0
        assert "0 0 0 L * *" in capsys.readouterr().out
        assert create(server)[1] == "replaced"


# --- the time of a scheduled run ------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pipeline whose first step takes `data_until` and the scheduled time, as kfp compiles it."""
    from kfp import compiler, dsl

    @dsl.component(base_image="image")
    def resolve(data_until: str, scheduled_time: str) -> str:
        return scheduled_time if data_until == "scheduled" else data_until

    @dsl.component(base_image="image")
    def train(size: int, seed: int, until: str, scheduled_time: str) -> None: ...

    @dsl.pipeline(name="deep-retrieval")
    def pipeline(data_until: str = "", seed: int = 42, sizes: list[int] = [1, 2]) -> None:  # noqa: B006
        until = resolve(
            data_until=data_until, scheduled_time=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER
        )
        with dsl.ParallelFor(items=sizes) as size:
            train(
                size=size,
                seed=seed,
                until=until.output,
                scheduled_time=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
            )

    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return path.read_text()


def test_each_tick_gives_its_run_its_own_time_and_the_parameters_letter_for_letter(
    compiled: str,
) -> None:
    with KfpServer() as server:
        made, _ = create(
            server, content=compiled, parameters={"data_until": "[[ScheduledTime]]", "seed": 7}
        )
        server.advance(120)
        (version,) = server.versions
        assert [run["recurring_run_id"] for run in server.runs] == [made.id] * 2
        for run, minute in zip(server.runs, (11, 12), strict=True):
            time = f"2026-11-24T03:{minute}:00Z"
            assert run["scheduled_at"] == time
            assert run["runtime_config"]["parameters"]["data_until"] == "[[ScheduledTime]]"
            ir = version["pipeline_spec"]
            assert resolved_inputs(ir, "resolve", run) == {
                "data_until": "[[ScheduledTime]]",
                "scheduled_time": time,
            }
            # In a loop; what another task or the loop gives is not known here.
            assert resolved_inputs(ir, "train", run) == {"seed": 7, "scheduled_time": time}


def test_a_run_that_no_schedule_has_started_gets_the_time_of_its_creation(compiled: str) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        uploaded = upload(cluster, "shop", compiled)
        server.advance(77)
        start_run(cluster, uploaded, experiment(cluster, "shop"), "shop")
        (run,) = server.runs
        assert resolved_inputs(server.versions[0]["pipeline_spec"], "resolve", run) == {
            "data_until": "",
            "scheduled_time": run["created_at"],
        }
        assert run["created_at"].startswith("2026-11-24T03:11:3")


def test_a_run_that_is_late_keeps_the_time_of_its_tick(compiled: str) -> None:
    with KfpServer() as server:
        create(server, content=compiled, trigger=parse_cron("15 3 * * *"))
        schedules.pause(connected(server), "nightly")
        server.advance(600)
        schedules.resume(connected(server), "nightly")
        (run,) = server.runs
        inputs = resolved_inputs(server.versions[0]["pipeline_spec"], "resolve", run)
        assert inputs == {"data_until": "scheduled", "scheduled_time": "2026-11-24T03:15:00Z"}
        assert run["created_at"] > "2026-11-24T03:20"
