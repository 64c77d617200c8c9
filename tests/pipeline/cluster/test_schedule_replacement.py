"""Schedules are replaced without a gap or an extra run, with every request failing in turn."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from cluster_support import (
    IR,
    LASTING,
    PASSING,
    clear,
    connected,
    no_settings,
)
from faulty_http import Clock, Fault, status
from kfp_server import KfpServer
from schedule_support import create, spec_of, ticks

from components.resolve.job import SCHEDULED
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.schedules import replacement
from pipeline.cluster.schedules.cron import parse_cron
from pipeline.cluster.schedules.spec import ScheduleSpec
from pipeline.cluster.schedules.triggers import Interval, parse_interval

__all__ = ["no_settings"]  # fixtures


def number_of_requests() -> int:
    """Count the requests that replace a schedule."""
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
def test_a_different_schedule_with_the_name_is_replaced(changes: dict[str, Any]) -> None:
    with KfpServer() as server:
        first, _ = create(server)
        _, done = create(server, **changes)
        assert done == "replaced"
        (there,) = server.schedules
        assert there["recurring_run_id"] != first.id
        assert there["mode"] == "ENABLE"
        assert server.most_enabled == 1


def test_the_new_schedule_is_created_off_before_the_old_one_is_turned_off_and_deleted() -> None:
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
        if per_request <= 9:  # otherwise it is off for over a minute, and only the last tick runs
            assert sorted(counted) == expected
        assert server.most_enabled == 1


def test_a_replacement_waits_for_a_close_tick() -> None:
    clock = Clock("2026-11-24T03:10:54+00:00")
    with KfpServer(clock=clock, per_request=0.1) as server:
        create(server)
        create(server, catchup=True)
        assert len(clock.slept) == 1
        assert 5 < clock.slept[0] < 15
        (there,) = server.schedules
        start = datetime.fromisoformat(there["trigger"]["cron_schedule"]["start_time"])
        assert start.minute == 11


def test_with_ticks_every_second_the_wait_is_bounded() -> None:
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


@pytest.mark.parametrize("kind", ["503", "no answer, but done"])
@pytest.mark.parametrize("number", range(REPLACING))
def test_a_replacement_survives_a_passing_fault_without_a_missed_or_extra_run(
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

        cluster.note = die  # the first call after a failed request
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
def test_a_first_creation_survives_a_passing_fault(number: int, kind: str) -> None:
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


def test_a_lasting_fault_during_a_replacement_leaves_the_previous_schedule_on() -> None:
    with KfpServer() as server:
        create(server)
        server.fail("POST .*/recurringruns", status(503), nth=0)
        with pytest.raises(ClusterError, match="Run the same command again"):
            create(server, catchup=True)
        assert [run["mode"] for run in server.schedules] == ["ENABLE"]


def test_of_two_leftovers_that_are_off_the_older_is_kept() -> None:
    with KfpServer() as server:
        create(server, paused=True)
        (eldest,) = server.schedules
        younger = {"recurring_run_id": "younger", "created_at": "2026-11-24T03:10:40Z"}
        server.schedules.insert(0, {**eldest, **younger})
        assert create(server)[0].id == eldest["recurring_run_id"]
        assert len(server.schedules) == 1


def test_a_paused_schedule_is_created_off_and_stays_off() -> None:
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


def test_a_start_in_the_future_is_obeyed() -> None:
    with KfpServer() as server:
        create(server, start=server.clock.now() + timedelta(seconds=200))
        server.advance(300)
        assert [f"{time:%H:%M}" for time in ticks(server)] == ["03:14", "03:15"]
