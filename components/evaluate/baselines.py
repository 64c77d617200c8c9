"""What needs no towers: counting, and collaborative filtering without features.

- **most_popular**: the items with most interactions before the test part.
- **most_liked**: those with most interactions whose label counts as relevant.
- **ease**: `components.evaluate.ease`.
- **ials**: `components.evaluate.ials`.

The settings of the last two are those of a small grid that do best in the
headline metric on the validation part, fitted on the training part; by the
headline's protocol, so the user's training items are left out if it is
filtered. With these they are fitted again on both parts, as the most popular
items are counted in both. The test part has no say in it.

ease and ials know users by their interactions only. Who has none gets the most
popular items. A user whose features change has several queries, with one list.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate.config import EvaluateConfig
from components.evaluate.ease import ease_weights, fitted_ease, gram
from components.evaluate.ials import fit_ials
from components.evaluate.test_data import PROTOCOLS, TestData
from components.evaluate.user_items import Fitted, UserItems
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, read_table
from components.shared.retrieval.metrics import ranking_metrics
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.targets import Targets
from components.shared.retrieval.top_k import retrieve
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError

# Weightings: each pair of a user and an item counts as 1, as often as it is there, or by its
# label. EASE's are in the order in which X^T X is made once for each.
EASE_GRID: list[dict[str, Any]] = [
    {"weighting": weighting, "l2": l2}
    for weighting in ("equal", "label")
    for l2 in (50.0, 100.0, 200.0, 500.0, 1000.0)
]
# More regularization goes with more confidence.
IALS_GRID: list[dict[str, Any]] = [
    {
        "weighting": weighting,
        "factors": factors,
        "regularization": regularization,
        "alpha": alpha,
        "iterations": 10,
    }
    for weighting in ("count", "label")
    for factors, regularization, alpha in (
        (32, 10.0, 5.0),
        (32, 30.0, 5.0),
        (64, 30.0, 5.0),
        (64, 60.0, 20.0),
    )
]
_GRIDS = {"ease": EASE_GRID, "ials": IALS_GRID}


@dataclass(frozen=True)
class Baselines:
    """What the baselines recommend.

    Args:
        lists: By baseline and protocol, `(queries, k) int32`, best first, -1 where
            nothing is left.
        settings: By baseline that has any: those chosen, their `validation`
            value, and how many were `tried`.
        left_out: Why a baseline that was asked for is not there.
    """

    lists: dict[str, dict[str, np.ndarray]]
    settings: dict[str, dict[str, Any]]
    left_out: dict[str, str]


def baseline_lists(data: TestData, settings: EvaluateConfig, encoded: Path, k: int) -> Baselines:
    """Fits the baselines and retrieves from them for the test part's queries.

    Args:
        data: The test part, of which only the queries' users count here, and what
            was known before it.
        settings: Which baselines; the headline that they are tuned for.
        encoded: What adapt wrote; for the validation part's queries.
        k: How many items.

    Raises:
        InputError: If no validation row is relevant, so that nothing can be tuned.
    """
    left_out = _left_out(data, settings)
    names = [name for name in settings.baselines if name not in left_out]
    popular = {
        protocol: _most_frequent(data.popularity, len(data.queries), k, data.left_out(protocol))
        for protocol in PROTOCOLS
    }
    lists: dict[str, dict[str, np.ndarray]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    tuned = [name for name in names if name in ("ease", "ials")]
    validation = _Validation(data, settings, encoded) if tuned else None
    known = UserItems.of(data.known, data.candidates) if tuned else None
    for name in names:
        if name == "most_popular":
            lists[name] = popular
        elif name == "most_liked":
            liked = to_numpy(data.known[LABEL]) > data.spec.relevant_above
            item = to_numpy(data.known[CANDIDATE_INDEX])[liked]
            counts = np.bincount(item, minlength=data.candidates)
            lists[name] = {
                protocol: _most_frequent(counts, len(data.queries), k, data.left_out(protocol))
                for protocol in PROTOCOLS
            }
        else:
            assert validation is not None
            assert known is not None
            chosen[name] = validation.best(name)
            setting = {key: chosen[name][key] for key in _GRIDS[name][0]}
            fitted = next(_fits(name, known, [setting]))
            lists[name] = {
                protocol: known.rank(
                    fitted,
                    data.queries.ids,
                    popular[protocol],
                    leave_out=protocol == "filtered",
                )
                for protocol in PROTOCOLS
            }
    return Baselines(lists, chosen, left_out)


def _left_out(data: TestData, settings: EvaluateConfig) -> dict[str, str]:
    reasons = {}
    if "most_liked" in settings.baselines and data.spec.relevant_above is None:
        reasons["most_liked"] = (
            "features.label.relevant_above is not set, so that every interaction is liked and "
            "this is most_popular"
        )
    if "ease" in settings.baselines and data.candidates > settings.ease_max_candidates:
        reasons["ease"] = (
            f"the catalogue has {data.candidates:,} candidates, more than "
            f"evaluate.ease_max_candidates ({settings.ease_max_candidates:,}); memory grows with "
            "the square of their number and time with the cube. Raise that setting to have it"
        )
    if "ials" in settings.baselines and data.known.num_rows > settings.ials_max_interactions:
        reasons["ials"] = (
            f"the log has {data.known.num_rows:,} interactions before the test part, more than "
            f"evaluate.ials_max_interactions ({settings.ials_max_interactions:,}); tuning it fits "
            f"it {len(IALS_GRID)} times. Raise that setting to have it"
        )
    return reasons


def _most_frequent(counts: np.ndarray, queries: int, k: int, seen: SeenItems | None) -> np.ndarray:
    """Counts as vectors of one number: every query is 1, an item is its count."""
    ones = np.ones((queries, 1), np.float32)
    return retrieve(ones, counts[:, None].astype(np.float32), k, seen)[0]


def _fits(name: str, known: UserItems, grid: list[dict[str, Any]]) -> Iterator[Fitted]:
    """Fits a baseline with each of some settings."""
    if name == "ease":
        for weighting, settings in itertools.groupby(grid, key=lambda s: s["weighting"]):
            matrix = known.weighted(weighting)
            products = gram(matrix)
            for setting in settings:
                yield fitted_ease(matrix, ease_weights(products, setting["l2"]))
    else:
        for setting in grid:
            numbers = {key: value for key, value in setting.items() if key != "weighting"}
            yield fit_ials(known.weighted(setting["weighting"]), **numbers)


class _Validation:
    """The validation part, on which settings are compared."""

    def __init__(self, data: TestData, settings: EvaluateConfig, encoded: Path):
        train = data.known.slice(0, data.train_rows)
        validation = read_table(encoded / "interactions" / "validation")
        self._known = UserItems.of(train, data.candidates)
        self._queries = QuerySet.of(validation, data.spec.query)
        self._targets = Targets.of(validation, self._queries, data.spec.relevant_above)
        if not len(self._targets):
            raise InputError(
                f"features.label.relevant_above: no label in the validation part is above "
                f"{data.spec.relevant_above}, so that ease and ials cannot be tuned. Lower it, "
                f"or leave them out of evaluate.baselines."
            )
        self._filtered = settings.headline_protocol == "filtered"
        self._k = settings.headline_k
        self._metric = settings.headline_metric.partition("_at_")[0]
        counts = np.bincount(to_numpy(train[CANDIDATE_INDEX]), minlength=data.candidates)
        seen = SeenItems.of(self._queries, train) if self._filtered else None
        self._popular = _most_frequent(counts, len(self._queries), self._k, seen)
        self._labels_differ = data.spec.label_range[0] < data.spec.label_range[1]

    def best(self, name: str) -> dict[str, Any]:
        """The settings that do best, the first among equals, and how well."""
        grid = [
            setting
            for setting in _GRIDS[name]
            if self._labels_differ or setting["weighting"] != "label"
        ]
        values = [self._value(fitted) for fitted in _fits(name, self._known, grid)]
        best = int(np.argmax(values))
        return {**grid[best], "validation": values[best], "tried": len(grid)}

    def _value(self, fitted: Fitted) -> float:
        lists = self._known.rank(fitted, self._queries.ids, self._popular, leave_out=self._filtered)
        ranks = self._targets.ranks(lists)
        return ranking_metrics(ranks, self._targets.query, self._k)[self._metric]
