"""EASE^R: a linear model that predicts an item from the user's other items.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. For the
user-item matrix X, it minimises

    || X - X B ||_F^2 + l2 || B ||_F^2   with   diag(B) = 0          (eq. 2, 3)

in closed form: with P = (X^T X + l2 I)^-1,

    B_ij = 0 if i = j, else -P_ij / P_jj                             (eq. 8)

Memory and time are `memory_needed` and the cube of the number of items, for each
setting that is tried.
"""

from typing import Any

import numpy as np

from components.evaluate.search import Found, Point, Search
from components.evaluate.tuning import Validation
from components.evaluate.user_items import Fitted, UserItems
from components.shared.contracts.tuned import EaseSettings

_WEIGHTINGS = ("equal", "label")
_PENALTIES = (
    5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 700.0, 1000.0, 1500.0,
    2000.0, 3000.0,
)  # fmt: skip
_FIRST = (0, 8)  # equal weights, a penalty of 200
# Labels are at most 1, so the products are smaller, and so is the penalty that fits them.
_STEPS = ((0, 1), (0, -1), (1, -2))
_ROWS_AT_ONCE = 256


def memory_needed(candidates: int) -> int:
    """Return the bytes of a fit: the Gram matrix, its inverse, and the weights."""
    return candidates**2 * (4 + 8 + 4)


class Ease:
    """Fits EASE to the same interactions with several settings.

    Each weighting has one Gram matrix, of which the last one is kept; each penalty
    is one factorization.

    Args:
        known: The interactions.
    """

    def __init__(self, known: UserItems):
        self._known = known
        self._weighting: str | None = None

    def fit(self, settings: EaseSettings) -> Fitted:
        """Return the model with these settings."""
        if settings.weighting != self._weighting:
            self._matrix = self._known.weighted(settings.weighting)
            self._gram = gram(self._matrix)
            self._weighting = settings.weighting
        return fitted_ease(self._matrix, ease_weights(self._gram, settings.l2))


def tune_ease(validation: Validation, seconds: float) -> Found[EaseSettings]:
    """Search the penalty, from the middle of its range to the better side, then the weighting.

    Args:
        validation: The validation split.
        seconds: The time budget.
    """
    ease = Ease(validation.known)

    def settings_at(point: Point) -> EaseSettings | None:
        weighting, penalty = point
        if weighting not in range(1 + validation.labels_differ) or penalty < 0:
            return None
        if penalty >= len(_PENALTIES):
            return None
        return EaseSettings(weighting=_WEIGHTINGS[weighting], l2=_PENALTIES[penalty])

    search = Search(
        "EASE", settings_at, lambda settings: validation.value(ease.fit(settings)), seconds
    )
    return search.climb(_FIRST, _STEPS)


def gram(matrix: Any) -> np.ndarray:
    """Return `X^T X`, `(candidates, candidates) float32`.

    Args:
        matrix: X, `(users, candidates)`, sparse.
    """
    wide = matrix.astype(np.float64)
    transposed = wide.T.tocsr()
    # A block of rows at a time: as a sparse matrix, the product needs several times the memory.
    products = np.empty((matrix.shape[1],) * 2, np.float32)
    for first in range(0, len(products), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        products[rows] = (transposed[rows] @ wide).toarray()
    return products


def ease_weights(gram: np.ndarray, l2: float) -> np.ndarray:
    """Solve for B (eq. 8).

    Args:
        gram: `X^T X`, `(candidates, candidates) float32`; it is not changed.
        l2: The penalty, above 0.

    Returns:
        B, `(candidates, candidates) float32`; column j holds the weights that
        predict item j.
    """
    from scipy.linalg import lapack  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # In Fortran order and in place: no further copy of the largest matrix.
    penalised = np.array(gram, np.float64, order="F")
    penalised.flat[:: len(gram) + 1] += l2
    # With more threads than free cores, OpenBLAS takes up to fifty times as long here.
    with threadpool_limits(1, user_api="blas"):
        factor, _ = lapack.dpotrf(penalised, lower=1, overwrite_a=1)
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    scale = -inverse.diagonal()
    weights = np.empty(gram.shape, np.float32)
    for first in range(0, len(weights), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        # Only the lower half is computed.
        weights[rows, :first] = inverse[rows, :first]
        weights[:first, rows] = inverse[rows, :first].T
        block = np.tril(inverse[rows, rows], -1)
        weights[rows, rows] = block + block.T
    weights /= scale.astype(np.float32)
    return weights


def fitted_ease(matrix: Any, weights: np.ndarray) -> Fitted:
    """Return the model that scores all items by a user's row of X: `X B`."""
    return Fitted(
        lambda rows: matrix[rows] @ weights,
        np.asarray(abs(matrix).sum(axis=1)).reshape(-1) > 0,
    )
