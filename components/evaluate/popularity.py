"""One order of the catalogue for everybody, without the items that each user has seen."""

import numpy as np

from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.top_k import NO_CANDIDATE


def most_frequent(counts: np.ndarray, queries: int, k: int, seen: SeenItems | None) -> np.ndarray:
    """Return the items with the greatest counts for each query.

    The catalogue is ordered once. In that order, a user's i-th item is at place i
    plus the number of seen items in front of it.

    Args:
        counts: `(candidates,)`.
        queries: Number of queries.
        k: Length of the lists.
        seen: Items to leave out.

    Returns:
        `(queries, k) int32` candidate indices, best first, the lower index first
        among equals; -1 where fewer than k candidates are left.
    """
    order = np.argsort(-counts, kind="stable").astype(np.int32)
    if seen is None:
        return np.tile(order[:k], (queries, 1))
    shift = _seen_in_front(order, k, seen)
    # Beyond the last place, no candidate is left.
    padded = np.append(order, np.int32(NO_CANDIDATE))
    places = np.minimum(np.arange(k) + shift, len(order))
    return padded[places][seen.user]


def _seen_in_front(order: np.ndarray, k: int, seen: SeenItems) -> np.ndarray:
    """Count the seen items in front of each user's i-th unseen one, `(users, k) int64`."""
    users = len(seen.offsets) - 1
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    owner = np.repeat(np.arange(users), np.diff(seen.offsets))
    pairs = np.sort(owner * len(order) + place[seen.items])
    distinct = np.diff(pairs, prepend=-1) > 0  # a pair may repeat
    user, places = np.divmod(pairs[distinct], len(order))
    first = np.searchsorted(user, np.arange(users))
    unseen_in_front = places - (np.arange(len(user)) - first[user])
    counted = unseen_in_front < k
    at = user[counted] * k + unseen_in_front[counted]
    return np.bincount(at, minlength=users * k).reshape(users, k).cumsum(axis=1)
