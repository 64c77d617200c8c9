"""What counts as moved, and what as a break."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from shop_tables import ROWS, replaced, schema_of, shop_catalogue, shop_log

from components.check_data.breaks import DataFacts, find_moved
from components.check_data.config import DriftConfig
from components.shared.contracts.data_profile import DataProfile
from components.shared.contracts.drift import Drift, Moved
from components.shared.contracts.table_needs import ColumnNeed, TableNeeds
from components.shared.contracts.tables import Column
from components.shared.profiling.table_summary import TableSummary


def facts(log: pa.Table, catalogue: pa.Table) -> DataFacts:
    summaries = TableSummary(), TableSummary()
    for summary, table in zip(summaries, (log, catalogue), strict=True):
        summary.add(table)
    interactions, candidates = (summary.profiles() for summary in summaries)
    profile = DataProfile(interactions=interactions, candidates=candidates)
    return DataFacts(schema_of(log, catalogue), profile)


def moved(
    log: pa.Table | None = None,
    catalogue: pa.Table | None = None,
    *,
    before: pa.Table | None = None,
    needs: TableNeeds | None = None,
    **limits: Any,
) -> list[Moved]:
    """What has moved since the shop's data, or since a log before."""
    return find_moved(
        facts(shop_log() if before is None else before, shop_catalogue()),
        facts(
            shop_log() if log is None else log,
            shop_catalogue() if catalogue is None else catalogue,
        ),
        DriftConfig(**limits),
        needs,
    )


def changes(found: list[Moved]) -> set[tuple[str, str, bool]]:
    return {(each.column, each.change, each.breaks) for each in found}


def with_city(share: float, city: str) -> pa.Table:
    """The log with a city in the last rows."""
    cities = shop_log()["city"].to_pylist()
    start = ROWS - int(share * ROWS)
    return replaced(shop_log(), city=[*cities[:start], *[city] * (ROWS - start)])


# --- nothing --------------------------------------------------------------------------------------


def test_the_same_data_has_not_moved() -> None:
    assert moved() == []


def test_new_users_items_titles_and_later_times_are_no_move() -> None:
    log = shop_log()
    later = replaced(
        log,
        user=[f"new {name}" for name in log["user"].to_pylist()],
        at=pa.array(log["at"].to_numpy() + 10**7),
    )
    catalogue = shop_catalogue()
    others = replaced(
        catalogue,
        item=[f"new {name}" for name in catalogue["item"].to_pylist()],
        name=[f"Other {name}" for name in catalogue["name"].to_pylist()],
    )

    assert moved(later, others) == []


def test_what_few_rows_may_have_by_chance_is_no_move() -> None:
    rng = np.random.default_rng(5)
    rows = rng.choice(ROWS, 40)
    few, other = (shop_log().take(pa.array(part)) for part in (rows[:20], rows[20:]))

    assert changes(moved(other, before=few)) <= {("stars", "range", False)}


def test_free_text_may_have_new_values() -> None:
    log = shop_log().slice(0, 120)
    before = replaced(log, city=[f"written by {n % 90}" for n in range(120)])
    now = replaced(log, city=[f"written by {n % 90 + 90}" for n in range(120)])

    assert moved(now, before=before) == []


# --- the schema -----------------------------------------------------------------------------------


def test_another_type_breaks_and_the_values_are_not_compared() -> None:
    ages = [str(age) for age in shop_log()["age"].to_pylist()]

    found = moved(replaced(shop_log(), age=ages))

    assert [each.cells for each in found] == [
        ("interactions", "age", "type", "int64", "string", "-", "breaks")
    ]


def test_a_vanished_column_breaks_and_a_new_one_does_not() -> None:
    log = shop_log().rename_columns(["user", "plan", "town", "age", "stars", "at"])

    assert changes(moved(log)) == {("city", "column gone", True), ("town", "new column", False)}


