"""Cron expressions and intervals."""

from datetime import UTC, datetime

import pytest
from kfp_server import robfig

from components.errors import InputError
from pipeline.cluster.cron import parse_cron
from pipeline.cluster.schedules import parse_interval

MONDAY = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("15 3 * * *", "0 15 3 * * *"),
        ("*/20 8-18 * * MON-FRI", "0 */20 8-18 * * MON-FRI"),
        ("0 0 9 ? * 2-6", "0 0 9 ? * 2-6"),
        ("30 15 3 1,15 jan-jun *", "30 15 3 1,15 jan-jun *"),
        ("0 12 * * 7", "0 0 12 * * 0"),
        ("0 12 * * 5-7", "0 0 12 * * 0,5,6"),
        ("0 12 * * 0-7", "0 0 12 * * 0,1,2,3,4,5,6"),
        ("0 12 * * 1-7/2", "0 0 12 * * 0,1,3,5"),
        ("0 12 * * SAT-SUN", "0 0 12 * * 0,6"),
        ("5/10 * * * *", "0 5/10 * * * *"),
        ("@daily", "0 0 0 * * *"),
        ("@Weekly", "0 0 0 * * 0"),
    ],
)
def test_the_common_form_becomes_what_kfp_takes(written: str, sent: str) -> None:
    assert parse_cron(written).text == sent
    robfig(sent)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("61 * * * *", ("minute '61'", "0-59")),
        ("0 24 * * *", ("hour '24'", "0-23")),
        ("0 0 0 * *", ("day of the month '0'", "1-31")),
        ("0 0 * 13 *", ("month '13'", "1-12 or JAN-DEC")),
        ("0 0 * * 8", ("weekday '8'", "0-6 or SUN-SAT")),
        ("60 0 0 * * *", ("second '60'", "0-59")),
        ("0 0 * * FRI-MON", ("weekday 'FRI-MON'", "begins after it ends")),
        ("*/0 * * * *", ("minute '*/0'", "step")),
        ("0 0 L * *", ("day of the month 'L'", "no number")),
        ("0 0 * * MON#1", ("weekday 'MON#1'", "cannot be read")),
        ("1-2-3 * * * *", ("minute '1-2-3'", "cannot be read")),
        ("1,,2 * * * *", ("minute ''", "cannot be read")),
        ("*-5 * * * *", ("minute '*-5'", "cannot be read")),
        ("٣ * * * *", ("minute '٣'", "cannot be read")),
        ("* * * *", ("has 4 fields", "5, or 6")),
        ("", ("has 0 fields", "5, or 6")),
        ("0 0 30 2 *", ("never comes",)),
        ("@every 6h", ("--interval",)),
        ("@reboot", ("@daily",)),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(written: str, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        parse_cron(written)
    for name in (f"--cron '{written}'", *names):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("written", "next_"),
    [
        ("15 3 * * *", ["2026-11-24 03:15:00", "2026-11-25 03:15:00"]),
        ("0 12 * * *", ["2026-11-24 12:00:00", "2026-11-25 12:00:00"]),
        ("30 0 12 * * *", ["2026-11-23 12:00:30", "2026-11-24 12:00:30"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00"]),
        ("0 9 13 * FRI", ["2026-11-27 09:00:00", "2026-12-04 09:00:00"]),
        ("0 9 31 * *", ["2026-12-31 09:00:00", "2027-01-31 09:00:00"]),
        ("0 9 */2 * MON", ["2026-12-07 09:00:00", "2026-12-21 09:00:00"]),
    ],
)
def test_the_next_times_are_later_than_now(written: str, next_: list[str]) -> None:
    times = parse_cron(written).next_times(MONDAY, 2)
    assert [f"{time:%Y-%m-%d %H:%M:%S}" for time in times] == next_


def test_an_expression_is_shown_as_it_is_commonly_written() -> None:
    assert parse_cron("0 15 3 * * *").shown == "15 3 * * *"
    assert parse_cron("30 15 3 * * *").shown == "30 15 3 * * * (seconds first)"


@pytest.mark.parametrize(
    ("written", "seconds", "shown"),
    [("90m", 5400, "90m"), ("6h", 21600, "6h"), ("24h", 86400, "1d"), ("60s", 60, "1m")],
)
def test_an_interval_is_read_with_its_unit(written: str, seconds: int, shown: str) -> None:
    assert parse_interval(written).seconds == seconds
    assert parse_interval(written).shown == shown


@pytest.mark.parametrize("written", ["59s", "0h", "6", "h", "1.5h", "-6h", "1h30m", "6 weeks", ""])
def test_an_interval_that_is_wrong_or_too_short_is_refused(written: str) -> None:
    with pytest.raises(InputError, match="--interval"):
        parse_interval(written)
