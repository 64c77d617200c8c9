"""What adapt says about features that cannot be made, and what it only warns of."""

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published_features import published_features
from run_adapt import run_adapt

from components.adapt import published as published_model
from components.adapt.columns import columns_of, encoded_names
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import LABEL, Column, read_table, table_files
from components.shared.features.config import FeaturesConfig
from components.shared.features.types import FEATURE_TYPES
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]

FEATURES: dict[str, Any] = {
    "query": {
        "user_id": {"type": "id"},
        "raw_user_age": {"type": "float_discretized", "num_bins": 5},
        "user_gender": {"type": "integer_categorical"},
    },
    "candidate": {
        "movie_id": {"type": "id"},
        "movie_title": {"type": "text", "sequence_length": 4},
        "movie_genres": {"type": "multi_categorical"},
    },
}
COLUMNS = [
    Column(name="user_id", dtype="string", role="query_id"),
    Column(name="age", dtype="float32"),
    Column(name="zone", dtype="int64"),
    Column(name="likes", dtype="list<string>"),
]


def config(side: str, name: str, feature: dict[str, Any], **more: Any) -> dict[str, Any]:
    """FEATURES with one feature replaced or added."""
    features = copy.deepcopy(FEATURES)
    features[side][name] = feature
    return {**features, **more}


def with_columns(
    tables: Path, target: Path, pattern: str, columns: dict[str, Callable[[pa.Table], Any]]
) -> Path:
    """A copy of tables in which some columns are others."""
    shutil.copytree(tables, target)
    for path in target.glob(pattern):
        table = pq.read_table(path)
        for name, make in columns.items():
            index = table.column_names.index(name)
            values = pa.array(make(table), table.schema.field(name).type)
            table = table.set_column(index, name, values)
        pq.write_table(table, path)
    return target


@pytest.fixture
def adapt(in_tensorflow: RunStep, sample_tables: Path, tmp_path: Path) -> Iterator[RunStep]:
    """Runs adapt on the sample, or on other tables; nothing but its output may be left."""
    target = tmp_path / "outputs" / "encoded"

    def call(features: dict[str, Any], tables: Path = sample_tables) -> Path:
        return run_adapt(in_tensorflow, tables, features, target)

    yield call
    if target.parent.exists():
        assert [path.name for path in target.parent.iterdir()] in ([], ["encoded"])


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "name", "columns"),
    [
        ("query", "age", "user_id, raw_user_age, user_gender, user_occupation_label"),
        ("query", "movie_id", "user_id, raw_user_age, user_gender, user_occupation_label"),
        ("candidate", "movie_genre", "movie_id, movie_title, movie_genres"),
    ],
)
def test_an_unknown_column_is_an_error_that_names_the_columns(
    adapt: RunStep, tmp_path: Path, side: str, name: str, columns: str
) -> None:
    with pytest.raises(InputError) as error:
        adapt(config(side, name, {"type": "id"}))

    assert str(error.value).startswith(f"features.{side}.{name}: there is no such column.")
    assert columns in str(error.value)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("name", "kind", "dtype", "fitting"),
    [
        ("user_id", "integer_categorical", "string", ["id", "string_categorical", "text"]),
        ("user_id", "float", "string", ["id", "string_hashed"]),
        ("user_id", "integer_hashed", "string", ["string_hashed"]),
        ("user_id", "multi_categorical", "string", ["id", "text"]),
        ("age", "id", "float32", ["float", "float_discretized", "float_normalized"]),
        ("age", "integer_categorical", "float32", ["float_rescaled"]),
        ("age", "text", "float32", ["float"]),
        ("zone", "string_categorical", "int64", ["id", "integer_categorical", "float"]),
        ("zone", "string_hashed", "int64", ["integer_hashed"]),
        ("zone", "text", "int64", ["integer_categorical"]),
        ("likes", "string_categorical", "list<string>", ["multi_categorical"]),
        ("likes", "text", "list<string>", ["multi_categorical"]),
    ],
)
def test_a_type_that_does_not_fit_the_column_is_an_error_that_names_fitting_ones(
    name: str, kind: str, dtype: str, fitting: list[str]
) -> None:
    more = {"num_bins": 3} if kind.endswith(("hashed", "discretized")) else {}
    features = FeaturesConfig.model_validate(
        {"query": {name: {"type": kind, **more}}, "candidate": {"x": {"type": "id"}}}
    ).query

    with pytest.raises(InputError) as error:
        columns_of(features, COLUMNS, "query")

    message = str(error.value)
    assert message.startswith(f"features.query.{name}: type {kind} needs a column of")
    assert f"{name} is {dtype}" in message
    named = message.partition("Types for it are ")[2].partition(".")[0].split(", ")
    assert set(fitting) <= set(named)
    assert kind not in named


