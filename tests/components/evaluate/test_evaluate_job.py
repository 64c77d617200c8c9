import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
from conftest import EVALUATE
from made_training import made_training
from pydantic import ValidationError

from components.evaluate import job
from components.evaluate.job import evaluate
from components.shared.contracts.drift import Drift
from components.shared.contracts.evaluation import BaselineNotes, DataCounts, Evaluation
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec, RawInput
from components.shared.contracts.metric import PROTOCOLS, TOP_100_ACCURACY, Metric, Protocol
from components.shared.contracts.rankers import Ranker
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    EMBEDDING,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
    read_table,
    write_table,
)
from components.shared.contracts.training import Epoch, History
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.towers import CandidateModel, QueryModel
from components.shared.runtime.arrow import from_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json

Lists = dict[Any, list[Any]]
# A made world: 30 users with a history, 3 without; 120 items, the last never seen before the test.
USERS, COLD, ITEMS = 30, 3, 120
MADE_KS = [10, 100]
MADE = {"ks": MADE_KS, "headline": "hit_rate_at_10_raw", "example_users": 2}


class Run:
    """The inputs and outputs of an evaluate run."""

    def __init__(self, export: Path, encoded: Path, models: list[Path], out: Path):
        self.export, self.encoded, self.models, self.out = export, encoded, models, out
        self.summary: dict[str, Any] = {}

    def __call__(self, config: dict[str, Any]) -> "Run":
        self.summary = evaluate(
            export=str(self.export),
            encoded=str(self.encoded),
            models=[str(model) for model in self.models],
            config=config,
            evaluation=str(self.out / "evaluation"),
            metrics=str(self.out / "metrics.json"),
            report=str(self.out / "report.html"),
        )
        return self

    @property
    def results(self) -> Evaluation:
        return Evaluation.read(self.out / "evaluation")

    def metrics(self, protocol: Protocol, ranker: Ranker) -> dict[str, float]:
        """Each metric of a ranker by its name."""
        return {str(m): value for m, value in self.results.metrics.by(protocol)[ranker].items()}

    @property
    def recommendations(self) -> pa.Table:
        return read_table(self.out / "evaluation" / "recommendations")

    def lists(self, protocol: str) -> Lists:
        table = self.recommendations
        ids, items = table[QUERY_ID].to_pylist(), table[protocol].to_pylist()
        return dict(zip(ids, items, strict=True))

    def rows(self, *splits: str) -> list[tuple[Any, Any, float]]:
        """User, item and label of every interaction."""
        ids = read_table(self.encoded / "candidates")[CANDIDATE_ID].to_pylist()
        return [
            (row[QUERY_ID], ids[row[CANDIDATE_INDEX]], row[LABEL])
            for split in splits
            for row in read_table(self.encoded / "interactions" / split).to_pylist()
        ]

    def relevant(self, above: float | None) -> list[tuple[Any, Any]]:
        """The relevant pairs of the test split."""
        return [
            (user, item)
            for user, item, label in self.rows("test")
            if above is None or label > np.float32(above)
        ]

    def popular(self, protocol: str, k: int) -> Lists:
        """The items with the most interactions before the test split, the lower index first."""
        ids = read_table(self.encoded / "candidates")[CANDIDATE_ID].to_pylist()
        known = self.rows("train", "validation")
        counts = dict.fromkeys(ids, 0)
        for _, item, _ in known:
            counts[item] += 1
        order = sorted(ids, key=lambda item: (-counts[item], ids.index(item)))
        seen = {(user, item) for user, item, _ in known} if protocol == "filtered" else set()
        users = dict.fromkeys(user for user, _, _ in self.rows("test"))
        return {u: [item for item in order if (u, item) not in seen][:k] for u in users}


def _hit_rate(lists: Lists, relevant: list[tuple[Any, Any]], k: int) -> float:
    return sum(item in lists[user][:k] for user, item in relevant) / len(relevant)


