"""The config that `init` writes: its features, its comments, and that it loads."""

from typing import Any

import pytest
import yaml
from table_looks import log, look

from pipeline.config.pipeline import PipelineConfig
from pipeline.init.config_text import config_text
from pipeline.init.features import suggest_features
from pipeline.init.finding import find_roles
from pipeline.init.table_look import TableLook

ROWS = range(200)
ITEMS = [f"i{item}" for item in range(40)]
SECONDS = [1_600_000_000 + 1000 * row for row in ROWS]


def written(*tables: TableLook) -> tuple[str, PipelineConfig]:
    """The text for some tables, and the config that it is."""
    roles = find_roles(tables)
    query, candidate = suggest_features(roles)
    text = config_text("my-shop", roles, query, candidate, "my-shop.yaml")
    return text, PipelineConfig.model_validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([["red", "blue"], ["red"]] * 20, "multi_categorical"),
        (["red|blue", "red"] * 20, "multi_categorical"),
        ([[item / 7, -0.5] for item in range(39)] + [None], "vector"),
        ([[item, 1] for item in range(40)], "multi_categorical"),
        (["red", "blue"] * 20, "string_categorical"),
        ([1, 2] * 20, "integer_categorical"),
        (["1", "2"] * 20, "string_categorical"),
        ([item / 7 for item in range(40)], "float_discretized"),
        ([f"a story of {item} words" for item in range(40)], "text"),
    ],
)
def test_a_column_of_the_catalogue_becomes_the_feature_that_fits(
    values: list[Any], kind: str
) -> None:
    _, config = written(look(**log()), look("items.csv", item_id=ITEMS, x=values))
    assert config.features.candidate["x"].type == kind


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * 40, "it has no value"),
        (["same"] * 40, "it has one value only"),
        ([{"a": 1}] * 40, "no feature takes values of this type"),
        ([f"2024-05-{1 + item % 28:02d}" for item in range(40)], "a time; features take numbers"),
        ([f"https://host/{item}.png" for item in range(40)], "it identifies one"),
    ],
)
def test_a_column_that_no_feature_can_use_is_left_out_with_the_reason(
    values: list[Any], reason: str
) -> None:
    text, config = written(look(**log()), look("items.csv", item_id=ITEMS, x=values))
    assert "x" not in config.features.candidate
    assert "# x is left out: " in text
    assert reason in text


def test_columns_of_a_log_describe_the_user_the_item_or_the_interaction() -> None:
    columns = log()
    text, config = written(
        look(
            **columns,
            country=[user[-1] for user in columns["user_id"]],
            brand=[str(int(item[1:]) % 3) for item in columns["item_id"]],
            device=["phone", "tablet", "desktop"] * 66 + ["phone", "tablet"],
        )
    )
    assert set(config.features.query) == {"profile", "country"}
    assert set(config.features.candidate) == {"item_id", "brand"}
    assert "# device is left out: it describes the interaction" in text


def test_a_name_describes_an_item_but_not_a_user() -> None:
    columns = log()
    text, config = written(
        look(
            **columns,
            about=[f"the {item} of all" for item in columns["item_id"]],
            called=[f"the {user} of all" for user in columns["user_id"]],
        )
    )
    assert "about" in config.features.candidate
    assert set(config.features.query) == {"profile"}
    assert "# called is left out: 20 values, 4.0 words on average: it identifies one" in text


def test_users_are_known_by_their_items_where_they_have_several() -> None:
    text, config = written(look(**log()))
    assert config.features.query["profile"].type == "profile"
    assert "# user_id is left out: 20 values: users are known by their items" in text

    own = look(**log(), profile=[user[-1] for user in log()["user_id"]])
    _, config = written(own)
    assert {name: one.type for name, one in config.features.query.items()} == {
        "user_id": "id", "profile": "string_categorical",
    }  # fmt: skip
    users = [f"u{row // 3 * 2 + row % 3 // 2}" for row in ROWS]  # one item or two
    _, config = written(look(user_id=users, item_id=ITEMS * 5))
    assert set(config.features.query) == {"user_id"}


def test_a_log_with_times_is_split_by_time() -> None:
    _, config = written(look(**log(ts=SECONDS)))
    assert config.ingest.split == "temporal"
    _, config = written(look(**log()))
    assert config.ingest.split == "random"


def test_ratings_become_labels_of_0_to_1() -> None:
    _, config = written(look(**log(stars=[1, 2, 3, 4, 5] * 40)))
    label = config.features.label
    assert (label.scale, label.offset) == (0.25, -0.25)


def test_events_and_counts_become_weights() -> None:
    _, config = written(
        look(**log(event=["view", "purchase"] * 100, plays=[1 + row for row in ROWS]))
    )
    assert config.source.kind == "files"
    assert config.source.feedback.weights == {"purchase": 5.0, "view": 1.0}
    assert config.source.feedback.scale == "log"


def test_unknown_items_are_dropped_where_the_catalogue_lacks_some() -> None:
    text, config = written(look(**log()), look("items.csv", item_id=ITEMS[:30], x=[1, 2, 3] * 10))
    assert config.ingest.unknown_items == "drop"
    unknown = sum(int(item[1:]) >= 30 for item in log()["item_id"])
    assert f"{unknown / 200:.1%} of the interactions are with items that the catalogue" in text


@pytest.mark.parametrize("name", ["a: b", "- x", "#1", "yes", "1", "ä ö", "", 'q"q'])
def test_names_of_any_kind_are_written_as_yaml_reads_them(name: str) -> None:
    items = look("items.csv", **{"item_id": ITEMS, name: ["red", "blue"] * 20})
    roles = find_roles([look(**log()), items])
    query, candidate = suggest_features(roles)
    text = config_text("x", roles, query, candidate, "x.yaml")
    assert name in yaml.safe_load(text)["features"]["candidate"]
