"""What a user of whom nothing is known gets: at least what is popular."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import CANDIDATE_INDEX, read_table
from components.shared.retrieval.embedding import embed
from components.shared.runtime.arrow import to_numpy
from components.train.data import EncodedData
from components.train.job import train

CUTOFF = 20


@pytest.fixture
def encoded(request: pytest.FixtureRequest, ids_only_encoded: Path, tmp_path: Path) -> Path:
    """The sample's ids, or its items and profiles instead of the user's id."""
    folder = tmp_path / "encoded"
    shutil.copytree(ids_only_encoded, folder)
    if request.param == "profile":
        spec = FeatureSpec.read(folder)
        profile = EncodedFeature(
            name="profile", type="profile", dtype="int32", width=40, padding_index=0, oov_index=0,
            cardinality=spec.candidate[0].cardinality, raw_columns=["profile"],
        )  # fmt: skip
        spec.model_copy(update={"query": [profile], "query_id_feature": None}).write(folder)
    return folder


@pytest.mark.parametrize("encoded", ["id", "profile"], indirect=True)
@pytest.mark.parametrize("loss", ["softmax", "quadratic"])
def test_an_unknown_user_gets_at_least_the_hit_rate_of_what_is_popular(
    encoded: Path, tmp_path: Path, loss: str
) -> None:
    # Everything else is `auto`.
    config: dict[str, Any] = {"loss": loss, "epochs": 10}
    train(encoded=str(encoded), config=config, layer_sizes=[], seed=5, model=str(tmp_path / "m"))
    query, candidate = (
        keras.models.load_model(tmp_path / "m" / f"{tower}_tower.keras")
        for tower in ("query", "candidate")
    )
    data = EncodedData.read(str(encoded))
    (feature,) = data.spec.query
    shape = (1, feature.width) if feature.is_profile else (1,)
    unknown = {feature.name: np.full(shape, feature.oov_index, np.int32)}

    scores = embed(candidate, data.candidates) @ embed(query, unknown)[0]

    targets = to_numpy(read_table(encoded / "interactions" / "test")[CANDIDATE_INDEX])
    rows = np.bincount(
        to_numpy(data.train[CANDIDATE_INDEX]), minlength=data.candidate_count
    ).astype(np.float32)
    served, popular = (
        float(np.isin(targets, np.argsort(-values, kind="stable")[:CUTOFF]).mean())
        for values in (scores, rows)
    )
    # Ten rows of luck: two orders of nearly equally popular items are equally good.
    assert served >= popular - 10 / len(targets)
    assert popular > 1.2 * CUTOFF / data.candidate_count
