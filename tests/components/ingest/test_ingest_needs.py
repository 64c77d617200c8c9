"""Only what later steps need is checked and kept; what cannot work is said at once."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_helpers import (
    CATALOGUE,
    COLUMNS,
    LOG,
    Ingested,
    catalogue_rows,
    csv_source,
    files_source,
    left_over,
    log_rows,
    log_table,
    movielens_100k,
    parquet_source,
    run,
    write_csv,
    write_folder,
)

from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.contracts.tables import Schema
from components.shared.runtime.errors import InputError

IDS: dict[str, Any] = {
    "query": {"user": {"dtypes": ["string", "int64"]}},
    "candidate": {"item": {"dtypes": ["string", "int64"]}},
}


def columns_of(ingested: Ingested) -> list[str]:
    schema = Schema.read(ingested.tables)
    return [c.name for c in [*schema.query, *schema.interaction, *schema.candidate]]


def wide_source(folder: Path, *extra: tuple[Any, ...]) -> dict[str, Any]:
    """A log with an age and a comment, and a catalogue with a picture; then some more rows."""
    log = [(*row, 20 + row[1], "") for row in log_rows()]
    write_csv(folder / "log.csv", (*LOG, "age", "comment"), [*log, *extra])
    catalogue = [(*row, "") for row in catalogue_rows()]
    write_csv(folder / "items.csv", (*CATALOGUE, "picture"), catalogue)
    return files_source(folder / "log.csv", folder / "items.csv", dtypes={"age": "float32"})


def with_age(missing: str) -> dict[str, Any]:
    return {**IDS, "query": {**IDS["query"], "age": {"dtypes": ["float32"], "missing": missing}}}


def test_a_missing_value_in_a_column_that_nothing_uses_rejects_nothing(tmp_path: Path) -> None:
    ingested = run(tmp_path, wide_source(tmp_path), needs=IDS)
    assert (len(ingested.interactions), ingested.rejects) == (110, [])
    assert columns_of(ingested) == ["user", "rating", "ts", "item", "name"]


def test_a_missing_value_of_a_feature_is_kept_and_an_unparsable_one_is_not(
    tmp_path: Path,
) -> None:
    source = wide_source(tmp_path, ("new", 1, 5, 9, "", ""), ("new", 2, 5, 9, "old", ""))
    ingested = run(tmp_path, source, needs=with_age("keep"), max_reject_share=0.1)
    assert [row["reason"] for row in ingested.rejects] == ['age must be a finite number, not "old"']
    (age,) = (row["age"] for row in ingested.interactions if row["user"] == "new")
    assert math.isnan(age)


def test_a_row_without_a_value_is_rejected_if_the_feature_says_so(tmp_path: Path) -> None:
    source = wide_source(tmp_path, ("new", 1, 5, 9, "", ""))
    ingested = run(tmp_path, source, needs=with_age("reject"))
    assert [row["reason"] for row in ingested.rejects] == ["missing age"]


def test_missing_values_of_every_type_are_kept_as_the_values_that_stand_for_them(
    tmp_path: Path,
) -> None:
    log = log_table()
    for name, kind in (("s", pa.string()), ("i", pa.int64()), ("l", pa.list_(pa.string()))):
        log = log.append_column(name, pa.nulls(110, kind))
    needs = {name: {"dtypes": [dtype]} for name, dtype in
             (("s", "string"), ("i", "int64"), ("l", "list<string>"))}  # fmt: skip
    ingested = run(tmp_path, parquet_source(tmp_path, log), needs={"query": needs})
    assert {(r["s"], r["i"], len(r["l"])) for r in ingested.interactions} == {
        ("", MISSING_INTEGER, 0)
    }


def test_built_in_sources_keep_only_what_is_needed(tmp_path: Path) -> None:
    sample = run(tmp_path / "sample", {"kind": "sample", "users": 40, "items": 30,
                                       "interactions": 900},
                 needs={"query": {"user_gender": {"dtypes": ["int64"]}}})  # fmt: skip
    assert columns_of(sample) == [
        "user_id", "user_gender", "user_rating", "timestamp", "movie_id", "movie_title"
    ]  # fmt: skip
    files = movielens_100k()
    # A user without an occupation counts, because no feature takes it.
    files["u.user"] = files["u.user"].replace(b"3|27|F|writer|00003\n", b"3|27|F|pirate|00003\n")
    folder = write_folder(tmp_path / "ml", files)
    source = {"kind": "movielens", "version": "100k", "path": str(folder)}
    movielens = run(tmp_path, source, needs={"query": {"raw_user_age": {"dtypes": ["float32"]}}})
    assert movielens.rejects == []
    assert columns_of(movielens) == [
        "user_id", "raw_user_age", "user_rating", "timestamp", "movie_id", "movie_title"
    ]  # fmt: skip


# --- what cannot work -----------------------------------------------------------------------------


def test_all_that_the_first_look_shows_is_said_in_one_message(tmp_path: Path) -> None:
    needs = {
        "query": {"history": {"dtypes": ["list<string>"]}},
        "candidate": {"name": {"dtypes": ["list<string>"]}},
        "candidates": 101,
        "cutoffs": ["evaluate.ks", "train.monitor"],
    }
    source = csv_source(tmp_path, columns={**COLUMNS, "timestamp_unit": "auto"})
    with pytest.raises(InputError) as caught:
        run(tmp_path, source, needs=needs)
    problems = str(caught.value).splitlines()
    assert problems[0] == "4 problems:"
    assert problems[1:3] == [
        "  features.query.history: there is no such column. Set ingest.history_length, and ingest "
        "makes it. The query columns of this source are user.",
        "  features.candidate.name: its type needs a column of list<string>, but name is string. "
        "If it is text that joins several values, set source.dtypes.name to list<string>, and "
        "list_separator in source.formats to what separates them (| by default).",
    ]
    assert "no plausible times in any unit" in problems[3]
    assert problems[4] == (
        "  evaluate.ks and train.monitor: a cut-off of 100 needs at least 101 candidates, but the "
        "catalogue has 11. Choose smaller cut-offs, or remove the settings: the defaults follow "
        "the size of the catalogue."
    )


def test_problems_of_each_kind_are_in_one_message(tmp_path: Path) -> None:
    rows = [(*row[:2], 4, row[3], [[1]]) for row in log_rows() if row[1] < 3]
    write_csv(tmp_path / "log.csv", (*LOG, "note"), rows)
    items = pa.table({"item": [1, 2], "name": ["A", "B"], "size": [{"w": 1}, {"w": 2}]})
    pq.write_table(items, tmp_path / "items.parquet")
    source = files_source(
        tmp_path / "log.csv", tmp_path / "items.parquet",
        columns={**COLUMNS, "event": "kind", "timestamp_unit": "auto"},
    )  # fmt: skip
    needs = {
        "query": {"age": {"dtypes": ["float32"]}, "history": {"dtypes": ["list<string>"]}},
        "candidate": {"size": {"dtypes": ["string"]}},
        "candidates": 11,
        "cutoffs": ["evaluate.ks"],
        "distinct_ratings": True,
    }
    with pytest.raises(InputError) as caught:
        run(tmp_path, source, needs=needs, split="leave_last_out")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{len(lines) - 1} problems:"
    said = [
        "source.columns.event: log.csv has no column 'kind'. Its columns are user, item, ",
        "features.query.age: source.interactions has no column 'age'. Its columns are user, ",
        "source.candidates: the column 'size' has the type struct<w: int64>, but the feature ",
        "features.query.history: there is no such column. Set ingest.history_length, and ",
        "source.columns.timestamp: the first 20 times of 'ts' are numbers that are no plausible ",
        "evaluate.ks: a cut-off of 10 needs at least 11 candidates, but the catalogue has 2. ",
        "ingest.split: leave_last_out needs users with three interactions; 10 of 10 have fewer, ",
        "train.loss: every rating is 4, so mse would learn only this number. Use loss softmax, ",
    ]
    for line, beginning in zip(lines[1:], said, strict=True):
        assert line.startswith(f"  {beginning}")
    assert not left_over(tmp_path)


def test_a_log_without_a_catalogue_also_shows_how_few_items_it_has(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", LOG, [("u", *row[1:]) for row in log_rows()])
    source = files_source(tmp_path / "log.csv", tmp_path, columns={**COLUMNS, "title": None})
    source["candidates"] = None
    needs = {"query": {"age": {"dtypes": ["float32"]}}, "candidates": 101, "cutoffs": ["x.ks"]}
    with pytest.raises(InputError) as caught:
        run(tmp_path, source, needs=needs)
    beginnings = [
        "3 problems:",
        "  features.query.age: ",
        "  The log has only one user.",
        "  x.ks: a cut-off of 100 needs at least 101 candidates, but the catalogue has 11",
    ]
    for line, beginning in zip(str(caught.value).splitlines(), beginnings, strict=True):
        assert line.startswith(beginning)


def test_an_unusable_column_is_not_the_reason_for_further_problems(tmp_path: Path) -> None:
    table = pa.table({"user": [["u"]], "item": [1], "rating": [["x"]], "ts": [[1]]})
    source = parquet_source(tmp_path, table)
    with pytest.raises(InputError) as caught:
        run(tmp_path, source, needs={"distinct_ratings": True, "candidates": 5})
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 problems:"
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  source.columns.query_id", "  source.columns.rating", "  source.columns.timestamp",
    ]  # fmt: skip


def test_equal_ratings_cannot_be_learned_with_mse(tmp_path: Path) -> None:
    source = csv_source(tmp_path, [(user, item, 4, ts) for user, item, _, ts in log_rows()])
    with pytest.raises(InputError, match=r"^train\.loss: every rating is 4, so mse would learn"):
        run(tmp_path, source, needs={"distinct_ratings": True})


def test_leave_last_out_says_how_many_users_have_too_few_interactions(tmp_path: Path) -> None:
    source = csv_source(tmp_path, [row for row in log_rows() if row[1] < 3])
    with pytest.raises(InputError) as caught:
        run(tmp_path, source, split="leave_last_out")
    assert str(caught.value) == (
        "ingest.split: leave_last_out needs users with three interactions; 10 of 10 have fewer, so "
        "the validation and test part has no rows. Use split random or temporal."
    )
