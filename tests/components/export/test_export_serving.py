"""The SavedModel in plain TensorFlow recommends what the project's own ranking does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import PlainServer, Reference, assert_same_ranking, plain_server
from shop_source import FIRST_ITEM, ITEMS, shop_encoded, shop_exported, shop_tables

from components.shared.contracts.tables import QUERY_ID, read_table

RunStep = Callable[..., Any]
NEW_USER = {
    "user_id": ["string", ["nobody"]],
    "raw_user_age": ["float32", [-3.5]],
    "user_gender": ["int64", [77]],
    "user_occupation_label": ["int64", [-1]],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    with plain_server(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def sample(sample_tables: Path, sample_encoded: Path, sample_export: Path) -> Reference:
    return Reference.read(sample_tables, sample_encoded, sample_export)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, in_tensorflow: RunStep) -> Reference:
    export = shop_exported(tmp_path_factory, in_tensorflow)
    tables = shop_tables(tmp_path_factory)
    return Reference.read(tables, shop_encoded(tmp_path_factory, in_tensorflow), export)


@pytest.fixture(params=["sample", "shop"])
def reference(request: pytest.FixtureRequest) -> Reference:
    """String ids and few features; 64-bit ids and a feature of every type."""
    found: Reference = request.getfixturevalue(request.param)
    return found


def first_query(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: [dtype, values[:1]] for name, (dtype, values) in inputs.items()}


def test_nothing_of_the_project_is_needed_to_serve(server: PlainServer, sample: Reference) -> None:
    answer = server.ask(sample.export, NEW_USER, 3)

    assert answer["foreign"] == []


def test_signatures_take_raw_features_k_and_ids_to_leave_out(
    server: PlainServer, reference: Reference
) -> None:
    answer = server.ask(reference.export, first_query(reference.raw), 2)

    queries = {item.name: item.dtype for item in reference.spec.query_inputs} | {"k": "int32"}
    id_type = reference.spec.candidate_id_dtype
    assert answer["signatures"] == {
        "serving_default": queries,
        "excluding": {**queries, "exclude": id_type},
    }
    assert answer["dtypes"] == {"ids": id_type, "titles": "string", "scores": "float32"}


@pytest.mark.parametrize("k", [1, 7, 40])
def test_known_users_get_the_items_and_scores_of_the_project_s_own_ranking(
    server: PlainServer, reference: Reference, k: int
) -> None:
    answer = server.ask(reference.export, reference.raw, k)

    reference.assert_same(answer, k)


def test_seen_items_are_left_out_as_in_the_project_s_own_ranking(
    server: PlainServer, reference: Reference
) -> None:
    seen = reference.seen_ids()

    answer = server.ask(reference.export, reference.raw, 10, exclude=reference.exclude(seen))

    reference.assert_same(answer, 10, reference.seen)
    for shown, hidden in zip(answer["ids"], seen, strict=True):
        assert not (set(shown) - {"", -1}) & set(hidden)


def test_recommendations_of_evaluate_are_those_of_the_saved_model(
    server: PlainServer,
    sample: Reference,
    sample_encoded: Path,
    sample_model: Path,
    tmp_path: Path,
) -> None:
    from components.evaluate.job import evaluate

    evaluate(
        export=str(sample.export),
        encoded=str(sample_encoded),
        models=[str(sample_model)],
        config={"ks": [5, 20], "headline": "hit_rate_at_20_filtered"},
        evaluation=str(tmp_path / "evaluation"),
        metrics=str(tmp_path / "metrics.json"),
        report=str(tmp_path / "report.html"),
    )

    lists = read_table(tmp_path / "evaluation" / "recommendations")
    test = read_table(sample_encoded / "interactions" / "test")
    assert set(lists[QUERY_ID].to_pylist()) == set(test[QUERY_ID].to_pylist())
    assert lists[QUERY_ID].to_pylist() == sample.queries.ids.to_pylist()
    for protocol, more in (
        ("raw", {}),
        ("filtered", {"exclude": sample.exclude(sample.seen_ids())}),
    ):
        answer = server.ask(sample.export, sample.raw, 20, **more)
        for query, score_of in enumerate(sample.score_of):
            assert_same_ranking(
                answer["ids"][query],
                answer["scores"][query],
                lists[protocol][query].as_py(),
                lists[f"{protocol}_scores"][query].as_py(),
                score_of,
            )


def test_an_unknown_user_with_new_values_gets_what_the_out_of_vocabulary_query_gets(
    server: PlainServer, sample: Reference
) -> None:
    answer = server.ask(sample.export, NEW_USER, 10)

    # All four are indices of "not seen in training"; the cross depends on them alone.
    crossed = server.ask(sample.export, {**NEW_USER, "user_id": ["string", [""]]}, 10)
    assert answer["ids"] == crossed["ids"]
    assert np.isfinite(answer["scores"]).all()
    sample.assert_same_vector(
        answer, {"user_id": 0, "raw_user_age": 0, "user_gender": 0, "user_occupation_label": 0}, 10
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plan", ""), ("plan", "gold"), ("city", "Paris"), ("user_id", -1), ("user_id", 2**63 - 1),
        ("zone", 10**9), ("age", 1e30), ("age", -1e30), ("visits", -(10**9)), ("motto", ""),
        ("motto", "unheard ?!"), ("device", -(2**63)), ("interests", ["", ""]),
        ("interests", ["never", ""]), ("street", ""),
    ],
)  # fmt: skip
def test_no_new_value_keeps_the_saved_model_from_answering(
    server: PlainServer, shop: Reference, name: str, value: Any
) -> None:
    inputs = first_query(shop.raw)
    inputs[name] = [inputs[name][0], [value]]

    answer = server.ask(shop.export, inputs, 5)

    assert np.isfinite(answer["scores"]).all()
    assert len(set(answer["ids"][0])) == 5


def test_k_beyond_the_catalogue_gives_the_whole_catalogue(
    server: PlainServer, reference: Reference
) -> None:
    answer = server.ask(reference.export, first_query(reference.raw), 10_000)

    assert sorted(answer["ids"][0]) == sorted(reference.ids)
    assert answer["scores"][0] == sorted(answer["scores"][0], reverse=True)


def test_when_everything_is_left_out_all_is_blank(
    server: PlainServer, reference: Reference
) -> None:
    answer = server.ask(
        reference.export,
        first_query(reference.raw),
        3,
        exclude=reference.exclude([reference.ids]),
    )

    blank = "" if reference.spec.candidate_id_dtype == "string" else -1
    assert answer["ids"] == [[blank] * 3]
    assert answer["titles"] == [[""] * 3]
    assert answer["scores"] == [[-np.inf] * 3]


def test_where_few_are_left_they_come_first_and_the_rest_is_blank(
    server: PlainServer, reference: Reference
) -> None:
    left = reference.ids[4:6]
    others = [item for item in reference.ids if item not in left]

    answer = server.ask(
        reference.export, first_query(reference.raw), 4, exclude=reference.exclude([others])
    )

    assert set(answer["ids"][0][:2]) == set(left)
    assert answer["titles"][0][2:] == ["", ""]
    assert np.isfinite(answer["scores"][0]).tolist() == [True, True, False, False]


def test_ids_that_are_no_candidate_s_leave_nothing_out(
    server: PlainServer, reference: Reference
) -> None:
    inputs = first_query(reference.raw)
    foreign = ["", "nothing", "-1"] if isinstance(reference.ids[0], str) else [-1, 0, 2**62]
    best = server.ask(reference.export, inputs, 5)

    with_foreign = server.ask(reference.export, inputs, 5, exclude=reference.exclude([foreign]))
    with_none = server.ask(reference.export, inputs, 5, exclude=reference.exclude([[]]))
    twice = server.ask(
        reference.export, inputs, 4, exclude=reference.exclude([[best["ids"][0][0]] * 2 + foreign])
    )

    for key in ("ids", "titles", "scores"):
        assert with_foreign[key] == with_none[key] == best[key]
        assert twice[key] == [best[key][0][1:]]


def test_each_row_of_a_batch_leaves_out_its_own(server: PlainServer, reference: Reference) -> None:
    two = {name: [dtype, [*v[:1], *v[:1]]] for name, (dtype, v) in reference.raw.items()}
    best = server.ask(reference.export, two, 3)["ids"][0]

    answer = server.ask(reference.export, two, 2, exclude=reference.exclude([[best[0]], [best[1]]]))

    assert answer["ids"] == [[best[1], best[2]], [best[0], best[2]]]


def test_large_integer_ids_come_back_exactly(server: PlainServer, shop: Reference) -> None:
    answer = server.ask(shop.export, first_query(shop.raw), ITEMS)

    assert sorted(answer["ids"][0]) == [FIRST_ITEM + i for i in range(ITEMS)]
    assert max(answer["ids"][0]) > 2**31
    assert answer["dtypes"]["ids"] == "int64"