def _slow_metrics(lists: Lists, relevant: list[tuple[Any, Any]], k: int) -> dict[str, float]:
    by_user: dict[Any, set[Any]] = {}
    for user, item in relevant:
        by_user.setdefault(user, set()).add(item)
    recall, ndcg, mrr = [], [], []
    for user, items in by_user.items():
        places = [place for place, item in enumerate(lists[user][:k]) if item in items]
        best = sum(1 / math.log2(place + 2) for place in range(min(k, len(items))))
        recall.append(len(places) / len(items))
        ndcg.append(sum(1 / math.log2(place + 2) for place in places) / best)
        mrr.append(1 / (places[0] + 1) if places else 0.0)
    return {
        f"hit_rate_at_{k}": _hit_rate(lists, relevant, k),
        f"recall_at_{k}": float(np.mean(recall)),
        f"ndcg_at_{k}": float(np.mean(ndcg)),
        f"mrr_at_{k}": float(np.mean(mrr)),
    }


def _coverage(lists: Lists, k: int, items: int) -> float:
    return len({item for shown in lists.values() for item in shown[:k]}) / items


@pytest.fixture(scope="session")
def of_sample(
    sample_export: Path, sample_encoded: Path, sample_model: Path
) -> Callable[[Path], Run]:
    return lambda out: Run(sample_export, sample_encoded, [sample_model], out)


