"""Baselines: rankers that need no towers and see no features.

- **most_popular**: the items with the most interactions before the test split.
- **most_liked**: the items with most interactions whose label counts as relevant.
- **ease**: `components.evaluate.ease`.
- **ials**: `components.evaluate.ials`.

The settings of the last two are chosen on the validation split; see
`components.evaluate.tuning`. With these they are fitted again, to the training
and the validation split, on which popularity is counted as well.

ease and ials represent users only by their interactions. Users without any get
the most popular items. A user whose features change has several queries, with
the same list.
"""

import logging
from dataclasses import dataclass

import numpy as np

from components.evaluate.config import EvaluateConfig
from components.evaluate.measuring import Lists
from components.evaluate.popularity import most_frequent
from components.evaluate.test_data import TestData
from components.evaluate.tuning import IALS_GRID, Validation, fit_ease_grid, fit_ials_grid
from components.evaluate.user_items import UserItems
from components.shared.contracts.evaluation import BaselineNotes, TunedEase, TunedIals
from components.shared.contracts.metric import PROTOCOLS
from components.shared.contracts.rankers import BASELINE_LABELS, Baseline
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL
from components.shared.runtime.arrow import to_numpy

logger = logging.getLogger(__name__)


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
    popular = _lists_for_everybody(data, data.popularity, k)
    lists: dict[Baseline, Lists] = {}
    tuned: dict[Baseline, TunedEase | TunedIals] = {}
    if "ease" in names or "ials" in names:
        validation = Validation.read(data, settings)
        known, ids = UserItems.of(data.known, data.candidates), data.queries.ids
    for name in names:
        if name == "most_popular":
            lists[name] = popular
        elif name == "most_liked":
            lists[name] = _lists_for_everybody(data, _liked(data), k)
        elif name == "ease":
            tuned[name] = ease = validation.best_ease()
            logger.info("EASE: fitting the best settings to both splits")
            lists[name] = known.rank(next(fit_ease_grid(known, [ease])), ids, popular)
        else:
            tuned[name] = ials = validation.best_ials()
            logger.info("iALS: fitting the best settings to both splits")
            lists[name] = known.rank(next(fit_ials_grid(known, [ials])), ids, popular)
        logger.info(f"{BASELINE_LABELS[name]}: ranked {len(data.queries):,} test queries")
    return Baselines(lists, BaselineNotes(settings=tuned, left_out=left_out))


def _left_out(data: TestData, settings: EvaluateConfig) -> dict[Baseline, str]:
    reasons: dict[Baseline, str] = {}
    if "most_liked" in settings.baselines and data.spec.relevant_above is None:
        reasons["most_liked"] = (
            "features.label.relevant_above is not set, so every interaction is relevant and it "
            "would equal most_popular"
        )
    if "ease" in settings.baselines and data.candidates > settings.ease_max_candidates:
        reasons["ease"] = (
            f"the catalogue has {data.candidates:,} candidates, more than "
            f"evaluate.ease_max_candidates ({settings.ease_max_candidates:,}); memory grows with "
            "the square of their number and time with the cube. Raise that setting to include it"
        )
    if "ials" in settings.baselines and data.known.num_rows > settings.ials_max_interactions:
        reasons["ials"] = (
            f"the log has {data.known.num_rows:,} interactions before the test split, more than "
            f"evaluate.ials_max_interactions ({settings.ials_max_interactions:,}); tuning fits it "
            f"{len(IALS_GRID)} times. Raise that setting to include it"
        )
    return reasons


def _liked(data: TestData) -> np.ndarray:
    liked = to_numpy(data.known[LABEL]) > data.spec.relevant_above
    return np.bincount(to_numpy(data.known[CANDIDATE_INDEX])[liked], minlength=data.candidates)


def _lists_for_everybody(data: TestData, counts: np.ndarray, k: int) -> Lists:
    return {
        protocol: most_frequent(counts, len(data.queries), k, data.left_out(protocol))
        for protocol in PROTOCOLS
    }
