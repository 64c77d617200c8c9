"""New users are held out of training entirely, and iALS finds their vectors by least squares."""

import numpy as np
import pytest
from new_users import NewUsers, divided, folded_in

from components.shared.contracts.tuned import IalsSettings

USERS, ITEMS = 100, 40


@pytest.fixture(scope="module")
def log() -> dict[str, np.ndarray]:
    """A log of which each user has ten to twenty of the items."""
    rng = np.random.default_rng(0)
    counts = rng.integers(10, 21, USERS)
    return {
        "user": np.repeat(np.arange(USERS), counts),
        "item": np.concatenate([rng.permutation(ITEMS)[:count] for count in counts]),
        "time": rng.permutation(counts.sum()),
    }


def test_a_fifth_of_the_items_of_each_held_out_user_are_hidden(log: dict[str, np.ndarray]) -> None:
    data = divided(log, seed=1)
    for users, number in ((data.test, 20), (data.validation, 10)):
        hidden = np.bincount(users.hidden_user, minlength=number)
        shown = users.shown.sum(axis=1)
        assert len(shown) == number
        np.testing.assert_array_equal(hidden, (hidden + shown) // 5)
        assert not users.shown[users.hidden_user, users.hidden_item].any()
    assert len(data.train["user"]) + sum(
        users.shown.nnz + len(users.hidden_user) for users in (data.test, data.validation)
    ) == len(log["user"])


def test_profiles_hold_what_is_shown_the_latest_first(log: dict[str, np.ndarray]) -> None:
    data = divided(log, seed=1)
    held_out = np.setdiff1d(log["user"], data.train["user"])
    histories = set()
    for user in held_out:
        rows = np.flatnonzero(log["user"] == user)
        histories.add(tuple(log["item"][rows[np.argsort(-log["time"][rows])]]))
    for row, profile in enumerate(data.test.profiles):
        items = profile[profile > 0] - 1
        assert set(items) == set(data.test.shown[[row]].indices)
        assert any(_is_part(list(items), list(history)) for history in histories)


def _is_part(part: list[int], whole: list[int]) -> bool:
    """Whether a list has these values in this order, perhaps with others between them."""
    rest = iter(whole)
    return all(value in rest for value in part)


def test_a_folded_in_user_is_the_least_squares_solution(log: dict[str, np.ndarray]) -> None:
    vectors = np.random.default_rng(2).normal(size=(ITEMS, 4))
    users: NewUsers = divided(log, seed=1).test
    settings = IalsSettings(
        weighting="count", factors=4, regularization=3.0, alpha=5.0, iterations=1
    )
    scores = folded_in(vectors, settings)(users)
    shown = users.shown.toarray()
    for own, found in zip(shown, scores, strict=True):
        # Each row by the root of its confidence; the last ones are the penalty.
        root = np.sqrt(1 + settings.alpha * own)
        matrix = np.vstack([vectors * root[:, None], np.sqrt(3.0) * np.eye(4)])
        user, *_ = np.linalg.lstsq(matrix, np.append(own * root, np.zeros(4)), rcond=None)
        np.testing.assert_allclose(found, vectors @ user, atol=1e-6)
