"""The published model and the new one, on the same test split and in today's catalogue."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import EVALUATE
from published_shops import (
    GONE,
    KEPT,
    KS,
    NEW,
    OLD_ITEMS,
    TODAYS_ITEMS,
    Shops,
    Steps,
    encode_for_published,
    publish_and_fetch,
    two_shops,
    version_of,
)

from components.evaluate.job import evaluate
from components.evaluate.published import Comparison, PublishedModel
from components.shared.contracts.evaluation import Evaluation
from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.metric import PROTOCOLS, Metric, Protocol
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    EMBEDDING,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    read_table,
    write_table,
)
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.retrieval.top_k import NO_CANDIDATE
from components.shared.runtime.files import write_json

RunStep = Callable[..., Any]
Lists = list[list[int]]
HIT_RATE = Metric("hit_rate", 20)
DASHES = "\N{EN DASH} \N{EN DASH}"
SHOP_EVALUATE: dict[str, Any] = {
    "ks": KS,
    "headline": "hit_rate_at_20_filtered",
    "example_users": 1,
}


# --- items in another catalogue -------------------------------------------------------------------


def _seen(lists: Lists) -> SeenItems:
    offsets = np.cumsum([0, *map(len, lists)])
    items = np.array([item for items in lists for item in items], np.int32)
    return SeenItems(offsets, items, np.arange(len(lists)))


def _lists(seen: SeenItems) -> Lists:
    assert seen.offsets[0] == 0
    assert seen.offsets[-1] == len(seen.items)
    return [seen.of_query(query).tolist() for query in range(len(seen.user))]


@pytest.mark.parametrize("seed", range(8))
def test_seen_items_are_translated_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    candidates, queries = 30, 25
    lists = [
        rng.choice(candidates, rng.integers(0, 9), replace=False).tolist() for _ in range(queries)
    ]
    place = rng.permutation(candidates).astype(np.int32)
    place[rng.random(candidates) < seed / 7] = NO_CANDIDATE  # from none to all are gone

    translated = _seen(lists).translated(place)

    expected = [[int(place[item]) for item in items if place[item] >= 0] for items in lists]
    assert _lists(translated) == expected
    assert translated.items.dtype == np.int32
    assert len(translated.padded(0, queries, padding=99)) == queries


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[], [0, 1], []], [[], [2], []]),
        ([[1], [1, 1]], [[], []]),
        ([[], []], [[], []]),
        ([], []),
    ],
    ids=["empty first and last", "all gone", "nobody saw anything", "no queries"],
)
def test_queries_without_remaining_items_are_kept(lists: Lists, expected: Lists) -> None:
    assert _lists(_seen(lists).translated(np.array([2, -1], np.int32))) == expected


# --- retrieval in today's catalogue ---------------------------------------------------------------


def _slow_retrieve(model: PublishedModel, k: int, seen: Lists | None) -> Lists:
    found = []
    for row, query in enumerate(model.queries):
        scores = {
            place: float(np.dot(query.astype(np.float64), embedding))
            for place, embedding in zip(model.index.tolist(), model.embeddings, strict=True)
            if seen is None or place not in seen[row]
        }
        best = sorted(scores, key=lambda place: (-scores[place], place))[:k]
        found.append(best + [NO_CANDIDATE] * (k - len(best)))
    return found


@pytest.fixture
def knows_some() -> PublishedModel:
    """A model with 9 of 20 items; whole numbers, so that scores are exact and many are equal."""
    rng = np.random.default_rng(2)
    return PublishedModel(
        rng.integers(-2, 3, (12, 3)).astype(np.float32),
        rng.integers(-2, 3, (9, 3)).astype(np.float32),
        np.array([1, 2, 5, 8, 9, 12, 16, 17, 19], np.int32),
        20,
    )


@pytest.mark.parametrize("k", [1, 4, 9, 15, 20])
def test_the_best_known_items_are_returned_as_todays_indices(
    knows_some: PublishedModel, k: int
) -> None:
    rng = np.random.default_rng(k)
    lists = [sorted(rng.choice(20, rng.integers(0, 12), replace=False)) for _ in range(12)]

    by_protocol = knows_some.retrieve(k, _seen(lists))

    assert by_protocol["raw"].tolist() == _slow_retrieve(knows_some, k, None)
    assert by_protocol["filtered"].tolist() == _slow_retrieve(knows_some, k, lists)
    for found in by_protocol.values():
        assert found.dtype == np.int32
        assert set(found.ravel().tolist()) <= {*knows_some.index.tolist(), NO_CANDIDATE}


def test_a_user_who_has_seen_all_known_items_gets_an_empty_list(
    knows_some: PublishedModel,
) -> None:
    lists = [knows_some.index.tolist(), *([[]] * 11)]

    found = knows_some.retrieve(15, _seen(lists))["filtered"]

    assert found[0].tolist() == [NO_CANDIDATE] * 15
    assert found[1].tolist()[9:] == [NO_CANDIDATE] * 6
    assert NO_CANDIDATE not in found[1:, :9]


# --- the same model against itself ----------------------------------------------------------------


@pytest.fixture(scope="module")
def sample_steps(
    sample_tables: Path, sample_encoded: Path, sample_model: Path, sample_export: Path
) -> Steps:
    return Steps(sample_tables, sample_encoded, sample_model, sample_export)


@pytest.fixture(scope="module")
def itself(
    sample_steps: Steps, tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep
) -> tuple[Path, Path]:
    """The published model of the sample, and the test split encoded for it."""
    folder = tmp_path_factory.mktemp("itself")
    published = publish_and_fetch(folder, sample_steps, "sample")
    published_test = encode_for_published(
        in_tensorflow, sample_steps.tables, published, folder / "published_test"
    )
    return published, published_test


class Evaluated:
    """The outputs of evaluate."""

    def __init__(
        self,
        out: Path,
        steps: Steps,
        published: Path | None,
        published_test: Path | None,
        config: dict[str, Any],
    ):
        self.summary = evaluate(
            export=str(steps.export),
            encoded=str(steps.encoded),
            models=[str(steps.model)],
            config=config,
            evaluation=str(out / "evaluation"),
            metrics=str(out / "metrics.json"),
            report=str(out / "report.html"),
            published=str(published) if published else None,
            published_test=str(published_test) if published_test else None,
        )
        self.results = Evaluation.read(out / "evaluation")
        self.flat = json.loads((out / "metrics.json").read_text())
        self.html = (out / "report.html").read_text()
        self.recommendations = read_table(out / "evaluation" / "recommendations")


def test_a_published_copy_of_the_model_has_the_same_metrics(
    itself: tuple[Path, Path], sample_steps: Steps, tmp_path: Path
) -> None:
    published, published_test = itself

    run = Evaluated(tmp_path, sample_steps, published, published_test, EVALUATE)

    for protocol in PROTOCOLS:
        metrics = run.results.metrics.by(protocol)
        assert metrics["published"] == metrics["model"]
        assert metrics["published"] != metrics["most_popular"]
        assert len(metrics["published"]) == 8 * len(EVALUATE["ks"])
    for part in run.results.slices:
        assert part.published == part.model
    assert run.results.headline.published == run.results.headline.model
    assert run.summary["good_enough"] is True


def test_a_published_margin_keeps_a_model_from_replacing_itself(
    itself: tuple[Path, Path], sample_steps: Steps, tmp_path: Path
) -> None:
    published, published_test = itself
    config = {**EVALUATE, "published_margin": 0.001}

    run = Evaluated(tmp_path, sample_steps, published, published_test, config)

    assert run.summary["good_enough"] is False
    (reason,) = run.results.headline.reasons
    assert version_of(published) in reason


# --- what there is to compare with ----------------------------------------------------------------


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Shops:
    return two_shops(tmp_path_factory.mktemp("shops"), in_tensorflow)


def _queries(shops: Shops) -> QuerySet:
    test = read_table(shops.today.encoded / "interactions" / "test")
    return QuerySet.of(test, FeatureSpec.read(shops.today.encoded).query)


def _todays_ids(shops: Shops) -> pa.ChunkedArray:
    return read_table(shops.today.export / "candidates")[CANDIDATE_ID]


def _known(shops: Shops) -> pa.Table:
    folder = shops.today.encoded / "interactions"
    return pa.concat_tables([read_table(folder / split) for split in ("train", "validation")])


def _compare(
    shops: Shops, *, published: Path | None, published_test: Path | None = None
) -> Comparison:
    return Comparison.of(
        str(published) if published else None,
        str(published_test or shops.published_test),
        _queries(shops),
        _todays_ids(shops),
        _known(shops),
    )


def test_without_a_fetched_folder_nothing_is_compared(shops: Shops) -> None:
    assert _compare(shops, published=None) == Comparison()


def test_with_a_note_without_a_version_nothing_is_compared(shops: Shops, tmp_path: Path) -> None:
    write_json({"entry": None}, tmp_path / "published.json")

    # The output of encode_for_published is not read either.
    assert _compare(shops, published=tmp_path, published_test=tmp_path) == Comparison()


def test_without_an_encoded_test_split_nothing_is_compared(shops: Shops) -> None:
    comparison = Comparison.of(
        str(shops.published), None, _queries(shops), _todays_ids(shops), _known(shops)
    )

    assert comparison == Comparison()


def test_a_reason_of_encode_for_published_is_passed_on(shops: Shops, tmp_path: Path) -> None:
    write_json({"reason": "it takes plan"}, tmp_path / "published_test.json")

    comparison = _compare(shops, published=shops.published, published_test=tmp_path)

    assert comparison == Comparison(version_of(shops.published), "it takes plan")


def _with_candidates(shops: Shops, folder: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    shutil.copytree(shops.published, folder)
    candidates = read_table(folder / "export" / "candidates")
    shutil.rmtree(folder / "export" / "candidates")
    write_table(change(candidates), folder / "export" / "candidates")
    return folder


def test_a_model_without_items_of_todays_catalogue_is_not_measured(
    shops: Shops, tmp_path: Path
) -> None:
    retired = _with_candidates(
        shops,
        tmp_path / "published",
        lambda table: table.set_column(
            0, CANDIDATE_ID, pa.array(np.arange(table.num_rows) + 10_000, pa.int64())
        ),
    )

    comparison = _compare(shops, published=retired)

    assert comparison.version == version_of(shops.published)
    assert comparison.reason == "none of its items is in today's catalogue"
    assert comparison.model is None


def test_one_item_in_common_is_enough_to_be_measured(shops: Shops, tmp_path: Path) -> None:
    one = _with_candidates(
        shops, tmp_path / "published", lambda table: table.slice(OLD_ITEMS.index(KEPT[4]), 1)
    )

    model = _compare(shops, published=one).model

    assert model is not None
    found = model.retrieve(3, _seen([[]] * len(_queries(shops))))["raw"]
    assert found.tolist() == [[TODAYS_ITEMS.index(KEPT[4]), -1, -1]] * len(_queries(shops))


def test_the_published_model_ranks_the_items_in_both_catalogues(shops: Shops) -> None:
    comparison = _compare(shops, published=shops.published)

    assert comparison.version == version_of(shops.published)
    assert comparison.reason is None
    assert comparison.model is not None
    ids = _todays_ids(shops).to_pylist()
    assert [ids[place] for place in comparison.model.index] == list(KEPT)
    assert comparison.model.candidates == len(ids) == len(KEPT) + len(NEW) + 1
    own = read_table(shops.published / "export" / "candidates").to_pylist()
    embeddings = {row[CANDIDATE_ID]: row[EMBEDDING] for row in own}
    assert comparison.model.embeddings.tolist() == [embeddings[item] for item in KEPT]


def test_the_order_of_the_published_catalogue_does_not_matter(shops: Shops, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(len(OLD_ITEMS))
    shuffled = _with_candidates(shops, tmp_path / "published", lambda table: table.take(order))

    model = _compare(shops, published=shuffled).model
    as_it_was = _compare(shops, published=shops.published).model

    assert model is not None
    assert as_it_was is not None
    assert model.index.tolist() == as_it_was.index.tolist()
    assert model.embeddings.tolist() == as_it_was.embeddings.tolist()


# --- what the published model recommends ----------------------------------------------------------


@pytest.fixture(scope="module")
def shop_run(shops: Shops, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    out = tmp_path_factory.mktemp("shop-run")
    config = {**SHOP_EVALUATE, "published_margin": -1.0}
    return Evaluated(out, shops.today, shops.published, shops.published_test, config)


@pytest.fixture(scope="module")
def served(shops: Shops, in_tensorflow: RunStep) -> list[dict[int, float]]:
    """The published SavedModel's answer to each of today's queries, in its own catalogue."""
    ids, scores = in_tensorflow(
        "published_shops:served_scores",
        export=str(shops.old.export),
        tables=str(shops.today.tables),
    )
    _, first = np.unique(_queries(shops).row_query, return_index=True)
    return [dict(zip(ids[row], scores[row], strict=True)) for row in first]


def _history(shops: Shops) -> dict[str, set[int]]:
    ids = _todays_ids(shops).to_pylist()
    seen: dict[str, set[int]] = {}
    for split in ("train", "validation"):
        for row in read_table(shops.today.encoded / "interactions" / split).to_pylist():
            seen.setdefault(row[QUERY_ID], set()).add(ids[row[CANDIDATE_INDEX]])
    return seen


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("k", [20, len(TODAYS_ITEMS)])
def test_its_lists_match_its_own_export(
    shops: Shops, served: list[dict[int, float]], protocol: Protocol, k: int
) -> None:
    test = read_table(shops.today.encoded / "interactions" / "test")
    known = [read_table(shops.today.encoded / "interactions" / s) for s in ("train", "validation")]
    queries = QuerySet.of(test, FeatureSpec.read(shops.today.encoded).query)
    seen = SeenItems.of(queries, *known)
    model = Comparison.of(
        str(shops.published), str(shops.published_test), queries, _todays_ids(shops), _known(shops)
    ).model
    assert model is not None

    found = model.retrieve(k, seen)[protocol]

    ids, history = _todays_ids(shops).to_pylist(), _history(shops)
    assert len(found) == len(served) > 50
    for row, scores in enumerate(served):
        assert set(scores) == set(OLD_ITEMS)
        left_out = history.get(queries.ids[row].as_py(), set()) if protocol == "filtered" else set()
        able = {item: score for item, score in scores.items() if item in KEPT}
        able = {item: score for item, score in able.items() if item not in left_out}
        items = [ids[place] for place in found[row] if place >= 0]
        # Served by TensorFlow, measured on JAX: nearly equal scores may change places.
        best = sorted(able.values(), reverse=True)[:k]
        assert [able[item] for item in items] == pytest.approx(best, abs=1e-5)
        assert len(set(items)) == len(items) == len(best)
        assert found[row, len(items) :].tolist() == [NO_CANDIDATE] * (k - len(items))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_its_metrics_match_the_lists_of_its_own_export(
    shops: Shops, shop_run: Evaluated, served: list[dict[int, float]], protocol: Protocol
) -> None:
    ids, history = _todays_ids(shops).to_pylist(), _history(shops)
    test = read_table(shops.today.encoded / "interactions" / "test")
    queries = _queries(shops)
    lists = np.full((len(queries), max(KS)), NO_CANDIDATE)
    for row, scores in enumerate(served):
        left_out = history.get(queries.ids[row].as_py(), set()) if protocol == "filtered" else set()
        items = [i for i in sorted(scores, key=lambda i: -scores[i]) if i in KEPT]
        places = [ids.index(item) for item in items if item not in left_out][: max(KS)]
        lists[row, : len(places)] = places
    targets = Targets.of(test, queries, None)

    measured = shop_run.results.metrics.by(protocol)["published"]

    for k in KS:
        ranks = targets.ranks(lists)
        for name, value in ranking_metrics(ranks, targets.query, k).items():
            assert measured[Metric(name, k)] == pytest.approx(value, abs=1e-9)
        shown = set(lists[:, :k].ravel().tolist()) - {NO_CANDIDATE}
        assert measured[Metric("coverage", k)] == len(shown) / len(TODAYS_ITEMS)


def test_a_warning_counts_the_items_that_users_came_back_to(shops: Shops, tmp_path: Path) -> None:
    encoded = tmp_path / "encoded"
    shutil.copytree(shops.today.encoded, encoded)
    columns = [QUERY_ID, CANDIDATE_INDEX, LABEL, TIMESTAMP, "user", "age"]
    test, train = (
        read_table(encoded / "interactions" / part, columns) for part in ("test", "train")
    )
    # All test items of some users were seen earlier.
    users = test[QUERY_ID].unique().slice(0, 5)
    again = test.filter(pc.is_in(test[QUERY_ID], users))
    shutil.rmtree(encoded / "interactions" / "train")
    write_table(pa.concat_tables([train, again]), encoded / "interactions" / "train")
    known = len(Targets.of(again, QuerySet.of(again, FeatureSpec.read(encoded).query), None))

    today = dataclasses.replace(shops.today, encoded=encoded)
    run = Evaluated(tmp_path, today, shops.published, shops.published_test, SHOP_EVALUATE)

    targets = len(Targets.of(test, _queries(shops), None))
    assert 5 < known < targets / 2
    warning = run.results.warnings[-1]
    assert warning.startswith(f"{known} of {targets} relevant test interactions are with items")
    assert warning in _Text(run.html).text


def test_there_is_no_warning_if_nobody_came_back(shop_run: Evaluated) -> None:
    assert not [text for text in shop_run.results.warnings if "had before" in text]


def test_new_items_count_against_the_published_model(shop_run: Evaluated) -> None:
    raw = shop_run.results.metrics.raw["published"]

    assert raw[Metric("coverage", 20)] <= len(KEPT) / len(TODAYS_ITEMS)
    assert 0 < raw[HIT_RATE] < 1


def test_the_shops_differ_as_these_tests_assume(shops: Shops) -> None:
    old = read_table(shops.published / "export" / "candidates")[CANDIDATE_ID].to_pylist()
    assert old == OLD_ITEMS
    assert _todays_ids(shops).to_pylist() == TODAYS_ITEMS
    assert not set(old) & {*NEW}
    assert {item + 500 for item in GONE} <= set(old) - set(TODAYS_ITEMS)
    old_features = [f.name for f in FeatureSpec.read(shops.published / "features").query]
    assert old_features == ["city", "plan", "user"]
    assert [f.name for f in FeatureSpec.read(shops.today.encoded).query] == ["age", "user"]
    test = read_table(shops.published_test).to_pydict()
    plans: dict[str, set[int]] = {}
    for user, plan in zip(test[QUERY_ID], test["plan"], strict=True):
        plans.setdefault(user, set()).add(plan)
    assert max(map(len, plans.values())) > 1, "a user with several queries"


def test_rows_that_only_the_published_model_distinguishes_cannot_be_compared(
    shops: Shops, tmp_path: Path
) -> None:
    published_test = tmp_path / "published_test"
    rows = read_table(shops.published_test)
    row_query = _queries(shops).row_query
    (again, *_) = np.flatnonzero(np.bincount(row_query) > 1)
    plan = rows["plan"].to_numpy().copy()
    row = np.flatnonzero(row_query == again)[-1]
    plan[row] = plan[row] % 3 + 1
    column = rows.schema.get_field_index("plan")
    changed = rows.set_column(column, rows.schema.field(column), pa.array(plan))
    write_table(changed, published_test)
    write_json({"reason": None}, published_test / "published_test.json")

    comparison = Comparison.of(
        str(shops.published),
        str(published_test),
        _queries(shops),
        _todays_ids(shops),
        _known(shops),
    )

    assert comparison.model is None
    assert comparison.reason == (
        "its plan differs between test rows that are one query for the new model"
    )


# --- what evaluate makes of it --------------------------------------------------------------------


def test_the_published_model_is_measured_like_the_others(shops: Shops, shop_run: Evaluated) -> None:
    results, flat = shop_run.results, shop_run.flat
    headline = results.headline
    for protocol in PROTOCOLS:
        metrics = results.metrics.by(protocol)
        # Every interaction counts as relevant: most-liked would be most-popular.
        assert list(metrics) == [
            "model",
            "most_popular",
            "recent_popular",
            "ease",
            "ials",
            "published",
        ]
        assert metrics["published"].keys() == metrics["model"].keys()
        for metric, value in metrics["published"].items():
            assert flat[f"published_{metric}_{protocol}"] == value
    assert shop_run.summary["metrics"] == flat
    assert headline.published == results.metrics.filtered["published"][HIT_RATE]
    assert headline.published_version == version_of(shops.published)
    lead = headline.intervals.leads["published"]
    assert lead.value == pytest.approx(headline.model - (headline.published or 0))
    assert lead.interval[0] < lead.value < lead.interval[1]
    assert headline.published_margin == -1
    assert headline.good_enough is True
    assert headline.reasons == []
    assert all(0 <= part.values["published"] <= 1 for part in results.slices)


def test_a_published_model_does_not_change_the_new_models_numbers(
    shops: Shops, shop_run: Evaluated, tmp_path: Path
) -> None:
    alone = Evaluated(tmp_path, shops.today, None, None, SHOP_EVALUATE)

    assert alone.recommendations.equals(shop_run.recommendations)
    for protocol in PROTOCOLS:
        beside = dict(shop_run.results.metrics.by(protocol))
        del beside["published"]
        assert alone.results.metrics.by(protocol) == beside
    assert alone.results.headline.published_version is None
    assert "published" not in alone.results.rankers
    assert not [name for name in alone.flat if name.startswith("published")]
    assert alone.results.depths == shop_run.results.depths
    assert not re.search(r"[Pp]ublished", _Text(alone.html).text)


def test_a_fetched_note_without_a_version_equals_no_note(shops: Shops, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    write_json({"entry": None}, nothing / "published.json")

    (tmp_path / "test").mkdir()
    write_json({"reason": "no version is published"}, tmp_path / "test" / "published_test.json")

    noted = Evaluated(tmp_path / "a", shops.today, nothing, tmp_path / "test", SHOP_EVALUATE)
    alone = Evaluated(tmp_path / "b", shops.today, None, None, SHOP_EVALUATE)

    assert noted.results == alone.results
    assert noted.html == alone.html


class _Text(HTMLParser):
    """The text of a page's body, of one element, and the rows of its tables."""

    def __init__(self, html: str):
        super().__init__()
        self.text, self._style = "", False
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._style = tag == "style"
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, text: str) -> None:
        self.text += "" if self._style else text