@pytest.fixture(scope="session")
def sample_run(of_sample: Callable[[Path], Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Evaluate on the sample."""
    return of_sample(tmp_path_factory.mktemp("evaluate"))(EVALUATE)


@pytest.fixture(scope="session")
def sample_results(sample_run: Run) -> Evaluation:
    return sample_run.results


def _made_interactions(folder: Path) -> None:
    rng = np.random.default_rng(21)
    users = np.arange(1, USERS + 1)
    share = 1 / np.arange(3, ITEMS + 2)
    parts: dict[str, list[tuple[int, int]]] = {"train": [], "validation": [], "test": []}
    for user in users:
        items = rng.choice(ITEMS - 1, 16, replace=False, p=share / share.sum())
        parts["train"] += [(user, item) for item in items[:11]]
        parts["validation"] += [(user, items[11])]
        parts["test"] += [(user, item) for item in [*items[12:], ITEMS - 1]]
    for user in range(USERS + 1, USERS + COLD + 1):
        parts["test"] += [(user, item) for item in rng.choice(ITEMS - 1, 10, replace=False)]
    for split, pairs in parts.items():
        user, item = np.array(pairs).T
        label = np.where(np.arange(len(pairs)) % 3, 1.0, 0.5)
        write_table(
            pa.table(
                {
                    QUERY_ID: user * 1000,
                    CANDIDATE_INDEX: item.astype(np.int32),
                    "user": np.where(user > USERS, 0, user).astype(np.int32),
                    "group": (user % 3).astype(np.int32),
                    LABEL: label.astype(np.float32),
                    TIMESTAMP: np.arange(len(pairs)),
                }
            ),
            folder / "interactions" / split,
        )


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoded tables, two untrained models and the export of the first."""
    root = tmp_path_factory.mktemp("made")
    encoded = root / "encoded"
    _made_interactions(encoded)
    candidates = pa.table(
        {
            CANDIDATE_ID: [f"i{number:03d}" for number in range(ITEMS)],
            TITLE: [f"Item {number}" for number in range(ITEMS)],
            "item": np.arange(1, ITEMS + 1, dtype=np.int32),
        }
    )
    write_table(candidates, encoded / "candidates")
    (encoded / "vocabularies").mkdir()
    tokens = pa.table({"token": [5, 6], "count": [110, 100]})
    pa.parquet.write_table(tokens, encoded / "vocabularies" / "group.parquet")

    def feature(name: str, kind: str, cardinality: int) -> EncodedFeature:
        return EncodedFeature(
            name=name, type=kind, dtype="int32", cardinality=cardinality, raw_columns=[name]
        )

    spec = FeatureSpec(
        query=[feature("group", "integer_categorical", 3), feature("user", "id", USERS + 1)],
        candidate=[feature("item", "id", ITEMS + 1)],
        query_inputs=[
            RawInput(name="group", dtype="int64", labels={"5": "five"}),
            RawInput(name="user", dtype="int64"),
        ],
        candidate_inputs=[RawInput(name="item", dtype="string")],
        query_id_feature="user",
        query_id_dtype="int64",
        candidate_id_dtype="string",
        label_scale=1,
        label_offset=0,
        relevant_above=None,
        label_range=(0.5, 1.0),
        warnings=["Something looks wrong."],
    )
    spec.write(encoded)
    for seed, layer_sizes in ((1, [4]), (2, [8, 4])):
        keras.utils.set_random_seed(seed)
        name = "-".join(map(str, layer_sizes))
        model = root / f"model-{name}"
        model.mkdir()
        QueryModel(spec.query, layer_sizes).save(model / "query_tower.keras")
        CandidateModel(spec.candidate, layer_sizes).save(model / "candidate_tower.keras")
        made_training(layer_sizes=name, validation=seed / 10).write(model)
        history = {"epoch": 1, "loss": 2.0, "seconds": 0.5, "val_mrr_at_5_raw": seed / 10}
        History(epochs=[Epoch(**history)]).write(model)
    exported = root / "model-4"
    tower = keras.models.load_model(exported / "candidate_tower.keras")
    _write_export(
        root / "export", candidates, exported, embed(tower, {"item": candidates["item"].to_numpy()})
    )
    return root


def _write_export(folder: Path, candidates: pa.Table, model: Path, embeddings: np.ndarray) -> None:
    columns = {name: candidates[name] for name in (CANDIDATE_ID, TITLE)}
    write_table(pa.table({**columns, EMBEDDING: from_numpy(embeddings)}), folder / "candidates")
    shutil.copy(model / "query_tower.keras", folder)
    training = read_json(model / "training.json")
    ExportInfo(
        candidates=len(embeddings),
        dimension=embeddings.shape[1],
        query_inputs=[],
        query_id=None,
        **{name: training[name] for name in ("layer_sizes", "monitor", "validation")},
    ).write(folder)


def _of_made(made: Path, out: Path, export: str = "export") -> Run:
    return Run(made / export, made / "encoded", [made / "model-4", made / "model-8-4"], out)


@pytest.fixture(scope="session")
def made_run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Evaluate on the synthetic world."""
    return _of_made(made, tmp_path_factory.mktemp("evaluate-made"))(MADE)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("k", EVALUATE["ks"])
def test_the_metrics_match_the_recommendations(sample_run: Run, protocol: Protocol, k: int) -> None:
    lists, relevant = sample_run.lists(protocol), sample_run.relevant(0.9)
    measured = sample_run.metrics(protocol, "model")

    expected = {
        **_slow_metrics(lists, relevant, k),
        f"coverage_at_{k}": _coverage(lists, k, 80),
    }
    assert {name: measured[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("k", EVALUATE["ks"])
def test_most_popular_equals_counting(sample_run: Run, protocol: Protocol, k: int) -> None:
    popular, relevant = sample_run.popular(protocol, k), sample_run.relevant(0.9)
    measured = sample_run.metrics(protocol, "most_popular")

    expected = {
        **_slow_metrics(popular, relevant, k),
        f"coverage_at_{k}": _coverage(popular, k, 80),
    }
    assert {name: measured[name] for name in expected} == pytest.approx(expected)


def test_filtered_lists_have_no_item_that_the_user_has_seen(sample_run: Run) -> None:
    known = {(user, item) for user, item, _ in sample_run.rows("train", "validation")}

    shared = {
        protocol: sum(
            (user, item) in known
            for user, items in sample_run.lists(protocol).items()
            for item in items
        )
        for protocol in PROTOCOLS
    }

    assert shared["filtered"] == 0
    assert shared["raw"] > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_recommendations_are_the_best_inner_products_of_the_export(
    sample_run: Run, protocol: str
) -> None:
    spec = FeatureSpec.read(sample_run.encoded)
    test = read_table(sample_run.encoded / "interactions" / "test").to_pydict()
    tower = keras.models.load_model(sample_run.export / "query_tower.keras")
    features = {f.name: np.array(test[f.name]) for f in spec.query}
    queries = dict(zip(test[QUERY_ID], np.asarray(tower(features)), strict=True))
    catalogue = read_table(sample_run.export / "candidates")
    items = dict(
        zip(catalogue[CANDIDATE_ID].to_pylist(), catalogue[EMBEDDING].to_pylist(), strict=True)
    )
    known: dict[str, set[str]] = {user: set() for user in queries}
    for user, item, _ in sample_run.rows("train", "validation"):
        if protocol == "filtered" and user in known:
            known[user].add(item)

    table = sample_run.recommendations
    assert set(table[QUERY_ID].to_pylist()) == set(queries)
    for row in table.to_pylist():
        user = row[QUERY_ID]
        scores = {i: float(np.dot(queries[user], e)) for i, e in items.items()}
        best = sorted((s for i, s in scores.items() if i not in known[user]), reverse=True)[:20]
        assert row[f"{protocol}_scores"] == pytest.approx(best, abs=1e-4)
        shown = [scores[item] for item in row[protocol]]
        assert shown == pytest.approx(best, abs=1e-4)
        assert len(set(row[protocol])) == len(best) == min(20, 80 - len(known[user]))


def test_the_data_is_counted(sample_run: Run, sample_results: Evaluation) -> None:
    test = sample_run.rows("test")

    assert sample_results.data == DataCounts(
        train=len(sample_run.rows("train")),
        validation=len(sample_run.rows("validation")),
        test=len(test),
        queries=len({user for user, _, _ in test}),
        relevant=len(sample_run.relevant(0.9)),
        relevant_above=0.9,
        candidates=80,
    )


def test_evaluating_twice_gives_the_same(
    of_sample: Callable[[Path], Run], sample_run: Run, tmp_path: Path
) -> None:
    again = of_sample(tmp_path)(EVALUATE)

    for name in ("evaluation/evaluation.json", "metrics.json", "report.html"):
        assert (again.out / name).read_bytes() == (sample_run.out / name).read_bytes()
    assert again.recommendations.equals(sample_run.recommendations)
    assert again.summary == sample_run.summary


def test_the_outputs_agree(sample_run: Run, sample_results: Evaluation) -> None:
    flat = json.loads((sample_run.out / "metrics.json").read_text())
    report = (sample_run.out / "report.html").read_text()

    assert flat == sample_run.summary["metrics"]
    assert flat == {
        f"{ranker}_{name}_{protocol}": value
        for protocol in PROTOCOLS
        for ranker in sample_results.rankers
        for name, value in sample_run.metrics(protocol, ranker).items()
    }
    assert len(flat) == 2 * 6 * 2 * 8  # protocols, rankers, ks, measures
    assert report.lstrip().lower().startswith("<!doctype html>")
    headline = sample_results.headline
    assert flat["model_hit_rate_at_20_filtered"] == headline.model
    assert flat["most_popular_hit_rate_at_20_filtered"] == headline.most_popular
    assert sample_run.summary["good_enough"] == headline.good_enough


def test_the_outputs_are_these_files_and_nothing_else(sample_run: Run) -> None:
    files = sorted(
        path.relative_to(sample_run.out).as_posix()
        for path in sample_run.out.rglob("*")
        if path.is_file()
    )

    assert files == [
        "evaluation/evaluation.json",
        "evaluation/recommendations/part-00000-of-00001.parquet",
        "evaluation/step_records.json",
        "metrics.json",
        "report.html",
    ]


def test_the_trained_model_beats_most_popular(sample_results: Evaluation) -> None:
    headline = sample_results.headline

    assert str(headline.metric) == "hit_rate_at_20"
    assert headline.protocol == "filtered"
    assert headline.lead == headline.model - headline.most_popular > 0.1
    assert headline.good_enough is True


def test_a_slices_hit_rate_is_that_of_its_rows(
    sample_run: Run, sample_results: Evaluation, sample_tables: Path
) -> None:
    raw = read_table(sample_tables / "interactions" / "test").to_pydict()
    male = [gender == 1 for gender in raw["user_gender"]]
    rows = [row for row, is_male in zip(sample_run.rows("test"), male, strict=True) if is_male]
    relevant = [(user, item) for user, item, label in rows if label > np.float32(0.9)]

    (part,) = [
        part for part in sample_results.slices if (part.by, part.value) == ("user_gender", "male")
    ]

    assert part.relevant == len(relevant)
    assert part.model == pytest.approx(_hit_rate(sample_run.lists("filtered"), relevant, 20))
    popular = sample_run.popular("filtered", 20)
    assert part.most_popular == pytest.approx(_hit_rate(popular, relevant, 20))


def test_the_parts_of_a_slice_do_not_overlap(sample_results: Evaluation) -> None:
    relevant = sample_results.data.relevant
    by: dict[str, int] = {}
    for part in sample_results.slices:
        by[part.by] = by.get(part.by, 0) + part.relevant

    assert by["user_gender"] == by["raw_user_age"] == relevant
    assert set(by) >= {"user's earlier interactions", "item popularity"}
    assert all(count <= relevant for count in by.values())
    assert all(part.relevant >= 20 for part in sample_results.slices)


def test_examples_are_users_of_the_test_split_with_their_lists(
    sample_run: Run, sample_results: Evaluation
) -> None:
    encoded = read_table(sample_run.encoded / "candidates")
    titles = dict(zip(encoded[CANDIDATE_ID].to_pylist(), encoded[TITLE].to_pylist(), strict=True))
    relevant, lists = sample_run.relevant(0.9), sample_run.lists("filtered")
    known = sample_run.rows("train", "validation")

    examples = sample_results.examples

    assert len({example.user for example in examples}) == 4
    for example in examples:
        user = example.user
        history = [(item, label) for u, item, label in known if u == user]
        items = lists[user][:10]
        assert example.interactions == len(history)
        assert [shown.title for shown in example.recommended] == [titles[i] for i in items]
        assert [shown.relevant for shown in example.recommended] == [
            (user, item) in relevant for item in items
        ]
        assert example.relevant == sum(u == user for u, _ in relevant) > 0
        best = sorted((label for _, label in history), reverse=True)[:10]
        by_title = {titles[item]: label for item, label in history}
        assert [by_title[title] for title in example.liked] == best
        assert set(example.features) == {
            "raw_user_age", "user_gender", "user_occupation_label"
        }  # fmt: skip


def test_users_without_history_are_a_separate_slice(made_run: Run) -> None:
    cold = {user for user, _, _ in made_run.rows("test")} - {
        user for user, _, _ in made_run.rows("train", "validation")
    }
    relevant = [pair for pair in made_run.relevant(None) if pair[0] in cold]

    (part,) = [
        part
        for part in made_run.results.slices
        if (part.by, part.value) == ("user's earlier interactions", "cold (none)")
    ]

    assert len(cold) == COLD
    assert part.relevant == len(relevant) == 10 * COLD
    assert part.model == pytest.approx(_hit_rate(made_run.lists("raw"), relevant, 10))
    # They have no signal for these users, and recommend the most popular items.
    popular = _hit_rate(made_run.popular("raw", 10), relevant, 10)
    assert popular > 0
    assert part.most_popular == part.ease == part.ials == pytest.approx(popular)


def test_baselines_are_measured_beside_the_model(
    sample_run: Run, sample_results: Evaluation
) -> None:
    names = ["most_popular", "recent_popular", "most_liked", "ease", "ials"]

    for protocol in PROTOCOLS:
        assert list(sample_results.metrics.by(protocol)) == ["model", *names]
    assert list(sample_results.headline.intervals.leads) == names
    assert list(sample_results.baselines.settings) == ["recent_popular", "ease", "ials"]
    assert sample_results.baselines.left_out == {}
    for part in sample_results.slices:
        assert list(part.values) == ["model", *names]
        assert all(0 <= value <= 1 for value in part.values.values())
    filtered, metric = sample_results.metrics.filtered, Metric("hit_rate", 20)
    rankers: tuple[Ranker, ...] = ("ease", "ials")
    for name in rankers:
        assert filtered[name][metric] > filtered["most_popular"][metric]
        assert sample_run.summary["metrics"][f"{name}_ndcg_at_5_raw"] > 0


def test_results_log_and_report_say_which_baselines_are_left_out(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**MADE, "ease_max_candidates": ITEMS - 1}

    run = _of_made(made, tmp_path)(config)

    left_out = run.results.baselines.left_out
    assert list(left_out) == ["recent_popular", "most_liked", "ease"]
    assert f"{ITEMS} candidates, more than evaluate.ease_max_candidates (119)" in left_out["ease"]
    log, page = capsys.readouterr().out, (tmp_path / "report.html").read_text()
    for name, label in (("most_liked", "most-liked"), ("ease", "EASE")):
        assert f"[evaluate] {name} is left out: {left_out[name]}" in log
        assert f"{label} is left out: {left_out[name]}." in page
        assert name not in run.results.metrics.raw
        assert not [key for key in run.summary["metrics"] if key.startswith(name)]
    assert "ials" in run.results.metrics.raw


def test_only_the_requested_baselines_are_measured(made: Path, tmp_path: Path) -> None:
    run = _of_made(made, tmp_path)({**MADE, "baselines": ["most_popular"]})

    assert list(run.results.metrics.raw) == ["model", "most_popular"]
    assert run.results.baselines == BaselineNotes(settings={}, left_out={})
    assert "EASE" not in (tmp_path / "report.html").read_text().partition("How it was measured")[0]


def test_items_without_an_earlier_interaction_are_a_separate_slice(made_run: Run) -> None:
    parts = [part for part in made_run.results.slices if part.by == "item popularity"]

    assert parts[-1].value.startswith("never seen before (")
    assert parts[-1].relevant >= USERS
    assert parts[-1].most_popular == 0
    assert sum(part.relevant for part in parts) == made_run.results.data.relevant


def test_the_metrics_of_a_log_with_integer_ids_match_its_lists(
    made_run: Run,
) -> None:
    relevant = made_run.relevant(None)

    for protocol in PROTOCOLS:
        for k in MADE_KS:
            measured = made_run.metrics(protocol, "model")
            expected = _slow_metrics(made_run.lists(protocol), relevant, k)
            assert {name: measured[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_top_100_accuracy_counts_labels_above_0_9(made_run: Run, protocol: Protocol) -> None:
    measured = made_run.results.metrics.by(protocol)
    well_rated = made_run.relevant(0.9)

    model = _hit_rate(made_run.lists(protocol), well_rated, 100)
    popular = _hit_rate(made_run.popular(protocol, 100), well_rated, 100)
    assert measured["model"][TOP_100_ACCURACY] == pytest.approx(model)
    assert measured["most_popular"][TOP_100_ACCURACY] == pytest.approx(popular)
    assert model != measured["model"][Metric("hit_rate", 100)]  # that one counts all rows


def test_there_is_no_top_100_accuracy_for_fewer_candidates(sample_run: Run) -> None:
    assert not [name for name in sample_run.summary["metrics"] if "top_100" in name]


def test_every_depth_is_measured_and_the_exported_one_is_marked(made_run: Run) -> None:
    results = made_run.results

    assert [(depth.layer_sizes, depth.exported) for depth in results.depths] == [
        ("4", True),
        ("8-4", False),
    ]
    exported, other = results.depths
    for protocol in PROTOCOLS:
        assert exported.test.by(protocol) == results.metrics.by(protocol)["model"]
        assert other.test.by(protocol) != exported.test.by(protocol)
    assert other.validation == 0.2
    (epoch,) = read_json(made_run.models[1] / "history.json")["epochs"]
    assert [entry.model_dump() for entry in other.history] == [epoch]
    assert other.history[0].validation == {Metric("mrr", 5, "raw"): 0.2}


def test_warnings_of_adapt_are_passed_on(made_run: Run) -> None:
    assert made_run.results.warnings == ["Something looks wrong."]


@pytest.mark.parametrize(("more", "good_enough"), [(0.0, True), (1e-6, False)])
def test_the_lower_end_of_the_lead_has_to_reach_the_margin(
    of_sample: Callable[[Path], Run],
    sample_results: Evaluation,
    tmp_path: Path,
    more: float,
    good_enough: bool,
) -> None:
    lead = sample_results.headline.intervals.leads["most_popular"]
    low, high = lead.interval
    assert low < lead.value < high
    margin = low / sample_results.headline.most_popular + more

    run = of_sample(tmp_path)({**EVALUATE, "margin": margin, "must_beat": ["most_popular"]})

    assert run.summary["good_enough"] is good_enough
    assert run.results.headline.good_enough is good_enough
    assert run.results.headline.margin == margin


def test_a_model_that_ranks_by_popularity_is_not_good_enough(made: Path, tmp_path: Path) -> None:
    encoded = made / "encoded"
    spec = FeatureSpec.read(encoded)
    counts = np.zeros(ITEMS)
    for split in ("train", "validation"):
        rows = read_table(encoded / "interactions" / split)
        counts += np.bincount(rows[CANDIDATE_INDEX].to_numpy(), minlength=ITEMS)
    tower = QueryModel(spec.query, [1])
    tower.dense_layers[0].set_weights([np.zeros((64, 1)), np.ones(1)])
    model = tmp_path / "model"
    shutil.copytree(made / "model-4", model)
    tower.save(model / "query_tower.keras")
    _write_export(
        tmp_path / "export",
        read_table(encoded / "candidates"),
        model,
        counts[:, None].astype(np.float32),
    )
    run = Run(tmp_path / "export", encoded, [made / "model-4"], tmp_path / "out")

    run({**MADE, "example_users": 0})

    assert run.results.headline.lead == 0
    assert run.results.headline.model > 0
    assert run.summary["good_enough"] is False
    for protocol in PROTOCOLS:
        assert run.metrics(protocol, "model") == run.metrics(protocol, "most_popular")
    assert run.results.examples == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ks": [5, 10], "headline": "hit_rate_at_20_raw"}, "needs 20 among ks"),
        ({"ks": []}, "ks"),
        ({"ks": [0]}, "ks"),
        ({**EVALUATE, "margin": -0.1}, "margin"),
        ({**EVALUATE, "headline": "hit_rate_at_20"}, "headline"),
        ({**EVALUATE, "example_users": -1}, "example_users"),
        ({**EVALUATE, "bootstrap_samples": 99}, "bootstrap_samples"),
        ({**EVALUATE, "baselines": ["ease"]}, "most_popular is missing"),
        ({**EVALUATE, "baselines": []}, "most_popular is missing"),
        (
            {**EVALUATE, "baselines": ["most_popular"], "must_beat": ["ease"]},
            "must_beat names ease, which is not among baselines",
        ),
        ({**EVALUATE, "must_beat": []}, "must_beat"),
        ({**EVALUATE, "baselines": ["most_popular", "ease", "ease"]}, "names a baseline twice"),
        ({**EVALUATE, "baselines": ["most_popular", "random"]}, "baselines"),
        ({**EVALUATE, "ease_max_candidates": -1}, "ease_max_candidates"),
        ({**EVALUATE, "k": 5}, "k"),
    ],
)
def test_invalid_settings_are_refused(
    made: Path, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as error:
        _of_made(made, tmp_path / "out")(config)

    assert isinstance(error.value, ValueError)
    assert not (tmp_path / "out").exists()


def test_a_k_larger_than_the_catalogue_is_refused(made: Path, tmp_path: Path) -> None:
    config = {"ks": [10, 121], "headline": "hit_rate_at_10_raw"}

    with pytest.raises(InputError, match=r"evaluate\.ks: 121 is larger .* 120 candidates"):
        _of_made(made, tmp_path / "out")(config)

    assert not (tmp_path / "out").exists()


def test_a_test_split_without_a_relevant_row_is_refused(made: Path, tmp_path: Path) -> None:
    encoded = tmp_path / "encoded"
    shutil.copytree(made / "encoded", encoded)
    FeatureSpec.read(encoded).model_copy(update={"relevant_above": 3.5}).write(encoded)
    run = Run(made / "export", encoded, [made / "model-4"], tmp_path / "out")

    with pytest.raises(InputError, match=r"relevant_above: .* test split is above 3\.5"):
        run(MADE)

    assert not run.out.exists()


def test_an_error_leaves_nothing_half_written(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(results: Evaluation, drift: Drift | None) -> str:
        raise RuntimeError(f"no page for {len(results.slices)} slices")

    monkeypatch.setattr(job, "render_report", fail)

    with pytest.raises(RuntimeError, match="no page"):
        _of_made(made, tmp_path / "out")(MADE)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
