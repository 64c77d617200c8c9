"""Matrix factorization for implicit feedback.

Hu, Koren & Volinsky, "Collaborative Filtering for Implicit Feedback Datasets",
ICDM 2008: vectors x_u of users and y_i of items minimise

    sum_ui c_ui (p_ui - x_u^T y_i)^2
        + regularization (sum_u || x_u ||^2 + sum_i || y_i ||^2)     (eq. 3)

over all pairs, with p_ui = 1 where the user interacted with the item, else 0,
and the confidence c_ui = 1 + alpha r_ui, r_ui being how often (section 4). The
library `implicit` alternates between users and items with conjugate gradients.
"""

from typing import Any

import numpy as np

from components.evaluate.user_items import Fitted

_SEED = 0
# Up to so many pairs one thread is faster than several that wait for each other.
_FEW_PAIRS = 1_000_000


def fit_ials(
    interactions: Any, *, factors: int, regularization: float, alpha: float, iterations: int
) -> Fitted:
    """Factorizes; the same matrix and settings give the same scores.

    Args:
        interactions: r, `(users, candidates)`, sparse. Pairs of 0 and below count
            as none, as p_ui does (eq. 1).
        factors: Length of the vectors.
        regularization: Of eq. 3.
        alpha: How much an interaction counts.
        iterations: How often users and items are solved for.

    Returns:
        Scores are inner products of the vectors; nothing is known about users
        without a pair above 0.
    """
    from implicit.als import AlternatingLeastSquares  # type: ignore[import-untyped]
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    confidence = csr_matrix(interactions, copy=True)
    confidence.data = np.maximum(confidence.data, 0)
    confidence.eliminate_zeros()
    # The library takes values as confidences, where the paper has 1 + alpha r.
    confidence.data = 1 + alpha * confidence.data
    # It has threads of its own, and warns where BLAS has some as well.
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            alpha=1.0,
            iterations=iterations,
            use_gpu=False,
            num_threads=1 if confidence.nnz <= _FEW_PAIRS else 0,  # 0: all cores
            random_state=_SEED,
        )
        model.fit(confidence, show_progress=False)
    users, items = model.user_factors, model.item_factors
    return Fitted(lambda rows: users[rows] @ items.T, np.diff(confidence.indptr) > 0)
