"""The walks, taken through the steps with a profile instead of the user's id."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_adapt import run_adapt
from walk_source import walk_tables

WIDTH = 7
TRAIN: dict[str, Any] = {
    "loss": "quadratic",
    "item_bias": True,
    "embedding_dimension": 16,
    "learning_rate": 0.02,
    "batch_size": 256,
    "epochs": 5,
    "monitor": "hit_rate_at_3_raw",
}
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
    """A model without a user id, made once for all tests."""
    from components.train.job import train

    folder = temporary.getbasetemp() / "profiles" / "model"
    if not folder.is_dir():
        encoded = str(profile_encoded(temporary, in_tensorflow))
        train(encoded=encoded, config=TRAIN, layer_sizes=[], seed=3, model=str(folder))
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
