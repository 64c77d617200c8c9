"""The search for a baseline's best settings on the validation split.

Settings are points of a grid. From a first point, the search goes step by step in
the direction that helps, and ends where no neighbour is better: a fraction of the
fits of the whole grid. The order is fixed, so that a search that a time budget ends
has tried the most promising settings.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Point = tuple[int, ...]  # a place on each axis of the grid
_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class Found(Generic[_Settings]):
    """The best settings.

    Args:
        settings: The best ones that were tried, the first among equals.
        validation: Their value on the validation split.
        tried: Number of settings that were tried.
        cut: Whether the time budget ended the search before it was done.
    """

    settings: _Settings
    validation: float
    tried: int
    cut: bool


class Search(Generic[_Settings]):
    """Climbs a grid of settings.

    Args:
        name: The baseline, for progress lines.
        settings_at: Returns the settings of a point; None for a point that is not on
            the grid.
        measure: Fits settings and returns their value on the validation split.
        seconds: No further settings are tried after this time; a fit is never
            interrupted.
        clock: Returns seconds that only increase.
    """

    def __init__(
        self,
        name: str,
        settings_at: Callable[[Point], _Settings | None],
        measure: Callable[[_Settings], float],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._name = name
        self._settings_at = settings_at
        self._measure = measure
        self._clock = clock
        self._ends = clock() + seconds
        self._values: dict[Point, float] = {}
        self._cut = False

    def climb(self, first: Point, steps: Sequence[Point]) -> Found[_Settings]:
        """Search from a point, which is tried in any case.

        Args:
            first: Where to begin.
            steps: The directions to go, those first that promise most.

        Raises:
            ValueError: If the first point is not on the grid.
        """
        best, improved = first, True
        self._value(first)
        while improved and not self._cut:
            improved = False
            for step in steps:
                while self._is_better(best, after := _moved(best, step)):
                    best, improved = after, True
        return Found(self._on_grid(best), self._values[best], len(self._values), self._cut)

    def _is_better(self, best: Point, point: Point) -> bool:
        if self._settings_at(point) is None:
            return False
        if point not in self._values and self._clock() >= self._ends:
            self._cut = True
            return False
        return self._value(point) > self._values[best]

    def _value(self, point: Point) -> float:
        if point not in self._values:
            settings = self._on_grid(point)
            began = self._clock()
            value = self._values[point] = self._measure(settings)
            logger.info(
                f"{self._name}: tuning, try {len(self._values)}: {settings}: {value:.4f} "
                f"({self._clock() - began:.1f} s)"
            )
        return self._values[point]

    def _on_grid(self, point: Point) -> _Settings:
        settings = self._settings_at(point)
        if settings is None:
            raise ValueError(f"{point} is not on the grid")
        return settings


def _moved(point: Point, step: Point) -> Point:
    return tuple(place + change for place, change in zip(point, step, strict=True))
