"""The heartbeat, with a clock that the tests set."""

import threading

from pipeline.heartbeat import Heartbeat


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def beating(said: list[tuple[str, str]]) -> tuple[Heartbeat, Clock]:
    clock = Clock()
    return Heartbeat(lambda name, text: said.append((name, text)), clock=clock), clock


def test_silent_work_is_reported_every_ten_seconds_with_its_last_message() -> None:
    said: list[tuple[str, str]] = []
    heartbeat, clock = beating(said)
    heartbeat.start(1, "train", lambda: f"epoch {clock.now:.0f}")
    for clock.now in range(36):
        heartbeat.beat()
    assert said == [
        ("train", f"still running, {seconds} s; last: epoch {seconds}") for seconds in (10, 20, 30)
    ]


def test_work_that_prints_is_not_reported() -> None:
    said: list[tuple[str, str]] = []
    heartbeat, clock = beating(said)
    heartbeat.start(1, "train", str)
    for clock.now in range(0, 60, 9):
        heartbeat.beat()
        heartbeat.heard(1)
    assert said == []


def test_each_of_several_works_has_a_silence_of_its_own_that_ends_with_it() -> None:
    said: list[tuple[str, str]] = []
    heartbeat, clock = beating(said)
    heartbeat.start(1, "train", str)
    clock.now = 5
    heartbeat.start(2, "evaluate", str)
    clock.now = 12
    heartbeat.beat()
    heartbeat.stop(1)
    clock.now = 60
    heartbeat.beat()
    assert said == [("train", "still running, 12 s"), ("evaluate", "still running, 55 s")]


def test_a_thread_reports_within_the_block_and_has_ended_after_it() -> None:
    heard = threading.Event()
    with Heartbeat(lambda name, text: heard.set(), quiet_seconds=0.01) as heartbeat:
        heartbeat.start(1, "train", str)
        assert heard.wait(timeout=30)
        threads = threading.active_count()
    assert threading.active_count() < threads
