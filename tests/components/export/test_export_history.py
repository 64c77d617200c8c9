"""Histories and times in what is served: a user's whole log, and now."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from served import PlainServer, Reference, plain_server
from walk_source import (
    FIRST_USER,
    LENGTH,
    ingested,
    walk_encoded,
    walk_export,
    walk_tables,
    write_walks,
)

from components.export.raw_query import raw_query
from components.export.recommender import Recommendation
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import RawInput
from components.shared.contracts.tables import CANDIDATE_ID, QUERY_ID, SPLITS, read_table
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json

RunStep = Callable[..., Any]
Recommend = Callable[..., list[Recommendation]]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk_tables(tmp_path_factory)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return walk_export(tmp_path_factory, in_tensorflow)


@pytest.fixture(scope="module")
def reference(
    tables: Path, export: Path, tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep
) -> Reference:
    return Reference.read(tables, walk_encoded(tmp_path_factory, in_tensorflow), export)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    with plain_server(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def recommend(export: Path, in_tensorflow: RunStep) -> Recommend:
    def call(user: Any, k: int = 5, **more: Any) -> Any:
        return in_tensorflow(
            "components.export.recommender:recommend",
            export=str(export),
            user=str(user),
            k=k,
            **more,
        )

    return call


def latest_items(tables: Path, length: int) -> dict[int, list[str]]:
    """Each user's last items of the whole log, in plain Python."""
    ids = read_table(tables / "candidates")["item_id"].to_pylist()
    rows = defaultdict(list)
    for split in SPLITS:
        for row in read_table(tables / "interactions" / split).to_pylist():
            rows[row["user_id"]].append((row["timestamp"], row["candidate_index"]))
    return {
        user: [str(ids[index]) for _, index in sorted(seen, reverse=True)][:length]
        for user, seen in rows.items()
    }


# --- the users ------------------------------------------------------------------------------------


def test_a_user_s_history_is_that_of_the_whole_log_latest_first(tables: Path, export: Path) -> None:
    users = read_table(export / "users")

    found = dict(zip(users[QUERY_ID].to_pylist(), users["history"].to_pylist(), strict=True))

    assert found == latest_items(tables, LENGTH)
    last_test = read_table(tables / "interactions" / "test").to_pylist()[0]
    assert found[last_test["user_id"]] != last_test["history"]
    assert found[last_test["user_id"]][1:] == last_test["history"][: LENGTH - 1]


def test_users_have_no_time_and_the_export_says_what_is_derived(export: Path) -> None:
    assert read_table(export / "users").column_names == [QUERY_ID, "history", "seen"]
    inputs = {item["name"]: item for item in read_json(export / "export.json")["query_inputs"]}
    assert {name: item.get("derived", False) for name, item in inputs.items()} == {
        "history": True,
        "hour_of_day": True,
        "user_id": False,
    }
    assert inputs["history"]["width"] == LENGTH


def test_of_one_time_the_later_item_is_the_one_ingest_takes_for_later(
    tmp_path: Path, in_tensorflow: RunStep
) -> None:
    """Short and long histories."""
    source, _ = walks_with_ties(tmp_path / "source")
    for length in (1, 2, 50):
        folder = tmp_path / str(length)
        tables = ingested(folder, source, history_length=length, split="random")

        users = in_tensorflow("walk_source:users_of", tables=str(tables))

        assert dict(
            zip(users[QUERY_ID].to_pylist(), users["history"].to_pylist(), strict=True)
        ) == latest_items(tables, length)


def test_of_one_time_the_later_row_of_the_file_is_the_later_item_if_the_config_says_so(
    tmp_path: Path, in_tensorflow: RunStep
) -> None:
    source, log = walks_with_ties(tmp_path / "source")
    items = defaultdict(list)
    for row in sorted(log.to_pylist(), key=lambda row: row["timestamp"]):
        items[row["user_id"]].append(str(row["item_id"]))
    tables = ingested(tmp_path, source, history_length=4, split="random", ties="file_order")

    users = in_tensorflow("walk_source:users_of", tables=str(tables))

    found = dict(zip(users[QUERY_ID].to_pylist(), users["history"].to_pylist(), strict=True))
    assert found == {user: seen[::-1][:4] for user, seen in items.items()}


