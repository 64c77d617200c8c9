"""Metrics that do not reward recommending what is popular anyway.

As RecTools (MobileTeleSystems, `rectools.metrics`) defines them:

- **novelty@k** is its `MeanInvUserFreq`: the mean of -log2(users(i) / users) over the
  first k items of a list, where users(i) of all earlier users had the item; an item that
  nobody had counts as one that one user had. Averaged over lists.
- **debiased** metrics are computed on a part of the test interactions, as with its
  `DebiasConfig`: let an item's popularity be the number of users who have it in the test
  split, and Q1 and Q3 the quartiles of these numbers over its items. Of an item above the
  border Q3 + 1.5 (Q3 - Q1), rounded down, only as many interactions as the border are
  kept, at random.
"""

import numpy as np

from components.shared.retrieval.targets import Targets
from components.shared.retrieval.top_k import NO_CANDIDATE

_IQR_COEFFICIENT = 1.5
_SEED = 0


def item_novelty(user: np.ndarray, item: np.ndarray, candidates: int) -> np.ndarray:
    """Return each item's -log2 of the share of users who had it, `(candidates,) float64`.

    Args:
        user: `(rows,) int64` from 0, the user of each earlier interaction.
        item: `(rows,)`, its candidate index.
        candidates: Number of items in the catalogue.
    """
    pairs = np.unique(user * np.int64(candidates) + item)
    had = np.bincount(pairs % candidates, minlength=candidates)
    return -np.log2(np.maximum(had, 1) / max(len(np.unique(user)), 1))


def novelty(retrieved: np.ndarray, of_item: np.ndarray) -> float:
    """Return the mean novelty of lists; lists without an item do not count.

    Args:
        retrieved: `(queries, k) int32`, -1 where no candidate is left.
        of_item: `(candidates,)`, see `item_novelty`.
    """
    found = retrieved != NO_CANDIDATE
    length = found.sum(axis=1)
    sums = np.where(found, of_item[retrieved], 0.0).sum(axis=1)
    return float((sums[length > 0] / length[length > 0]).mean()) if length.any() else 0.0


def debiased(targets: Targets, user: np.ndarray) -> np.ndarray:
    """Return which targets are kept, `(targets,) bool`; the same ones in each call.

    Args:
        targets: The relevant pairs of the test split.
        user: `(queries,) int64` from 0, the user of each query.
    """
    if not len(targets):
        return np.zeros(0, bool)
    items = targets.candidate.max() + np.int64(1)
    pairs = np.unique(user[targets.query] * items + targets.candidate)
    users = np.bincount(pairs % items, minlength=items)
    first, third = np.quantile(users[users > 0], [0.25, 0.75])
    border = int(third + _IQR_COEFFICIENT * (third - first))
    # Each target's place among those of its item, in a random order.
    shuffled = np.random.default_rng(_SEED).permutation(len(targets))
    order = shuffled[np.argsort(targets.candidate[shuffled], kind="stable")]
    counts = np.bincount(targets.candidate, minlength=items)
    begins = np.cumsum(counts) - counts
    place = np.empty(len(targets), np.int64)
    place[order] = np.arange(len(targets)) - begins[targets.candidate[order]]
    return (users[targets.candidate] <= border) | (place < border)
