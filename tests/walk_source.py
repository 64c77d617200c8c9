"""A log in which what comes next depends on what came last, taken through the steps once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PLAIN
from run_adapt import run_adapt

USERS, ITEMS, STEPS = 500, 40, 14
FIRST_USER, FIRST_ITEM = 2**53, 2**31 - 20
LENGTH = 3
INGEST: dict[str, Any] = {
    "split": "leave_last_out",
    "duplicates": "keep",
    "history_length": LENGTH,
    "time_columns": ["hour_of_day", "day_of_week"],
}
WITH_HISTORY: dict[str, Any] = {
    "query": {
        "user_id": {"type": "id"},
        "history": {"type": "history"},
        "hour_of_day": {"type": "integer_categorical"},
    },
    "candidate": {"item_id": {"type": "id"}, "shape": {"type": "string_categorical"}},
}
WITHOUT_HISTORY: dict[str, Any] = {**WITH_HISTORY, "query": {"user_id": {"type": "id"}}}
TRAIN: dict[str, Any] = {
    **PLAIN,
    "learning_rate": 0.02,
    "batch_size": 256,
    "epochs": 20,
    "id_dropout": 0.02,
    "l2": 3e-4,
    "validation_frequency": 10,
    "monitor": "hit_rate_at_3_raw",
}
LAYERS, SEED = [16], 3


def write_walks(folder: Path) -> dict[str, Any]:
    """Writes the log; gives the source's config.

    Every second step of a user, on average, is to the item that follows the one
    before, the same for everybody; the others are to any item, so that the user
    says nothing about what comes next.
    """
    rng = np.random.default_rng(5)
    follower = rng.permutation(ITEMS)
    item = rng.integers(0, ITEMS, (USERS, STEPS))
    for step in range(1, STEPS):
        follows = rng.random(USERS) < 0.5
        item[follows, step] = follower[item[follows, step - 1]]
    # A step a day.
    time = 86_400 * np.arange(STEPS)[None, :] + rng.integers(0, 86_400, (USERS, STEPS))
    order = rng.permutation(USERS * STEPS)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(
            {
                "user_id": FIRST_USER + np.repeat(np.arange(USERS), STEPS)[order],
                "item_id": FIRST_ITEM + item.ravel()[order],
                "timestamp": time.ravel()[order],
            }
        ),
        folder / "log.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "item_id": FIRST_ITEM + np.arange(ITEMS),
                "shape": [["round", "square"][i % 2] for i in range(ITEMS)],
            }
        ),
        folder / "items.parquet",
    )
    return {
        "kind": "files",
        "interactions": str(folder / "log.parquet"),
        "candidates": str(folder / "items.parquet"),
        "columns": {
            "query_id": "user_id",
            "candidate_id": "item_id",
            "timestamp": "timestamp",
            "timestamp_unit": "s",
        },
    }


def ingested(folder: Path, source: dict[str, Any], **config: Any) -> Path:
    """Takes a source through ingest; gives the folder of the tables."""
    from components.ingest.job import ingest

    tables, rejects = str(folder / "tables"), str(folder / "rejects")
    ingest(source=source, config={**INGEST, **config}, seed=5, tables=tables, rejects=rejects)
    return folder / "tables"


def walk_tables(temporary: pytest.TempPathFactory) -> Path:
    """The walks after ingest, made once for all tests."""
    folder = temporary.getbasetemp() / "walks"
    if not (folder / "tables").is_dir():
        ingested(folder, write_walks(folder / "source"))
    return folder / "tables"


def walk_encoded(
    temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any], history: bool = True
) -> Path:
    """The walks after adapt, with or without a history, made once for all tests."""
    folder = temporary.getbasetemp() / "walks" / ("encoded" if history else "encoded-without")
    if not folder.is_dir():
        features = WITH_HISTORY if history else WITHOUT_HISTORY
        run_adapt(in_tensorflow, walk_tables(temporary), features, folder)
    return folder


def walk_model(
    temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any], history: bool = True
) -> Path:
    """A model of the walks, made once for all tests."""
    from components.train.job import train

    folder = temporary.getbasetemp() / "walks" / ("model" if history else "model-without")
    if not folder.is_dir():
        encoded = str(walk_encoded(temporary, in_tensorflow, history))
        train(encoded=encoded, config=TRAIN, layer_sizes=LAYERS, seed=SEED, model=str(folder))
    return folder


def walk_export(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The export of the model with a history, made once for all tests."""
    folder = temporary.getbasetemp() / "walks" / "export"
    if not folder.is_dir():
        in_tensorflow(
            "components.export.job:export",
            tables=str(walk_tables(temporary)),
            encoded=str(walk_encoded(temporary, in_tensorflow)),
            model=str(walk_model(temporary, in_tensorflow)),
            export=str(folder),
        )
    return folder


def embedded(path: str, features: dict[str, np.ndarray]) -> np.ndarray:
    """Loads a tower in Keras's safe mode, and embeds rows with it."""
    import keras

    from components.shared.retrieval import towers  # noqa: F401  (registers their classes)
    from components.shared.retrieval.embedding import embed

    return embed(keras.saving.load_model(path, safe_mode=True), features)


def users_of(tables: str) -> pa.Table:
    """The users as export writes them."""
    from components.export.users import latest_users
    from components.shared.contracts.tables import CANDIDATE_ID, Schema, read_table

    candidates = read_table(Path(tables) / "candidates").rename_columns({"item_id": CANDIDATE_ID})
    return latest_users(Path(tables), Schema.read(tables), candidates)
