"""What adapt learns in one pass is what Keras's own `adapt` would learn of the same rows."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Both = Callable[..., tuple[dict[str, Any], dict[str, Any]]]

TEXTS = [
    "The Matrix (1999)",
    "the matrix, reloaded",
    "Ástrid ÁB áb  x",
    "a.b c--d \t e\x0bf",
    "Don't [stop] `now`",
    "x\u00a0y z\u3000w naïve\x85 \u2028r",
    "tie one two",
    "ÜNÏ Ünï ünï",
    "!!!",
    "",
    "   spaces   between   words   ",
    "snake_case e-mail 7.5 100%",
    "the the THE",
]


@pytest.fixture(scope="session")
def both(in_tensorflow: Callable[..., Any]) -> Both:
    """What adapt and what Keras make of the same rows."""

    def call(feature: dict[str, Any], dtype: str, values: list[Any], **more: Any) -> Any:
        more.setdefault("probes", values[:3])
        return in_tensorflow(
            "keras_reference:both", feature=feature, dtype=dtype, values=values, **more
        )

    return call


def skewed(values: list[Any], rows: int, seed: int = 1) -> list[Any]:
    """Rows in which some values are frequent, some are rare, and some as frequent as others."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(values) + 1)
    return [values[i] for i in rng.choice(len(values), rows, p=weights / weights.sum())]


STRINGS = [*"abcdefg", "A", "É", "é", "ß", "日本", "z z", "-1", "10", "9", "Zürich"]
INTEGERS = [5, 3, 0, 100, -7, 12, 2**31 + 5, -(2**40)]
IDS = [2**31, 2**31 - 1, 2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1, -(2**63), 7]


@pytest.mark.parametrize("max_tokens", [None, 4])
@pytest.mark.parametrize(
    ("kind", "dtype", "known", "unknown"),
    [
        ("string_categorical", "string", STRINGS, ["", "never", "B"]),
        ("integer_categorical", "int64", INTEGERS, [-1, 4, 2**31]),
        ("id", "string", STRINGS, ["", "never"]),
        ("id", "int64", IDS, [2**53 + 3, 2**53 - 1, 0, -1, 2**63 - 2]),
    ],
)
def test_categories_and_ids_get_the_indices_that_keras_gives(
    both: Both, kind: str, dtype: str, known: list[Any], unknown: list[Any], max_tokens: int | None
) -> None:
    values = skewed(known, 150) + known

    ours, keras = both(
        {"type": kind, "max_tokens": max_tokens}, dtype, values, probes=known + unknown,
        cuts=[40, 41, 90],
    )  # fmt: skip

    assert ours["vocabulary"]["token"] == keras["vocabulary"]
    assert ours["encoded"] == keras["encoded"]
    assert ours["spec"]["oov_index"] == 0
    assert ours["encoded"][len(known) :] == [0] * len(unknown)
    assert ours["spec"]["cardinality"] == len(keras["vocabulary"]) + 1
    assert ours["vocabulary"]["count"] == [values.count(t) for t in keras["vocabulary"]]
    if max_tokens:
        assert ours["spec"]["cardinality"] == max_tokens


@pytest.mark.parametrize("kind", ["string_categorical", "integer_categorical"])
def test_ties_by_count_go_to_the_greater_value_as_in_keras(both: Both, kind: str) -> None:
    dtype = "string" if kind.startswith("string") else "int64"
    values = ["b", "a", "é", "B", "10", "9"] if dtype == "string" else [2, 10, -3, 9]

    ours, keras = both({"type": kind}, dtype, values * 2)

    assert ours["vocabulary"]["token"] == keras["vocabulary"]
    expected = ["é", "b", "a", "B", "9", "10"] if dtype == "string" else [10, 9, 2, -3]
    assert ours["vocabulary"]["token"] == expected


@pytest.mark.parametrize(
    ("kind", "dtype", "values", "vocabulary"),
    [
        ("integer_categorical", "int64", [-1, -1, -1, 4, 4, 0], [-1, 4, 0]),
        ("integer_categorical", "int64", [4, 4, -1], [4, -1]),
        ("id", "int64", [-1, -1], [-1]),
        ("string_categorical", "string", ["[UNK]", "[UNK]", "a"], ["[UNK]", "a"]),
        ("id", "string", ["a", "a", "[UNK]"], ["a", "[UNK]"]),
    ],
)
def test_a_value_that_keras_uses_as_its_own_mark_is_a_value_like_any_other(
    in_tensorflow: Callable[..., Any],
    kind: str,
    dtype: str,
    values: list[Any],
    vocabulary: list[Any],
) -> None:
    unknown = "never" if dtype == "string" else 77

    found = in_tensorflow(
        "keras_reference:ours",
        feature={"type": kind},
        dtype=dtype,
        parts=[values],
        probes=[*vocabulary, unknown],
    )

    assert found["vocabulary"]["token"] == vocabulary
    assert found["encoded"] == [*range(1, len(vocabulary) + 1), 0]
    assert found["spec"]["cardinality"] == len(vocabulary) + 1