@pytest.mark.parametrize(
    ("side", "table"), [("query", "interactions"), ("candidate", "candidates")]
)
def test_a_text_column_for_lists_is_an_error_that_tells_how_to_declare_them(
    side: Any, table: str
) -> None:
    features = {"tags": FEATURE_TYPES["multi_categorical"](type="multi_categorical")}

    with pytest.raises(InputError) as error:
        columns_of(features, [Column(name="tags", dtype="string")], side)

    assert str(error.value).endswith(
        "If the files have lists as text, such as a|b, set source.dtypes.tags to list<string>, and "
        f"source.formats.{table}.list_separator if the separator is not |."
    )


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("id", ["user_id", "zone"]),
        ("string_categorical", ["user_id"]),
        ("integer_categorical", ["zone"]),
        ("float", ["age", "zone"]),
        ("float_rescaled", ["age", "zone"]),
        ("float_normalized", ["age", "zone"]),
        ("text", ["user_id"]),
        ("multi_categorical", ["likes"]),
    ],
)
def test_types_take_the_columns_that_fit(kind: str, names: list[str]) -> None:
    for name in names:
        features = FeaturesConfig.model_validate(
            {"query": {name: {"type": kind}}, "candidate": {"x": {"type": "id"}}}
        ).query
        assert list(columns_of(features, COLUMNS, "query")) == [name]


def test_a_type_that_does_not_fit_stops_the_run_before_anything_is_written(
    adapt: RunStep, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"features\.candidate\.movie_genres: type text needs"):
        adapt(config("candidate", "movie_genres", {"type": "text"}))

    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("name", "feature", "empty"),
    [
        ("movie_genres", {"type": "multi_categorical"}, []),
        ("movie_genres", {"type": "multi_categorical"}, [""]),
        ("movie_genres", {"type": "multi_categorical", "max_values": 3}, []),
        ("movie_title", {"type": "text", "sequence_length": 4}, "?!"),
    ],
)
def test_a_feature_without_any_value_is_an_error_and_leaves_nothing(
    adapt: RunStep,
    sample_tables: Path,
    tmp_path: Path,
    name: str,
    feature: dict[str, Any],
    empty: Any,
) -> None:
    tables = with_columns(
        sample_tables,
        tmp_path / "tables",
        "candidates/*.parquet",
        {name: lambda table: [empty] * table.num_rows},
    )

    with pytest.raises(InputError, match=f"{name} has no value in any training row: leave it out"):
        adapt(config("candidate", name, feature), tables)

    assert list((tmp_path / "outputs").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "k",
        "exclude",
        "self",
        "zip code",
        "User-ID",
        "1st",
        "from",
        "a/b",
        "größe",
        "_hidden",
        "a.b",
    ],
)
def test_a_query_column_that_the_saved_model_cannot_have_as_an_input_is_an_error(name: str) -> None:
    features = FeaturesConfig.model_validate(
        {"query": {name: {"type": "id"}}, "candidate": {"x": {"type": "id"}}}
    ).query

    with pytest.raises(InputError, match="Rename the column") as error:
        columns_of(features, [Column(name=name, dtype="string")], "query")

    assert str(error.value).startswith(f"features.query.{name}: the SavedModel")


@pytest.mark.parametrize("name", ["User_ID", "name", "features", "args", "x1", "inputs"])
def test_other_names_of_query_columns_are_fine(name: str) -> None:
    features = FeaturesConfig.model_validate(
        {"query": {name: {"type": "id"}}, "candidate": {"x": {"type": "id"}}}
    ).query

    assert columns_of(features, [Column(name=name, dtype="string")], "query")


