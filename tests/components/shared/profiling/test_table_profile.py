"""Profiles of tables: lazy merging, and the pass over the files of a table."""

from pathlib import Path
from time import process_time

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.profiling import table_summary
from components.shared.profiling.table_profile import SaveProfiles, read_profiles
from components.shared.profiling.table_summary import TableSummary
from components.shared.runtime.beam import pipeline_options


def batch(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "user": [f"user {n}" for n in rng.integers(0, 50, rows)],
            "stars": rng.integers(1, 6, rows).astype(np.float32),
        }
    )


def test_batches_in_any_grouping_give_the_same_profiles() -> None:
    batches = [batch(40, seed) for seed in range(50)]
    whole, one_by_one, halves = TableSummary(), TableSummary(), [TableSummary(), TableSummary()]
    whole.add(pa.concat_tables(batches))
    for number, each in enumerate(batches):
        one_by_one.add(each)
        halves[number % 2].add(each)

    for summary in (one_by_one, TableSummary.merged(halves)):
        for found, expected in zip(summary.profiles(), whole.profiles(), strict=True):
            without = {"numbers"}
            assert found.model_dump(exclude=without) == expected.model_dump(exclude=without)
            assert (found.numbers is None) == (expected.numbers is None)
            if found.numbers and expected.numbers:
                assert found.numbers.mean == pytest.approx(expected.numbers.mean)
                assert found.numbers.deviation == pytest.approx(expected.numbers.deviation)
                assert found.numbers.deciles == expected.numbers.deciles


def test_summaries_wait_to_be_merged_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = []
    original = table_summary.merge_summaries
    monkeypatch.setattr(
        table_summary, "merge_summaries", lambda parts: merged.append(len(parts)) or original(parts)
    )
    summary = TableSummary()
    for seed in range(100):
        summary.add(batch(20, seed))
        assert all(len(parts) < 16 for parts in summary.parts.values())

    assert len(merged) < 2 * 100 / 10  # of both columns


def test_a_column_that_a_batch_lacks_is_missing_there() -> None:
    summary = TableSummary()
    summary.add(pa.table({"a": [1, 2]}))
    summary.add(pa.table({"b": ["x"]}))

    assert [(p.name, p.kind, p.rows, p.missing) for p in summary.profiles()] == [
        ("a", "number", 3, 1),
        ("b", "text", 3, 2),
    ]


def saved(table: Path, columns: list[str], target: Path) -> list[str]:
    with beam.Pipeline(options=pipeline_options([])) as pipeline:
        _ = pipeline | SaveProfiles(table, columns, target)
    return [profile.name for profile in read_profiles(target)]


def test_all_row_groups_of_all_files_are_profiled(tmp_path: Path) -> None:
    for number in range(2):
        path = tmp_path / f"part-0000{number}-of-00002.parquet"
        pq.write_table(batch(100, number), path, row_group_size=30)

    names = saved(tmp_path, ["stars", "user"], tmp_path / "profiles.json")

    assert names == ["stars", "user"]
    stars, user = read_profiles(tmp_path / "profiles.json")
    assert (stars.rows, user.rows, user.distinct) == (200, 200, 49)
    assert sum(value.rows for value in stars.top) == 200


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    pq.write_table(batch(10, 1), tmp_path / "part-00000-of-00001.parquet")

    assert saved(tmp_path, ["user"], tmp_path / "profiles.json") == ["user"]


@pytest.mark.slow
def test_ten_million_rows_take_seconds(tmp_path: Path) -> None:
    rows, rng = 1_000_000, np.random.default_rng(1)
    names = pa.array([f"user {n}" for n in range(160_000)])
    million = pa.table(
        {
            "user": names.take(pa.array(rng.integers(0, 160_000, rows))),
            "stars": pa.array(rng.integers(1, 11, rows) / 2, pa.float32()),
            "at": pa.array(1_500_000_000 + np.sort(rng.integers(0, 10**8, rows))),
        }
    )
    for number in range(10):
        pq.write_table(million, tmp_path / f"part-0000{number}-of-00010.parquet")

    began = process_time()
    saved(tmp_path, ["user", "stars", "at"], tmp_path / "profiles.json")

    assert process_time() - began < 40  # about 11 s
    assert read_profiles(tmp_path / "profiles.json")[0].rows == 10_000_000
