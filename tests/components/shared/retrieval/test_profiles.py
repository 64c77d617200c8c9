"""Profiles of users: the distinct items before a split, the latest first."""

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from components.shared.contracts.feature_spec import EncodedFeature, FeatureSpec
from components.shared.contracts.tables import CANDIDATE_INDEX, QUERY_ID, TIMESTAMP
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.profiles import user_profiles
from components.shared.retrieval.query_set import QuerySet

# Candidate 2 is in no vocabulary.
ITEM_INDEX = np.array([5, 1, 0, 2, 3], np.int32)


def interactions(*rows: tuple[Any, int, int]) -> pa.Table:
    users, items, times = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            QUERY_ID: pa.array(users, pa.string() if rows and rows[0][0] == "anna" else None),
            CANDIDATE_INDEX: pa.array(items, pa.int32()),
            TIMESTAMP: pa.array(times, pa.int64()),
        }
    )


TRAIN = interactions(
    ("anna", 0, 30), ("bob", 3, 10), ("anna", 1, 10), ("anna", 2, 20), ("anna", 3, 10)
)
LATER = interactions(("anna", 1, 40), ("cleo", 4, 0), ("anna", 4, 30))


def feature(name: str, kind: str, **more: Any) -> EncodedFeature:
    return EncodedFeature(name=name, type=kind, dtype="int32", raw_columns=[name], **more)


def test_a_profile_has_each_item_once_and_the_latest_first() -> None:
    users = pa.array(["bob", "anna", "nobody", "anna"])

    before = user_profiles(users, [TRAIN], ITEM_INDEX, 4)
    after = user_profiles(users, [TRAIN, LATER], ITEM_INDEX, 4)

    # Of equal times, the row further down and the later table count as later.
    anna, bob = [5, 2, 1, 0], [2, 0, 0, 0]
    assert before.tolist() == [bob, anna, [0, 0, 0, 0], anna]
    assert before.dtype == np.int32
    anna = [1, 3, 5, 2]
    assert after.tolist() == [bob, anna, [0, 0, 0, 0], anna]


def test_the_earliest_items_are_cut_off() -> None:
    profiles = user_profiles(pa.array(["anna", "cleo"]), [TRAIN, LATER], ITEM_INDEX, 2)

    assert profiles.tolist() == [[1, 3], [3, 0]]


@pytest.mark.parametrize("users", [[7, -3, 2**40], ["anna", "bob", "cleo"]])
def test_profiles_are_those_that_a_loop_makes(users: list[Any]) -> None:
    rng = np.random.default_rng(4)
    rows = [
        (users[user], int(item), int(time))
        for user, item, time in zip(
            [0, *rng.integers(0, 3, 300)], rng.integers(0, 30, 301), rng.integers(0, 50, 301),
            strict=True,
        )
    ]  # fmt: skip
    item_index = rng.permutation(31)[:30].astype(np.int32)
    expected = []
    for wanted in users:
        own = [(time, n, item) for n, (user, item, time) in enumerate(rows) if user == wanted]
        items = [item_index[item] for _, _, item in sorted(own, reverse=True) if item_index[item]]
        items = list(dict.fromkeys(items))[:20]
        expected.append([*items, *[0] * (20 - len(items))])

    tables = [interactions(*rows[:100]), interactions(*rows[100:])]
    found = user_profiles(pa.array(users), tables, item_index, 20)

    assert found.tolist() == expected


def test_queries_get_the_profiles_of_their_users() -> None:
    profile = feature("profile", "profile", width=3, padding_index=0)
    spec = FeatureSpec(
        query=[feature("age", "integer_categorical"), profile],
        candidate=[feature("item", "id"), feature("brand", "id")],
        query_inputs=[],
        candidate_inputs=[],
        query_id_feature=None,
        candidate_id_feature="item",
        query_id_dtype="string",
        candidate_id_dtype="string",
        label_scale=1,
        label_offset=0,
        relevant_above=None,
        label_range=(0, 1),
    )
    candidates: dict[str, np.ndarray] = {"item": ITEM_INDEX, "brand": np.arange(5)}
    test = interactions(("anna", 0, 0), ("bob", 1, 0), ("anna", 1, 0))
    test = test.append_column("age", pa.array([1, 1, 2], pa.int32()))

    queries = QuerySet.of(test, spec.query)
    with_profiles = queries.with_profiles(spec, candidates, TRAIN)

    assert list(queries.features) == ["age"]
    assert with_profiles.ids.to_pylist() == ["anna", "bob", "anna"]
    assert with_profiles.features["age"].tolist() == [1, 1, 2]
    assert with_profiles.features["profile"].tolist() == [[5, 2, 1], [2, 0, 0], [5, 2, 1]]
    without = spec.model_copy(update={"query": spec.query[:1]})
    assert queries.with_profiles(without, candidates, TRAIN) is queries


def test_long_profiles_are_embedded_in_small_batches() -> None:
    class Tower:
        rows: ClassVar[list[int]] = []

        def predict(self, features: dict[str, np.ndarray], batch_size: int, verbose: int) -> Any:
            self.rows.append(batch_size)
            return features["profile"][:, :1]

    profiles = np.zeros((5000, 700), np.int32)
    embed(Tower(), {"user": profiles[:, 0], "profile": profiles})
    embed(Tower(), {"profile": profiles[:300]})

    assert Tower.rows == [748, 300]
