"""Columns of vectors: lists of numbers, of one width, in all forms of files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_helpers import COLUMNS, Ingested, csv_source, files_source, log_rows, run

from components.shared.contracts.tables import Schema
from components.shared.runtime.errors import InputError

NEED = {"dtypes": ["list<float32>"]}
GOOD: dict[int, Any] = {item: [float(item), 0.5, -2.0] for item in range(1, 12)}
Writer = Callable[[Path, dict[int, Any]], Path]


def parquet(path: Path, vectors: dict[int, Any]) -> Path:
    kind = pa.list_(pa.float64())
    table = {"item": list(vectors), "look": pa.array(list(vectors.values()), kind)}
    pq.write_table(pa.table(table), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def fixed_size(path: Path, vectors: dict[int, Any]) -> Path:
    kind = pa.list_(pa.float16(), 3)
    table = {"item": list(vectors), "look": pa.array(list(vectors.values()), kind)}
    pq.write_table(pa.table(table), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def jsonl(path: Path, vectors: dict[int, Any]) -> Path:
    lines = [json.dumps({"item": item, "look": value}) for item, value in vectors.items()]
    path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    return path.with_suffix(".jsonl")


def joined(path: Path, vectors: dict[int, Any]) -> Path:
    lines = [f"{item},{'|'.join(map(str, value or ()))}" for item, value in vectors.items()]
    path.with_suffix(".csv").write_text("\n".join(["item,look", *lines]) + "\n")
    return path.with_suffix(".csv")


def brackets(path: Path, vectors: dict[int, Any]) -> Path:
    lines = [f"{item}\t{'' if value is None else value}" for item, value in vectors.items()]
    path.with_suffix(".tsv").write_text("\n".join(["item\tlook", *lines]) + "\n")
    return path.with_suffix(".tsv")


def ingested(
    folder: Path, write: Writer, vectors: dict[int, Any], need: dict[str, Any] = NEED, **config: Any
) -> Ingested:
    log = Path(csv_source(folder, log_rows())["interactions"])
    columns = {name: column for name, column in COLUMNS.items() if name != "title"}
    source = files_source(log, write(folder / "items", vectors), columns=columns)
    if write is brackets:
        source["formats"] = {"candidates": {"list_separator": ","}}
    needs = {"candidate": {"look": need}}
    return run(folder, source, needs=needs, **{"max_reject_share": 0.9, **config})


@pytest.mark.parametrize("write", [parquet, fixed_size, jsonl, joined, brackets])
def test_vectors_are_read_from_every_form(tmp_path: Path, write: Writer) -> None:
    found = ingested(tmp_path, write, GOOD)
    [column] = [c for c in Schema.read(found.tables).candidate if c.name == "look"]
    assert (column.dtype, column.width) == ("list<float32>", 3)
    assert {int(row["item"]): row["look"] for row in found.candidates} == GOOD
    assert found.rejects == []


@pytest.mark.parametrize("write", [parquet, jsonl, joined, brackets])
def test_a_missing_vector_is_kept_and_one_of_another_width_is_rejected(
    tmp_path: Path, write: Writer
) -> None:
    vectors = GOOD | {3: None, 5: [1.0, 2.0], 8: [1.0, 2.0, 3.0, 4.0], 9: []}
    found = ingested(tmp_path, write, vectors, max_unknown_item_share=0.9)
    looks = {int(row["item"]): row["look"] for row in found.candidates}
    missing = {3, 9}
    assert looks == {
        item: [] if item in missing else vector
        for item, vector in vectors.items()
        if item not in (5, 8)
    }
    reasons = [row["reason"] for row in found.rejects if row["reason"].startswith("look")]
    assert len(reasons) == 2
    assert all(reason.startswith("look must be a list of 3 numbers") for reason in reasons)


def test_numbers_that_are_not_finite_and_missing_ones_reject_a_row(tmp_path: Path) -> None:
    vectors = GOOD | {2: [1.0, float("nan"), 1.0], 4: [None, 1.0, 1.0], 6: [1e300, 1.0, 1.0]}
    found = ingested(tmp_path, parquet, vectors, max_unknown_item_share=0.9)
    assert {int(row["item"]) for row in found.candidates} == set(GOOD) - {2, 4, 6}


def test_missing_vectors_are_rejected_if_the_feature_says_so(tmp_path: Path) -> None:
    vectors = GOOD | {3: None, 9: []}
    need = NEED | {"missing": "reject"}
    found = ingested(tmp_path, parquet, vectors, need, max_unknown_item_share=0.9)
    assert {int(row["item"]) for row in found.candidates} == set(GOOD) - {3, 9}
    assert {row["reason"] for row in found.rejects} >= {"missing look"}


def test_the_user_s_vectors_come_from_the_log_or_the_table_of_users(tmp_path: Path) -> None:
    users = {f"u{user}": [0.25 * user, 1.0] for user in range(1, 11)}
    rows = [row for row in log_rows() if row[0] != "u10"] + [("u10", 1, 3, 5000)]
    log = pa.table(
        dict(zip(("user", "item", "rating", "ts"), zip(*rows, strict=True), strict=True))
    )
    with_moods = log.append_column("mood", pa.array([users[row[0]] for row in rows]))
    pq.write_table(with_moods, tmp_path / "log.parquet")
    pq.write_table(log, tmp_path / "plain.parquet")
    table = {"user": [*users][:-1], "mood": [*users.values()][:-1]}
    pq.write_table(pa.table(table), tmp_path / "users.parquet")
    columns = {name: column for name, column in COLUMNS.items() if name != "title"}
    source = {"kind": "files", "columns": columns, "interactions": str(tmp_path / "log.parquet")}
    needs = {"query": {"mood": NEED}}
    of_log = run(tmp_path / "a", source, needs=needs, shards=2)
    assert {row["user"]: row["mood"] for row in of_log.interactions} == users
    assert {c.name: c.width for c in Schema.read(of_log.tables).query}["mood"] == 2

    source |= {
        "interactions": str(tmp_path / "plain.parquet"), "users": str(tmp_path / "users.parquet")
    }  # fmt: skip
    of_table = run(tmp_path / "b", source, needs=needs)
    assert {row["user"]: row["mood"] for row in of_table.interactions} == users | {"u10": []}


def test_a_column_without_a_vector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source\.candidates: 'look' has no row with a vector"):
        ingested(tmp_path, parquet, dict.fromkeys(GOOD))
