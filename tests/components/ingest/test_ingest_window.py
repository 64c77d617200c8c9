"""The window of time: which rows a run takes, and what tells one content from another."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingest_helpers import (
    Ingested,
    Row,
    Source,
    catalogue_rows,
    csv_source,
    files_source,
    left_over,
    movielens_csv,
    parquet_source,
    write_csv,
    write_folder,
)

from components.ingest.job import ingest
from components.ingest.times import EXPECTED_TIME
from components.ingest.window import DataWindow
from components.shared.contracts.tables import SPLITS
from components.shared.runtime.errors import InputError

DAY = 24 * 3600
FIRST_DAY = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
SAMPLE: Source = {"kind": "sample", "users": 60, "items": 40, "interactions": 1500}


def at(text: str) -> float:
    """Seconds since 1970 of an ISO time with a zone."""
    return datetime.fromisoformat(text).timestamp()


# --- the window itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-24", "2026-11-24T00:00:00+00:00"),
        ("2026-11-24T03:00:00", "2026-11-24T03:00:00+00:00"),
        ("2026-11-24T03:00:00Z", "2026-11-24T03:00:00+00:00"),
        ("2026-11-24T03:00:00+02:00", "2026-11-24T01:00:00+00:00"),
        ("2026-11-24 03:00:00-05:30", "2026-11-24T08:30:00+00:00"),
        ("20261124", "2026-11-24T00:00:00+00:00"),
    ],
)
def test_a_window_ends_at_the_given_time(text: str, time: str) -> None:
    window = DataWindow.ending(text, None)
    assert window.until == at(time)
    assert window.since == -math.inf
    assert not window.is_open


def test_a_time_without_a_zone_is_utc_in_every_local_time_zone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert DataWindow.ending("2026-11-24T03:00:00", None).until == at("2026-11-24T03:00:00Z")


def test_a_window_without_an_end_contains_every_time() -> None:
    assert DataWindow.ending("", None) == DataWindow()
    assert DataWindow().is_open


@pytest.mark.parametrize("days", [1, 7.0, 0.5, 365])
def test_a_window_begins_its_length_before_its_end(days: float) -> None:
    window = DataWindow.ending("2026-11-24", days)
    assert window.until - window.since == days * DAY


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "2026-02-30",
        "20261124030000",
        "2026112403000",
        "scheduled",
        "[[ScheduledTime]]",
        " ",
    ],
)
def test_an_invalid_end_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError) as error:
        DataWindow.ending(text, None)
    message = str(error.value)
    assert f"data_until: {text!r} is not a time" in message
    assert "2026-11-24T03:00:00Z" in message
    assert "\n" not in message


def test_a_length_without_an_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"ingest\.window_days needs data_until"):
        DataWindow.ending("", 7)


def test_a_window_is_printed_as_its_beginning_and_end() -> None:
    assert str(DataWindow.ending("2026-11-24", None)) == "before 2026-11-24T00:00:00Z"
    assert str(DataWindow.ending("2026-11-24", 1)) == (
        "from 2026-11-23T00:00:00Z and before 2026-11-24T00:00:00Z"
    )


def test_a_window_from_before_1970_is_printed_without_a_beginning() -> None:
    assert "2026-11-24" in str(DataWindow.ending("2026-11-24", 1_000_000))


# --- rows in it -----------------------------------------------------------------------------------


def run(
    folder: Path, source: Source, data_until: str = "", *, seed: int = 1, **config: Any
) -> Ingested:
    """Runs ingest into a folder, up to a time."""
    folder.mkdir(exist_ok=True)
    tables, rejects = folder / "tables", folder / "rejects"
    summary = ingest(
        source=source,
        config=config,
        seed=seed,
        tables=str(tables),
        rejects=str(rejects),
        data_until=data_until,
    )
    return Ingested(tables, rejects, summary)


def daily_log(users: int = 10, items: int = 11) -> list[tuple[Any, ...]]:
    """One rating of every item by every user, item n on January n, user 1 at midnight."""
    return [
        (f"u{user}", item, (user + item) % 5 + 1, FIRST_DAY + (item - 1) * DAY + (user - 1) * 3600)
        for item in range(1, items + 1)
        for user in range(1, users + 1)
    ]


def daily_source(folder: Path, extra: tuple[Any, ...] = (), **settings: Any) -> Source:
    """The daily log as CSV, with further lines."""
    return csv_source(folder, log=[*daily_log(), *extra], **settings)


def inside(rows: list[Row], since: float, until: float, time: str = "ts") -> list[Row]:
    """The rows from a time and before another."""
    return [row for row in rows if since <= row[time] < until]


def sorted_rows(rows: list[Row]) -> list[Row]:
    """In an order of their own."""
    return sorted(rows, key=lambda row: tuple(map(str, row.values())))


@pytest.mark.parametrize("days", [None, 5, 1.5])
def test_exactly_the_rows_in_the_window_are_used(tmp_path: Path, days: float | None) -> None:
    source = daily_source(tmp_path)
    everything = run(tmp_path / "full", source)
    until = at("2026-01-09T00:00:00Z")
    since = -math.inf if days is None else until - days * DAY
    windowed = run(tmp_path / "windowed", source, "2026-01-09", window_days=days)
    for split in SPLITS:  # with the random split, each row keeps its part
        assert windowed.split(split) == inside(everything.split(split), since, until)
    assert windowed.candidates == everything.candidates
    assert windowed.statistics.candidates == 11
    for split in SPLITS:
        times = [row["ts"] for row in windowed.split(split)]
        assert windowed.statistics.times[split] == (min(times), max(times))
    assert windowed.summary["interactions"] == len(windowed.interactions)


def test_the_window_begins_with_its_first_second_and_ends_before_its_last(tmp_path: Path) -> None:
    source = daily_source(tmp_path)
    windowed = run(tmp_path / "windowed", source, "2026-01-09", window_days=5)
    times = {row["ts"] for row in windowed.interactions}
    assert min(times) == at("2026-01-04T00:00:00Z")
    assert at("2026-01-09T00:00:00Z") not in times
    later = run(tmp_path / "later", source, "2026-01-09T00:00:01Z", window_days=5)
    times = {row["ts"] for row in later.interactions}
    assert min(times) == at("2026-01-04T01:00:00Z")  # a second after midnight, user 1 is out
    assert max(times) == at("2026-01-09T00:00:00Z")


def test_the_built_in_sample_has_a_window_too(tmp_path: Path) -> None:
    everything = run(tmp_path / "full", SAMPLE)
    times = np.array([row["timestamp"] for row in everything.interactions])
    until = int(np.quantile(times, 0.8))
    days = (until - int(np.quantile(times, 0.2))) // DAY
    written = datetime.fromtimestamp(until, UTC).isoformat()
    windowed = run(tmp_path / "windowed", SAMPLE, written, window_days=days)
    assert 0 < len(windowed.interactions) < len(everything.interactions)
    for split in SPLITS:
        assert windowed.split(split) == inside(
            everything.split(split), until - days * DAY, until, "timestamp"
        )


def test_movielens_has_a_window_too(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ml-latest-small", movielens_csv())
    source = {"kind": "movielens", "version": "latest-small", "path": str(folder)}
    until = 880_000_000 + 1000 * 7
    everything = run(tmp_path / "full", source)
    written = datetime.fromtimestamp(until, UTC).isoformat()
    windowed = run(tmp_path / "windowed", source, written)
    for split in SPLITS:
        assert windowed.split(split) == inside(
            everything.split(split), -math.inf, until, "timestamp"
        )


@pytest.mark.parametrize("shards", [2, 5])
def test_shards_make_no_difference(tmp_path: Path, shards: int) -> None:
    source = daily_source(tmp_path)
    one = run(tmp_path / "one", source, "2026-01-09", window_days=5)
    some = run(tmp_path / "some", source, "2026-01-09", window_days=5, shards=shards)
    for split in SPLITS:
        assert sorted_rows(some.split(split)) == sorted_rows(one.split(split))
    assert some.statistics.rows == one.statistics.rows


def test_batches_make_no_difference(tmp_path: Path) -> None:
    source = parquet_source(tmp_path)
    whole = run(tmp_path / "whole", source, "1970-01-01T00:33:20Z")
    parts = run(tmp_path / "parts", source, "1970-01-01T00:33:20Z", batch_rows=3)
    assert parts.files() == whole.files()
    assert max(row["ts"] for row in whole.interactions) < 2000


def test_a_temporal_split_is_a_split_of_the_window(tmp_path: Path) -> None:
    source = daily_source(tmp_path)
    until = at("2026-01-09T00:00:00Z")
    everything = run(tmp_path / "full", source, split="temporal")
    windowed = run(tmp_path / "windowed", source, "2026-01-09", window_days=5, split="temporal")
    assert sorted_rows(windowed.interactions) == sorted_rows(
        inside(everything.interactions, until - 5 * DAY, until)
    )
    train, validation, test = (
        [row["ts"] for row in windowed.split(split)] for split in ("train", "validation", "test")
    )
    assert max(train) < min(validation) <= max(validation) < min(test)
    assert len(test) == pytest.approx(0.2 * 50, abs=1)
    assert len(validation) == pytest.approx(0.1 * 40, abs=1)


def test_leave_last_out_takes_the_last_row_in_the_window(tmp_path: Path) -> None:
    source = daily_source(tmp_path)
    windowed = run(tmp_path, source, "2026-01-09", window_days=5, split="leave_last_out")
    ids = [candidate["item"] for candidate in windowed.candidates]
    assert {ids[row["candidate_index"]] for row in windowed.split("test")} == {"8"}
    assert {ids[row["candidate_index"]] for row in windowed.split("validation")} == {"7"}


def test_the_latest_duplicate_in_the_window_is_kept(tmp_path: Path) -> None:
    again = [("u3", 4, 1, FIRST_DAY + 20 * DAY)]
    source = daily_source(tmp_path, tuple(again))
    windowed = run(tmp_path / "windowed", source, "2026-01-09")
    assert windowed.assignment().keys() >= {("u3", "4")}
    assert windowed.rejects == []
    everything = run(tmp_path / "full", source)
    assert [row["reason"] for row in everything.rejects] == ["duplicate"]


def test_rejects_are_those_of_the_whole_log(tmp_path: Path) -> None:
    bad = (f"u1,1,many,{FIRST_DAY}", f"u1,99,3,{FIRST_DAY + 20 * DAY}", "u2,1,3,yesterday")
    clean = run(tmp_path / "clean", daily_source(tmp_path), "2026-01-09", window_days=5)
    source = daily_source(tmp_path, bad)
    windowed = run(tmp_path / "windowed", source, "2026-01-09", window_days=5, max_reject_share=0.1)
    assert windowed.interactions == clean.interactions
    assert sorted(row["reason"] for row in windowed.rejects) == [
        'rating must be a finite number, not "many"',
        f'ts must be {EXPECTED_TIME}, not "yesterday"',
        "unknown item",
    ]


def test_a_short_window_does_not_raise_the_share_of_rejects(tmp_path: Path) -> None:
    source = daily_source(tmp_path, (f"u1,1,many,{FIRST_DAY}",))
    assert run(tmp_path / "full", source).statistics.rejects  # 1 of 111: below 1%
    windowed = run(tmp_path / "windowed", source, "2026-01-09", window_days=5)
    assert len(windowed.interactions) == 50


# --- a row keeps its part -------------------------------------------------------------------------


def test_with_the_random_split_a_row_stays_in_its_split_when_the_window_moves(
    tmp_path: Path,
) -> None:
    source = daily_source(tmp_path)
    parts = [
        run(tmp_path / until, source, until, window_days=days).assignment()
        for until, days in (("2026-01-07", 4), ("2026-01-09", 6), ("2026-01-12", None))
    ]
    assert len(parts[0]) < len(parts[1]) < len(parts[2])
    for smaller, larger in ((0, 1), (1, 2)):
        assert parts[smaller].items() <= parts[larger].items()


# --- nothing in it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "days", "words"),
    [
        ("2025-12-31", None, "before 2025-12-31T00:00:00Z"),
        ("2026-01-01", None, "before 2026-01-01T00:00:00Z"),
        ("2026-03-01", 7, "from 2026-02-22T00:00:00Z and before 2026-03-01T00:00:00Z"),
    ],
)
@pytest.mark.parametrize("split", ["random", "temporal"])
def test_an_empty_window_is_named(
    tmp_path: Path, until: str, days: float | None, words: str, split: str
) -> None:
    source = daily_source(tmp_path)
    with pytest.raises(InputError) as error:
        run(tmp_path, source, until, window_days=days, split=split)
    message = str(error.value)
    assert words in message
    assert "no interaction" in message
    assert "\n" not in message
    assert left_over(tmp_path) == []


def test_an_empty_window_is_named_even_if_rows_were_rejected(tmp_path: Path) -> None:
    source = daily_source(tmp_path, (f"u1,1,many,{FIRST_DAY}",))
    with pytest.raises(InputError, match="before 2025-12-31T00:00:00Z"):
        run(tmp_path, source, "2025-12-31")


def test_a_length_without_an_end_stops_ingest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="window_days needs data_until"):
        run(tmp_path, SAMPLE, window_days=7)
    assert left_over(tmp_path) == []


def test_a_window_needs_timestamps(tmp_path: Path) -> None:
    log = write_csv(
        tmp_path / "log.csv", ("user", "item", "rating"), [row[:3] for row in daily_log()]
    )
    catalogue = write_csv(tmp_path / "items.csv", ("item", "name"), catalogue_rows())
    source = files_source(log, catalogue)
    source["columns"] = {
        "query_id": "user",
        "candidate_id": "item",
        "title": "name",
        "rating": "rating",
    }
    with pytest.raises(InputError) as error:
        run(tmp_path, source, "2026-01-09")
    assert "source.columns.timestamp is not set" in str(error.value)
    assert left_over(tmp_path) == []
    assert run(tmp_path / "all", source).statistics.rows["train"]


# --- the fingerprint ------------------------------------------------------------------------------


def fingerprint(folder: Path, source: Source, data_until: str = "", **config: Any) -> str:
    """What statistics.json says of the content."""
    found = run(folder, source, data_until, **config).statistics.fingerprint
    assert isinstance(found, str)
    assert len(found) == 16
    int(found, 16)
    return found


def test_the_same_content_has_the_same_fingerprint(tmp_path: Path) -> None:
    source = daily_source(tmp_path)
    first = fingerprint(tmp_path / "first", source)
    assert fingerprint(tmp_path / "second", source) == first
    assert fingerprint(tmp_path / "batches", source, batch_rows=7) == first
    # A window that takes all rows is no other content.
    assert fingerprint(tmp_path / "window", source, "2026-02-01") == first


def test_the_fingerprint_does_not_depend_on_names_and_order_of_the_sources_files(
    tmp_path: Path,
) -> None:
    source = daily_source(tmp_path)
    log = daily_log()
    other = tmp_path / "other"
    other.mkdir()
    for name, rows in (("b.csv", log[:40]), ("a.csv", list(reversed(log[40:])))):
        write_csv(other / name, ("user", "item", "rating", "ts"), rows)
    catalogue = write_csv(
        tmp_path / "renamed.csv", ("item", "name"), list(reversed(catalogue_rows()))
    )
    parts = files_source(other / "*.csv", catalogue)
    assert fingerprint(tmp_path / "parts", parts) == fingerprint(tmp_path / "one", source)


def test_the_fingerprint_does_not_depend_on_rejects(tmp_path: Path) -> None:
    clean = fingerprint(tmp_path / "clean", daily_source(tmp_path))
    source = daily_source(tmp_path, ("u1,1,many,5",))
    assert fingerprint(tmp_path / "rejects", source, max_reject_share=0.1) == clean


CHANGES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "a row more": (
        {"log": [*daily_log(), ("u1", 1, 2, FIRST_DAY + 1)]},
        "",
        {"duplicates": "keep"},
    ),
    "another rating": ({"log": [("u1", 1, 4, FIRST_DAY), *daily_log()[1:]]}, "", {}),
    "another time": ({"log": [("u1", 1, 3, FIRST_DAY + 1), *daily_log()[1:]]}, "", {}),
    "another title": ({"catalogue": [(1, "other"), *catalogue_rows()[1:]]}, "", {}),
    "an item that nobody rated": ({"catalogue": [*catalogue_rows(), (12, "new")]}, "", {}),
    "a shorter window": ({}, "2026-01-09", {}),
    "another split": ({}, "", {"split": "temporal"}),
    "another seed": ({}, "", {"seed": 2}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_content_has_another_fingerprint(tmp_path: Path, change: str) -> None:
    files, until, config = CHANGES[change]
    before = fingerprint(tmp_path / "before", csv_source(tmp_path, log=daily_log()))
    source = csv_source(tmp_path, **{"log": daily_log(), **files})
    assert fingerprint(tmp_path / "after", source, until, **config) != before