def walks_with_ties(folder: Path) -> tuple[dict[str, Any], pa.Table]:
    """Few times, so that ties are many."""
    source = write_walks(folder)
    log = pq.read_table(source["interactions"]).slice(0, 400)
    days = np.minimum(log["timestamp"].to_numpy() // 86_400 // 5, 1)
    log = log.set_column(2, "timestamp", [days])
    pq.write_table(log, source["interactions"])
    return source, log


# --- the SavedModel -------------------------------------------------------------------------------


def test_the_saved_model_ranks_raw_histories_as_the_trained_tower_does(
    server: PlainServer, reference: Reference
) -> None:
    dtype, histories = reference.raw["history"]
    assert dtype == "string"
    assert {len(row) for row in histories} == {LENGTH}

    answer = server.ask(reference.export, reference.raw, 9)

    reference.assert_same(answer, 9)


def test_the_history_counts_and_unknown_items_in_it_do_not(
    server: PlainServer, reference: Reference
) -> None:
    one = {name: [dtype, values[:1]] for name, (dtype, values) in reference.raw.items()}
    items = list(map(str, reference.ids[:LENGTH]))

    def scores(history: list[str]) -> list[float]:
        return server.ask(reference.export, {**one, "history": ["string", [history]]}, 9)["scores"]

    assert scores([items[0], "", ""]) != scores(["", "", ""])
    assert scores([items[0], "no item", ""]) == scores([items[0], "", ""])
    assert scores(["no item", "-1", "no"]) == scores(["", "", ""])
    np.testing.assert_allclose(scores(items), scores(items[::-1]), atol=1e-5)


# --- recommendations ------------------------------------------------------------------------------


def test_a_known_user_is_served_with_their_history_of_the_whole_log(
    recommend: Recommend, tables: Path, server: PlainServer, export: Path
) -> None:
    user = FIRST_USER + 7
    history = latest_items(tables, LENGTH)[user]

    found = recommend(user, features={"hour_of_day": "3"}, exclude_seen=False)

    inputs = {
        "user_id": ["int64", [user]],
        "hour_of_day": ["int64", [3]],
        "history": ["string", [history]],
    }
    answer = server.ask(export, inputs, 5)
    assert [item.id for item in found] == answer["ids"][0]
    np.testing.assert_allclose([item.score for item in found], answer["scores"][0], atol=1e-6)
    given = recommend(
        user, features={"hour_of_day": "3", "history": "|".join(history)}, exclude_seen=False
    )
    assert given == found
    other = recommend(user, features={"hour_of_day": "3", "history": ""}, exclude_seen=False)
    assert other != found


def test_an_unknown_user_has_an_empty_history_and_the_time_is_now(
    recommend: Recommend, server: PlainServer, export: Path
) -> None:
    hours = [datetime.now(UTC).hour]

    found = recommend(5)

    hours.append(datetime.now(UTC).hour)
    expected = []
    for hour in hours:
        inputs = {
            "user_id": ["int64", [5]],
            "hour_of_day": ["int64", [hour]],
            "history": ["string", [[""] * LENGTH]],
        }
        expected.append(server.ask(export, inputs, 5)["ids"][0])
    assert [item.id for item in found] in expected


def test_times_are_those_of_now_unless_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2024, 2, 29, 23, 59, 59, tzinfo=tz)

    monkeypatch.setattr("components.export.raw_query.datetime", Clock)
    names = ("hour_of_day", "day_of_week", "month_of_year")
    own = RawInput(name="history", dtype="string", width=2)  # a column of the log itself
    user = RawInput(name="user", dtype="string")
    info = ExportInfo(
        candidates=9,
        dimension=4,
        query_inputs=[user, *(RawInput(name=n, dtype="int64", derived=True) for n in names)],
        query_id="user",
        layer_sizes="none",
        monitor="mrr_at_5_raw",
        validation=0.5,
    )

    values = raw_query(info, "me", {}, {"day_of_week": "6"})

    assert [values[name] for name in names] == [23, 6, 2]
    assert raw_query(info, "me", {}, {})["day_of_week"] == 3  # a Thursday
    with_history = info.model_copy(update={"query_inputs": [*info.query_inputs, own]})
    with pytest.raises(InputError, match="Describe them: --feature history="):
        raw_query(with_history, "me", {}, {})


def test_recommendations_are_items_of_the_catalogue(recommend: Recommend, export: Path) -> None:
    ids = set(read_table(export / "candidates")[CANDIDATE_ID].to_pylist())
    seen = read_table(export / "users").to_pylist()[0]

    found = {item.id for item in recommend(seen[QUERY_ID], 8)}

    assert len(found) == 8
    assert found <= ids - set(seen["seen"])
