"""Cron expressions and intervals."""

from datetime import UTC, datetime

import pytest
from kfp_api import robfig

from components.shared.runtime.errors import InputError
from pipeline.cluster.schedules.cron import parse_cron
from pipeline.cluster.schedules.triggers import parse_interval

MONDAY = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("15 3 * * *", "0 15 3 * * *"),
        ("*/20 8-18 * * MON-FRI", "0 */20 8-18 * * MON-FRI"),
        ("0 0 9 ? * 2-6", "0 0 9 * * 2-6"),
        ("30 15 3 1,15 jan-jun *", "30 15 3 1,15 jan-jun *"),
        ("0 12 * * 7", "0 0 12 * * 0"),
        ("0 12 * * 5-7", "0 0 12 * * 0,5,6"),
        ("0 12 * * 0-7", "0 0 12 * * 0,1,2,3,4,5,6"),
        ("0 12 * * 1-7/2", "0 0 12 * * 0,1,3,5"),
        ("0 12 * * SAT-SUN", "0 0 12 * * 0,6"),
        ("5/10 * * * *", "0 5-59/10 * * * *"),
        ("0 9 5-5/2 * 1/2", "0 0 9 5 * 1-6/2"),
        ("0 9 1,*/10 * MON", "0 0 9 */10,1 * MON"),
        ("@daily", "0 0 0 * * *"),
        ("@Weekly", "0 0 0 * * 0"),
    ],
)
def test_the_usual_five_fields_become_kfps_six(written: str, sent: str) -> None:
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
        ("0 0 * * FRI-MON", ("weekday 'FRI-MON'", "starts after its end")),
        ("*/0 * * * *", ("minute '*/0'", "step")),
        ("0 0 L * *", ("day of the month 'L'", "not a number")),
        ("0 0 * * MON#1", ("weekday 'MON#1'", "cannot be read")),
        ("1-2-3 * * * *", ("minute '1-2-3'", "cannot be read")),
        ("1,,2 * * * *", ("minute ''", "cannot be read")),
        ("*-5 * * * *", ("minute '*-5'", "cannot be read")),
        ("٣ * * * *", ("minute '٣'", "cannot be read")),
        ("* * * *", ("has 4 fields", "5, or 6")),
        ("", ("has 0 fields", "5, or 6")),
        ("0 0 30 2 *", ("never runs",)),
        ("@every 6h", ("--interval",)),
        ("@reboot", ("@daily",)),
    ],
)
def test_a_wrong_field_is_named_with_the_allowed_values(
    written: str, names: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        parse_cron(written)
    for name in (f"--cron '{written}'", *names):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("written", "next_"),
    # The answers of robfig/cron v1.2.0, which KFP's controller uses, to cron.Parse(written).Next,
    # from a program in Go; 12,000 random expressions agreed as well.
    [
        ("0 15 3 * * *", "11-24T03:15:00 11-25T03:15:00 11-26T03:15:00"),
        ("0 0 12 * * *", "11-24T12:00:00 11-25T12:00:00 11-26T12:00:00"),
        ("0 0 9 13 * FRI", "11-27T09:00:00 12-04T09:00:00 12-11T09:00:00 12-13T09:00:00"),
        ("0 0 9 1-7 * MON", "11-30T09:00:00 12-01T09:00:00 12-02T09:00:00"),
        # With a star, even with a step or in a list, both must match.
        ("0 0 9 13 * ?", "12-13T09:00:00"),
        ("0 0 9 */2 * MON", "12-07T09:00:00 12-21T09:00:00"),
        ("0 0 9 1,*/10 * MON", "12-21T09:00:00"),
        # The end of a range, and steps without an end.
        ("0 0 9 5-5/2 * *", "12-05T09:00:00"),
        ("0 0 9 * * 1/2", "11-25T09:00:00 11-27T09:00:00 11-30T09:00:00"),
        ("0 0 9 28/1 * *", "11-28T09:00:00 11-29T09:00:00 11-30T09:00:00 12-28T09:00:00"),
        ("0 5/25 */9 * * *", "11-23T18:05:00 11-23T18:30:00 11-23T18:55:00 11-24T00:05:00"),
        ("*/25 * * * * *", "11-23T12:00:25 11-23T12:00:50 11-23T12:01:00"),
    ],
)
def test_the_next_times_are_those_of_kfps_controller(written: str, next_: str) -> None:
    expected = [f"2026-{time}+00:00" for time in next_.split()]
    times = parse_cron(written).next_times(MONDAY, len(expected))
    assert [time.isoformat() for time in times] == expected


def test_a_leap_day_is_found_and_the_search_ends_as_in_kfps_controller() -> None:
    cron = parse_cron("0 0 29 2 *")
    assert [f"{time:%Y}" for time in cron.next_times(MONDAY)] == ["2028", "2032", "2036"]
    assert cron.next_times(datetime(2097, 1, 1, tzinfo=UTC)) == []  # the next is 2104


@pytest.mark.parametrize(
    ("written", "shown", "in_words"),
    [
        ("15 3 * * *", "cron 15 3 * * *", "At 03:15 every day"),
        ("30 15 3 * * *", "cron 30 15 3 * * *, seconds first", "At 03:15:30 every day"),
        ("0 9 * * 1-5", "cron 0 9 * * 1-5", "At 09:00 on Monday through Friday"),
        (
            "0 9 13 * FRI",
            "cron 0 9 13 * FRI",
            "At 09:00 on the 13th day of month and on Friday",
        ),
        (
            "0 9 */2 * MON",
            "cron 0 9 */2 * MON",
            "At 09:00 on every second day of month if it's on Monday",
        ),
    ],
)
def test_an_expression_is_shown_as_written_and_in_words(
    written: str, shown: str, in_words: str
) -> None:
    cron = parse_cron(written)
    assert (cron.shown, cron.in_words) == (shown, in_words)


@pytest.mark.parametrize(
    ("written", "seconds", "shown", "in_words"),
    [
        ("90m", 5400, "interval 90m", "Every 90 minutes"),
        ("6h", 21600, "interval 6h", "Every 6 hours"),
        ("24h", 86400, "interval 1d", "Every day"),
        ("60s", 60, "interval 1m", "Every minute"),
    ],
)
def test_an_interval_is_read_with_its_unit(
    written: str, seconds: int, shown: str, in_words: str
) -> None:
    interval = parse_interval(written)
    assert (interval.seconds, interval.shown, interval.in_words) == (seconds, shown, in_words)


@pytest.mark.parametrize("written", ["59s", "0h", "6", "h", "1.5h", "-6h", "1h30m", "6 weeks", ""])
def test_an_interval_that_is_wrong_or_too_short_is_refused(written: str) -> None:
    with pytest.raises(InputError, match="--interval"):
        parse_interval(written)
