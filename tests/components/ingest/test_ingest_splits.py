import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ingest_helpers import Ingested, csv_source, log_rows, run, shard_files

from components.shared.contracts.tables import SPLITS, Schema, read_table

SAMPLE = {"kind": "sample", "users": 100, "items": 60, "interactions": 2500}
ROWS = log_rows(30, 20)


@pytest.fixture(scope="module")
def by_split(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ingested]:
    """The sample under each kind of split."""
    return {
        split: run(tmp_path_factory.mktemp(split), SAMPLE, split=split)
        for split in ("random", "temporal", "leave_last_out")
    }


@pytest.fixture(scope="module")
def random_split(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Any, Any], str]:
    """The split of each pair of `ROWS`."""
    folder = tmp_path_factory.mktemp("random")
    return run(folder, csv_source(folder, ROWS, catalogue())).assignment()


def catalogue() -> list:
    return [(item, f"name {item}") for item in range(1, 21)]


@pytest.mark.parametrize("split", ["random", "temporal", "leave_last_out"])
def test_every_row_is_in_exactly_one_split(by_split: dict[str, Ingested], split: str) -> None:
    pairs = [(r["user_id"], r["candidate_index"]) for r in by_split[split].interactions]
    assert len(pairs) == len(set(pairs))
    others = {(r["user_id"], r["candidate_index"]) for r in by_split["random"].interactions}
    assert set(pairs) == others


def test_random_shares_are_near_the_fractions(by_split: dict[str, Ingested]) -> None:
    rows = by_split["random"].statistics.rows
    total = sum(rows.values())
    assert rows["test"] / total == pytest.approx(0.2, abs=0.03)
    assert rows["validation"] / total == pytest.approx(0.08, abs=0.02)


def test_the_random_split_follows_other_fractions(tmp_path: Path) -> None:
    rows = run(tmp_path, SAMPLE, test_fraction=0.5, validation_fraction=0.4).statistics.rows
    total = sum(rows.values())
    assert rows["test"] / total == pytest.approx(0.5, abs=0.03)
    assert rows["validation"] / total == pytest.approx(0.2, abs=0.03)


def test_the_random_split_depends_on_neither_order_nor_batches_nor_shards(
    tmp_path: Path, random_split: dict[tuple[Any, Any], str]
) -> None:
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    source = csv_source(tmp_path, shuffled, catalogue())
    ingested = run(tmp_path, source, batch_rows=37, shards=3)
    assert ingested.assignment() == random_split


def test_a_row_stays_in_its_split_when_the_log_and_the_catalogue_grow(
    tmp_path: Path, random_split: dict[tuple[Any, Any], str]
) -> None:
    fewer = [row for row in ROWS if row[0] != "u7" and row[1] not in (1, 13)]
    smaller = [row for row in catalogue() if row[0] not in (1, 13)]
    before = run(tmp_path, csv_source(tmp_path, fewer, smaller)).assignment()
    assert len(before) == len(fewer)
    assert before == {pair: random_split[pair] for pair in before}


def test_another_seed_gives_another_random_split(
    tmp_path: Path, random_split: dict[tuple[Any, Any], str]
) -> None:
    other = run(tmp_path, csv_source(tmp_path, ROWS, catalogue()), seed=2).assignment()
    assert other.keys() == random_split.keys()
    test_pairs, other_test_pairs = (
        {pair for pair, part in assignment.items() if part == "test"}
        for assignment in (random_split, other)
    )
    assert len(test_pairs & other_test_pairs) < 0.5 * len(test_pairs)


def test_the_temporal_split_is_ordered_by_time(by_split: dict[str, Ingested]) -> None:
    times = {s: [r["timestamp"] for r in by_split["temporal"].split(s)] for s in SPLITS}
    assert max(times["train"]) <= min(times["validation"])
    assert max(times["validation"]) <= min(times["test"])
    total = sum(map(len, times.values()))
    assert len(times["test"]) / total == pytest.approx(0.2, abs=0.01)
    assert len(times["validation"]) / total == pytest.approx(0.08, abs=0.01)


def test_the_temporal_split_begins_with_the_row_at_each_boundary(tmp_path: Path) -> None:
    rows = [(f"user {row // 20}", 1 + row % 20, 5, row) for row in range(100)]
    ingested = run(
        tmp_path, csv_source(tmp_path, rows, catalogue()), split="temporal",
        test_fraction=0.25, validation_fraction=0.5,
    )  # fmt: skip
    # The boundaries are the first times that 37.5% and 75% of the rows are not after.
    first = {split: min(row["ts"] for row in ingested.split(split)) for split in SPLITS}
    assert first == {"train": 0, "validation": 37, "test": 74}