@pytest.mark.parametrize("max_tokens", [3, 6, 1000])
def test_texts_become_the_words_and_indices_that_keras_makes_of_them(
    both: Both, max_tokens: int
) -> None:
    feature = {"type": "text", "max_tokens": max_tokens, "sequence_length": 4}
    probes = [*TEXTS, "quite unheard tokens here", "THE", "?", "one two tie four five six"]

    ours, keras = both(feature, "string", TEXTS, probes=probes, cuts=[3, 8])

    assert ours["vocabulary"]["token"] == keras["vocabulary"]
    assert ours["encoded"] == keras["encoded"]
    spec = ours["spec"]
    assert (spec["padding_index"], spec["oov_index"], spec["width"]) == (0, 1, 4)
    assert spec["cardinality"] == len(keras["vocabulary"]) + 2 <= max_tokens
    assert ours["encoded"][TEXTS.index("!!!")] == [0, 0, 0, 0]
    assert ours["encoded"][len(TEXTS)] == [1, 1, 1, 1]


def test_capital_letters_beyond_ascii_stay_as_in_keras(both: Both) -> None:
    feature = {"type": "text", "max_tokens": 50, "sequence_length": 3}

    ours, keras = both(feature, "string", ["Á á A a ÁB", "Á"])

    assert set(ours["vocabulary"]["token"]) == set(keras["vocabulary"]) == {"Á", "á", "a", "Áb"}
    assert ours["vocabulary"]["token"] == keras["vocabulary"]


@pytest.mark.parametrize("max_tokens", [None, 5])
def test_lists_get_the_indices_that_keras_gives_their_values(
    both: Both, max_tokens: int | None
) -> None:
    genres = ["Drama", "Comedy", "Film-Noir", "Children's", "drama", "Áction"]
    rng = np.random.default_rng(2)
    values = [list(rng.choice(genres, rng.integers(0, 4), replace=False)) for _ in range(60)]
    values = [[str(value) for value in row] for row in values]
    feature = {"type": "multi_categorical", "max_tokens": max_tokens, "max_values": 3}
    probes = [*values[:9], [], ["never"], ["Drama", "never", "Comedy", "Drama"], [""]]

    ours, keras = both(feature, "list<string>", values, probes=probes, cuts=[1, 30])

    assert ours["vocabulary"]["token"] == keras["vocabulary"]
    assert ours["encoded"] == keras["encoded"]
    assert ours["encoded"][9:11] == [[0, 0, 0], [1, 0, 0]]
    assert ours["encoded"][-1] == [0, 0, 0]
    assert ours["spec"]["cardinality"] == len(keras["vocabulary"]) + 2


def test_empty_values_in_lists_are_no_values(in_tensorflow: Callable[..., Any]) -> None:
    values = [["a", ""], [""], ["b", None, "a"], []]

    found = in_tensorflow(
        "keras_reference:ours",
        feature={"type": "multi_categorical"},
        dtype="list<string>",
        parts=[values],
        probes=values,
    )

    assert found["vocabulary"] == {"token": ["a", "b"], "count": [2, 1]}
    assert found["encoded"] == [[2, 0, 0], [0, 0, 0], [3, 0, 2], [0, 0, 0]]


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_normalization_has_keras_mean_and_variance(both: Both, dtype: str) -> None:
    rng = np.random.default_rng(4)
    values = (rng.normal(1000, 3, 700) if dtype == "float32" else rng.integers(0, 90, 700)).tolist()

    ours, keras = both(
        {"type": "float_normalized"}, dtype, values, probes=[*values[:5], -5, 10_000],
        cuts=[1, 2, 500],
    )  # fmt: skip

    # Keras sums in float32 here, adapt in float64.
    assert ours["moments"] == pytest.approx(keras["moments"], rel=2e-5)
    assert ours["encoded"] == pytest.approx(keras["encoded"], rel=1e-3, abs=1e-3)
    exact = np.array(values, dtype).astype(np.float64)
    assert ours["moments"] == pytest.approx((exact.mean(), exact.var()), rel=1e-12)


