"""A user as a sequence: a transformer's answers in plain TensorFlow are what evaluate measures."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from profile_source import TRAIN, WIDTH
from run_adapt import run_adapt
from served import PlainServer, Reference, plain_server
from walk_source import LENGTH, walk_tables

from components.shared.contracts.tables import read_table

RunStep = Callable[..., Any]

FEATURES: dict[str, Any] = {
    "query": {
        "history": {"type": "history"},
        "profile": {"type": "profile", "max_values": WIDTH},
    },
    "candidate": {"item_id": {"type": "id"}},
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Reference:
    from components.train.job import train

    tables, folder = walk_tables(tmp_path_factory), tmp_path_factory.mktemp("sequences")
    run_adapt(in_tensorflow, tables, FEATURES, folder / "encoded")
    config = {
        **TRAIN,
        "loss": "softmax",
        "negatives": "catalogue",
        "history_encoder": "transformer",
        "history_blocks": 2,
        "history_heads": 2,
        "dropout": 0.1,
    }
    paths = {name: str(folder / name) for name in ("encoded", "model")}
    train(**paths, config=config, layer_sizes=[], seed=3)
    in_tensorflow(
        "components.export.job:export", tables=str(tables), **paths, export=str(folder / "export")
    )
    return Reference.read(tables, folder / "encoded", folder / "export")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    with plain_server(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def raw(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The test split's raw queries, with the items before it as profiles."""
    tables = walk_tables(tmp_path_factory)
    seen = defaultdict(list)
    for split in ("train", "validation"):
        for row in read_table(tables / "interactions" / split).to_pylist():
            item = str(reference.ids[row["candidate_index"]])
            seen[row["user_id"]].append((row["timestamp"], item))
    profiles = []
    for user in reference.queries.ids.to_pylist():
        items = list(dict.fromkeys(item for _, item in sorted(seen[user], reverse=True)))
        profiles.append([*items, *[""] * WIDTH][:WIDTH])
    return {**reference.raw, "profile": ["string", profiles]}


def test_the_saved_model_ranks_raw_sequences_as_evaluate_measures_them(
    server: PlainServer, reference: Reference, raw: dict[str, Any]
) -> None:
    assert {len(history) for history in raw["history"][1]} == {LENGTH}

    answer = server.ask(reference.export, raw, 9)

    assert len(reference.queries) > 400
    reference.assert_same(answer, 9)


def test_the_order_of_a_sequence_counts(
    server: PlainServer, reference: Reference, raw: dict[str, Any]
) -> None:
    items = list(map(str, reference.ids[:LENGTH]))
    profile = ["string", raw["profile"][1][:1]]

    forward, backward, short = (
        server.ask(reference.export, {"history": ["string", [h]], "profile": profile}, 9)["scores"]
        for h in (items, items[::-1], [*items[:-1], ""])
    )

    assert not np.allclose(forward, backward, atol=1e-3)
    assert not np.allclose(forward, short, atol=1e-3)
    assert np.isfinite(forward).all()
