"""Whole runs on the real MovieLens 100K: the keras.io example's result, and a better one."""

from pathlib import Path

import pytest
from served import assert_same_ranking, plain_server

from components.shared.contracts.metric import PROTOCOLS, TOP_100_ACCURACY, Metric
from components.shared.contracts.tables import QUERY_ID, read_table
from pipeline.config.loading import load_config
from pipeline.local.results import RunResult
from pipeline.local.runner import run_locally

pytestmark = [pytest.mark.movielens, pytest.mark.slow]


@pytest.fixture(scope="module")
def example(movielens_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    config = load_config("movielens-100k-example", [f"source.path={movielens_archive}"])
    return run_locally(config, str(tmp_path_factory.mktemp("example")))


@pytest.fixture(scope="module")
def shipped(movielens_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    fewer = ["layer_stacks=[[], [32]]", "train.epochs=60"]
    config = load_config("movielens-100k", [f"source.path={movielens_archive}", *fewer])
    return run_locally(config, str(tmp_path_factory.mktemp("shipped")))


def test_the_example_reaches_its_own_accuracy_at_every_depth(example: RunResult) -> None:
    depths = example.evaluation.depths
    assert {depth.layer_sizes for depth in depths} == {"32", "64-32", "128-64-32"}
    for depth in depths:
        assert 0.30 <= depth.test.raw[TOP_100_ACCURACY] <= 0.34, depth.layer_sizes


def test_the_example_loses_to_most_popular_and_the_verdict_says_so(example: RunResult) -> None:
    metrics = example.evaluation.metrics.raw
    assert metrics["model"][TOP_100_ACCURACY] < metrics["most_popular"][TOP_100_ACCURACY]
    assert not example.evaluation.headline.good_enough


def test_the_shipped_config_beats_most_popular_raw_and_filtered(shipped: RunResult) -> None:
    at_100 = [Metric(measure, 100) for measure in ("hit_rate", "recall", "ndcg")]
    for protocol in PROTOCOLS:
        metrics = shipped.evaluation.metrics.by(protocol)
        for metric in (*at_100, TOP_100_ACCURACY):
            assert metrics["model"][metric] > metrics["most_popular"][metric], (protocol, metric)
    assert shipped.evaluation.headline.good_enough


def test_both_are_measured_on_the_same_rows(example: RunResult, shipped: RunResult) -> None:
    assert example.evaluation.data == shipped.evaluation.data
    popular = [run.evaluation.metrics.filtered["most_popular"] for run in (example, shipped)]
    assert popular[0] == popular[1]


def test_plain_tensorflow_serves_what_was_measured(shipped: RunResult, tmp_path: Path) -> None:
    """Every user of the test split, raw and with what they had seen before it left out."""
    lists = read_table(shipped.folder / "evaluation" / "recommendations")
    users = {
        row[QUERY_ID]: row for row in read_table(shipped.folder / "export" / "users").to_pylist()
    }
    asked = [users[user] for user in lists[QUERY_ID].to_pylist()]
    assert len(asked) > 900
    inputs = {
        "user_id": ["string", [row[QUERY_ID] for row in asked]],
        "raw_user_age": ["float32", [row["raw_user_age"] for row in asked]],
        "user_gender": ["int64", [row["user_gender"] for row in asked]],
        "user_occupation_label": ["int64", [row["user_occupation_label"] for row in asked]],
    }
    [encoded] = shipped.folder.parents[1].glob("work/*/adapt/encoded")
    ids = read_table(encoded / "candidates")["candidate_id"].to_pylist()
    known: dict[str, list[str]] = {user: [] for user in users}
    for split in ("train", "validation"):
        rows = read_table(encoded / "interactions" / split, [QUERY_ID, "candidate_index"])
        for user, item in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            known[user].append(ids[item])
    width = max(len(items) for items in known.values())
    left_out = [
        item
        for row in asked
        for item in known[row[QUERY_ID]] + [""] * (width - len(known[row[QUERY_ID]]))
    ]
    exclude = ["string", left_out, [len(asked), width]]
    with plain_server(tmp_path) as server:
        for protocol, more in (("raw", {}), ("filtered", {"exclude": exclude})):
            answer = server.ask(shipped.folder / "export", inputs, 100, **more)
            assert answer["foreign"] == []
            for row in range(len(asked)):
                measured = lists[f"{protocol}_scores"][row].as_py()
                assert_same_ranking(
                    answer["ids"][row],
                    answer["scores"][row],
                    lists[protocol][row].as_py(),
                    measured,
                    dict(zip(lists[protocol][row].as_py(), measured, strict=True)),
                )
