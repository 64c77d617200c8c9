"""`components.export.recommender`: what a person gets who asks an export for recommendations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PLAIN
from shop_source import FIRST_ITEM, ITEMS, shop_exported, shop_tables

from components.shared.contracts.tables import CANDIDATE_ID, QUERY_ID, TITLE, read_table
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
NEW_USER = {"raw_user_age": "30", "user_gender": "1", "user_occupation_label": "17"}
NEW_CUSTOMER = {
    "plan": "gold", "zone": "1", "age": "41.5", "visits": "3", "income": "1e3", "tenure": "0.1",
    "city": "Oslo", "street": "street 3", "device": "12", "motto": "red tea",
    "interests": "soft|never|hard",
}  # fmt: skip


@pytest.fixture(scope="module")
def recommend(in_tensorflow: RunStep) -> RunStep:
    def call(export: Path, user: str, k: int, **more: Any) -> Any:
        return in_tensorflow(
            "components.export.recommender:recommend", export=str(export), user=user, k=k, **more
        )

    return call


@pytest.fixture(scope="module")
def shop_export(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    return shop_exported(tmp_path_factory, in_tensorflow)


@pytest.fixture(params=["sample", "shop"])
def export(request: pytest.FixtureRequest) -> Path:
    name = "sample_export" if request.param == "sample" else "shop_export"
    found: Path = request.getfixturevalue(name)
    return found


def users_of(export: Path) -> list[dict[str, Any]]:
    users: list[dict[str, Any]] = read_table(export / "users").to_pylist()
    return users


def active_user(export: Path) -> dict[str, Any]:
    """The user with the most seen items among those with half of the catalogue left."""
    half = read_table(export / "candidates").num_rows // 2
    users = [user for user in users_of(export) if len(set(user["seen"])) <= half]
    return max(users, key=lambda user: len(set(user["seen"])))


def test_a_known_user_needs_no_features_and_is_shown_unseen_items(
    recommend: RunStep, export: Path
) -> None:
    user = active_user(export)
    candidates = read_table(export / "candidates")
    titles = dict(
        zip(candidates[CANDIDATE_ID].to_pylist(), candidates[TITLE].to_pylist(), strict=True)
    )

    found = recommend(export, str(user[QUERY_ID]), 5)

    assert len(found) == 5
    assert not {item.id for item in found} & set(user["seen"])
    assert [titles[item.id] for item in found] == [item.title for item in found]
    assert [item.score for item in found] == sorted((i.score for i in found), reverse=True)


def test_with_seen_items_included_the_whole_catalogue_comes_back(
    recommend: RunStep, export: Path
) -> None:
    user = active_user(export)
    count = read_table(export / "candidates").num_rows

    everything = recommend(export, str(user[QUERY_ID]), count, exclude_seen=False)
    unseen = recommend(export, str(user[QUERY_ID]), count)

    assert len(everything) == count
    assert {item.id for item in everything} - {item.id for item in unseen} == set(user["seen"])
    # What is left is in the same order, with the same scores, and ends where nothing is left.
    assert unseen == [item for item in everything if item.id not in user["seen"]]


def test_seen_items_with_small_integer_ids_are_left_out_too(
    recommend: RunStep, shop_export: Path
) -> None:
    # TensorFlow would take a list of them for 32-bit integers.
    user = next(user for user in users_of(shop_export) if max(user["seen"]) < 2**31)

    found = recommend(shop_export, str(user[QUERY_ID]), ITEMS)

    assert {item.id for item in found} == {FIRST_ITEM + i for i in range(ITEMS)} - set(user["seen"])


@pytest.mark.parametrize("user", ["nobody", "", "999999"])
def test_an_unknown_user_is_described_by_all_features(
    recommend: RunStep, sample_export: Path, user: str
) -> None:
    found = recommend(sample_export, user, 7, features=NEW_USER)

    assert len({item.id for item in found}) == 7
    assert isinstance(found[0].id, str)


def test_an_unknown_user_may_have_values_that_training_did_not_have(
    recommend: RunStep, shop_export: Path
) -> None:
    first = recommend(shop_export, "-1", ITEMS, features=NEW_CUSTOMER)
    second = recommend(
        shop_export, "12", ITEMS, features={**NEW_CUSTOMER, "interests": "", "motto": ""}
    )

    assert sorted(item.id for item in first) == [FIRST_ITEM + i for i in range(ITEMS)]
    assert [item.score for item in first] != [item.score for item in second]


def test_lists_are_given_with_bars_and_cut_to_the_width(
    recommend: RunStep, shop_export: Path
) -> None:
    given = recommend(shop_export, "-1", 9, features={**NEW_CUSTOMER, "interests": "soft|hard"})
    longer = recommend(
        shop_export, "-1", 9, features={**NEW_CUSTOMER, "interests": "soft|hard|warm"}
    )
    other = recommend(shop_export, "-1", 9, features={**NEW_CUSTOMER, "interests": "warm"})

    assert given == longer != other


def test_given_features_replace_those_of_the_log(recommend: RunStep, sample_export: Path) -> None:
    user = users_of(sample_export)[0]
    same = {name: str(user[name]) for name in NEW_USER}
    other = {"user_gender": str(1 - user["user_gender"]), "raw_user_age": "99"}

    of_the_log = recommend(sample_export, user[QUERY_ID], 5)
    as_in_the_log = recommend(sample_export, user[QUERY_ID], 5, features=same)
    with_others = recommend(sample_export, user[QUERY_ID], 5, features=other)

    assert of_the_log == as_in_the_log
    assert [item.score for item in of_the_log] != [item.score for item in with_others]
    assert not {item.id for item in with_others} & set(user["seen"])


def test_a_known_user_whose_id_is_hashed_needs_no_features_either(
    recommend: RunStep, in_tensorflow: RunStep, tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path, shop_export: Path,
) -> None:  # fmt: skip
    from components.train.job import train

    tables = str(shop_tables(tmp_path_factory))
    encoded, model, export = (str(tmp_path / name) for name in ("encoded", "model", "export"))
    features = {
        "query": {"user_id": {"type": "integer_hashed", "num_bins": 8}},
        "candidate": {"item_id": {"type": "id"}},
    }
    in_tensorflow(
        "components.adapt.job:adapt", tables=tables, features=features, config={}, encoded=encoded
    )
    train(
        encoded=encoded,
        config={**PLAIN, "epochs": 1, "monitor": "hit_rate_at_10_raw"},
        layer_sizes=[4],
        seed=1,
        model=model,
    )
    in_tensorflow(
        "components.export.job:export", tables=tables, encoded=encoded, model=model, export=export
    )
    user = active_user(shop_export)

    found = recommend(Path(export), str(user[QUERY_ID]), 3)
    of_a_new_user = recommend(Path(export), "5", 3)

    assert len(found) == len(of_a_new_user) == 3
    assert not {item.id for item in found} & set(user["seen"])


# --- what cannot be answered ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["age", "movie_title", "user_id", ""])
def test_an_unknown_feature_is_an_error_that_names_the_features(
    recommend: RunStep, sample_export: Path, name: str
) -> None:
    with pytest.raises(InputError) as error:
        recommend(sample_export, "nobody", 5, features={**NEW_USER, name: "1"})

    assert str(error.value) == (
        f"--feature {name}: there is no such feature. Features are raw_user_age, user_gender, "
        "user_occupation_label."
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("raw_user_age", "old", "raw_user_age is float32"),
        ("raw_user_age", "nan", "raw_user_age is float32"),
        ("raw_user_age", "inf", "raw_user_age is float32"),
        ("raw_user_age", "1e300", "raw_user_age is float32"),
        ("user_gender", "male", "user_gender is int64. 0 is female; 1 is male"),
        ("user_gender", "0.5", "user_gender is int64. 0 is female; 1 is male"),
        ("user_gender", str(2**63), "user_gender is int64. 0 is female; 1 is male"),
        ("user_occupation_label", "student", "17 is student"),
    ],
)
def test_a_wrong_number_is_an_error_that_tells_what_values_mean(
    recommend: RunStep, sample_export: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(InputError) as error:
        recommend(sample_export, "nobody", 5, features={**NEW_USER, name: value})

    assert str(error.value).startswith(f"--feature {name}={value}: {name} is ")
    assert message in str(error.value)


@pytest.mark.parametrize("user", ["nobody", str(2**63), "1.5"])
def test_an_id_that_is_no_integer_where_ids_are_is_an_error(
    recommend: RunStep, shop_export: Path, user: str
) -> None:
    with pytest.raises(InputError, match=f"^--user {user}: user_id is int64"):
        recommend(shop_export, user, 5, features=NEW_CUSTOMER)


@pytest.mark.parametrize("k", [81, 10_000, 0, -1])
def test_k_that_is_not_in_the_catalogue_is_an_error(
    recommend: RunStep, sample_export: Path, k: int
) -> None:
    with pytest.raises(InputError, match=f"^-k {k}: choose a number from 1 to 80"):
        recommend(sample_export, "nobody", k, features=NEW_USER)


def test_a_missing_export_is_an_error_that_names_it(recommend: RunStep, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no export\. Run the pipeline first") as error:
        recommend(tmp_path / "nothing", "1", 5)

    assert str(error.value).startswith(f"--export {tmp_path / 'nothing'}:")
