import time

import pytest

from components.shared.runtime.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a list of one number for a test to change."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_line_is_due_every_few_seconds_and_not_at_the_start(clock: list[float]) -> None:
    pace = Pace(seconds=3)

    due = []
    for clock[0] in (100.0, 102.9, 103.0, 103.1, 105.9, 106.0, 120.0, 122.0, 123.0):
        due.append(pace.is_due())

    assert due == [False, False, True, False, False, True, True, False, True]
