"""The generated shops are what the benchmarks say of them."""

import pytest
from made_shops import SHOPS, cold_share, made_log


def test_a_third_of_the_cold_shops_test_users_are_almost_unknown() -> None:
    assert cold_share(made_log(SHOPS["cold"], seed=0)) == pytest.approx(1 / 3, abs=0.03)


def test_the_same_seed_gives_the_same_log_and_another_one_another() -> None:
    first, again, other = (made_log(SHOPS["sparse"], seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
