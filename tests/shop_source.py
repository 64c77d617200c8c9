"""A small log of a shop with a column for every feature type, and the features made of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PLAIN
from run_adapt import run_adapt

USERS, ITEMS, ROWS = 60, 40, 900
FIRST_USER, FIRST_ITEM = 2**53, 2**31 - 20  # not exact as float64, not all in 32 bits

FEATURES: dict[str, Any] = {
    "query": {
        "user_id": {"type": "id"},
        "plan": {"type": "string_categorical"},
        "zone": {"type": "integer_categorical", "max_tokens": 4},
        "age": {"type": "float_discretized", "num_bins": 4},
        "visits": {"type": "float_normalized"},
        "income": {"type": "float_rescaled", "scale": 0.001, "offset": -1.0},
        "tenure": {"type": "float"},
        "city": {"type": "string_categorical"},
        "street": {"type": "string_hashed", "num_bins": 5},
        "device": {"type": "integer_hashed", "num_bins": 6},
        "motto": {"type": "text", "max_tokens": 9, "sequence_length": 3},
        "interests": {"type": "multi_categorical", "max_values": 2},
    },
    "candidate": {
        "item_id": {"type": "id"},
        "title": {"type": "text", "max_tokens": 50, "sequence_length": 4},
        "city": {"type": "string_categorical"},
        "year": {"type": "integer_categorical"},
        "pages": {"type": "float_discretized", "num_bins": 3},
        "price": {"type": "float_normalized"},
        "stock": {"type": "float_rescaled", "scale": 2.0, "offset": 1.0},
        "weight": {"type": "float"},
        "brand": {"type": "string_hashed", "num_bins": 4},
        "code": {"type": "integer_hashed", "num_bins": 3},
        "tags": {"type": "multi_categorical"},
    },
    "crosses": [
        {"features": ["zone", "age"], "dim": 8},
        {"features": ["device", "user_id"], "dim": 11},
        {"features": ["year", "brand"], "dim": 7},
    ],
    "label": {"scale": 0.5, "offset": -0.5},
}

_WORDS = ["Red", "green", "Blue!", "old-time", "Á", "tea", "(new)", "of"]
_TAGS = ["soft", "hard", "warm", "cold", "Cool"]


def write_shop(folder: Path) -> dict[str, Any]:
    """Writes the log and the catalogue as Parquet; gives the source's config."""
    rng = np.random.default_rng(11)

    def some(values: list[str], least: int, most: int) -> list[str]:
        return [str(v) for v in rng.choice(values, rng.integers(least, most + 1), replace=False)]

    # The last users have one row each, so that some are in no training row.
    user = np.concatenate([rng.integers(0, USERS - 15, ROWS - 15), np.arange(USERS - 15, USERS)])
    item = rng.integers(0, ITEMS, ROWS)
    base = rng.integers(0, 1000, USERS)
    # Some values are there in one row only: validation and test have new ones.
    rare = rng.random(ROWS) < 0.2
    plans = np.array(["free", "pro", "team"])[base % 3]
    log = pa.table(
        {
            "user_id": FIRST_USER + user.astype(np.int64),
            "plan": [f"trial {i}" if rare[i] else str(plans[u]) for i, u in enumerate(user)],
            "zone": pa.array((base % 7)[user] - 1, pa.int64()),
            # A year older with each hundred rows: the latest is what counts for serving.
            "age": (20 + (base % 50)[user] + np.arange(ROWS) // 100).astype(np.float32),
            "visits": pa.array(rng.poisson(9, ROWS), pa.int64()),
            "income": rng.normal(3000, 500, ROWS).astype(np.float32),
            "tenure": rng.random(ROWS).astype(np.float32),
            "city": [["Köln", "Oslo", "Łódź"][base[u] % 3] for u in user],
            "street": [f"street {base[u] % 20}" for u in user],
            "device": pa.array(rng.integers(-5, 2**40, ROWS), pa.int64()),
            "motto": [" ".join(some(_WORDS, 1, 5)) for _ in range(ROWS)],
            "interests": pa.array([some(_TAGS, 0, 4) for _ in range(ROWS)], pa.list_(pa.string())),
            "item_id": FIRST_ITEM + item.astype(np.int64),
            "stars": rng.integers(1, 6, ROWS).astype(np.float32),
            "at": pa.array(1_000_000_000 + 60 * np.arange(ROWS), pa.int64()),
        }
    )
    catalogue = pa.table(
        {
            "item_id": FIRST_ITEM + rng.permutation(ITEMS).astype(np.int64),
            "title": [" ".join(some(_WORDS, 1, 6)) for _ in range(ITEMS)],
            "city": [["Oslo", "Rome"][i % 2] for i in range(ITEMS)],
            "year": pa.array(1990 + rng.integers(0, 9, ITEMS), pa.int64()),
            "pages": pa.array(rng.integers(50, 900, ITEMS), pa.int64()),
            "price": rng.normal(20, 4, ITEMS).astype(np.float32),
            "stock": pa.array(rng.integers(0, 99, ITEMS), pa.int64()),
            "weight": rng.random(ITEMS).astype(np.float32),
            "brand": [f"brand {i % 9}" for i in range(ITEMS)],
            "code": pa.array(rng.integers(0, 2**62, ITEMS), pa.int64()),
            "tags": pa.array([some(_TAGS, 0, 3) for _ in range(ITEMS)], pa.list_(pa.string())),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(log, folder / "log.parquet", row_group_size=130)
    pq.write_table(catalogue, folder / "catalogue.parquet")
    return {
        "kind": "files",
        "interactions": str(folder / "log.parquet"),
        "candidates": str(folder / "catalogue.parquet"),
        "columns": {
            "query_id": "user_id",
            "candidate_id": "item_id",
            "title": "title",
            "rating": "stars",
            "timestamp": "at",
            "timestamp_unit": "s",
        },
    }


def ingest_shop(folder: Path, shards: int = 2) -> Path:
    """Takes the shop through ingest; gives the folder of the tables."""
    from components.ingest.job import ingest

    ingest(
        source=write_shop(folder / "source"),
        config={"shards": shards, "duplicates": "keep"},
        seed=5,
        tables=str(folder / "tables"),
        rejects=str(folder / "rejects"),
    )
    return folder / "tables"


def shop_tables(temporary: pytest.TempPathFactory) -> Path:
    """The shop after ingest, made once for all tests."""
    folder = temporary.getbasetemp() / "shop"
    return folder / "tables" if (folder / "tables").is_dir() else ingest_shop(folder)


def shop_encoded(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The shop after adapt, made once for all tests."""
    folder = temporary.getbasetemp() / "shop" / "encoded"
    if not folder.is_dir():
        run_adapt(in_tensorflow, shop_tables(temporary), FEATURES, folder)
    return folder


def shop_exported(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The shop after one epoch of training and export, made once for all tests."""
    return trained_and_exported(shop_encoded(temporary, in_tensorflow), in_tensorflow)


def trained_and_exported(encoded: Path, in_tensorflow: Callable[..., Any]) -> Path:
    """The export after one epoch of training, made once, beside `encoded` and its tables."""
    from components.train.job import train

    folder = encoded.parent
    if not (folder / "export").is_dir():
        train(
            encoded=str(encoded),
            config={**PLAIN, "epochs": 1, "batch_size": 128, "monitor": "hit_rate_at_10_raw"},
            layer_sizes=[12, 8],
            seed=3,
            model=str(folder / "model"),
        )
        in_tensorflow(
            "components.export.job:export",
            tables=str(folder / "tables"),
            encoded=str(encoded),
            model=str(folder / "model"),
            export=str(folder / "export"),
        )
    return folder / "export"