@pytest.mark.parametrize(
    ("feature", "dtype", "probes"),
    [
        ({"type": "float"}, "float32", [1.5, -2.25, 1e30]),
        ({"type": "float"}, "int64", [3, -2, 10**12]),
        ({"type": "float_rescaled", "scale": 0.25, "offset": -0.5}, "float32", [1.0, -4.0, 1e30]),
        ({"type": "float_rescaled", "scale": 0.25, "offset": -0.5}, "int64", [1, -4, 10**12]),
        ({"type": "string_hashed", "num_bins": 7}, "string", [*STRINGS, "", "never"]),
        ({"type": "integer_hashed", "num_bins": 7}, "int64", [*INTEGERS, *IDS, -1]),
    ],
)
def test_features_that_learn_nothing_encode_as_keras_does(
    both: Both, feature: dict[str, Any], dtype: str, probes: list[Any]
) -> None:
    ours, keras = both(feature, dtype, probes[:2], probes=probes)

    assert ours["encoded"] == keras["encoded"]
    assert ours["vocabulary"] is None
    assert ours["spec"]["cardinality"] == feature.get("num_bins")


# --- discretization -------------------------------------------------------------------------------

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(size=5000),
    "exponential": lambda rng: rng.exponential(size=700),
    "ages": lambda rng: np.clip(rng.normal(33, 12, 8000).round(), 7, 73),
    "small": lambda rng: rng.integers(0, 50, 60),
    "uniform_100": lambda rng: rng.permutation(100),
    "counts": lambda rng: rng.poisson(1, 3000),
}
EPSILON = 0.01  # the share of rows by which Keras's own boundaries may be off


def assert_cut_alike(rows: np.ndarray, found: list[float], keras: list[float]) -> None:
    """One of our boundaries cuts off the share of rows that each of Keras's does.

    Apart from epsilon they may be on two sides of one value, however many rows have it.
    """
    for boundary in keras:
        nearest = min(found, key=lambda ours: abs((rows < ours).mean() - (rows < boundary).mean()))
        between = rows[(rows >= min(boundary, nearest)) & (rows < max(boundary, nearest))]
        _, counts = np.unique(between, return_counts=True)
        one_value = max(counts, default=0)
        assert (len(between) - one_value) / len(rows) <= EPSILON, (boundary, nearest)


