"""Schedules, with every request failing in turn, and a controller that starts runs."""

from collections import Counter
from datetime import datetime, timedelta
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
from kfp_server import Clock, Fault, KfpServer, status

from components.errors import InputError
from pipeline.cluster import schedules
from pipeline.cluster.api import Cluster, ClusterError
from pipeline.cluster.cron import parse_cron
from pipeline.cluster.schedules import Created, Interval, Wish, parse_interval
from pipeline.cluster.submission import experiment, upload
from pipeline.config import SCHEDULED_TIME

__all__ = ["command_line", "no_settings", "real_command_line"]  # fixtures
LOCAL = "--local-images"
MINUTE = parse_cron("* * * * *")


def wish(cluster: Cluster, **changes: Any) -> Wish:
    content = changes.pop("content", IR)
    name = changes.pop("experiment", "shop")
    values: dict[str, Any] = {
        "name": "nightly",
        "trigger": MINUTE,
        "parameters": {"data_until": SCHEDULED_TIME},
    }
    return Wish(
        experiment_id=experiment(cluster, name),
        uploaded=upload(cluster, "shop", content),
        **{**values, **changes},
    )


def create(server: KfpServer, **changes: Any) -> Created:
    cluster = connected(server)
    return schedules.create(cluster, wish(cluster, **changes))


def number_of_requests() -> int:
    """How many requests it takes to replace a schedule."""
    with KfpServer() as server:
        create(server)
        cluster = connected(server)
        new = wish(cluster, content=IR + "# new\n")
        begun = len(server.requests)
        schedules.create(cluster, new)
        return len(server.requests) - begun


REPLACING = number_of_requests()


