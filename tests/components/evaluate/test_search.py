"""The search for a baseline's settings."""

import itertools

import pytest

from components.evaluate.search import Point, Search

STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def _on_grid(point: Point) -> Point | None:
    return point if all(place in range(10) for place in point) else None


def _hill(top: Point) -> dict[Point, float]:
    grid = itertools.product(range(10), repeat=2)
    return {(x, y): -((x - top[0]) ** 2) - (y - top[1]) ** 2 for x, y in grid}


@pytest.mark.parametrize("top", [(0, 0), (4, 4), (9, 2), (3, 9)])
def test_the_top_is_found_with_a_fraction_of_the_tries(top: Point) -> None:
    tried: list[Point] = []

    def measure(point: Point) -> float:
        tried.append(point)
        return _hill(top)[point]

    found = Search("x", _on_grid, measure, 1e9).climb((4, 4), STEPS)

    assert found.settings == top
    assert found.validation == 0
    assert not found.cut
    assert found.tried == len(tried) == len(set(tried)) <= 20
    assert tried[0] == (4, 4)


def test_of_equal_settings_the_first_is_kept() -> None:
    found = Search("x", _on_grid, lambda point: 1.0, 1e9).climb((4, 4), STEPS)

    assert (found.settings, found.tried) == ((4, 4), 5)


@pytest.mark.parametrize(("seconds", "tried"), [(0, 1), (2.5, 3), (1e9, 12)])
def test_the_budget_ends_the_search_but_never_the_first_try(seconds: float, tried: int) -> None:
    now = 0.0

    def measure(point: Point) -> float:
        nonlocal now
        now += 1  # each fit takes a second
        return _hill((9, 9))[point]

    search = Search("x", _on_grid, measure, seconds, clock=lambda: now)
    found = search.climb((4, 4), STEPS)

    assert found.tried == tried
    assert found.cut is (tried < 12)
    assert found.settings == ((9, 9) if tried == 12 else (4, 3 + tried))


def test_the_first_point_must_be_on_the_grid() -> None:
    with pytest.raises(ValueError, match="not on the grid"):
        Search("x", _on_grid, lambda point: 0.0, 1.0).climb((10, 0), STEPS)
