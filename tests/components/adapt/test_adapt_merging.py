"""Statistics of parts of the rows, merged, are the statistics of all rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.adapt.statistics import ComputeStatistics, TableStatistics
from components.shared.features.statistics import ColumnStatistics, merge_statistics, vocabulary
from components.shared.features.types import Feature
from components.shared.features.types.categorical import Categorical
from components.shared.features.types.discretized import FloatDiscretized
from components.shared.features.types.hashed import Hashed
from components.shared.features.types.id import Id
from components.shared.features.types.multi_categorical import MultiCategorical
from components.shared.features.types.normalized import FloatNormalized
from components.shared.features.types.text import Text, words

ROWS = 400
FEATURES: dict[str, Feature] = {
    "id": Id(type="id"),
    "number": Categorical(type="integer_categorical"),
    "text": Text(type="text"),
    "genres": MultiCategorical(type="multi_categorical"),
    "age": FloatDiscretized(type="float_discretized", num_bins=7),
    "weight": FloatNormalized(type="float_normalized"),
    "hashed": Hashed(type="string_hashed", num_bins=3),
}
RATING = "rating"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    vocabulary = ["red", "green", "Blue", "deep blue", "sea!", ""]
    return pa.table(
        {
            "id": [f"user {number}" for number in rng.integers(0, 60, ROWS)],
            "number": rng.integers(-3, 4, ROWS),
            "text": [" ".join(rng.choice(vocabulary, 4)) for _ in range(ROWS)],
            "genres": pa.array(
                [list(rng.choice(vocabulary, rng.integers(0, 4))) for _ in range(ROWS)],
                pa.list_(pa.string()),
            ),
            "age": rng.integers(18, 70, ROWS).astype(np.float32),
            "weight": rng.normal(1e6, 2, ROWS).astype(np.float32),
            "hashed": rng.choice(["a", "b"], ROWS),
            RATING: rng.integers(1, 6, ROWS).astype(np.float32),
        }
    )


def partition(rows: int, parts: int, seed: int) -> list[np.ndarray]:
    """Random, disjoint, not empty sets of rows in random order."""
    rng = np.random.default_rng(seed)
    cuts = rng.choice(np.arange(1, rows), parts - 1, replace=False)
    pieces = np.split(rng.permutation(rows), np.sort(cuts))
    return [pieces[i] for i in rng.permutation(parts)]


def statistics_of(table: pa.Table, name: str) -> ColumnStatistics:
    """The statistics of one column, a feature's or the rating's, from one batch."""
    features, rating = ({}, RATING) if name == RATING else ({name: FEATURES[name]}, None)
    combine = ComputeStatistics(features, rating)
    return combine.add_input(combine.create_accumulator(), table).columns[name]


def assert_equal(found: ColumnStatistics, whole: ColumnStatistics) -> None:
    assert (found.rows, found.longest) == (whole.rows, whole.longest)
    assert found.mean == pytest.approx(whole.mean, rel=1e-13)
    assert found.variance == pytest.approx(whole.variance, rel=1e-9)
    assert (found.counts is None) == (whole.counts is None)
    if found.counts is not None:
        assert vocabulary(found.counts).to_pydict() == vocabulary(whole.counts).to_pydict()
    assert (found.quantiles is None) == (whole.quantiles is None)
    if found.quantiles is not None and whole.quantiles is not None:
        np.testing.assert_array_equal(found.quantiles.values, whole.quantiles.values)
        np.testing.assert_array_equal(found.quantiles.weights, whole.quantiles.weights)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("parts", [2, 3, 17, ROWS])
@pytest.mark.parametrize("name", [*FEATURES, RATING])
def test_merged_column_statistics_are_those_of_all_rows(
    table: pa.Table, name: str, parts: int, seed: int
) -> None:
    merged = merge_statistics(
        [statistics_of(table.take(pa.array(rows)), name) for rows in partition(ROWS, parts, seed)]
    )

    assert_equal(merged, statistics_of(table, name))


@pytest.mark.parametrize("seed", range(4))
def test_workers_may_combine_in_any_tree(table: pa.Table, seed: int) -> None:
    combine = ComputeStatistics(FEATURES, RATING)
    rng = np.random.default_rng(seed)
    accumulators: list[TableStatistics] = []
    for rows in partition(ROWS, 9, seed):
        accumulator = combine.create_accumulator()
        for half in np.array_split(rows, 2):
            if len(half):
                accumulator = combine.add_input(accumulator, table.take(pa.array(half)))
        accumulators += [accumulator, combine.create_accumulator()]
    while len(accumulators) > 1:
        count = int(rng.integers(2, 4))
        chosen, accumulators = accumulators[:count], accumulators[count:]
        accumulators.insert(
            int(rng.integers(0, len(accumulators) + 1)), combine.merge_accumulators(chosen)
        )

    found = combine.extract_output(accumulators[0])

    assert set(found.columns) == {*FEATURES, RATING}
    for name, statistics in found.columns.items():
        assert_equal(statistics, statistics_of(table, name))


def test_saved_statistics_are_loaded_as_they_were(table: pa.Table, tmp_path: Path) -> None:
    combine = ComputeStatistics(FEATURES, RATING)
    saved = combine.add_input(combine.create_accumulator(), table)

    saved.save(tmp_path / "statistics")
    loaded = TableStatistics.load(tmp_path / "statistics")

    assert list(loaded.columns) == list(saved.columns)
    for name, column in saved.columns.items():
        found = loaded.columns[name]
        assert (found.rows, found.mean, found.squares, found.longest) == (
            column.rows, column.mean, column.squares, column.longest
        )  # fmt: skip
        assert found.counts == column.counts
        assert (found.quantiles is None) == (column.quantiles is None)
        if found.quantiles is not None and column.quantiles is not None:
            assert found.quantiles.values.tobytes() == column.quantiles.values.tobytes()
            assert found.quantiles.weights.tobytes() == column.quantiles.weights.tobytes()


def test_combining_nothing_gives_no_columns() -> None:
    combine = ComputeStatistics(FEATURES)

    assert combine.merge_accumulators([combine.create_accumulator()] * 2).columns == {}


def test_moments_do_not_lose_small_deviations_from_a_large_mean() -> None:
    values = pa.chunked_array([pa.array([1e9 + i for i in (0, 64, 128)] * 50, pa.float32())])
    feature = FEATURES["weight"]

    merged = merge_statistics([feature.statistics(values.slice(i, 1)) for i in range(150)])

    exact = values.to_numpy().astype(np.float64)
    assert merged.variance == pytest.approx(exact.var(), rel=1e-9)
    assert merged.variance > 2000


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"token": ["a", "b", "c"], "count": [1, 3, 2]}, ["b", "c", "a"]),
        ({"token": ["a", "é", "b", "Z"], "count": [1, 1, 1, 1]}, ["é", "b", "a", "Z"]),
        ({"token": [5, -5, 40], "count": [2, 2, 2]}, [40, 5, -5]),
        # By bytes: characters beyond 16 bits come last in UTF-8, so here they are first.
        ({"token": ["\uffee", "\U0001f600"], "count": [1, 1]}, ["\U0001f600", "\uffee"]),
    ],
)
def test_vocabularies_are_ordered_by_count_then_by_value(
    counts: dict[str, list[Any]], expected: list[Any]
) -> None:
    assert vocabulary(pa.table(counts))["token"].to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The  MATRIX\t(1999) ", ["the", "matrix", "1999"]),
        ("Ágnes ÁÉ", ["Ágnes", "ÁÉ"]),
        ("don't e-mail a_b", ["dont", "email", "ab"]),
        ("a - b", ["a", "b"]),
        ("?! ...", []),
        ("", []),
        ("\u00bfQu\u00e9?", ["\u00bfqu\u00e9"]),
    ],
)
def test_words_are_lower_case_in_ascii_and_without_punctuation(
    text: str, expected: list[str]
) -> None:
    assert words(pa.array([text])).to_pylist() == expected


@pytest.mark.parametrize("make", [list, lambda rows: rows[::-1]], ids=["forward", "backward"])
def test_lists_count_every_value_and_the_longest_row(
    make: Callable[[list[Any]], list[Any]],
) -> None:
    rows = make([["a", "b"], [], ["a", "a", "c"]])
    column = pa.chunked_array([pa.array(rows, pa.list_(pa.string()))])

    statistics = FEATURES["genres"].statistics(column)

    assert statistics.longest == 3
    assert statistics.counts is not None
    assert vocabulary(statistics.counts).to_pydict() == {
        "token": ["a", "c", "b"],
        "count": [3, 1, 1],
    }