def test_candidate_columns_may_have_any_name_without_a_slash() -> None:
    features = FeaturesConfig.model_validate(
        {
            "query": {"x": {"type": "id"}},
            "candidate": {"Book-Title": {"type": "id"}, "k": {"type": "id"}},
        }
    ).candidate
    columns = [Column(name=name, dtype="string") for name in ("Book-Title", "k", "a/b")]

    assert list(columns_of(features, columns, "candidate")) == ["Book-Title", "k"]
    with pytest.raises(InputError, match="cannot have a slash"):
        columns_of({"a/b": features["k"]}, columns, "candidate")


def test_encoded_names_are_the_columns_own_unless_they_are_taken() -> None:
    features = FeaturesConfig.model_validate(
        {
            "query": {n: {"type": "id"} for n in ("user", "query_id", "title", "city", "label")},
            "candidate": {n: {"type": "id"} for n in ("item", "title", "city", "label")},
        }
    )

    assert encoded_names(features, "query") == {
        "user": "user", "query_id": "query_query_id", "title": "title", "city": "city",
        "label": "query_label",
    }  # fmt: skip
    assert encoded_names(features, "candidate") == {
        "item": "item", "title": "candidate_title", "city": "candidate_city",
        "label": "candidate_label",
    }  # fmt: skip


# --- the config -----------------------------------------------------------------------------------


