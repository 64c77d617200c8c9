"""Histories and time columns: right, and of nothing that is not known beforehand."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ingest_helpers import CATALOGUE, COLUMNS, LOG, Ingested, files_source, run, write_csv

from components.ingest.config import IngestConfig, SampleSource
from components.ingest.context import histories
from components.ingest.schemas import known_schema
from components.shared.contracts.derived_columns import time_values
from components.shared.contracts.tables import SPLITS, Schema, read_table
from components.shared.runtime.errors import InputError
from pipeline.config.pipeline import PipelineConfig

SPLIT_KINDS = ["random", "random_by_user", "temporal", "leave_last_out"]
TIME_COLUMNS = ["month_of_year", "hour_of_day", "day_of_week"]
KNOWN = {"train": ("train",), "validation": ("train",), "test": ("train", "validation")}
LENGTH, ITEMS, CUT = 4, 15, 2_000_000
Row = tuple[str, int, int, int]


def random_log(seed: int, times: int = 25, rows: int = 420) -> list[Row]:
    """Interactions with many ties in time, from 1970 to 2033."""
    rng = random.Random(seed)
    moments = [rng.randrange(0, 2_000_000_000) for _ in range(times)]
    return [
        (f"u{rng.randrange(18)}", rng.randrange(1, ITEMS + 1), rng.randrange(1, 6),
         rng.choice(moments))
        for _ in range(rows)
    ]  # fmt: skip


def write_source(folder: Path, rows: list[Row], **settings: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    items = [(item, f"name {item}") for item in range(1, ITEMS + 1)]
    return files_source(
        write_csv(folder / "log.csv", LOG, rows),
        write_csv(folder / "items.csv", CATALOGUE, items),
        **settings,
    )


def with_context(folder: Path, rows: list[Row], **settings: Any) -> Ingested:
    source = write_source(folder, rows)
    return run(folder, source, history_length=LENGTH, time_columns=TIME_COLUMNS, **settings)


def rows_of(ingested: Ingested) -> list[dict[str, Any]]:
    """The rows of all parts, with their part and their item's id."""
    ids = [candidate["item"] for candidate in ingested.candidates]
    return [
        {**row, "part": part, "item": ids[row["candidate_index"]]}
        for part in SPLITS
        for row in ingested.split(part)
    ]