def test_the_log_has_every_ranker_and_the_verdict(
    shops: Shops, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**SHOP_EVALUATE, "published_margin": -1.0}

    run = Evaluated(tmp_path, shops.today, shops.published, shops.published_test, config)

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[evaluate]")]
    assert run.results.rankers == [
        "model",
        "most_popular",
        "recent_popular",
        "ease",
        "ials",
        "published",
    ]
    for who in run.results.rankers:
        raw, filtered = (run.results.metrics.by(protocol)[who][HIT_RATE] for protocol in PROTOCOLS)
        assert f"[evaluate] {who}: hit_rate_at_20 raw {raw:.4f}, filtered {filtered:.4f}" in lines
    (told,) = [line for line in lines if line.startswith("[evaluate] good enough")]
    assert told.startswith("[evaluate] good enough: hit_rate_at_20 filtered is +")
    assert any(line.startswith("[evaluate] The towers ") for line in lines)


def test_log_results_and_report_say_why_a_model_loses(
    shops: Shops, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**SHOP_EVALUATE, "published_margin": 0.99}

    run = Evaluated(tmp_path, shops.today, shops.published, shops.published_test, config)

    headline, version = run.results.headline, version_of(shops.published)
    assert run.summary["good_enough"] is headline.good_enough is False
    (reason,) = headline.reasons
    assert f"the published {version} has {headline.published:.4f}" in reason
    assert f"[evaluate] not good enough: {reason}" in capsys.readouterr().out
    text = _Text(run.html).text
    assert "✗ Not good enough" in text
    assert f"{reason}." in text
    assert f"published {headline.published:.4f}" in text
    assert f"The published model is {version}" in text