def is_as_wished(server: KfpServer, new: Wish) -> bool:
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
        new = wish(
            cluster,
            trigger=parse_cron("15 3 * * 7"),
            parameters={"data_until": "[[ScheduledTime]]", "seed": 7},
            service_account="trainer",
            pipeline_root="s3://root",
            end=datetime.fromisoformat("2027-01-01T00:00:00+00:00"),
        )
        assert schedules.create(cluster, new).outcome == "created"
        (sent,) = server.schedules
        assert sent["trigger"] == {
            "cron_schedule": {"cron": "0 15 3 * * 0", "end_time": "2027-01-01T00:00:00+00:00"}
        }
        assert sent["pipeline_version_reference"] == {
            "pipeline_id": new.uploaded.pipeline_id,
            "pipeline_version_id": new.uploaded.version_id,
        }
        assert sent["runtime_config"] == {
            "parameters": {"data_until": "[[ScheduledTime]]", "seed": 7},
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
        first = create(server)
        posts = server.count("POST .*")
        again = create(server)
        assert again.outcome == "unchanged"
        assert again.schedule.recurring_run_id == first.schedule.recurring_run_id
        assert server.count("(POST|DELETE) .*") == posts


@pytest.mark.parametrize(
    "changes",
    [
        {"content": IR + "# new\n"},
        {"trigger": parse_cron("*/5 * * * *")},
        {"trigger": Interval(600)},
        {"parameters": {"seed": 8}},
        {"service_account": "other"},
        {"pipeline_root": "s3://other"},
        {"catchup": True},
        {"end": datetime.fromisoformat("2027-01-01T00:00:00+00:00")},
    ],
)
def test_another_one_of_the_name_is_replaced(changes: dict[str, Any]) -> None:
    with KfpServer() as server:
        first = create(server)
        second = create(server, **changes)
        assert second.outcome == "replaced"
        (there,) = server.schedules
        assert there["recurring_run_id"] != first.schedule.recurring_run_id
        assert there["mode"] == "ENABLE"
        assert server.most_enabled == 1


def test_the_new_one_is_made_off_before_the_old_one_is_turned_off_and_deleted_last() -> None:
    with KfpServer() as server:
        first = create(server).schedule.recurring_run_id
        done = len(server.requests)
        second = create(server, catchup=True).schedule.recurring_run_id
        runs = "/apis/v2beta1/recurringruns"
        changes = [str(r) for r in server.requests[done:] if r.method != "GET" and runs in r.path]
        assert changes == [
            f"POST {runs}",
            f"POST {runs}/{first}:disable",
            f"POST {runs}/{second}:enable",
            f"DELETE {runs}/{first}",
        ]


@pytest.mark.parametrize("second", range(0, 60, 5))
@pytest.mark.parametrize("per_request", [0.1, 1.0, 3.0, 9.0, 25.0])
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
        assert 5 < clock.slept[0] < 10
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


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("number", range(REPLACING))
def test_a_replacement_outlives_a_passing_fault_without_gap_or_double(
    number: int, kind: str
) -> None:
    with KfpServer() as server:
        create(server)
        begin = server.clock.now()
        cluster = connected(server)
        new = wish(cluster, content=IR + "# new\n")
        server.fail(number, PASSING[kind])
        schedules.create(cluster, new)
        assert is_as_wished(server, new)
        assert server.most_enabled == 1
        server.advance(130)
        assert ticks(server) == minutes(begin, server.clock.now())


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize("number", range(REPLACING))
def test_a_replacement_that_is_refused_says_what_is_there_and_finishes_later(
    number: int, kind: str
) -> None:
    with KfpServer() as server:
        create(server)
        begin = server.clock.now()
        cluster = connected(server)
        new = wish(cluster, content=IR + "# new\n")
        server.fail(number, LASTING[kind])
        with pytest.raises(ClusterError) as caught:
            schedules.create(cluster, new)
        message = str(caught.value)
        assert clear(message)
        assert "Run the same command again" in message
        on = [run for run in server.schedules if run["mode"] == "ENABLE"]
        assert len(on) <= 1
        state = "off now" if not on else "on now"
        assert f"Schedule nightly is {state}" in message
        schedules.create(cluster, new)
        assert is_as_wished(server, new)
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
        new = wish(cluster, content=IR + "# new\n")
        last = len(server.requests) + number
        server.fail(number, Fault("drop_after"))

        def die(line: str) -> None:
            raise Dead

        cluster.note = die  # what it does first after a request has failed
        with pytest.raises(Dead):
            schedules.create(cluster, new)
        assert len(server.requests) == last + 1
        server.advance(300)
        begin = server.clock.now()
        schedules.create(connected(server), new)
        assert is_as_wished(server, new)
        assert server.most_enabled == 1
        server.advance(130)
        counted = Counter(ticks(server))
        assert max(counted.values()) == 1
        assert set(minutes(begin, server.clock.now())) <= set(counted)


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("number", range(4))
def test_a_first_creation_outlives_a_passing_fault(number: int, kind: str) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        new = wish(cluster)
        server.fail(number, PASSING[kind])
        schedules.create(cluster, new)
        assert is_as_wished(server, new)
        assert server.most_enabled == 1


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize("number", range(4))
def test_a_first_creation_that_is_refused_can_be_repeated(number: int, kind: str) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        new = wish(cluster)
        server.fail(number, LASTING[kind])
        with pytest.raises(ClusterError) as caught:
            schedules.create(cluster, new)
        assert clear(str(caught.value))
        schedules.create(cluster, new)
        assert is_as_wished(server, new)
        assert server.most_enabled == 1


def test_a_fault_that_stays_while_replacing_leaves_one_on_and_says_so() -> None:
    with KfpServer() as server:
        create(server)
        server.fail("POST .*/recurringruns", status(503), nth=0)
        with pytest.raises(ClusterError, match="is on now, as before"):
            create(server, catchup=True)
        assert [run["mode"] for run in server.schedules] == ["ENABLE"]


def test_of_two_leftovers_that_are_off_the_one_that_has_seen_more_ticks_is_kept() -> None:
    with KfpServer() as server:
        create(server, paused=True)
        (eldest,) = server.schedules
        younger = {"recurring_run_id": "younger", "created_at": "2026-11-24T03:10:40Z"}
        server.schedules.insert(0, {**eldest, **younger})
        assert create(server).schedule.recurring_run_id == eldest["recurring_run_id"]
        assert len(server.schedules) == 1


def test_a_paused_schedule_is_made_off_and_stays_off() -> None:
    with KfpServer() as server:
        assert create(server, paused=True).outcome == "created"
        assert create(server, paused=True).outcome == "unchanged"
        assert server.most_enabled == 0
        assert create(server).outcome == "resumed"
        assert create(server, paused=True).outcome == "paused"
        assert create(server, paused=True, catchup=True).outcome == "replaced"
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


# The other commands.


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


def test_show_tells_the_next_times_and_the_time_zone(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server, trigger=parse_cron("15 3 * * *"))
        assert command_line(server, "schedule", "show", "nightly") == 0
        printed = capsys.readouterr().out
        assert "cron 15 3 * * *" in printed
        assert "2026-11-24 03:15:00, 2026-11-25 03:15:00, 2026-11-26 03:15:00 UTC" in printed
        assert "CRON_SCHEDULE_TIMEZONE" in printed
        assert 'data_until = "[[ScheduledTime]]"' in printed


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


@pytest.mark.parametrize("action", ["show", "pause", "resume", "delete"])
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


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("number", range(1, 4))  # the first asks for the server's health
@pytest.mark.parametrize("action", ["pause", "resume", "delete", "show", "list"])
def test_the_commands_outlive_a_passing_fault(
    command_line: Any, action: str, number: int, kind: str
) -> None:
    with KfpServer() as server:
        create(server, paused=action == "resume")
        server.fail(number, PASSING[kind])
        names = [] if action == "list" else ["nightly"]
        assert command_line(server, "schedule", action, *names) == 0
        modes = [run["mode"] for run in server.schedules]
        expected = {"pause": ["DISABLE"], "delete": []}
        assert modes == expected.get(action, ["ENABLE"])


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize("action", ["pause", "resume", "delete", "show", "list"])
def test_a_command_that_is_refused_gives_1_and_one_message(
    command_line: Any, capsys: pytest.CaptureFixture[str], action: str, kind: str
) -> None:
    with KfpServer() as server:
        create(server)
        server.fail(1, LASTING[kind])
        names = [] if action == "list" else ["nightly"]
        assert command_line(server, "schedule", action, *names) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert clear(error)
        assert [run["mode"] for run in server.schedules] == ["ENABLE"]


def test_create_uploads_and_fills_in_the_time_of_each_run(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        arguments = ("schedule", "create", "nightly", LOCAL, "--cron", "15 3 * * *")
        assert command_line(server, *arguments, "--param", "seed=7") == 0
        (sent,) = server.schedules
        assert sent["runtime_config"]["parameters"] == {
            "data_until": "[[ScheduledTime]]",
            "source_fingerprint": "[[ScheduledTime]]",
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


def test_a_log_without_times_is_read_anew_by_each_run_and_as_a_whole(
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
        assert sent["runtime_config"]["parameters"] == {"source_fingerprint": "[[ScheduledTime]]"}
        assert "source.columns.timestamp is not set" in capsys.readouterr().out


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
            schedules.create(cluster, wish(cluster))
        assert {run["namespace"] for run in server.schedules} == {"team-a", "team-b"}
        cluster = connected(server, namespace="team-a")
        assert len(schedules.schedules(cluster)) == 1
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


def test_one_that_was_made_elsewhere_is_shown_and_replaced() -> None:
    with KfpServer() as server:
        create(server)
        # Off, as the tests' controller cannot read it either.
        server.schedules[0] |= {
            "description": "made in the UI",
            "mode": "DISABLE",
            "status": "DISABLED",
            "trigger": {"cron_schedule": {"cron": "0 0 0 L * *"}},
        }
        cluster = connected(server)
        shown = schedules.show(cluster, "nightly")[0]
        assert "0 0 0 L * *" in schedules.describe(shown, cluster.now(), cluster.link)
        assert create(server).outcome == "replaced"