def test_the_temporal_split_keeps_rows_of_one_time_together(tmp_path: Path) -> None:
    rows = [(user, item, rating, 1000 + item // 2) for user, item, rating, _ in ROWS]
    ingested = run(tmp_path, csv_source(tmp_path, rows, catalogue()), split="temporal", shards=2)
    parts = defaultdict(set)
    for split in SPLITS:
        for row in ingested.split(split):
            parts[row["ts"]].add(split)
    assert len(parts) == 11
    assert all(len(splits) == 1 for splits in parts.values())


def test_leave_last_out_takes_the_latest_two_rows_of_each_user(
    by_split: dict[str, Ingested],
) -> None:
    times: dict[str, dict[str, list[int]]] = {split: defaultdict(list) for split in SPLITS}
    for split in SPLITS:
        for row in by_split["leave_last_out"].split(split):
            times[split][row["user_id"]].append(row["timestamp"])
    assert len(times["train"]) == 100
    for user, train in times["train"].items():
        (validation,), (test,) = times["validation"][user], times["test"][user]
        assert max(train) <= validation <= test


def test_leave_last_out_keeps_users_with_fewer_than_three_rows_in_train(tmp_path: Path) -> None:
    rows = [("one", 1, 5, 1), ("two", 1, 5, 1), ("two", 2, 5, 2)]
    rows += [("three", 3, 5, 9), ("three", 1, 5, 1), ("three", 2, 5, 5)]
    ingested = run(tmp_path, csv_source(tmp_path, rows), split="leave_last_out", shards=2)
    assert ingested.assignment() == {
        ("one", "1"): "train",
        ("two", "1"): "train",
        ("two", "2"): "train",
        ("three", "1"): "train",
        ("three", "2"): "validation",
        ("three", "3"): "test",
    }


def test_leave_last_out_does_not_prefer_the_newest_items_among_rows_of_one_time(
    tmp_path: Path,
) -> None:
    rows = [(user, item, rating, 1000) for user, item, rating, _ in ROWS]
    source = csv_source(tmp_path, rows, catalogue())
    parts = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        folder = tmp_path / name
        folder.mkdir()
        parts[name] = run(folder, source, seed=seed, split="leave_last_out").assignment()

    held_out = {pair for pair, part in parts["one"].items() if part == "test"}
    items = [int(item) for _, item in held_out]
    assert len({user for user, _ in held_out}) == len(items) == 30
    # Of 30 draws from 1 to 20 without replacement between users: 10.5, give or take 1.05.
    assert 7 < sum(items) / len(items) < 14
    assert parts["again"] == parts["one"]
    assert parts["other"] != parts["one"]


def test_each_users_rows_are_ordered_by_time(by_split: dict[str, Ingested]) -> None:
    order = [(row["user_id"], row["timestamp"]) for row in by_split["random"].split("train")]
    assert order == sorted(order)


# --- files ----------------------------------------------------------------------------------------


def test_three_shards_are_three_files_and_no_user_is_in_two(tmp_path: Path) -> None:
    ingested = run(tmp_path, SAMPLE, shards=3)
    shard_of: dict[str, int] = {}
    for split in SPLITS:
        files = shard_files(ingested, split)
        assert [file.name for file in files] == [f"part-0000{n}-of-00003.parquet" for n in range(3)]
        for shard, file in enumerate(files):
            for user in pq.read_table(file)["user_id"].to_pylist():
                assert shard_of.setdefault(user, shard) == shard
    assert len(shard_of) == 100
    assert set(shard_of.values()) == {0, 1, 2}


def test_ingest_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    rows = [*random.Random(1).sample(ROWS, len(ROWS)), "short", ("u1", 1, "bad", 7)]
    first, second = (
        run(folder, csv_source(folder, rows, catalogue()), shards=2, batch_rows=50).files()
        for folder in (tmp_path / "a", tmp_path / "b")
        if not folder.mkdir()
    )
    assert len(first) == 6 + 1 + 3 + 1
    assert first == second


def test_row_order_does_not_change_the_bytes(tmp_path: Path) -> None:
    first, second = (
        run(folder, csv_source(folder, rows, catalogue()), batch_rows=size).files()
        for folder, rows, size in (
            (tmp_path / "a", ROWS, 1000),
            (tmp_path / "b", ROWS[::-1], 41),
        )
        if not folder.mkdir()
    )
    assert first == second


@pytest.mark.parametrize("split", SPLITS)
def test_tables_have_the_types_of_their_schema(by_split: dict[str, Ingested], split: str) -> None:
    tables = by_split["random"].tables
    schema = Schema.read(tables)
    assert read_table(tables / "interactions" / split).schema.equals(schema.interactions_arrow)
    assert read_table(tables / "candidates").schema.equals(schema.candidates_arrow)
