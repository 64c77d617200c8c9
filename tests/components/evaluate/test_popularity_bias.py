"""Novelty and debiased metrics."""

import numpy as np
import pytest

from components.evaluate.popularity_bias import debiased, item_novelty, novelty
from components.shared.retrieval.targets import Targets


def test_novelty_is_that_of_rectools_example() -> None:
    # Its docstring: items 1, 2, 3 are 0, 1, 2 here; nobody had the last one.
    of_item = item_novelty(np.array([0, 0, 1, 2]), np.array([0, 1, 0, 0]), 3)
    first = np.array([[2], [1], [0]])
    lists = np.array([[2, -1], [1, 2], [0, 1]])

    assert of_item == pytest.approx([0, np.log2(3), np.log2(3)])
    assert novelty(first, of_item) == pytest.approx(np.mean([1.5849625, 1.5849625, 0]))
    assert novelty(lists, of_item) == pytest.approx(np.mean([1.5849625, 1.5849625, 0.79248125]))


def test_repeated_interactions_are_one_user_and_empty_lists_do_not_count() -> None:
    of_item = item_novelty(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 1]), 2)

    assert of_item.tolist() == [1, 1]
    assert novelty(np.array([[-1, -1], [0, -1]]), of_item) == 1
    assert novelty(np.array([[-1]]), of_item) == 0


def _targets(counts: list[int]) -> Targets:
    candidate = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    query = np.concatenate([np.arange(count) for count in counts])
    return Targets(query, candidate)


def test_items_above_the_border_are_down_sampled_to_it() -> None:
    counts = [1, 2, 2, 3, 3, 4, 40]  # quartiles 2 and 3.5: the border is int(3.5 + 2.25) = 5
    targets = _targets(counts)

    kept = debiased(targets, np.arange(40))

    assert np.bincount(targets.candidate[kept]).tolist() == [1, 2, 2, 3, 3, 4, 5]
    assert kept.tolist() == debiased(targets, np.arange(40)).tolist()
    # Not the first ones: the sample is random.
    assert targets.query[kept & (targets.candidate == 6)].tolist() != [0, 1, 2, 3, 4]


def test_items_of_equal_popularity_are_all_kept() -> None:
    assert debiased(_targets([3, 3, 3]), np.arange(3)).all()
    nothing = Targets(np.zeros(0, np.int64), np.zeros(0, np.int32))
    assert debiased(nothing, np.arange(0)).tolist() == []
