"""Baselines: rankers that need no towers and see no features.

- **most_popular**: the items with the most interactions before the test split.
- **recent_popular**: those of the last days; `components.evaluate.recent`.
- **most_liked**: the items with most interactions whose label counts as relevant.
- **ease**: `components.evaluate.ease`.
- **ials**: `components.evaluate.ials`.

The settings of recent_popular, ease and ials are chosen on the validation split.
With these they are fitted again, to the training and the validation split, on which
popularity is counted as well.

ease and ials represent users only by their interactions. Users without any get
the most popular items. A user whose features change has several queries, with
the same list.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from components.evaluate.config import EvaluateConfig
from components.evaluate.ease import Ease, memory_needed, tune_ease
from components.evaluate.ials import fit_ials, tune_ials
from components.evaluate.measuring import Lists
from components.evaluate.popularity import most_frequent
from components.evaluate.recent import DAYS, recent_counts, span_in_days, tune_recent
from components.evaluate.search import Found
from components.evaluate.test_data import TestData
from components.evaluate.tuning import Validation
from components.evaluate.user_items import Fitted, UserItems
from components.shared.contracts.evaluation import BaselineNotes
from components.shared.contracts.metric import PROTOCOLS
from components.shared.contracts.rankers import BASELINE_LABELS, Baseline
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL
from components.shared.contracts.tuned import Tuned, TunedEase, TunedIals, TunedRecent
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.memory import available_memory

logger = logging.getLogger(__name__)

_TUNED = frozenset({"recent_popular", "ease", "ials"})


@dataclass(frozen=True)
class Baselines:
    """The recommendations of the baselines.

    Args:
        lists: By baseline and protocol, `(queries, k) int32`, best first, -1
            where fewer than k candidates are left.
        notes: The settings that were chosen, and what was left out.
    """

    lists: dict[Baseline, Lists]
    notes: BaselineNotes


def baseline_lists(data: TestData, settings: EvaluateConfig, k: int) -> Baselines:
    """Fit the baselines and retrieve from them for the queries of the test split.

    Args:
        data: The test split, of which only the users are used, and the
            interactions before it.
        settings: The baselines, and the headline metric that they are tuned for.
        k: Length of the lists.

    Raises:
        InputError: If no validation row is relevant, so that nothing can be tuned.
    """
    left_out = _left_out(data, settings)
    names = [name for name in settings.baselines if name not in left_out]
    lists: dict[Baseline, Lists] = {}
    tuned: dict[Baseline, Tuned] = {}
    if not _TUNED.isdisjoint(names):
        fits = _Fits(data, settings, k)
    for name in names:
        if name == "most_popular":
            lists[name] = _lists_for_everybody(data, data.popularity, k)
        elif name == "most_liked":
            lists[name] = _lists_for_everybody(data, _liked(data), k)
        elif name == "recent_popular":
            lists[name], tuned[name] = fits.recent()
        elif name == "ease":
            lists[name], tuned[name] = fits.ease()
        else:
            lists[name], tuned[name] = fits.ials()
        logger.info(f"{BASELINE_LABELS[name]}: ranked {len(data.queries):,} test queries")
    return Baselines(lists, BaselineNotes(settings=tuned, left_out=left_out))


class _Fits:
    """Tunes baselines on the validation split, and fits the best settings to both splits."""

    def __init__(self, data: TestData, settings: EvaluateConfig, k: int):
        self._data = data
        self._seconds = settings.tuning_seconds
        self._k = k
        self._validation = Validation.read(data, settings)

    @cached_property
    def _known(self) -> UserItems:
        return UserItems.of(self._data.known, self._data.candidates)

    def recent(self) -> tuple[Lists, TunedRecent]:
        found = tune_recent(self._validation)
        counts = recent_counts(self._data.known, self._data.candidates, found.settings.days)
        return _lists_for_everybody(self._data, counts, self._k), TunedRecent(**_as_tuned(found))

    def ease(self) -> tuple[Lists, TunedEase]:
        found = tune_ease(self._validation, self._seconds)
        logger.info("EASE: fitting the best settings to both splits")
        return self._ranked(Ease(self._known).fit(found.settings)), TunedEase(**_as_tuned(found))

    def ials(self) -> tuple[Lists, TunedIals]:
        found = tune_ials(self._validation, self._seconds)
        logger.info("iALS: fitting the best settings to both splits")
        weighted = self._known.weighted(found.settings.weighting)
        return self._ranked(fit_ials(weighted, found.settings)), TunedIals(**_as_tuned(found))

    def _ranked(self, fitted: Fitted) -> Lists:
        popular = _lists_for_everybody(self._data, self._data.popularity, self._k)
        return self._known.rank(fitted, self._data.queries.ids, popular)


def _as_tuned(found: Found[Any]) -> dict[str, Any]:
    return {
        **vars(found.settings),
        "validation": found.validation,
        "tried": found.tried,
        "cut": found.cut,
    }


def _left_out(data: TestData, settings: EvaluateConfig) -> dict[Baseline, str]:
    reasons: dict[Baseline, str] = {}
    if "recent_popular" in settings.baselines and span_in_days(data.known) <= DAYS[0]:
        reasons["recent_popular"] = (
            "the log has no times, or all within a day, so it would equal most_popular"
        )
    if "most_liked" in settings.baselines and data.spec.relevant_above is None:
        reasons["most_liked"] = (
            "features.label.relevant_above is not set, so every interaction is relevant and it "
            "would equal most_popular"
        )
    if "ease" in settings.baselines and (reason := _too_large_for_ease(data, settings)):
        reasons["ease"] = reason
    if "ials" in settings.baselines and data.known.num_rows > settings.ials_max_interactions:
        reasons["ials"] = (
            f"the log has {data.known.num_rows:,} interactions before the test split, more than "
            f"evaluate.ials_max_interactions ({settings.ials_max_interactions:,}); tuning fits it "
            "many times. Raise that setting to include it"
        )
    return reasons


def _too_large_for_ease(data: TestData, settings: EvaluateConfig) -> str | None:
    if data.candidates > settings.ease_max_candidates:
        return (
            f"the catalogue has {data.candidates:,} candidates, more than "
            f"evaluate.ease_max_candidates ({settings.ease_max_candidates:,}); memory grows with "
            "the square of their number and time with the cube. Raise that setting to include it"
        )
    needed, available = memory_needed(data.candidates), available_memory()
    if needed > available:
        return (
            f"with {data.candidates:,} candidates it needs {needed / 2**30:.1f} GiB of memory, but "
            f"{available / 2**30:.1f} GiB are available. Give evaluate more memory to include it"
        )
    return None


def _liked(data: TestData) -> np.ndarray:
    liked = to_numpy(data.known[LABEL]) > data.spec.relevant_above
    return np.bincount(to_numpy(data.known[CANDIDATE_INDEX])[liked], minlength=data.candidates)


def _lists_for_everybody(data: TestData, counts: np.ndarray, k: int) -> Lists:
    return {
        protocol: most_frequent(counts, len(data.queries), k, data.left_out(protocol))
        for protocol in PROTOCOLS
    }