def expected_history(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Row by row, in plain Python; of one time, the item with the greater index is later."""
    known = [
        (other["ts"], other["candidate_index"], other["item"])
        for other in rows
        if other["user"] == row["user"]
        and other["ts"] < row["ts"]
        and other["part"] in KNOWN[row["part"]]
    ]
    return [item for *_, item in sorted(known, reverse=True)][:LENGTH]


@pytest.mark.parametrize(
    ("split", "duplicates"), [("random", "reject"), *((split, "keep") for split in SPLIT_KINDS)]
)
def test_histories_match_brute_force(tmp_path: Path, split: str, duplicates: str) -> None:
    settings = {"max_reject_share": 0.9, "shards": 2, "batch_rows": 50}
    log = random_log(len(split), times=400 if split == "temporal" else 25)
    found = rows_of(with_context(tmp_path, log, split=split, duplicates=duplicates, **settings))

    assert {row["part"] for row in found if row["history"]} == set(SPLITS)
    assert {len(row["history"]) for row in found} == set(range(LENGTH + 1))
    for row in found:
        assert row["history"] == expected_history(row, found)


def test_histories_do_not_depend_on_how_many_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    user = np.sort(rng.integers(0, 9, 300)).astype(np.int32)
    timestamp = np.concatenate([np.sort(rng.integers(0, 40, (user == u).sum())) for u in range(9)])
    splits = rng.integers(0, 3, 300).astype(np.int8)
    items = pa.array(rng.integers(0, 50, 300).astype(str))
    whole = histories(user, timestamp, splits, items, 3)

    monkeypatch.setattr("components.ingest.context._VALUES_AT_ONCE", 20)

    pieces = histories(user, timestamp, splits, items, 3)
    assert pieces.num_chunks > 10
    assert pieces.to_pylist() == whole.to_pylist()


def test_time_columns_match_the_calendar_in_utc(tmp_path: Path) -> None:
    found = rows_of(with_context(tmp_path, random_log(1), duplicates="keep"))

    assert len({row["month_of_year"] for row in found}) > 6
    for row in found:
        time = datetime.fromtimestamp(row["ts"], UTC)
        assert row["hour_of_day"] == time.hour
        assert row["day_of_week"] == time.weekday()
        assert row["month_of_year"] == time.month


@pytest.mark.parametrize("time", ["1969-12-31T23:59:59Z", "2024-02-29T00:00:00Z", "2000-01-01T12Z"])
def test_times_at_the_edges(time: str) -> None:
    moment = datetime.fromisoformat(time)
    values = time_values(np.array([int(moment.timestamp())]), ["hour_of_day", "day_of_week"])
    month = time_values(np.array([int(moment.timestamp())]), ["month_of_year"])["month_of_year"]

    assert [int(v[0]) for v in values.values()] == [moment.hour, moment.weekday()]
    assert month.tolist() == [moment.month]
    assert month.dtype == np.int64


# --- nothing is known beforehand that should not be -----------------------------------------------


def context(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], Any]:
    """What each row is told of its past and its time."""
    return {
        (row["user"], row["item"], row["ts"]): (
            row["history"],
            *(row[name] for name in TIME_COLUMNS),
        )
        for row in rows
    }


def distinct_log(seed: int) -> list[Row]:
    """No user comes back to an item; half of the rows are from `CUT` on, some exactly there."""
    rng = random.Random(seed)
    pairs = [(f"u{user}", item) for user in range(18) for item in range(1, ITEMS + 1)]
    return [(*pair, 3, rng.choice(range(0, 2 * CUT, CUT // 20))) for pair in pairs]


CHANGES: dict[str, Callable[[Row, random.Random], Row | None]] = {
    "removed": lambda row, rng: None,
    "half of it removed": lambda row, rng: row if rng.random() < 0.5 else None,
    "at other times": lambda row, rng: (*row[:3], rng.randrange(CUT, 3 * CUT)),
    "rated otherwise": lambda row, rng: (*row[:2], 6 - row[2], row[3]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_derived_column_does_not_depend_on_rows_at_the_same_time_or_later(
    tmp_path: Path, change: str
) -> None:
    rng = random.Random(8)
    log = distinct_log(2)
    # A row at the cut stays, as it is what is predicted; everything else there changes.
    asked = min(row for row in log if row[3] == CUT)
    changed = [row if row[3] < CUT or row == asked else CHANGES[change](row, rng) for row in log]

    before = context(rows_of(with_context(tmp_path / "a", log)))
    after = context(rows_of(with_context(tmp_path / "b", [row for row in changed if row])))

    key_of_asked = (asked[0], str(asked[1]), asked[3])
    same = {key for key in before if key[2] < CUT} | {key_of_asked}
    assert len(same) > 80
    assert before[key_of_asked][0]
    assert before != after or change == "rated otherwise"
    assert {key: before[key] for key in same} == {key: after[key] for key in same}


def test_a_history_contains_neither_the_rows_item_nor_items_of_the_same_time() -> None:
    splits = np.zeros(6, np.int8)
    user = np.array([0, 0, 0, 0, 1, 1], np.int32)
    timestamp = np.array([1, 2, 2, 2, 1, 2])
    items = pa.array(["a", "b", "c", "d", "e", "f"])

    found = histories(user, timestamp, splits, items, 9).to_pylist()

    assert found == [[], ["a"], ["a"], ["a"], [], ["e"]]


@pytest.mark.parametrize("split", SPLIT_KINDS)
def test_test_rows_do_not_affect_training_and_validation_rows(tmp_path: Path, split: str) -> None:
    log = distinct_log(3)
    first = rows_of(with_context(tmp_path / "a", log, split=split))
    part = {(row["user"], row["item"]): row["part"] for row in first}
    latest = max(row[3] for row in log)
    rng = random.Random(5)

    def changed(row: Row) -> Row:
        if part[row[0], str(row[1])] != "test":
            return row
        # So that it stays in the test split, whatever kind of split it is.
        by_time = split in ("temporal", "leave_last_out")
        return (*row[:2], 6 - row[2], latest + 1 if by_time else rng.randrange(latest))

    again = rows_of(with_context(tmp_path / "b", [changed(row) for row in log], split=split))

    def known(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["part"] != "test"]

    assert first != again
    assert len(known(first)) > 150
    assert known(first) == known(again)


def test_validation_rows_are_in_no_history_of_validation_rows(tmp_path: Path) -> None:
    found = rows_of(with_context(tmp_path, distinct_log(4), test_fraction=0.1,
                                 validation_fraction=0.6))  # fmt: skip
    held_out = {(row["user"], row["item"]) for row in found if row["part"] != "train"}

    told = {(row["user"], i) for row in found if row["part"] != "test" for i in row["history"]}
    assert len(told) > 50
    assert not told & held_out
    told_test = {(row["user"], i) for row in found if row["part"] == "test" for i in row["history"]}
    assert told_test & held_out


# --- the schema, and what cannot be ---------------------------------------------------------------


def test_the_schema_lists_the_derived_columns_and_the_tables_have_their_types(
    tmp_path: Path,
) -> None:
    ingested = with_context(tmp_path, random_log(2), duplicates="keep")

    schema = Schema.read(ingested.tables)
    derived = {column.name: column for column in schema.query if column.derived}
    assert list(derived) == ["history", *TIME_COLUMNS]
    assert schema.query[0].name == "user"
    assert (derived["history"].dtype, derived["history"].width) == ("list<string>", LENGTH)
    assert derived["day_of_week"].labels is not None
    assert derived["day_of_week"].labels["0"] == "Monday"
    assert derived["month_of_year"].labels is not None
    assert derived["month_of_year"].labels["12"] == "December"
    for part in SPLITS:
        table = read_table(ingested.tables / "interactions" / part)
        assert table.schema.equals(schema.interactions_arrow)


def test_by_default_nothing_is_derived_and_files_do_not_change(tmp_path: Path) -> None:
    ingested = run(tmp_path, write_source(tmp_path, random_log(2)), duplicates="keep")

    content = json.loads((ingested.tables / "schema.json").read_text())
    assert content.pop("format") == 1
    assert all(
        set(column) == {"name", "dtype", "role", "labels"}
        for columns in content.values()
        for column in columns
    )
    assert read_table(ingested.tables / "interactions" / "test").column_names == [
        "user", "candidate_index", "rating", "ts",
    ]  # fmt: skip
    assert Schema.read(ingested.tables).to_text() == (ingested.tables / "schema.json").read_text()


def test_the_columns_of_a_built_in_source_are_known_before_it_is_read(tmp_path: Path) -> None:
    settings = {"history_length": 3, "time_columns": ["hour_of_day"]}
    source = {"kind": "sample", "users": 20, "items": 10, "interactions": 200}
    ingested = run(tmp_path, source, **settings)

    known = known_schema(SampleSource.model_validate(source), IngestConfig(**settings))
    assert known == Schema.read(ingested.tables)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [("history", "history_length", 5), ("hour_of_day", "time_columns", ["hour_of_day"])],
)
def test_a_source_column_with_the_name_of_a_derived_one_is_refused(
    tmp_path: Path, name: str, setting: str, value: Any
) -> None:
    log = write_csv(tmp_path / "log.csv", [*LOG, name], [("u1", 1, 1, 1, 1), ("u2", 1, 1, 1, 1)])
    items = write_csv(tmp_path / "items.csv", CATALOGUE, [(1, "one")])

    with pytest.raises(InputError, match=f"^ingest.{setting} adds a column '{name}', but the"):
        run(tmp_path, files_source(log, items), **{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"), [("history_length", 5), ("time_columns", ["day_of_week"])]
)
def test_derived_columns_need_timestamps(tmp_path: Path, setting: str, value: Any) -> None:
    columns = {key: name for key, name in COLUMNS.items() if key != "timestamp"}

    with pytest.raises(InputError) as error:
        run(tmp_path, write_source(tmp_path, random_log(1), columns=columns), **{setting: value})

    assert str(error.value) == (
        f"ingest.{setting} needs timestamps, but source.columns.timestamp is not set."
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"history_length": 0}, "greater than or equal to 1"),
        ({"time_columns": ["minute"]}, "hour_of_day"),
        ({"time_columns": ["hour_of_day", "hour_of_day"]}, "hour_of_day is listed twice"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IngestConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("name", "feature", "setting"),
    [
        ("history", {"type": "multi_categorical"}, "ingest.history_length"),
        ("day_of_week", {"type": "integer_categorical"}, "ingest.time_columns"),
    ],
)
def test_a_feature_without_its_derived_column_names_the_setting(
    name: str, feature: dict[str, Any], setting: str
) -> None:
    config = {
        "name": "x",
        "source": {"kind": "sample"},
        "features": {"query": {name: feature}, "candidate": {"movie_id": {"type": "id"}}},
    }

    with pytest.raises(ValueError, match=f"features.query.{name}: .*Set {setting}, and"):
        PipelineConfig.model_validate(config)

    ingest = {"history_length": 3, "time_columns": ["day_of_week"]}
    assert PipelineConfig.model_validate({**config, "ingest": ingest})
