"""Implicit feedback: counts, durations, events, and repeated interactions."""

import math
from pathlib import Path
from typing import Any

import pytest
from ingest_helpers import (
    CATALOGUE,
    COLUMNS,
    LOG,
    Source,
    catalogue_rows,
    csv_source,
    files_source,
    log_rows,
    run,
    write_csv,
)

from components.shared.runtime.errors import InputError


def event_source(folder: Path, events: list[str], **columns: Any) -> Source:
    """`log_rows`, each with one of the events in turn."""
    log = [(*row, events[number % len(events)]) for number, row in enumerate(log_rows())]
    write_csv(folder / "log.csv", (*LOG, "event"), log)
    catalogue = write_csv(folder / "items.csv", CATALOGUE, catalogue_rows())
    feedback = {"weights": {"view": 1, "buy": 2.5}}
    return files_source(folder / "log.csv", catalogue, columns={**COLUMNS, "event": "event",
                        **columns}, feedback=feedback)  # fmt: skip


def test_events_have_weights_and_other_events_are_dropped_and_counted(tmp_path: Path) -> None:
    source = event_source(tmp_path, ["view", "buy", "click", "view", "hover"])
    del source["columns"]["rating"]
    write_csv(tmp_path / "log.csv", ("user", "item", "ts", "event"), [
        (user, item, ts, ["view", "buy", "click", "view", "hover"][n % 5])
        for n, (user, item, _, ts) in enumerate(log_rows())])  # fmt: skip
    ingested = run(tmp_path, source)
    assert ingested.statistics.ratings == {"1": 44, "2.5": 22}
    assert ingested.statistics.dropped == {"event click": 22, "event hover": 22}
    assert ingested.rejects == []


def test_a_rating_is_multiplied_by_its_events_weight(tmp_path: Path) -> None:
    ingested = run(tmp_path, event_source(tmp_path, ["buy"]))
    assert {row["rating"] for row in ingested.interactions} == {2.5, 5, 7.5, 10, 12.5}


def test_a_missing_event_is_rejected(tmp_path: Path) -> None:
    ingested = run(tmp_path, event_source(tmp_path, ["view", ""]), max_reject_share=0.5)
    assert ingested.statistics.rejects == {"missing event": 55}


def test_a_log_of_other_events_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"All 110 interactions are left out.*event click"):
        run(tmp_path, event_source(tmp_path, ["click"]))


def test_counts_are_scaled_by_their_logarithm_and_negative_ones_are_rejected(
    tmp_path: Path,
) -> None:
    log = [*log_rows(), ("u1", 1, -3, 9), ("new", 1, 0, 9)]
    source = csv_source(tmp_path, log, feedback={"scale": "log"})
    ingested = run(tmp_path, source)
    ratings = {row["rating"] for row in ingested.interactions}
    assert sorted(ratings) == pytest.approx([math.log1p(n) for n in range(6)])
    assert [row["reason"] for row in ingested.rejects] == [
        'rating must be at least 0 with source.feedback.scale log, not "-3.0"'
    ]


# --- repeated interactions ------------------------------------------------------------------------

REPEATED = [("u1", 1, 2, 500), ("u1", 2, 2, 600), ("u1", 2, 2, 700)]


@pytest.mark.parametrize("split", ["random", "random_by_user", "temporal", "leave_last_out"])
def test_repeated_interactions_are_in_histories_but_each_pair_is_one_row(
    tmp_path: Path, split: str
) -> None:
    source = csv_source(tmp_path, [*log_rows(), *REPEATED])
    ingested = run(tmp_path, source, split=split, duplicates="history", history_length=20)
    assert len(ingested.interactions) == 110
    assert ingested.rejects == []
    assert ingested.statistics.dropped == {"repeated interaction, in histories only": 3}
    of_pairs = {name: ingested.assignment() for name in ("all",)}["all"]
    assert len(of_pairs) == 110
    for row in ingested.interactions:
        earlier = [str(item) for user, item, _, ts in [*log_rows(), *REPEATED]
                   if user == row["user"] and ts < row["ts"]]  # fmt: skip
        assert all(row["history"].count(item) <= earlier.count(item) for item in row["history"])


def test_the_last_row_of_a_user_has_all_that_came_before_it_in_its_history(tmp_path: Path) -> None:
    source = csv_source(tmp_path, [*log_rows(), *REPEATED])
    ingested = run(
        tmp_path, source, split="leave_last_out", duplicates="history", history_length=20
    )
    (last,) = (row for row in ingested.split("test") if row["user"] == "u1")
    assert last["history"] == [str(item) for item in (*range(10, 0, -1), 2, 2, 1)]


@pytest.mark.parametrize("split", ["random", "random_by_user"])
def test_an_earlier_interaction_of_a_held_out_pair_is_in_no_history_of_a_random_split(
    tmp_path: Path, split: str
) -> None:
    repeated = [(user, item, stars, ts - 1000) for user, item, stars, ts in log_rows()]
    ingested = run(tmp_path, csv_source(tmp_path, [*log_rows(), *repeated]), split=split,
                   duplicates="history", history_length=30)  # fmt: skip
    held_out = {pair for pair, part in ingested.assignment().items() if part == "test"}
    assert held_out
    for row in ingested.interactions:
        assert not {(row["user"], item) for item in row["history"]} & held_out


def test_too_many_duplicates_name_the_setting_that_keeps_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 of them repeat an interaction of the same user"):
        run(tmp_path, csv_source(tmp_path, [*log_rows(), *REPEATED]))