@pytest.mark.parametrize("num_bins", [2, 4, 10])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_boundaries_cut_the_rows_where_keras_cuts_them(
    both: Both, distribution: str, num_bins: int
) -> None:
    rows = DISTRIBUTIONS[distribution](np.random.default_rng(9)).astype(np.float32)
    probes = [float(rows.min()) - 1e6, float(rows.max()) + 1e6]

    ours, keras = both(
        {"type": "float_discretized", "num_bins": num_bins}, "float32", rows.tolist(),
        probes=probes, cuts=[len(rows) // 3, len(rows) // 2],
    )  # fmt: skip

    found = ours["spec"]["bin_boundaries"]
    assert_cut_alike(rows, found, keras["boundaries"])
    assert found == sorted(set(found))
    assert len(found) <= num_bins - 1
    assert ours["spec"]["cardinality"] == len(found) + 1
    # Numbers outside every bin get the first and the last.
    assert ours["encoded"] == [0, len(found)]
    if distribution != "counts":  # there, some boundaries are equal
        assert len(found) == num_bins - 1
        assert keras["encoded"] == ours["encoded"]


@pytest.mark.parametrize("num_bins", [2, 3, 5, 10])
def test_without_rounding_boundaries_are_keras_own_numbers(both: Both, num_bins: int) -> None:
    # Keras keeps every row while there are fewer than 1 / epsilon.
    rows = np.random.default_rng(num_bins).choice([1, 1, 2, 3, 5, 8, 13, 2.5], 99).tolist()

    ours, keras = both({"type": "float_discretized", "num_bins": num_bins}, "float32", rows)

    expected = np.unique(np.array(keras["boundaries"], np.float32))
    assert ours["spec"]["bin_boundaries"] == pytest.approx(expected.tolist())


def test_few_distinct_values_get_the_bins_of_keras(both: Both) -> None:
    ages = np.repeat([18, 25, 35, 45, 50, 56], [90, 210, 350, 180, 100, 70]).tolist()
    values = [1, 17, 18, 24, 25, 34, 35, 44, 45, 49, 50, 55, 56, 90]

    ours, keras = both(
        {"type": "float_discretized", "num_bins": 4}, "int64", ages, probes=values, cuts=[300]
    )

    assert ours["spec"]["bin_boundaries"] == pytest.approx(keras["boundaries"], abs=0.5)
    assert ours["encoded"] == keras["encoded"]


def test_a_value_on_a_boundary_belongs_to_the_bin_above_it(
    in_tensorflow: Callable[..., Any],
) -> None:
    found = in_tensorflow(
        "keras_reference:ours",
        feature={"type": "float_discretized", "num_bins": 2},
        dtype="float32",
        parts=[[1.0, 2.0], [3.0, 4.0]],
        probes=[1.999, 2.0, 2.001],
    )

    assert found["spec"]["bin_boundaries"] == [2.0]
    assert found["encoded"] == [0, 1, 1]


@pytest.mark.parametrize(
    ("feature", "dtype", "value", "encoded"),
    [
        ({"type": "integer_categorical"}, "int64", 4, 1),
        ({"type": "string_categorical"}, "string", "only", 1),
        ({"type": "float_discretized", "num_bins": 5}, "float32", 2.5, 1),
        ({"type": "float_normalized"}, "float32", 0.1, 0),
        ({"type": "id"}, "string", "me", 1),
    ],
)
def test_a_feature_with_one_value_is_encoded_with_a_warning(
    in_tensorflow: Callable[..., Any], feature: dict[str, Any], dtype: str, value: Any, encoded: int
) -> None:
    found = in_tensorflow(
        "keras_reference:ours",
        feature=feature,
        dtype=dtype,
        parts=[[value] * 7, [value] * 1001, [value]],
        probes=[value],
    )

    assert found["encoded"] == [encoded]
    assert "one value only" in found["warning"]
    assert str(value) in found["warning"]


def test_more_than_one_value_gives_no_warning(in_tensorflow: Callable[..., Any]) -> None:
    for feature, dtype, values in (
        ({"type": "integer_categorical"}, "int64", [1, 2]),
        ({"type": "float_discretized", "num_bins": 5}, "float32", [1.0, 1.5]),
        ({"type": "float_normalized"}, "float32", [1.0, 1.5]),
    ):
        found = in_tensorflow(
            "keras_reference:ours", feature=feature, dtype=dtype, parts=[values], probes=values
        )
        assert found["warning"] is None


# --- the real MovieLens 100K ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def movielens_100k(movielens_archive: Path) -> dict[str, list[Any]]:
    """Columns of the archive as they stand in it: titles and genres by item, users by rating."""
    with zipfile.ZipFile(movielens_archive) as archive:
        items, users, ratings = (
            [
                line.split("|" if "|" in line else "\t")
                for line in archive.read(f"ml-100k/{name}").decode("latin-1").splitlines()
            ]
            for name in ("u.item", "u.user", "u.data")
        )
    user = {row[0]: row for row in users}
    of_rating = [user[row[0]] for row in ratings]
    return {
        "title": [row[1] for row in items],
        "genres": [[str(i) for i, flag in enumerate(row[5:]) if flag == "1"] for row in items],
        "age": [float(row[1]) for row in of_rating],
        "gender": [int(row[2] == "M") for row in of_rating],
        "occupation": [row[3] for row in of_rating],
        "user_id": [row[0] for row in of_rating],
    }


@pytest.mark.movielens
@pytest.mark.parametrize(
    ("column", "feature", "dtype"),
    [
        ("title", {"type": "text", "max_tokens": 10_000, "sequence_length": 16}, "string"),
        ("title", {"type": "text", "max_tokens": 1000, "sequence_length": 16}, "string"),
        ("genres", {"type": "multi_categorical", "max_values": 6}, "list<string>"),
        ("occupation", {"type": "string_categorical"}, "string"),
        ("gender", {"type": "integer_categorical"}, "int64"),
        ("user_id", {"type": "id"}, "string"),
    ],
)
def test_movielens_vocabularies_and_indices_are_those_of_keras(
    both: Both,
    movielens_100k: dict[str, list[Any]],
    column: str,
    feature: dict[str, Any],
    dtype: str,
) -> None:
    values = movielens_100k[column]

    ours, keras = both(feature, dtype, values, probes=values[:1682], cuts=[500, 1000])

    assert ours["vocabulary"]["token"] == keras["vocabulary"]
    assert ours["encoded"] == keras["encoded"]


@pytest.mark.movielens
@pytest.mark.parametrize("num_bins", [4, 10])
def test_movielens_ages_are_cut_where_keras_cuts_them(
    both: Both, movielens_100k: dict[str, list[Any]], num_bins: int
) -> None:
    ages = movielens_100k["age"]

    ours, keras = both(
        {"type": "float_discretized", "num_bins": num_bins}, "float32", ages,
        probes=sorted(set(ages)), cuts=[12_345, 60_000],
    )  # fmt: skip

    found = ours["spec"]["bin_boundaries"]
    assert found == pytest.approx(keras["boundaries"], abs=0.5)
    assert_cut_alike(np.array(ages), found, keras["boundaries"])
