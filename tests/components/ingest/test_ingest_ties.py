"""Rows of one time: in which order they are held out and known to each other."""

import random
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from ingest_helpers import Ingested, csv_source, log_rows, run, write_csv

from components.shared.contracts.tables import SPLITS, Schema
from components.shared.runtime.errors import InputError

LOG = ("user", "item", "rating", "ts")


def source_of(folder: Path, files: dict[str, list[Any]], **settings: Any) -> dict[str, Any]:
    """A log of several files and a catalogue of the items 1 to 20."""
    source = csv_source(folder, [], [(item, f"name {item}") for item in range(1, 21)], **settings)
    (folder / "log.csv").unlink()
    for name, rows in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_csv(folder / name, LOG, rows)
    return {**source, "interactions": str(folder / "log")}


def rows_of(ingested: Ingested, user: str) -> list[tuple[int, str, str, list[str] | None]]:
    """A user's rows by `row_order`: order, item, split and history."""
    ids = [candidate["item"] for candidate in ingested.candidates]
    return sorted(
        (row["row_order"], ids[row["candidate_index"]], split, row.get("history"))
        for split in SPLITS
        for row in ingested.split(split)
        if row["user"] == user
    )


def test_rows_of_one_time_are_held_out_and_known_in_file_order(tmp_path: Path) -> None:
    files: dict[str, list[Any]] = {
        "log/b.csv": [("u", 4, 1, 7), ("u", 1, 1, 7), ("v", 9, 1, 5)],
        "log/a.csv": [("u", 8, 1, 7), ("u", 3, 1, 7), ("u", 6, 1, 2), ("v", 2, 1, 5)],
    }
    ingested = run(
        tmp_path, source_of(tmp_path, files), split="leave_last_out", ties="file_order",
        history_length=3,
    )  # fmt: skip
    assert rows_of(ingested, "u") == [
        (0, "6", "train", []),
        (1, "8", "train", ["6"]),
        (2, "3", "train", ["8", "6"]),
        (3, "4", "validation", ["3", "8", "6"]),
        (4, "1", "test", ["4", "3", "8"]),
    ]
    assert rows_of(ingested, "v") == [(0, "2", "train", []), (1, "9", "train", ["2"])]


@pytest.mark.parametrize("split", ["leave_last_out", "temporal", "random"])
def test_file_order_depends_on_neither_shards_nor_batches_nor_files(
    tmp_path: Path, split: str
) -> None:
    rng = random.Random(4)
    rows = [(user, item, rating, rng.randrange(3)) for user, item, rating, _ in log_rows(15, 20)]
    rng.shuffle(rows)
    divisions: dict[str, dict[str, Any]] = {
        "one": {"batch_rows": 1000},
        "many": {"batch_rows": 7, "shards": 4},
    }
    found = {}
    for name, settings in divisions.items():
        files = {"log/0.csv": rows}
        if name == "many":
            files = {f"log/{at:02}/part.csv": rows[20 * at : 20 * at + 20] for at in range(15)}
        folder = tmp_path / name
        folder.mkdir()
        source = source_of(folder, dict(sorted(files.items(), reverse=True)))
        ingested = run(
            folder, source, split=split, ties="file_order", history_length=20, **settings
        )
        found[name] = {user: rows_of(ingested, user) for user in {row[0] for row in rows}}
    assert found["one"] == found["many"]

    by_time = defaultdict(list)
    for user, item, _, _ in sorted(rows, key=lambda row: row[3]):
        by_time[user].append(str(item))
    for user, items in by_time.items():
        assert [item for _, item, _, _ in found["one"][user]] == items


def test_a_history_has_what_is_earlier_in_the_file_and_known_at_its_split(tmp_path: Path) -> None:
    rows = [("u", item, 1, 100) for item in range(20, 0, -1)] + [("v", 1, 1, 100)]
    source = source_of(tmp_path, {"log/a.csv": rows})
    ingested = run(tmp_path, source, ties="file_order", history_length=20)
    found = rows_of(ingested, "u")
    assert [item for _, item, _, _ in found] == [str(item) for item in range(20, 0, -1)]
    assert {split for _, _, split, _ in found} == set(SPLITS)
    for order, _, split, history in found:
        known = ("train", "validation") if split == "test" else ("train",)
        before = [item for at, item, part, _ in found if at < order and part in known]
        assert history == before[::-1]


def test_the_hash_orders_ties_by_default_and_no_column_is_added(tmp_path: Path) -> None:
    rows = [("u", item, 1, 100) for item in range(1, 21)] + [("v", 1, 1, 100)]
    source = source_of(tmp_path, {"log/a.csv": rows})
    found = {}
    for ties in ("hash", None, "file_order"):
        folder = tmp_path / str(ties)
        settings = {} if ties is None else {"ties": ties}
        ingested = run(folder, source, split="leave_last_out", history_length=3, **settings)
        found[ties] = ingested.assignment()
        names = [column.name for column in Schema.read(ingested.tables).interaction]
        assert ("row_order" in names) == (ties == "file_order")
        if ties != "file_order":
            assert all(row["history"] == [] for row in ingested.interactions)
    assert found["hash"] == found[None]
    assert found["file_order"]["u", "20"] == "test"
    assert found["file_order"]["u", "19"] == "validation"
    assert found["hash"] != found["file_order"]


def test_a_feature_cannot_have_the_name_of_the_order(tmp_path: Path) -> None:
    log = pa.table(
        {"user": ["u", "v"], "item": [1, 2], "rating": [1, 1], "ts": [1, 2], "row_order": [1, 2]}
    )
    source = csv_source(tmp_path)
    pyarrow.csv.write_csv(log, tmp_path / "log.csv")
    with pytest.raises(InputError, match=r"ingest\.ties adds a column 'row_order', but the source"):
        run(tmp_path, source, ties="file_order")


@pytest.mark.movielens
def test_movielens_is_held_out_as_a_stable_sort_by_time_does(
    movielens_archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(movielens_archive) as archive:
        data = archive.read("ml-100k/u.data")
    columns = ["user", "item", "rating", "time"]
    log = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        pyarrow.csv.ReadOptions(column_names=columns),
        pyarrow.csv.ParseOptions(delimiter="\t"),
    ).to_pylist()
    by_user = defaultdict(list)
    for row in sorted(log, key=lambda row: row["time"]):  # Python's sort is stable
        by_user[str(row["user"])].append(str(row["item"]))

    source = {"kind": "movielens", "version": "100k", "path": str(movielens_archive)}
    ingested = run(
        tmp_path, source, split="leave_last_out", ties="file_order", history_length=4, shards=3,
        batch_rows=999,
    )  # fmt: skip
    ids = [candidate["movie_id"] for candidate in ingested.candidates]
    for split, back in (("test", 1), ("validation", 2)):
        rows = ingested.split(split)
        held_out = {row["user_id"]: ids[row["candidate_index"]] for row in rows}
        assert held_out == {user: items[-back] for user, items in by_user.items()}
    for row in ingested.split("test"):
        assert row["history"] == by_user[row["user_id"]][-2:-6:-1]
