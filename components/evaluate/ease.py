"""EASE^R: a linear model that predicts an item from the user's other items.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. For the
user-item matrix X, it minimises

    || X - X B ||_F^2 + l2 || B ||_F^2   with   diag(B) = 0          (eq. 2, 3)

in closed form: with P = (X^T X + l2 I)^-1,

    B_ij = 0 if i = j, else -P_ij / P_jj                             (eq. 8)

Memory grows with the square of the number of items, 0.8 GB per matrix for 10,000;
time grows with the cube, for each setting that is tried.
"""

from typing import Any

import numpy as np

from components.evaluate.user_items import Fitted


def gram(matrix: Any) -> np.ndarray:
    """Return `X^T X`, `(candidates, candidates) float64`.

    Args:
        matrix: X, `(users, candidates)`, sparse.
    """
    wide = matrix.astype(np.float64)
    return (wide.T @ wide).toarray()


def ease_weights(gram: np.ndarray, l2: float) -> np.ndarray:
    """Solve for B (eq. 8).

    Args:
        gram: `X^T X`, `(candidates, candidates) float64`; it is not changed.
        l2: The penalty, above 0.

    Returns:
        B, `(candidates, candidates) float32`; column j holds the weights that
        predict item j.
    """
    from scipy.linalg import lapack  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # In Fortran order and in place: no further copy of the largest matrix.
    penalised = np.array(gram, order="F")
    penalised.flat[:: len(gram) + 1] += l2
    # With more threads than free cores, OpenBLAS takes up to fifty times as long here.
    with threadpool_limits(1, user_api="blas"):
        factor, _ = lapack.dpotrf(penalised, lower=1, overwrite_a=1)
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse.astype(np.float32), -1)
    weights = lower + lower.T
    weights /= -inverse.diagonal().astype(np.float32)
    return weights


def fitted_ease(matrix: Any, weights: np.ndarray) -> Fitted:
    """Return the model that scores all items by a user's row of X: `X B`."""
    return Fitted(
        lambda rows: matrix[rows] @ weights,
        np.asarray(abs(matrix).sum(axis=1)).reshape(-1) > 0,
    )
