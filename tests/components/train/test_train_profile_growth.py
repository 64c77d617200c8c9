"""A warm start of a model with a profile: the items keep their indices and their embeddings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from profile_source import FEATURES, profile_encoded, profile_model
from published_features import published_features
from run_adapt import run_adapt
from walk_source import ITEMS, ingested, write_walks

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.train.warm_start import begin_from

RunStep = Callable[..., Any]


def test_a_profile_grows_with_the_items(
    tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep, tmp_path: Path
) -> None:
    import keras

    encoded = profile_encoded(tmp_path_factory, in_tensorflow)
    model = profile_model(tmp_path_factory, in_tensorflow)
    published = published_features(encoded, tmp_path / "published", "walks-1")
    (published / "model").symlink_to(model)
    source = write_walks(tmp_path / "source")
    items, log = pq.read_table(source["candidates"]), pq.read_table(source["interactions"])
    new = pa.table({"item_id": [5], "shape": ["round"]})
    rows = {"user_id": log["user_id"][:30], "item_id": [5] * 30, "timestamp": [86_400 * 11] * 30}
    pq.write_table(pa.concat_tables([items, new]), source["candidates"])
    pq.write_table(pa.concat_tables([log, pa.table(rows)]), source["interactions"])

    grown = run_adapt(
        in_tensorflow, ingested(tmp_path, source), FEATURES, tmp_path / "grown", base=str(published)
    )

    former, tokens = (
        pq.read_table(folder / "vocabularies" / "profile.parquet")["token"].to_pylist()
        for folder in (encoded, grown)
    )
    assert tokens == [*former, "5"]
    spec = FeatureSpec.read(grown)
    assert spec.profile is not None
    assert spec.profile.cardinality == ITEMS + 2
    old = keras.models.load_model(model / "query_tower.keras")
    query = QueryModel(spec.query, [], 16, item_bias="item_id")
    before = np.array(query.embeddings["profile"].embedding.embeddings)
    taken = begin_from(
        query, CandidateModel(spec.candidate, [], 16, item_bias="item_id"), grown, published
    ).taken
    assert {"query profile", "candidate item_id"} <= set(taken)
    found = np.array(query.embeddings["profile"].embedding.embeddings)
    assert np.array_equal(found[:-1], np.array(old.embeddings["profile"].embedding.embeddings))
    assert np.array_equal(found[-1], before[-1])