def test_a_column_that_no_feature_takes_any_more_breaks_nothing() -> None:
    taken = TableNeeds(
        query={"plan": ColumnNeed(dtypes=["string"])}, candidate={"price": ColumnNeed(dtypes=[])}
    )

    found = moved(shop_log().drop(["plan", "city"]), shop_catalogue().drop(["name"]), needs=taken)

    assert changes(found) == {
        ("plan", "column gone", True),
        ("city", "column gone", False),
        ("name", "column gone", True),  # the title
    }


def test_a_derived_column_that_the_config_drops_breaks_nothing() -> None:
    before = facts(shop_log(), shop_catalogue())
    derived = Column(name="hour_of_day", dtype="int64", derived=True)
    schema = before.schema.model_copy(update={"query": [*before.schema.query, derived]})

    found = find_moved(DataFacts(schema, before.profile), before, DriftConfig(), None)

    assert changes(found) == {("hour_of_day", "column gone", False)}


# --- volume, missing values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (999, {("", "rows", True)}),
        (1000, {("", "rows", False)}),
        (1400, {("", "rows", False)}),
        (1600, set()),
        (3900, set()),
        (4200, {("", "rows", False)}),
        (6001, {("", "rows", True)}),
    ],
)
def test_the_volume_may_halve_or_triple(rows: int, expected: set[Any]) -> None:
    log = pa.concat_tables([shop_log()] * 4).slice(0, rows)

    assert changes(moved(log)) == expected


def test_a_shrunken_catalogue_breaks() -> None:
    found = moved(catalogue=shop_catalogue().slice(0, 20))

    assert [each.cells for each in found] == [
        ("candidates", "-", "rows", "50", "20", "25 to 150", "breaks")
    ]


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (0.02, set()),
        (0.04, {("city", "missing", False)}),
        (0.06, {("city", "missing", True)}),
        (1.0, {("city", "missing", True)}),
    ],
)
def test_a_growing_share_of_missing_values_breaks(missing: float, expected: set[Any]) -> None:
    assert changes(moved(with_city(missing, ""))) == expected


def test_fewer_missing_values_are_no_break() -> None:
    assert moved(before=with_city(0.5, "")) == []


# --- categories -----------------------------------------------------------------------------------


def test_an_exploding_category_breaks() -> None:
    found = moved(with_city(0.2, "Oslo"))

    assert [each.cells for each in found] == [
        ("interactions", "city", "share: Oslo", "20.0%", "36.0%", "10.0% to 30.0%", "breaks")
    ]


def test_a_category_that_moves_less_is_listed_without_a_break() -> None:
    assert changes(moved(with_city(0.1, "Oslo"))) == {("city", "share", False)}


def test_vanished_values_break() -> None:
    cities = shop_log()["city"].to_pylist()
    without = [city if city != "Łódź" else cities[n - 1] for n, city in enumerate(cities)]

    found = moved(replaced(shop_log(), city=without))

    assert [each.cells[1:] for each in found] == [
        ("city", "share: Rome", "20.0%", "40.0%", "10.0% to 30.0%", "breaks"),
        ("city", "values gone: Łódź", "20.0%", "0.0%", "up to 5.0%", "breaks"),
    ]


def test_new_values_break_where_categories_are_few() -> None:
    found = moved(with_city(0.06, "Atlantis"))

    assert [each.cells for each in found] == [
        ("interactions", "city", "new values: Atlantis", "0.0%", "6.0%", "up to 5.0%", "breaks")
    ]


def test_a_value_of_lists_counts_among_all_their_values() -> None:
    many = pa.concat_tables([shop_catalogue()] * 20)
    tags = pa.array([["blue"]] * many.num_rows, pa.list_(pa.string()))
    before, now = facts(shop_log(), many), facts(shop_log(), replaced(many, tags=tags))

    found = find_moved(before, now, DriftConfig(), None)

    assert changes(found) == {("tags", "new values", True), ("tags", "values gone", True)}


