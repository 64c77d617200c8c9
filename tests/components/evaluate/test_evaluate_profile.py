"""A published model with a profile is measured on the profiles that it would have been served."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
from profile_source import profile_encoded, profile_export
from published_features import published_features
from walk_source import FIRST_ITEM, walk_tables

from components.evaluate import test_data
from components.evaluate.published import Comparison
from components.shared.contracts.tables import CANDIDATE_ID, CANDIDATE_INDEX, read_table
from components.shared.retrieval.embedding import embed
from components.shared.runtime.files import read_json

RunStep = Callable[..., Any]


def test_its_profiles_are_in_its_own_vocabulary(
    tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep, tmp_path: Path
) -> None:
    encoded = profile_encoded(tmp_path_factory, in_tensorflow)
    export = profile_export(tmp_path_factory, in_tensorflow)
    published = published_features(encoded, tmp_path / "published", "walks-1")
    (published / "export").symlink_to(export)
    in_tensorflow(
        "components.encode_for_published.job:encode_for_published",
        tables=str(walk_tables(tmp_path_factory)), published=str(published), config={},
        published_test=str(tmp_path / "published_test"),
    )  # fmt: skip
    assert read_json(tmp_path / "published_test" / "published_test.json")["reason"] is None
    data = test_data.TestData.read(str(encoded))
    ids = read_table(export / "candidates")[CANDIDATE_ID]
    # Since then, an item has come, and one is no longer sold.
    todays = pa.chunked_array([pa.array([5, *ids.to_pylist()[:-1]], ids.type)])
    at = data.known.schema.get_field_index(CANDIDATE_INDEX)
    place = data.known[CANDIDATE_INDEX].to_numpy() + 1
    known = data.known.set_column(at, CANDIDATE_INDEX, pa.array(place % len(ids), pa.int32()))

    model = Comparison.of(
        str(published), str(tmp_path / "published_test"), data.queries, todays, known
    ).model

    assert model is not None
    gone = data.candidate_features["item_id"][-1]
    assert ids[-1].as_py() == FIRST_ITEM + len(ids) - 1
    profiles = data.queries.features["profile"]
    # Whose profile had the item that is gone has another one from before, or one item less.
    without = (profiles != gone).all(axis=1)
    assert 100 < without.sum() < len(without)
    tower = keras.models.load_model(export / "query_tower.keras")
    expected = embed(tower, data.queries.features)
    same = np.isclose(model.queries, expected, atol=1e-5).all(axis=1)
    assert np.array_equal(same, without)
