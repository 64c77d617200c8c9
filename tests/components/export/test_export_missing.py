"""Missing values in queries: through the SavedModel in plain TensorFlow, and as a person asks."""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from served import PlainServer, Reference, plain_server
from shop_source import ITEMS
from shop_with_holes import holed_encoded, holed_export, holed_tables

from components.export.raw_query import raw_query
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import RawInput
from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.contracts.tables import QUERY_ID, read_table
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
AGE = RawInput(name="age", dtype="float32", optional=True)
PLAN = RawInput(name="plan", dtype="string", optional=True)
ZONE = RawInput(name="zone", dtype="int64", labels={"1": "north"}, optional=True)
LIKES = RawInput(name="likes", dtype="string", width=2, optional=True)
USER = RawInput(name="user", dtype="string")


def info_of(*inputs: RawInput) -> ExportInfo:
    """The description of an export that takes a user's id and other inputs."""
    return ExportInfo(
        candidates=9,
        dimension=4,
        query_inputs=[USER, *inputs],
        query_id="user",
        layer_sizes="none",
        monitor="mrr_at_5_raw",
        validation=0.5,
    )


INFO = info_of(AGE, PLAN, ZONE, LIKES)
GIVEN = {"age": "3", "plan": "pro", "zone": "1", "likes": "a|b|c"}


# --- what a person gives --------------------------------------------------------------------------


def test_an_empty_value_means_missing() -> None:
    values = raw_query(INFO, "me", {}, dict.fromkeys(GIVEN, ""))

    assert math.isnan(values.pop("age"))
    assert values == {"user": "me", "plan": "", "zone": MISSING_INTEGER, "likes": ["", ""]}


def test_what_an_unknown_user_does_not_give_is_missing_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        values = raw_query(INFO, "me", {}, {"plan": "pro", "likes": "a"})

    assert math.isnan(values.pop("age"))
    assert values == {"user": "me", "plan": "pro", "zone": MISSING_INTEGER, "likes": ["a", ""]}
    assert caplog.messages == [
        "User me is not in the log, and these features are taken as missing. Give them for a "
        "better answer: --feature age=… --feature zone=…"
    ]


def test_nothing_is_said_if_nothing_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    raw_query(INFO, "me", {}, GIVEN)
    raw_query(INFO, "me", {"age": math.nan, "plan": "", "zone": 1, "likes": []}, {})

    assert caplog.messages == []


def test_a_known_user_s_missing_values_are_those_of_the_log() -> None:
    known = {"age": math.nan, "plan": "", "zone": MISSING_INTEGER, "likes": []}

    values = raw_query(INFO, "me", known, {"zone": "1"})

    assert math.isnan(values["age"])
    assert (values["plan"], values["zone"], values["likes"]) == ("", 1, ["", ""])


def test_only_the_features_that_must_not_be_missing_are_asked_for() -> None:
    strict = AGE.model_copy(update={"name": "weight", "optional": False})

    with pytest.raises(InputError) as error:
        raw_query(info_of(AGE, strict), "me", {}, {})

    assert str(error.value) == "User me is not in the log. Describe them: --feature weight=…"


@pytest.mark.parametrize("item", [AGE, PLAN, ZONE, LIKES])
def test_a_feature_that_must_not_be_missing_cannot_be_given_as_empty(item: RawInput) -> None:
    strict = item.model_copy(update={"optional": False})

    with pytest.raises(InputError) as error:
        raw_query(info_of(strict), "me", {}, {item.name: ""})

    assert str(error.value).startswith(
        f"--feature {item.name}=: this model takes no missing {item.name}. {item.name} is "
        f"{item.dtype}."
    )


def test_nan_as_text_is_no_number() -> None:
    with pytest.raises(InputError, match=r"^--feature age=nan: age is float32"):
        raw_query(INFO, "me", {}, {**GIVEN, "age": "nan"})


def test_an_unknown_feature_lists_the_features_there_are_also_if_there_are_none() -> None:
    for info, end in (
        (INFO, "Features are age, plan, zone, likes."),
        (info_of(), "The model has no features that can be given, only the user's id."),
    ):
        with pytest.raises(InputError) as error:
            raw_query(info, "me", {}, {"foo": "1"})

        assert str(error.value) == f"--feature foo: there is no such feature. {end}"


# --- through the SavedModel -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    with plain_server(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Reference:
    export = holed_export(tmp_path_factory, in_tensorflow)
    tables = holed_tables(tmp_path_factory)
    return Reference.read(tables, holed_encoded(tmp_path_factory, in_tensorflow), export)


def test_missing_values_are_served_without_the_project_s_code(
    server: PlainServer, shop: Reference
) -> None:
    assert any(np.isnan(value) for value in shop.raw["age"][1])
    assert MISSING_INTEGER in shop.raw["zone"][1]
    assert "" in shop.raw["plan"][1]

    answer = server.ask(shop.export, shop.raw, 9)

    assert answer["foreign"] == []
    shop.assert_same(answer, 9)


@pytest.mark.parametrize("features", [{}, {"plan": "pro", "age": "", "zone": ""}])
def test_an_unknown_user_without_features_gets_recommendations(
    in_tensorflow: RunStep, shop: Reference, features: dict[str, str]
) -> None:
    found = in_tensorflow(
        "components.export.recommender:recommend",
        export=str(shop.export), user="5", k=ITEMS, features=features,
    )  # fmt: skip

    assert len({item.id for item in found}) == ITEMS


def test_a_known_user_with_missing_values_gets_recommendations(
    in_tensorflow: RunStep, shop: Reference
) -> None:
    users = read_table(shop.export / "users").to_pylist()
    user = next(user for user in users if math.isnan(user["age"]) and math.isnan(user["tenure"]))

    found = in_tensorflow(
        "components.export.recommender:recommend",
        export=str(shop.export), user=str(user[QUERY_ID]), k=5,
    )  # fmt: skip

    assert len(found) == 5