def test_one_user_with_a_large_part_of_the_log_breaks() -> None:
    users = shop_log()["user"].to_pylist()

    found = moved(replaced(shop_log(), user=[*users[:1500], *["robot"] * 500]))

    assert changes(found) == {("user", "share", True)}


def test_a_frequent_value_counts_even_if_the_column_has_many_others() -> None:
    many = [f"city {n % 500}" for n in range(ROWS)]
    before = replaced(shop_log(), city=many)

    found = moved(replaced(before, city=[*many[:1500], *["Oslo"] * 500]), before=before)

    assert [each.cells for each in found] == [
        ("interactions", "city", "share: Oslo", "0.2%", "25.0%", "0.0% to 10.2%", "breaks")
    ]


def test_a_table_shows_three_values_without_control_characters() -> None:
    new = [f"\x1b[31mcity {n}\n" for n in range(5)] * (ROWS // 5)

    found = {each.change: each for each in moved(replaced(shop_log(), city=new))}

    assert found["new values"].values == ["city 0", "city 1", "city 2", "2 more"]


# --- numbers --------------------------------------------------------------------------------------


def test_a_shifted_mean_breaks() -> None:
    ages = pa.array(shop_log()["age"].to_numpy() + 8)

    found = moved(replaced(shop_log(), age=ages))

    assert ("interactions", "age", "mean", "39.5", "47.5", "33.73 to 45.27", "breaks") in [
        each.cells for each in found
    ]


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ([1, 2, 3, 4, 5, 5.3], False),  # within a tenth of the range
        ([0.5, 1, 2, 3, 4, 5], True),
        ([1, 2, 3, 4, 5, 6], True),
    ],
)
def test_ratings_beyond_the_published_range_break(ratings: list[float], expected: bool) -> None:
    stars = shop_log()["stars"].to_pylist()
    stars[: len(ratings)] = ratings

    found = moved(replaced(shop_log(), stars=pa.array(stars, pa.float32())))

    assert changes(found) == {("stars", "range", expected)}


def test_any_rating_but_the_only_one_breaks() -> None:
    ones = replaced(shop_log(), stars=pa.array([1.0] * ROWS, pa.float32()))

    assert {("stars", "range", True), ("stars", "mean", True)} <= changes(moved(before=ones))


# --- settings -------------------------------------------------------------------------------------


def test_an_ignored_column_is_compared_by_its_type_only() -> None:
    log = with_city(1.0, "Atlantis")

    assert moved(log, ignore=["city"]) == []
    numbers = replaced(log, city=pa.array([1] * ROWS, pa.int64()))
    assert changes(moved(numbers, ignore=["city"])) == {("city", "type", True)}


@pytest.mark.parametrize(
    "limits",
    [
        {"max_share_change": 0.4, "max_new_share": 1.0, "max_gone_share": 1.0},
        {"ignore": ["city"]},
    ],
    ids=str,
)
def test_raised_limits_let_the_change_pass(limits: dict[str, Any]) -> None:
    log = with_city(0.3, "Oslo")

    assert any(each.breaks for each in moved(log))
    assert not any(each.breaks for each in moved(log, **limits))


def test_breaks_come_first() -> None:
    log = with_city(0.04, "")
    late = replaced(log, age=pa.array(log["age"].to_numpy() + 100))

    flags = [each.breaks for each in moved(late)]

    assert flags == sorted(flags, reverse=True)
    assert len(set(flags)) == 2


def test_off_may_be_written_without_quotes_in_yaml() -> None:
    assert DriftConfig.model_validate({"on_break": False}).on_break == "off"
    with pytest.raises(ValidationError, match="on_break"):
        DriftConfig.model_validate({"on_break": True})


def test_the_file_is_read_as_it_was_written(tmp_path: Any) -> None:
    drift = Drift(version="shop-1", moved=moved(with_city(0.3, "Oslo")))
    drift.write(tmp_path)

    assert Drift.read(tmp_path) == drift
    assert drift.compared
    assert [each.column for each in drift.breaks] == ["city"]
