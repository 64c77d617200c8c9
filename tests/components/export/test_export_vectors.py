"""Vectors from files to what is served: items without a training row are found by them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_adapt import run_adapt
from served import Reference, plain_server

from components.ingest.job import ingest
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import QUERY_ID, read_table
from components.shared.retrieval.embedding import embed
from components.shared.runtime.arrow import to_numpy
from components.train.job import train

RunStep = Callable[..., Any]
USERS, ITEMS, COLD, KINDS, WIDTH = 60, 60, 20, 4, 6
FEATURES: dict[str, Any] = {
    "query": {"user_id": {"type": "id"}, "mood": {"type": "vector", "unit_length": True}},
    "candidate": {"item_id": {"type": "id"}, "look": {"type": "vector"}},
}
NEEDS = {
    "query": {"mood": {"dtypes": ["list<float32>"]}},
    "candidate": {"look": {"dtypes": ["list<float32>"]}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Path:
    """A shop through ingest, adapt, train and export.

    Users like one kind of item. The last items come when the test split has begun, and
    only their vectors tell their kind.
    """
    folder = tmp_path_factory.mktemp("vectors")
    ingest(
        source=write_shop(folder), config={"split": "temporal", "duplicates": "keep"}, seed=1,
        needs=NEEDS, tables=str(folder / "tables"), rejects=str(folder / "rejects"),
    )  # fmt: skip
    run_adapt(in_tensorflow, folder / "tables", FEATURES, folder / "encoded")
    settings = {
        "loss": "softmax", "negatives": "catalogue", "epochs": 30, "batch_size": 128,
        "embedding_dimension": 16, "learning_rate": 0.02, "id_dropout": 0.2, "optimizer": "adam",
        "monitor": "hit_rate_at_10_raw", "validation_frequency": 30,
    }  # fmt: skip
    train(
        encoded=str(folder / "encoded"), config=settings, layer_sizes=[], seed=1,
        model=str(folder / "model"),
    )  # fmt: skip
    in_tensorflow(
        "components.export.job:export",
        **{name: str(folder / name) for name in ("tables", "encoded", "model", "export")},
    )
    return folder


def write_shop(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    kind = np.arange(ITEMS) % KINDS
    looks = np.eye(KINDS, WIDTH)[kind] + rng.normal(0, 0.1, (ITEMS, WIDTH))
    rows = []
    for step in range(30 * USERS):
        user = step % USERS
        is_late = step >= 24 * USERS
        known = np.arange(ITEMS - COLD, ITEMS) if is_late else np.arange(ITEMS - COLD)
        liked = known[kind[known] == user % KINDS]
        rows.append((user, int(rng.choice(liked if rng.random() < 0.9 else known)), step))
    user_id, item, time = zip(*rows, strict=True)
    moods = [None if step % 7 == 0 else [3.0, 4.0 * (step % 2)] for step in range(len(rows))]
    log = {
        "user_id": [f"u{user}" for user in user_id], "item_id": pa.array(item, pa.int64()),
        "time": pa.array(time, pa.int64()), "mood": moods,
    }  # fmt: skip
    pq.write_table(pa.table(log), folder / "log.parquet")
    items = {"item_id": pa.array(range(ITEMS), pa.int64()), "look": looks.tolist()}
    pq.write_table(pa.table(items), folder / "items.parquet")
    return {
        "kind": "files",
        "interactions": str(folder / "log.parquet"),
        "candidates": str(folder / "items.parquet"),
        "columns": {
            "query_id": "user_id", "candidate_id": "item_id", "timestamp": "time",
            "timestamp_unit": "s",
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference.read(folder / "tables", folder / "encoded", folder / "export")


def test_the_encoded_tables_have_vectors_as_they_are_or_of_unit_length(folder: Path) -> None:
    spec = FeatureSpec.read(folder / "encoded")
    of_query = {feature.name: feature for feature in spec.query}
    of_candidate = {feature.name: feature for feature in spec.candidate}
    assert (of_query["mood"].dtype, of_query["mood"].width) == ("float32", 2)
    assert (of_candidate["look"].width, of_candidate["look"].cardinality) == (WIDTH, None)
    moods = to_numpy(read_table(folder / "encoded" / "interactions" / "train")["mood"])
    found = {tuple(round(value, 4) for value in mood.tolist()) for mood in moods}
    assert found == {(0, 0), (1, 0), (0.6, 0.8)}
    raw = read_table(folder / "tables" / "candidates")["look"].to_pylist()
    looks = to_numpy(read_table(folder / "encoded" / "candidates")["look"])
    np.testing.assert_allclose(looks, np.array(raw, np.float32), atol=1e-6)


def test_items_without_a_training_row_are_ranked_by_their_vectors(
    folder: Path, reference: Reference
) -> None:
    train_rows = read_table(folder / "encoded" / "interactions" / "train")
    cold = np.setdiff1d(np.arange(ITEMS), train_rows["candidate_index"].to_numpy())
    assert len(cold) == COLD
    queries = embed(reference.tower, reference.queries.features)
    scores = queries @ reference.vectors[cold].T
    users = [str(user) for user in reference.queries.ids.to_pylist()]
    liked = np.array([int(user[1:]) % KINDS for user in users])
    best = cold[np.argsort(-scores, axis=1)[:, :5]]
    # Five of the twenty are of each kind, so chance is a quarter.
    assert np.mean(best % KINDS == liked[:, None]) > 0.5


def test_plain_tensorflow_takes_raw_vectors(
    folder: Path, reference: Reference, tmp_path: Path
) -> None:
    assert [len(row) for row in reference.raw["mood"][1]][:3] == [2, 2, 2]
    with plain_server(tmp_path) as server:
        answer = server.ask(folder / "export", reference.raw, 9)
    assert answer["foreign"] == []
    reference.assert_same(answer, 9)


def test_recommend_takes_the_vector_of_the_log_or_a_given_one(
    folder: Path, in_tensorflow: RunStep
) -> None:
    users = read_table(folder / "export" / "users")
    assert users.schema.field("mood").type == pa.list_(pa.float32())

    def recommended(user: str, **features: str) -> list[Any]:
        return [
            (item.id, item.score)
            for item in in_tensorflow(
                "components.export.recommender:recommend",
                export=str(folder / "export"), user=user, k=3, features=features,
            )
        ]  # fmt: skip

    row = next(row for row in users.to_pylist() if row["mood"])
    user, mood = row[QUERY_ID], "|".join(map(str, row["mood"]))
    assert recommended(user) == recommended(user, mood=mood)
    assert recommended(user) != recommended(user, mood="-5|1")
    assert len(recommended("nobody")) == 3
    for wrong in ("1", "1|x", "1|2|3"):
        with pytest.raises(Exception, match=r"mood is 2 numbers, joined by \|"):
            recommended(user, mood=wrong)
