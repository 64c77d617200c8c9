"""Recommendations for liked items, with and without a history feature; unknown users and items."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from walk_source import FIRST_USER, LENGTH, walk_export

from components.export.answers import Answer, Query, answer
from components.export.catalogue import Catalogue
from components.export.recommender import Recommender
from components.shared.contracts.tables import CANDIDATE_ID, read_table
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
Ask = Callable[..., Answer]


def ask_in_tensorflow(export: str, query: dict[str, Any], k: int) -> Answer:
    return answer(export, Query(**query), k)


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return walk_export(tmp_path_factory, in_tensorflow)


@pytest.fixture(scope="module")
def ask(in_tensorflow: RunStep) -> Ask:
    def call(export: Path, k: int = 5, **query: Any) -> Any:
        return in_tensorflow(
            "test_export_answers:ask_in_tensorflow", export=str(export), query=query, k=k
        )

    return call


def ids_of(export: Path, count: int) -> list[str]:
    return [str(id_) for id_ in read_table(export / "candidates")[CANDIDATE_ID].to_pylist()[:count]]


# --- a model with a history feature ---------------------------------------------------------------


def test_the_model_gets_the_liked_items_as_the_history(ask: Ask, walks: Path) -> None:
    liked = ids_of(walks, LENGTH)

    found = ask(walks, liked=[",".join(liked)], features={"hour_of_day": "3"})

    assert found.by == "history"
    assert found.notes == [f"by the model, with {', '.join(liked)} as the user's history"]
    assert not {str(item.id) for item in found.items} & set(liked)
    given = {"hour_of_day": "3", "history": "|".join(liked)}
    same = ask(walks, k=5 + LENGTH, user="-1", features=given)
    others = [item for item in same.items if str(item.id) not in liked]
    assert [item.id for item in others[:5]] == [item.id for item in found.items]
    assert found.items != ask(walks, liked=liked[:1], features={"hour_of_day": "3"}).items


def test_liked_items_replace_the_history_of_a_known_user(ask: Ask, walks: Path) -> None:
    user, liked = str(FIRST_USER + 7), ids_of(walks, 2)
    hour = {"hour_of_day": "3"}

    found = ask(walks, user=user, liked=liked, features=hour, exclude_seen=False)

    given = {**hour, "history": "|".join(liked)}
    assert found.items == ask(walks, user=user, features=given, exclude_seen=False).items
    with pytest.raises(InputError, match="leave out --feature history"):
        ask(walks, liked=liked, features=given)


# --- a model without one --------------------------------------------------------------------------


def test_without_a_history_feature_the_items_are_those_nearest_to_the_mean(
    sample_export: Path,
) -> None:
    """Without TensorFlow."""
    catalogue = Catalogue.load(sample_export)
    liked = [str(catalogue.id_of(row)) for row in (3, 5)]

    found = answer(str(sample_export), Query(liked=[*liked, catalogue.title_of(5)]), 4)

    assert found.by == "nearest"
    assert "no history or profile feature" in found.notes[0]
    assert [item.id for item in found.items] == [it.id for it in catalogue.nearest([3, 5], 4)]
    kept = answer(str(sample_export), Query(liked=liked, exclude_seen=False), 80)
    assert {item.id for item in kept.items} == {catalogue.id_of(row) for row in range(80)}


def test_a_user_s_seen_items_are_left_out_and_features_are_refused(sample_export: Path) -> None:
    recommender = Recommender.load(sample_export)
    user = str(recommender.user_ids[0])
    liked = [ids_of(sample_export, 1)[0]]
    count = recommender.info.candidates

    found = answer(str(sample_export), Query(user, liked), count)

    seen = set(map(str, recommender.seen_by(user)))
    assert {str(item.id) for item in found.items} == set(ids_of(sample_export, count)) - seen - {
        *liked
    }
    with pytest.raises(InputError, match="Leave out --feature"):
        answer(str(sample_export), Query(user, liked, {"user_gender": "1"}), 3)


# --- mistakes -------------------------------------------------------------------------------------


def test_all_unknown_items_are_named_with_suggestions(sample_export: Path) -> None:
    title = Catalogue.load(sample_export).title_of(0)
    known = ids_of(sample_export, 1)[0]

    with pytest.raises(InputError) as error:
        answer(str(sample_export), Query(liked=[f"{known},zzzz", title[:-1] + "x"]), 3)

    assert str(error.value).startswith("--liked: no item has the id or the title zzzz. Also: no ")
    assert f"Did you mean '{title}'" in str(error.value)
    with pytest.raises(InputError, match="it names no item"):
        answer(str(sample_export), Query(liked=[","]), 3)


def test_an_unknown_user_is_named_with_suggestions(ask: Ask, walks: Path) -> None:
    user = str(FIRST_USER + 7)

    found = ask(walks, user=f"{user}0")

    assert found.by == "user"
    assert found.notes[0].startswith(f"user {user}0 is not in the log. Did you mean '{user}'")
    assert ask(walks, user=user).notes == []


def test_an_unknown_user_with_a_wrong_feature_gets_suggestions_too(sample_export: Path) -> None:
    user = str(Recommender.load(sample_export).user_ids[0])

    with pytest.raises(InputError, match=f"Did you mean '{user}'"):
        answer(str(sample_export), Query(f"{user}x", features={"foo": "1"}), 3)


def test_a_question_is_about_a_user_or_items() -> None:
    with pytest.raises(InputError, match="give --user"):
        Query()
