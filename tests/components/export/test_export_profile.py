"""A model without a user id: everybody is served by their items, in plain TensorFlow as well."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from profile_source import TRAIN, WIDTH, profile_encoded, profile_export, profile_model
from served import PlainServer, Reference, assert_same_ranking, plain_server
from walk_source import FIRST_USER, walk_tables

from components.export.answers import Answer, Query, answer
from components.export.catalogue import Catalogue
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    EMBEDDING,
    QUERY_ID,
    SPLITS,
    read_table,
)
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
Ask = Callable[..., Answer]
HOUR = {"hour_of_day": "3"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk_tables(tmp_path_factory)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return profile_export(tmp_path_factory, in_tensorflow)


@pytest.fixture(scope="module")
def reference(
    tables: Path, export: Path, tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep
) -> Reference:
    return Reference.read(tables, profile_encoded(tmp_path_factory, in_tensorflow), export)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    with plain_server(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def ask(export: Path, in_tensorflow: RunStep) -> Ask:
    def call(k: int = 5, **query: Any) -> Any:
        return in_tensorflow(
            "test_export_answers:ask_in_tensorflow", export=str(export), query=query, k=k
        )

    return call


def padded(profile: list[str]) -> list[str]:
    return [*profile, *[""] * WIDTH][:WIDTH]


def served(server: PlainServer, export: Path, *profiles: list[str]) -> tuple[Any, Any]:
    """What the SavedModel alone makes of profiles at three o'clock: ids and scores."""
    inputs = {
        "profile": ["string", list(map(padded, profiles))],
        "hour_of_day": ["int64", [3] * len(profiles)],
    }
    found = server.ask(export, inputs, 9)
    return found["ids"], found["scores"]


def profiles_of(tables: Path, *splits: str) -> dict[int, list[str]]:
    """Each user's distinct items, the latest first, in plain Python."""
    ids = read_table(tables / "candidates")["item_id"].to_pylist()
    rows = defaultdict(list)
    for split in splits:
        for row in read_table(tables / "interactions" / split).to_pylist():
            rows[row["user_id"]].append((row["timestamp"], ids[row["candidate_index"]]))
    return {
        user: list(dict.fromkeys(str(item) for _, item in sorted(seen, reverse=True)))[:WIDTH]
        for user, seen in rows.items()
    }


def test_a_user_s_profile_is_that_of_the_whole_log(tables: Path, export: Path) -> None:
    users = read_table(export / "users")

    found = dict(zip(users[QUERY_ID].to_pylist(), users["profile"].to_pylist(), strict=True))

    assert found == profiles_of(tables, *SPLITS)
    assert max(map(len, found.values())) == WIDTH
    assert users.column_names == [QUERY_ID, "history", "profile", "seen"]


def test_the_saved_model_ranks_raw_profiles_as_evaluate_measures_them(
    server: PlainServer, reference: Reference, tables: Path
) -> None:
    before = profiles_of(tables, "train", "validation")
    profiles = [padded(before[user]) for user in reference.queries.ids.to_pylist()]
    raw = {**reference.raw, "profile": ["string", profiles]}

    answer = server.ask(reference.export, raw, 9)

    assert len(profiles) > 400
    reference.assert_same(answer, 9)


def test_recommendations_of_evaluate_are_those_of_the_saved_model(
    server: PlainServer,
    reference: Reference,
    tables: Path,
    tmp_path_factory: pytest.TempPathFactory,
    in_tensorflow: RunStep,
    tmp_path: Path,
) -> None:
    from components.evaluate.job import evaluate

    evaluate(
        export=str(reference.export),
        encoded=str(profile_encoded(tmp_path_factory, in_tensorflow)),
        models=[str(profile_model(tmp_path_factory, in_tensorflow))],
        config={"ks": [9], "headline": "hit_rate_at_9_raw", "baselines": ["most_popular"]},
        evaluation=str(tmp_path / "evaluation"),
        metrics=str(tmp_path / "metrics.json"),
        report=str(tmp_path / "report.html"),
    )

    lists = read_table(tmp_path / "evaluation" / "recommendations")
    before = profiles_of(tables, "train", "validation")
    profiles = [padded(before[user]) for user in lists[QUERY_ID].to_pylist()]
    raw = {**reference.raw, "profile": ["string", profiles]}
    answer = server.ask(reference.export, raw, 9)
    for query, score_of in enumerate(reference.score_of):
        assert_same_ranking(
            answer["ids"][query],
            answer["scores"][query],
            lists["raw"][query].as_py(),
            lists["raw_scores"][query].as_py(),
            score_of,
        )