def test_a_winning_page_shows_the_published_model_and_no_reason(
    shops: Shops, shop_run: Evaluated
) -> None:
    headline = shop_run.results.headline
    text = _Text(shop_run.html).text

    assert "✓ Good enough" in text
    assert 'class="reasons"' not in shop_run.html
    assert f"published {headline.published:.4f}" in text
    assert f"The published model is {version_of(shops.published)}" in text
    raw, filtered = (
        shop_run.results.metrics.by(protocol)["published"][HIT_RATE] for protocol in PROTOCOLS
    )
    assert f"published model {DASHES} {raw:.4f} {filtered:.4f} {DASHES}" in text


@pytest.mark.parametrize("compared", [True, False])
def test_a_published_model_that_cannot_be_measured_blocks_unless_it_is_ignored(
    shops: Shops, tmp_path: Path, capsys: pytest.CaptureFixture[str], compared: bool
) -> None:
    reason = "it takes <plan>, which the log no longer has"
    (tmp_path / "test").mkdir()
    write_json({"reason": reason}, tmp_path / "test" / "published_test.json")
    config = {**SHOP_EVALUATE, "compare_with_published": compared}

    run = Evaluated(tmp_path, shops.today, shops.published, tmp_path / "test", config)

    version = version_of(shops.published)
    assert run.summary["good_enough"] is not compared
    assert run.results.headline.published_version == version
    assert "published" not in run.results.metrics.raw
    assert not [name for name in run.flat if name.startswith("published")]
    text, log = _Text(run.html).text, capsys.readouterr().out
    if compared:
        (said,) = run.results.headline.reasons
        assert said.startswith(f"it cannot be compared with the published {version}: {reason}.")
        assert f"[evaluate] not good enough: {said}" in log
        assert f"{said}." in text
        assert "<plan>" not in run.html
    else:
        assert run.results.headline.reasons == []
        assert "✓ Good enough" in text
        assert reason not in text


