"""Measuring models and baselines outside of runs."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EVALUATE

from components.evaluate import experiment
from components.evaluate.experiment import measure_baselines, measure_model
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import (
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    read_table,
    write_table,
)
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.top_k import retrieve
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json

HEADLINE = "hit_rate_at_20_filtered"

COLD_USERS = 12


@pytest.fixture(scope="module")
def with_cold_users(sample_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, but some users of the test split have no earlier interactions."""
    folder = tmp_path_factory.mktemp("cold") / "encoded"
    shutil.copytree(sample_encoded, folder)
    test = read_table(folder / "interactions" / "test")
    above = to_numpy(test[LABEL]) > FeatureSpec.read(folder).relevant_above
    relevant = np.array(test[QUERY_ID].to_pylist())[above]
    users, counts = np.unique(relevant, return_counts=True)
    cold = set(users[np.argsort(-counts)][:COLD_USERS])
    for part in ("train", "validation"):
        rows = read_table(folder / "interactions" / part)
        kept = [user not in cold for user in rows[QUERY_ID].to_pylist()]
        shutil.rmtree(folder / "interactions" / part)
        (folder / "interactions" / part).mkdir()
        write_table(rows.filter(kept), folder / "interactions" / part)
    return folder


@pytest.fixture(scope="module")
def measured(with_cold_users: Path, sample_model: Path) -> dict[str, float]:
    return measure_model(
        str(with_cold_users), str(sample_model), {"ks": [5, 20], "headline": HEADLINE}
    )["metrics"]


def _slow_lists(encoded: Path, model: Path, protocol: str) -> tuple[list[Any], list[list[int]]]:
    """Return each test row's user and all items, best first, without known ones."""
    import keras

    spec = FeatureSpec.read(encoded)
    towers = [keras.models.load_model(model / f"{s}_tower.keras") for s in ("query", "candidate")]
    test, items = read_table(encoded / "interactions" / "test"), read_table(encoded / "candidates")
    queries = embed(towers[0], {f.name: to_numpy(test[f.name]) for f in spec.query})
    vectors = embed(towers[1], {f.name: to_numpy(items[f.name]) for f in spec.candidate})
    order, _ = retrieve(queries, vectors, len(vectors))
    known: dict[Any, set[int]] = {}
    for part in ("train", "validation"):
        rows = read_table(encoded / "interactions" / part)
        for user, item in zip(
            *(rows[n].to_pylist() for n in (QUERY_ID, CANDIDATE_INDEX)), strict=True
        ):
            known.setdefault(user, set()).add(item)
    users = test[QUERY_ID].to_pylist()
    lists = [
        [item for item in best.tolist() if protocol == "raw" or item not in known.get(user, set())]
        for user, best in zip(users, order, strict=True)
    ]
    return users, lists


@pytest.mark.parametrize("protocol", ["raw", "filtered"])
def test_metrics_of_users_without_earlier_interactions_equal_brute_force(
    with_cold_users: Path, sample_model: Path, measured: dict[str, float], protocol: str
) -> None:
    users, lists = _slow_lists(with_cold_users, sample_model, protocol)
    test = read_table(with_cold_users / "interactions" / "test")
    past = {
        user
        for part in ("train", "validation")
        for user in read_table(with_cold_users / "interactions" / part)[QUERY_ID].to_pylist()
    }
    above = FeatureSpec.read(with_cold_users).relevant_above
    rows = [
        (user, item, best)
        for user, item, label, best in zip(
            users, test[CANDIDATE_INDEX].to_pylist(), test[LABEL].to_pylist(), lists, strict=True
        )
        if label > above and user not in past
    ]
    assert len(rows) >= experiment.LEAST_TARGETS
    for k in (5, 20):
        by_user: dict[Any, list[int]] = {}
        for user, item, best in rows:
            by_user.setdefault(user, []).append(best.index(item))
        hits = [rank < k for ranks in by_user.values() for rank in ranks]
        assert measured[f"cold_hit_rate_at_{k}_{protocol}"] == pytest.approx(np.mean(hits))
        recall, ndcg, mrr = [], [], []
        for ranks in by_user.values():
            found = sorted(rank for rank in ranks if rank < k)
            recall.append(len(found) / len(ranks))
            best_sum = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(ranks))))
            ndcg.append(sum(1 / math.log2(rank + 2) for rank in found) / best_sum)
            mrr.append(1 / (found[0] + 1) if found else 0.0)
        for name, values in (("recall", recall), ("ndcg", ndcg), ("mrr", mrr)):
            assert measured[f"cold_{name}_at_{k}_{protocol}"] == pytest.approx(np.mean(values))
    assert measured[f"cold_hit_rate_at_20_{protocol}"] != measured[f"hit_rate_at_20_{protocol}"]


def test_users_without_earlier_interactions_are_measured_only_if_they_are_enough(
    sample_encoded: Path, sample_model: Path, with_cold_users: Path
) -> None:
    config = {"ks": [5], "headline": "mrr_at_5_raw", "baselines": ["most_popular"]}
    few = measure_model(str(sample_encoded), str(sample_model), config)["metrics"]
    baselines = [
        measure_baselines(str(encoded), config)["metrics"]["most_popular"]
        for encoded in (sample_encoded, with_cold_users)
    ]

    assert [[n for n in found if n.startswith("cold_")] for found in (few, baselines[0])] == [
        [],
        [],
    ]
    # Nothing is left out for them, so both protocols rank the same.
    assert baselines[1]["cold_mrr_at_5_raw"] == baselines[1]["cold_mrr_at_5_filtered"]


def test_models_and_baselines_have_the_same_metrics_as_in_evaluate(
    sample_encoded: Path, sample_model: Path, sample_export: Path, tmp_path: Path
) -> None:
    from components.evaluate.job import evaluate

    model = measure_model(str(sample_encoded), str(sample_model), EVALUATE)
    baselines = measure_baselines(str(sample_encoded), EVALUATE)
    evaluate(
        export=str(sample_export), encoded=str(sample_encoded), models=[str(sample_model)],
        config=EVALUATE, evaluation=str(tmp_path / "evaluation"),
        metrics=str(tmp_path / "metrics.json"), report=str(tmp_path / "report.html"),
    )  # fmt: skip

    results = read_json(tmp_path / "evaluation" / "evaluation.json")
    assert baselines["data"] == results["data"]
    assert baselines["settings"] == results["baselines"]["settings"]
    assert baselines["left_out"] == results["baselines"]["left_out"]
    assert model["queries"] == results["data"]["queries"]
    by_who = {"model": model["metrics"], **baselines["metrics"]}
    names = {f"{n}_{p}" for p, by in results["metrics"].items() for n in by["model"]}
    assert set(by_who) >= {"model", "most_popular", "most_liked", "ease", "ials"}
    for who, metrics in by_who.items():
        assert set(metrics) == names
        for protocol, measured in results["metrics"].items():
            for name, value in measured[who].items():
                assert metrics[f"{name}_{protocol}"] == pytest.approx(value, abs=1e-6)


def test_a_cutoff_beyond_the_catalogue_is_refused_as_in_evaluate(
    sample_encoded: Path, sample_model: Path
) -> None:
    settings = {"ks": [20, 100_000], "headline": HEADLINE}

    with pytest.raises(InputError, match=r"evaluate\.ks: 100000 is larger than the catalogue"):
        measure_model(str(sample_encoded), str(sample_model), settings)
    with pytest.raises(InputError, match=r"evaluate\.ks: 100000 is larger than the catalogue"):
        measure_baselines(str(sample_encoded), settings)