def cross(*names: str, dim: int = 5) -> list[dict[str, Any]]:
    return [{"features": list(names), "dim": dim}]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({**FEATURES, "crosses": cross("user_id", "nothing")}, "nothing are not features of one"),
        ({**FEATURES, "crosses": cross("user_id", "movie_id")}, "not features of one side"),
        ({**FEATURES, "crosses": cross("movie_id", "movie_title")}, "movie_title is text; only"),
        ({**FEATURES, "crosses": cross("movie_genres", "movie_id")}, "is multi_categorical; only"),
        ({**FEATURES, "crosses": cross("user_id")}, "at least 2 items"),
        (
            {**FEATURES, "crosses": cross("user_id", "user_gender", "raw_user_age")},
            "at most 2 items",
        ),
        ({**FEATURES, "crosses": cross("user_id", "user_gender", dim=1)}, "greater than or equal"),
        (
            {**FEATURES, "crosses": cross("user_id", "user_gender") * 2},
            "user_id_X_user_gender is there twice",
        ),
        ({**FEATURES, "query": {}}, "at least 1 item"),
        ({"query": FEATURES["query"]}, "candidate"),
        (config("query", "user_id", {"type": "embedding"}), "does not match any of the expected"),
        (config("query", "user_id", {"type": "id", "tokens": 5}), "Extra inputs are not permitted"),
        (config("query", "user_id", {"type": "id", "max_tokens": 1}), "greater than or equal to 2"),
        (config("candidate", "movie_title", {"type": "text", "max_tokens": 2}), "equal to 3"),
        (config("query", "user_id", {"type": "float_discretized"}), "Field required"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(features: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeaturesConfig.model_validate(features)


def test_a_cross_of_names_that_both_sides_have_is_checked_and_made_on_both() -> None:
    features: dict[str, Any] = {
        "query": {"a": {"type": "id"}, "b": {"type": "id"}},
        "candidate": {"a": {"type": "id"}, "b": {"type": "id"}},
        "crosses": cross("a", "b"),
    }
    both = FeaturesConfig.model_validate(features)
    assert both.crosses_of("query") == both.crosses_of("candidate") == both.crosses

    features["candidate"]["b"] = {"type": "text"}
    with pytest.raises(ValueError, match="b is text; only"):
        FeaturesConfig.model_validate(features)


# --- warnings -------------------------------------------------------------------------------------


def test_features_and_ratings_with_one_value_give_warnings_and_the_run_goes_on(
    adapt: RunStep, sample_tables: Path, tmp_path: Path
) -> None:
    tables = with_columns(
        sample_tables,
        tmp_path / "tables",
        "interactions/*/*.parquet",
        {
            "user_gender": lambda table: np.ones(table.num_rows, np.int64),
            "raw_user_age": lambda table: np.full(table.num_rows, 30.5, np.float32),
            "user_occupation_label": lambda table: np.full(table.num_rows, 7),
            "user_rating": lambda table: np.full(table.num_rows, 4.0, np.float32),
        },
    )
    features = config("query", "user_occupation_label", {"type": "float_normalized"})

    encoded = adapt({**features, "label": {"scale": 0.25, "offset": -0.25}}, tables)

    spec = FeatureSpec.read(encoded)
    assert spec.warnings == [
        "raw_user_age has one value only (30.5): it cannot tell rows apart.",
        "user_gender has one value only (1): it cannot tell rows apart.",
        "user_occupation_label has one value only (7): it cannot tell rows apart.",
        "user_rating has one value only (4): there is no rating to learn, only who interacted "
        "with what.",
    ]
    assert spec.label_range == (0.75, 0.75)
    train = read_table(encoded / "interactions" / "train")
    assert train.num_rows == read_table(sample_tables / "interactions" / "train").num_rows
    assert set(to_numpy(train["user_gender"])) == {1}
    assert set(to_numpy(train["user_occupation_label"])) == {0.0}
    assert set(to_numpy(train[LABEL])) == {0.75}


def test_the_label_range_is_that_of_training_labels_with_a_negative_scale_too(
    adapt: RunStep, sample_tables: Path
) -> None:
    encoded = adapt({**FEATURES, "label": {"scale": -1.0, "offset": 10.0, "relevant_above": 7.5}})

    spec = FeatureSpec.read(encoded)
    ratings = to_numpy(read_table(sample_tables / "interactions" / "train")["user_rating"])
    assert spec.label_range == (10 - ratings.max(), 10 - ratings.min())
    assert spec.relevant_above == 7.5
    assert spec.warnings == []


def test_without_an_id_feature_the_spec_has_none(adapt: RunStep) -> None:
    features = config("query", "user_id", {"type": "string_hashed", "num_bins": 16})

    encoded = adapt(features)

    spec = FeatureSpec.read(encoded)
    assert spec.query_id_feature is None
    assert [item.name for item in spec.query_inputs] == ["raw_user_age", "user_gender", "user_id"]
    assert not (encoded / "vocabularies" / "user_id.parquet").exists()


def test_an_error_leaves_an_older_output_as_it_was(adapt: RunStep, tmp_path: Path) -> None:
    older = tmp_path / "outputs" / "encoded"
    older.mkdir(parents=True)
    (older / "feature_spec.json").write_text("older")

    with pytest.raises(InputError):
        adapt(config("query", "nothing", {"type": "id"}))

    assert (older / "feature_spec.json").read_text() == "older"
    assert table_files(older) == []


def test_a_published_spec_does_not_have_vocabularies_read_from_elsewhere(
    sample_encoded: Path, tmp_path: Path
) -> None:
    published = published_features(sample_encoded, tmp_path / "published", "shop-0123456789ab")
    outside = tmp_path / "outside.parquet"
    shutil.copyfile(sample_encoded / "vocabularies" / "user_id.parquet", outside)
    spec = FeatureSpec.read(published / "features")
    user_id = spec.query[0].model_copy(update={"name": "../../../outside"})
    assert (published / "features" / "vocabularies" / f"{user_id.name}.parquet").is_file()
    spec.model_copy(update={"query": [user_id]}).write(published / "features")

    with pytest.raises(InputError) as caught:
        published_model.published_features(str(published), "query")

    assert str(caught.value) == (
        "the published model's feature_spec.json: the file name '../../../outside.parquet' is not "
        "allowed: it contains '..'. Go back to another version with deep-retrieval rollback."
    )


@pytest.mark.parametrize("name", ["a\\b", "a\0b"])
def test_a_candidate_column_has_a_name_that_its_vocabulary_can_have(name: str) -> None:
    features = FeaturesConfig.model_validate(
        {"query": {"user": {"type": "id"}}, "candidate": {name: {"type": "id"}}}
    )

    with pytest.raises(
        InputError, match=r"features\.candidate\.'a.*: it contains a .*\. Rename the"
    ):
        columns_of(features.candidate, [Column(name=name, dtype="string")], "candidate")
