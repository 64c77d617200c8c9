"""The summary that quantiles are computed from: exact, mergeable, bounded."""

import numpy as np
import pytest

from components.shared.features import quantiles
from components.shared.features.quantiles import QuantileSummary


def parts_of(values: np.ndarray, parts: int, seed: int) -> list[QuantileSummary]:
    """Summaries of a random partition of the rows, some parts empty perhaps."""
    rng = np.random.default_rng(seed)
    part = rng.integers(0, parts, len(values))
    return [QuantileSummary.of(values[part == number]) for number in rng.permutation(parts)]


def shares_below(values: np.ndarray, boundaries: list[float]) -> np.ndarray:
    """The share of rows below each boundary."""
    return np.array([(values < boundary).mean() for boundary in boundaries])


def rank_error(values: np.ndarray, found: float, share: float) -> float:
    """How far a share is from the ranks that a value has."""
    return max((values < found).mean() - share, share - (values <= found).mean(), 0.0)


def test_a_summary_counts_each_distinct_value() -> None:
    summary = QuantileSummary.of(np.array([[3, 1], [3, 3], [-2, 1]]))

    assert summary.values.tolist() == [-2, 1, 3]
    assert summary.weights.tolist() == [1, 2, 3]
    assert summary.rows == 6
    assert summary.values.dtype == summary.weights.dtype == np.float64


def test_large_integers_are_kept_apart() -> None:
    timestamps = np.array([1_700_000_001, 1_700_000_000, 1_700_000_001])

    assert QuantileSummary.of(timestamps).values.tolist() == [1_700_000_000, 1_700_000_001]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("parts", [1, 2, 7, 200])
def test_merged_parts_equal_the_whole_whatever_the_split_and_order(parts: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 60, 500).astype(np.float32) / 8

    merged = QuantileSummary.merged(parts_of(values, parts, seed))

    whole = QuantileSummary.of(values)
    np.testing.assert_array_equal(merged.values, whole.values)
    np.testing.assert_array_equal(merged.weights, whole.weights)


def test_merging_is_associative_and_nothing_is_its_neutral_element() -> None:
    a, b, c = (QuantileSummary.of(np.array(rows)) for rows in ([1, 2], [2, 2, 5], [0]))
    nothing = QuantileSummary.merged([])

    left = QuantileSummary.merged([QuantileSummary.merged([a, b]), c])
    right = QuantileSummary.merged([nothing, a, QuantileSummary.merged([c, b]), nothing])

    assert left.values.tolist() == right.values.tolist() == [0, 1, 2, 5]
    assert left.weights.tolist() == right.weights.tolist() == [1, 1, 3, 1]
    assert nothing.rows == 0


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.1, 1), (0.4, 1), (0.41, 2), (0.5, 2), (0.6, 5), (1.0, 5)]
)
def test_value_at_is_the_least_value_that_a_share_of_the_rows_does_not_exceed(
    share: float, expected: float
) -> None:
    summary = QuantileSummary.of(np.array([1, 1, 1, 1, 2, 5, 5, 5, 5, 5]))

    assert summary.value_at(share) == expected


def test_value_at_knows_a_single_row() -> None:
    assert [QuantileSummary.of(np.array([7.5])).value_at(share) for share in (0, 0.5, 1)] == [
        7.5
    ] * 3


@pytest.mark.parametrize("points", [50, 400])
@pytest.mark.parametrize("parts", [1, 3, 40])
@pytest.mark.parametrize("distribution", ["normal", "exponential", "few_and_many"])
def test_beyond_the_most_points_ranks_stay_within_bounds(
    monkeypatch: pytest.MonkeyPatch, points: int, parts: int, distribution: str
) -> None:
    monkeypatch.setattr(quantiles, "MAX_POINTS", points)
    rng = np.random.default_rng(points + parts)
    values = {
        "normal": lambda: rng.normal(size=20_000),
        "exponential": lambda: rng.exponential(size=20_000),
        # One value that half of the rows have, others that are there once.
        "few_and_many": lambda: np.where(rng.random(20_000) < 0.5, 0.25, rng.random(20_000)),
    }[distribution]()

    merged = QuantileSummary.merged(parts_of(values, parts, seed=parts))

    assert len(merged.values) <= points
    assert merged.rows == len(values)
    assert (np.diff(merged.values) > 0).all()
    assert (merged.weights > 0).all()
    assert (merged.values[0], merged.values[-1]) == (values.min(), values.max())
    # A part is compressed once, and once more when it is merged.
    errors = [rank_error(values, merged.value_at(share), share) for share in np.linspace(0, 1, 97)]
    assert max(errors) <= 2 / points
    wanted = np.arange(1, 8) / 8
    found = merged.bin_boundaries(8)
    if distribution != "few_and_many":  # there, equal boundaries are kept once
        assert np.abs(shares_below(values, found) - wanted).max() <= 3 / points


def test_a_chain_of_many_merges_stays_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "MAX_POINTS", 1000)
    values = np.random.default_rng(3).normal(size=30_000)
    summary = QuantileSummary.merged([])
    for part in np.split(values, 30):
        summary = QuantileSummary.merged([summary, QuantileSummary.of(part)])

    assert summary.rows == len(values)
    assert max(rank_error(values, summary.value_at(s), s) for s in np.linspace(0, 1, 33)) < 0.03


def test_exact_up_to_the_most_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "MAX_POINTS", 100)

    assert len(QuantileSummary.of(np.arange(100)).values) == 100
    assert len(QuantileSummary.of(np.arange(101)).values) <= 100
    assert QuantileSummary.of(np.arange(101)).values[-1] == 100


@pytest.mark.parametrize("num_bins", [2, 3, 10, 100])
def test_bins_of_distinct_values_hold_about_equally_many_rows(num_bins: int) -> None:
    values = np.random.default_rng(num_bins).permutation(2000).astype(np.float32)

    boundaries = QuantileSummary.of(values).bin_boundaries(num_bins)

    sizes = np.bincount(np.digitize(values, boundaries))
    assert len(sizes) == num_bins
    assert sizes.max() - sizes.min() <= 2


def test_a_constant_has_one_boundary_which_is_its_value() -> None:
    assert QuantileSummary.of(np.full(100, 3.5)).bin_boundaries(10) == [3.5]
    assert QuantileSummary.of(np.array([3.5])).bin_boundaries(2) == [3.5]


@pytest.mark.parametrize("num_bins", [2, 4, 10, 50])
def test_few_distinct_values_are_boundaries_themselves_and_leave_no_empty_bin_between(
    num_bins: int,
) -> None:
    values = np.repeat([1.0, 2.0, 3.0, 10.0], [40, 30, 20, 10])

    boundaries = QuantileSummary.of(values).bin_boundaries(num_bins)

    assert set(boundaries) <= {1.0, 2.0, 3.0, 10.0}
    sizes = np.bincount(np.digitize(values, boundaries), minlength=len(boundaries) + 1)
    assert (sizes[1:] > 0).all()


def test_boundaries_ascend_strictly_as_float32() -> None:
    # Distinct as float64, equal as float32: comparing is done in float32.
    values = 1.0 + np.arange(10) * 1e-9

    assert QuantileSummary.of(values).bin_boundaries(5) == [1.0]
