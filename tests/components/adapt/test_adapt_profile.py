"""The feature of type profile: in the spec and the FeatureSpace, but in no encoded table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from run_adapt import run_adapt
from walk_source import FIRST_ITEM, ITEMS, walk_tables

from components.adapt.columns import columns_of, item_id_feature
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.tables import CANDIDATE_INDEX, SPLITS, Column, read_table
from components.shared.features.config import FeaturesConfig
from components.shared.runtime.errors import InputError
from pipeline.config.pipeline import PipelineConfig

RunStep = Callable[..., Any]
PROFILE: dict[str, Any] = {"type": "profile"}
ITEM: dict[str, Any] = {"item_id": {"type": "id"}}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk_tables(tmp_path_factory)


def adapted(
    in_tensorflow: RunStep, tables: Path, target: Path, profile: dict[str, Any], **query: Any
) -> FeatureSpec:
    features = {"query": {**query, "profile": profile}, "candidate": ITEM}
    return FeatureSpec.read(run_adapt(in_tensorflow, tables, features, target))


def longest_profile(tables: Path) -> int:
    train = read_table(tables / "interactions" / "train")
    pairs = set(zip(train["user_id"].to_pylist(), train[CANDIDATE_INDEX].to_pylist(), strict=True))
    return int(np.unique([user for user, _ in pairs], return_counts=True)[1].max())


def test_a_profile_is_in_the_spec_but_no_column(
    tables: Path, tmp_path: Path, in_tensorflow: RunStep
) -> None:
    spec = adapted(
        in_tensorflow, tables, tmp_path / "it", PROFILE, hour_of_day={"type": "integer_categorical"}
    )

    width = longest_profile(tables)
    assert spec.profile == EncodedFeature(
        name="profile", type="profile", dtype="int32", width=width, cardinality=ITEMS + 1,
        padding_index=0, oov_index=0, raw_columns=["profile"],
    )  # fmt: skip
    assert spec.query == [*spec.query_columns, spec.profile]
    assert spec.query_inputs[-1] == RawInput(
        name="profile", dtype="string", width=width, derived=True, optional=True
    )
    assert (spec.candidate_id_feature, spec.query_id_feature) == ("item_id", None)
    vocabularies = tmp_path / "it" / "vocabularies"
    tokens = pq.read_table(vocabularies / "profile.parquet")["token"].to_pylist()
    items = pq.read_table(vocabularies / "item_id.parquet")["token"].to_pylist()
    assert tokens == list(map(str, items))
    for part in SPLITS:
        encoded = read_table(tmp_path / "it" / "interactions" / part)
        assert "profile" not in encoded.column_names
        assert encoded["hour_of_day"].null_count == 0
        assert encoded.num_rows == read_table(tables / "interactions" / part).num_rows


def test_a_profile_may_be_the_only_query_feature_and_be_shorter(
    tables: Path, tmp_path: Path, in_tensorflow: RunStep
) -> None:
    wanted = {**PROFILE, "max_values": 7}

    spec = adapted(in_tensorflow, tables, tmp_path / "it", wanted)

    assert spec.profile is not None
    assert spec.profile.width == 7
    assert spec.query_inputs[0].width == 7
    columns = read_table(tmp_path / "it" / "interactions" / "train").column_names
    assert columns == ["query_id", CANDIDATE_INDEX, "timestamp", "label"]


def test_the_feature_space_looks_up_the_items_of_a_profile(
    tables: Path, tmp_path: Path, in_tensorflow: RunStep
) -> None:
    adapted(in_tensorflow, tables, tmp_path / "it", {**PROFILE, "max_values": 3})

    candidates = read_table(tmp_path / "it" / "candidates").to_pylist()
    index = {str(row["candidate_id"]): row["item_id"] for row in candidates}
    first, second = str(FIRST_ITEM), str(FIRST_ITEM + 1)
    rows = [[second, first, ""], ["no item", first, ""], ["", "", ""]]
    found = in_tensorflow(
        "test_adapt_profile:looked_up",
        space=str(tmp_path / "it" / "query_feature_space.keras"),
        rows=rows,
    )
    assert found == [[index[second], index[first], 0], [0, index[first], 0], [0, 0, 0]]


def looked_up(space: str, rows: list[list[str]]) -> list[list[int]]:
    """The profiles as the FeatureSpace encodes them, in the process that has TensorFlow."""
    from components.shared.features.number_layer import load_feature_space

    outputs = load_feature_space(space)({"profile": np.array(rows, object)})
    found: list[list[int]] = outputs["profile"].numpy().tolist()
    return found


# --- what cannot be -------------------------------------------------------------------------------


def test_a_profile_has_one_name_and_consists_of_ids() -> None:
    with pytest.raises(ValueError, match=r"query\.basket: .* its name must be profile"):
        FeaturesConfig.model_validate({"query": {"basket": PROFILE}, "candidate": ITEM})
    with pytest.raises(ValueError, match=r"candidate\.profile: type profile is for query features"):
        FeaturesConfig.model_validate(
            {"query": {"profile": PROFILE}, "candidate": {"profile": PROFILE}}
        )
    words = FeaturesConfig.model_validate(
        {"query": {"profile": PROFILE}, "candidate": {"item_id": {"type": "string_categorical"}}}
    )
    with pytest.raises(InputError) as error:
        item_id_feature(words, "item_id")
    assert str(error.value) == (
        "features.query.profile: a profile consists of the items' ids. "
        "Add features.candidate.item_id with type id."
    )


def test_a_column_of_that_name_is_in_the_way_of_a_profile_only() -> None:
    profile = Column(name="profile", dtype="list<string>")
    wanted = FeaturesConfig.model_validate({"query": {"profile": PROFILE}, "candidate": ITEM})
    with pytest.raises(InputError, match="the source has a column of that name"):
        columns_of(wanted.query, [profile], "query")

    own = {"query": {"profile": {"type": "multi_categorical"}}, "candidate": ITEM}
    of_log = FeaturesConfig.model_validate(own)
    assert columns_of(of_log.query, [profile], "query") == {"profile": profile}
    with pytest.raises(InputError, match=r"Types for it are id, string_cat[^.]*hashed"):
        columns_of(of_log.query, [Column(name="profile", dtype="string")], "query")


def test_ingest_needs_nothing_for_a_profile() -> None:
    config = {
        "name": "x",
        "source": {"kind": "sample"},
        "features": {
            "query": {"user_id": {"type": "id"}, "profile": PROFILE},
            "candidate": {"movie_id": {"type": "id"}},
        },
    }
    assert set(PipelineConfig.model_validate(config).table_needs.query) == {"user_id"}
    config["features"]["candidate"] = {"movie_title": {"type": "text"}}  # type: ignore[index]
    with pytest.raises(ValueError, match=r"Add features.candidate.movie_id with type id"):
        PipelineConfig.model_validate(config)
