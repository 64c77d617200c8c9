"""The walks, taken through the steps with a profile instead of the user's id."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_adapt import run_adapt
from walk_source import walk_tables

WIDTH = 7
FEATURES: dict[str, Any] = {
    "query": {
        "profile": {"type": "profile", "max_values": WIDTH},
        "hour_of_day": {"type": "integer_categorical"},
    },
    "candidate": {"item_id": {"type": "id"}, "shape": {"type": "string_categorical"}},
}


def profile_encoded(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The walks after adapt, made once for all tests."""
    folder = temporary.getbasetemp() / "profiles" / "encoded"
    if not folder.is_dir():
        run_adapt(in_tensorflow, walk_tables(temporary), FEATURES, folder)
    return folder


def profile_model(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """Towers with large random embeddings, made once for all tests."""
    import keras
    import numpy as np
    from made_training import made_training

    from components.shared.contracts.feature_spec import FeatureSpec
    from components.shared.retrieval.towers import CandidateModel, QueryModel

    folder = temporary.getbasetemp() / "profiles" / "model"
    if not folder.is_dir():
        spec = FeatureSpec.read(profile_encoded(temporary, in_tensorflow))
        folder.mkdir()
        keras.utils.set_random_seed(3)
        for tower in (
            QueryModel(spec.query, [16], name="query_tower"),
            CandidateModel(spec.candidate, [16], name="candidate_tower"),
        ):
            for variable in tower.variables:
                if variable.path.endswith("embeddings"):
                    variable.assign(10 * np.asarray(variable))
            tower.save(folder / f"{tower.name}.keras")
        made_training(layer_sizes="16").write(folder)
    return folder


def profile_export(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The export of this model, made once for all tests."""
    folder = temporary.getbasetemp() / "profiles" / "export"
    if not folder.is_dir():
        in_tensorflow(
            "components.export.job:export",
            tables=str(walk_tables(temporary)),
            encoded=str(profile_encoded(temporary, in_tensorflow)),
            model=str(profile_model(temporary, in_tensorflow)),
            export=str(folder),
        )
    return folder
