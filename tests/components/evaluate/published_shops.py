"""A shop's log at two times, each with its own model: one is published, one is compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import PLAIN
from made_evaluation import made_evaluation

from components.shared.contracts.tables import read_table
from components.shared.runtime.files import read_json

RunStep = Callable[..., Any]

USERS = 60
# The catalogues overlap: the old one has items that are gone since, today's has new ones in
# between, so that an item stands in another place in each.
KEPT, GONE, NEW = range(100, 160, 2), range(130, 142), range(101, 131, 2)
OLD_ITEMS = sorted({*KEPT, *(item + 500 for item in GONE), 1, 2, 3})
TODAYS_ITEMS = sorted({*KEPT, *NEW, 999})
# The published model sees plan and city, today's sees the age.
OLD_FEATURES: dict[str, Any] = {
    "query": {
        "user": {"type": "id"},
        "plan": {"type": "string_categorical"},
        "city": {"type": "string_hashed", "num_bins": 5},
    },
    "candidate": {"item": {"type": "id"}, "shelf": {"type": "integer_categorical"}},
    "label": {},
}
TODAYS_FEATURES: dict[str, Any] = {
    "query": {"user": {"type": "id"}, "age": {"type": "float_normalized"}},
    "candidate": {"item": {"type": "id"}, "name": {"type": "text", "sequence_length": 4}},
    "label": {},
}
KS = [5, 20]
_TRAIN: dict[str, Any] = {
    **PLAIN,
    "learning_rate": 0.01,
    "batch_size": 256,
    "epochs": 4,
    "validation_frequency": 2,
    "monitor": "hit_rate_at_20_filtered",
}


@dataclass(frozen=True)
class Steps:
    """The outputs of the steps."""

    tables: Path
    encoded: Path
    model: Path
    export: Path


def publish_and_fetch(folder: Path, steps: Steps, name: str = "shop") -> Path:
    """Publishes a model, and fetches it as the next run would."""
    from components.fetch_published.job import fetch_published
    from components.publish.job import publish

    evaluation = folder / "evaluation"
    evaluation.mkdir(parents=True)
    made_evaluation().write(evaluation)
    nothing = folder / "nothing"
    fetch_published(location=str(folder / "models"), number=0, published=str(nothing))
    publish(
        location=str(folder / "models"),
        name=name,
        tables=str(steps.tables),
        encoded=str(steps.encoded),
        model=str(steps.model),
        export=str(steps.export),
        evaluation=str(evaluation),
        published=str(nothing),
        run="by-hand",
        images={},
        warm_start=False,
        publication=str(folder / "publication.json"),
    )
    published = folder / "published"
    fetch_published(location=str(folder / "models"), number=1, published=str(published))
    return published


def encode_for_published(
    in_tensorflow: RunStep, tables: Path, published: Path, published_test: Path
) -> Path:
    """Encodes the test split for a published model."""
    in_tensorflow(
        "components.encode_for_published.job:encode_for_published",
        tables=str(tables),
        published=str(published),
        config={},
        published_test=str(published_test),
    )
    return published_test


def version_of(published: Path) -> str:
    """The version that was fetched."""
    version: str = read_json(published / "published.json")["entry"]["version"]
    return version


def _log(items: list[int], rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    user = rng.integers(0, USERS, rows)
    # Most interactions are with items of the user's taste.
    of_taste = [[item for item in items if item % 3 == taste] for taste in range(3)]
    item = np.where(
        rng.random(rows) < 0.8,
        [rng.choice(of_taste[u % 3]) for u in user],
        rng.choice(items, rows),
    )
    older = rng.integers(0, 2, rows)
    return pa.table(
        {
            "user": [f"u{u:02d}" for u in user],
            # A user's age sometimes changes between rows, and the plan with it.
            "plan": [f"plan {p}" for p in (user + older) % 3],
            "city": [f"city {u % 7}" for u in user],
            "age": (20 + user + older).astype(np.float32),
            "item": pa.array(item, pa.int64()),
            "at": pa.array(1_000_000 * seed + np.arange(rows), pa.int64()),
        }
    )


def _source(folder: Path, log: pa.Table, items: list[int], *, shuffled: int) -> dict[str, Any]:
    order = np.random.default_rng(shuffled).permutation(items)
    catalogue = pa.table(
        {
            "item": pa.array(order, pa.int64()),
            "name": [f"thing number {i}" for i in order],
            "shelf": pa.array(order % 3, pa.int64()),
        }
    )
    folder.mkdir(parents=True)
    pq.write_table(log, folder / "log.parquet")
    pq.write_table(catalogue, folder / "catalogue.parquet")
    return {
        "kind": "files",
        "interactions": str(folder / "log.parquet"),
        "candidates": str(folder / "catalogue.parquet"),
        "columns": {
            "query_id": "user", "candidate_id": "item", "title": "name", "timestamp": "at",
            "timestamp_unit": "s",
        },
    }  # fmt: skip


def _through_the_steps(
    folder: Path,
    source: dict[str, Any],
    features: dict[str, Any],
    in_tensorflow: RunStep,
    *,
    seed: int,
    shards: int,
) -> Steps:
    from components.ingest.job import ingest
    from components.train.job import train

    steps = Steps(*(folder / name for name in ("tables", "encoded", "model", "export")))
    tables, encoded, model = str(steps.tables), str(steps.encoded), str(steps.model)
    ingest(
        source=source,
        config={"shards": shards, "duplicates": "keep"},
        seed=seed,
        tables=tables,
        rejects=str(folder / "rejects"),
    )
    in_tensorflow(
        "components.adapt.job:adapt",
        tables=tables,
        features=features,
        config={},
        encoded=encoded,
    )
    train(encoded=encoded, config=_TRAIN, layer_sizes=[8], seed=seed, model=model)
    in_tensorflow(
        "components.export.job:export",
        tables=tables,
        encoded=encoded,
        model=model,
        export=str(steps.export),
    )
    return steps


@dataclass(frozen=True)
class Shops:
    """The shop then, what was published then, and the shop today.

    Args:
        old: The shop then.
        published: What was published then.
        today: The shop today.
        published_test: The test split of today as the published model takes it.
    """

    old: Steps
    published: Path
    today: Steps
    published_test: Path


def two_shops(folder: Path, in_tensorflow: RunStep) -> Shops:
    """Runs the steps at both times."""
    old_log = _log(OLD_ITEMS, 1200, seed=1)
    new_log = _log(TODAYS_ITEMS, 1200, seed=2)
    still_there = pa.compute.is_in(old_log["item"], pa.array(TODAYS_ITEMS, pa.int64()))
    log = pa.concat_tables([new_log, old_log.filter(still_there)])
    old = _through_the_steps(
        folder / "old",
        _source(folder / "old" / "source", old_log, OLD_ITEMS, shuffled=3),
        OLD_FEATURES,
        in_tensorflow,
        seed=3,
        shards=1,
    )
    published = publish_and_fetch(folder / "location", old)
    today = _through_the_steps(
        folder / "today",
        _source(folder / "today" / "source", log, TODAYS_ITEMS, shuffled=4),
        TODAYS_FEATURES,
        in_tensorflow,
        seed=3,
        shards=2,
    )
    published_test = encode_for_published(
        in_tensorflow, today.tables, published, folder / "today" / "published_test"
    )
    return Shops(old, published, today, published_test)


def served_scores(export: str, tables: str) -> tuple[list[list[int]], list[list[float]]]:
    """Ask an export's SavedModel about every raw test row; needs TensorFlow.

    Returns:
        For each row, all items' ids, best first, and their scores.
    """
    import tensorflow as tf

    inputs = read_json(Path(export) / "export.json")["query_inputs"]
    rows = read_table(Path(tables) / "interactions" / "test")
    model = tf.saved_model.load(str(Path(export) / "saved_model"))
    values = {item["name"]: tf.constant(rows[item["name"]].to_pylist()) for item in inputs}
    k = read_json(Path(export) / "export.json")["candidates"]
    answer = model.signatures["serving_default"](**values, k=tf.constant(k))
    ids, scores = answer["ids"].numpy().tolist(), answer["scores"].numpy().tolist()
    return ids, scores