def test_a_better_published_model_is_only_reported_if_it_is_ignored(
    shops: Shops, tmp_path: Path
) -> None:
    config = {**SHOP_EVALUATE, "published_margin": 0.99, "compare_with_published": False}

    run = Evaluated(tmp_path, shops.today, shops.published, shops.published_test, config)

    assert run.summary["good_enough"] is True
    assert run.results.headline.reasons == []
    assert 0 < run.results.headline.values["published"] < 1


def _mark(html: str) -> str:
    found = re.search(r"the value that the model needs: (.*?),", _Text(html).text)
    assert found
    return found[1]


def test_the_mark_ignores_a_published_model_that_does_not_count(
    shops: Shops, tmp_path: Path
) -> None:
    config = {
        **SHOP_EVALUATE, "published_margin": 0.5, "compare_with_published": False, "margin": 0.0,
        "must_beat": ["most_popular"],
    }  # fmt: skip

    run = Evaluated(tmp_path, shops.today, shops.published, shops.published_test, config)

    headline = run.results.headline
    low, _ = headline.intervals.leads["most_popular"].interval
    assert _mark(run.html) == f"more than {headline.model - low:.4f}"


def test_the_mark_is_at_the_published_model_plus_its_margin(shops: Shops, tmp_path: Path) -> None:
    config = {**SHOP_EVALUATE, "published_margin": 0.5, "margin": 0.0}

    run = Evaluated(tmp_path, shops.today, shops.published, shops.published_test, config)

    assert _mark(run.html) == f"at least {run.results.headline.values['published'] + 0.5:.4f}"


def test_the_verdict_sentence_has_the_lead_over_the_published_model(shop_run: Evaluated) -> None:
    headline = shop_run.results.headline
    lead = f"{headline.model - headline.values['published']:+.4f}".replace("-", "\N{MINUS SIGN}")

    assert lead in _Text(shop_run.html).text.partition("Exported layer stack")[0]
