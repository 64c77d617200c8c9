"""Which column is what: by names, by values, and by the other tables."""

from typing import Any

import pytest
from table_looks import log, look

from components.shared.runtime.errors import InputError
from pipeline.init.features import describe
from pipeline.init.finding import find_roles
from pipeline.init.table_look import depends_on
from pipeline.init.times import is_time
from pipeline.init.words import words_of

ROWS = range(200)
SECONDS = [1_600_000_000 + 1000 * row for row in ROWS]


@pytest.mark.parametrize(
    ("user", "item"),
    [
        ("user_id", "item_id"),
        ("userID", "artistID"),
        ("reviewerID", "asin"),
        ("customer", "sku"),
        ("visitorid", "itemid"),
        ("uid", "iid"),
        ("User", "Movie"),
    ],
)
def test_users_and_items_are_found_by_their_names(user: str, item: str) -> None:
    columns = log()
    table = look(**{item: columns["item_id"], "kind": ["a", "b"] * 100, user: columns["user_id"]})
    roles = find_roles([table])
    assert (roles.query_id, roles.candidate_id) == (user, item)
    assert not roles.doubts


def test_without_telling_names_the_first_columns_are_guesses() -> None:
    columns = log()
    table = look(a=columns["user_id"], b=columns["item_id"], c=[1.0, 2.0, 3.0, 5.0] * 50, d=SECONDS)
    roles = find_roles([table])
    assert (roles.query_id, roles.candidate_id, roles.rating, roles.timestamp) == (
        "a",
        "b",
        "c",
        "d",
    )
    assert set(roles.doubts) == {"query_id", "candidate_id", "rating"}


def test_a_table_without_ids_that_repeat_is_no_log() -> None:
    with pytest.raises(
        InputError, match=r"(?s)No table has a column of users .*log.csv: item, name"
    ):
        find_roles([look(item=["a", "b"], name=["x", "y"])])


@pytest.mark.parametrize(
    "values",
    [
        SECONDS,
        [1000 * second for second in SECONDS],
        [str(second) for second in SECONDS],
        [second + 0.5 for second in SECONDS],
        [f"2024-05-{1 + row % 28:02d}" for row in ROWS],
        [f"2024-05-01T10:00:{row % 60:02d}Z" for row in ROWS],
    ],
)
def test_times_are_recognized_in_every_form(values: list[Any]) -> None:
    table = look(**log(when=values))
    assert is_time(table, "when")
    assert find_roles([table]).timestamp == "when"


def test_exact_times_are_preferred_to_text() -> None:
    table = look(**log(reviewTime=["02 28, 2014"] * 200, unixReviewTime=SECONDS))
    assert find_roles([table]).timestamp == "unixReviewTime"


def test_ids_are_not_times_even_if_they_are_as_large() -> None:
    columns = log()
    items = [1_600_000_000 + int(item[1:]) for item in columns["item_id"]]
    roles = find_roles([look(user_id=columns["user_id"], asin=items)])
    assert (roles.candidate_id, roles.timestamp) == ("asin", None)
    assert describe(roles.log, "asin").endswith("1.6e+09 to 1.6e+09")


def test_numbers_that_are_no_times_are_none() -> None:
    assert not is_time(look(year=[1990 + row % 30 for row in ROWS]), "year")


def test_counts_are_implicit_feedback() -> None:
    roles = find_roles([look(**log(weight=[1 + row for row in ROWS]))])
    assert (roles.rating, roles.is_count) == ("weight", True)


def test_ratings_are_preferred_to_counts() -> None:
    roles = find_roles([look(**log(plays=list(ROWS), stars=[1, 2, 3, 4, 5] * 40))])
    assert (roles.rating, roles.is_count) == ("stars", False)


def test_kinds_of_events_are_found() -> None:
    roles = find_roles([look(**log(event_type=["view", "buy"] * 100))])
    assert roles.event == "event_type"


@pytest.mark.parametrize("first", [0, 1])
def test_catalogue_and_users_are_found_by_their_ids(first: int) -> None:
    items = look("items.csv", id=[f"i{item}" for item in range(40)], title=["a b"] * 40)
    users = look("users.csv", user_id=[f"u{user}" for user in range(20)], age=[30] * 20)
    others = [items, users] if first else [users, items]
    roles = find_roles([*others, look(**log())])
    assert roles.log.path == "log.csv"
    assert (roles.users, roles.users_id) == (users, "user_id")
    assert (roles.catalogues, roles.catalogue_id, roles.title) == ([items], "id", "title")


def test_numbers_that_may_be_ids_of_both_are_told_apart_by_the_files_name() -> None:
    columns = log()
    numbers = look(
        user=[int(user[1:]) for user in columns["user_id"]],
        item=[int(item[1:]) for item in columns["item_id"]],
    )
    users = look("all-users.dat", id=list(range(40)), age=[30] * 40)
    roles = find_roles([numbers, users])
    assert (roles.users, roles.catalogues) == (users, [])


def test_a_table_without_known_ids_is_left_out_with_the_reason() -> None:
    tags = look("tags.csv", tag=["x", "y"], color=["red", "blue"])
    assert find_roles([look(**log()), tags]).unused == {
        "tags.csv": "no column has the ids of user_id or item_id, each once"
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [("userID", ["user", "id"]), ("item-name", ["item", "name"]), ("movieid", ["movie", "id"])],
)
def test_names_are_split_into_words(name: str, words: list[str]) -> None:
    assert words_of(name) == words


def test_a_column_describes_the_id_that_decides_its_value() -> None:
    columns = log()
    table = look(
        **columns, city=[user[-1] for user in columns["user_id"]], mood=["a", "b", "c", "d"] * 50
    )
    assert depends_on(table.sample, "city", "user_id")
    assert not depends_on(table.sample, "city", "item_id")
    assert not depends_on(table.sample, "mood", "user_id")