def test_similar_items_do_without_the_bias(export: Path) -> None:
    info = ExportInfo.read(export)
    assert (info.item_bias, info.popularity) == (True, True)
    assert info.dimension == TRAIN["embedding_dimension"] + 2

    near = Catalogue.load(export).nearest([0], info.candidates - 1)

    vectors = to_numpy(read_table(export / "candidates")[EMBEDDING])[:, :-2]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = sorted((vectors @ vectors[0]).tolist(), reverse=True)
    np.testing.assert_allclose([item.score for item in near], cosines[1:], atol=1e-5)


def test_the_set_counts_and_neither_its_order_nor_unknown_items(
    server: PlainServer, reference: Reference
) -> None:
    items = list(map(str, reference.ids[:3]))
    profiles = [items, items[::-1], ["no item", *items], [], ["no item", "", "-1"], items[:2]]

    _, scores = served(server, reference.export, *profiles)

    np.testing.assert_allclose(scores[1:3], [scores[0]] * 2, atol=1e-5)
    assert scores[3] == scores[4]
    assert np.isfinite(scores[3]).all()
    assert not np.allclose(scores[0], scores[3], atol=1e-3)
    assert not np.allclose(scores[0], scores[5], atol=1e-3)


def test_a_user_of_the_log_is_served_with_the_items_of_the_whole_log(
    ask: Ask, tables: Path, server: PlainServer, export: Path
) -> None:
    user = FIRST_USER + 7

    found = ask(9, user=str(user), features=HOUR, exclude_seen=False)

    ids, scores = served(server, export, profiles_of(tables, *SPLITS)[user])
    assert (found.by, [item.id for item in found.items]) == ("user", ids[0])
    np.testing.assert_allclose([item.score for item in found.items], scores[0], atol=1e-6)


def test_an_unknown_user_has_an_empty_profile(ask: Ask, server: PlainServer, export: Path) -> None:
    found = ask(9, user="5", features=HOUR)

    ids, _ = served(server, export, [])
    assert [item.id for item in found.items] == ids[0]
    assert found.notes[0].startswith("user 5 is not in the log.")


def test_a_new_user_is_served_by_three_items(ask: Ask, server: PlainServer, export: Path) -> None:
    liked = list(map(str, read_table(export / "candidates")[CANDIDATE_ID].to_pylist()[:3]))

    found = ask(9, liked=liked, features=HOUR, exclude_seen=False)

    assert found.by == "profile"
    assert found.notes == [f"by the model, with {', '.join(liked)} as the user's profile"]
    ids, _ = served(server, export, liked)
    assert [item.id for item in found.items] == ids[0]
    assert found.items != ask(9, liked=liked[:1], features=HOUR, exclude_seen=False).items
    others = ask(9, liked=liked, features=HOUR).items
    assert not {str(item.id) for item in others} & set(liked)


def test_liked_items_replace_the_profile_of_a_user(ask: Ask, export: Path) -> None:
    user = str(FIRST_USER + 7)
    liked = list(map(str, read_table(export / "candidates")[CANDIDATE_ID].to_pylist()[:2]))

    found = ask(user=user, liked=liked, features=HOUR, exclude_seen=False)

    given = {**HOUR, "profile": "|".join(liked)}
    assert found.items == ask(user=user, features=given, exclude_seen=False).items
    with pytest.raises(InputError, match="leave out --feature profile"):
        answer(str(export), Query(liked=liked, features=given), 5)
