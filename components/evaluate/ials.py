"""Matrix factorization for implicit feedback.

Hu, Koren & Volinsky, "Collaborative Filtering for Implicit Feedback Datasets",
ICDM 2008: the vectors x_u of users and y_i of items minimise

    sum_ui c_ui (p_ui - x_u^T y_i)^2
        + regularization (sum_u || x_u ||^2 + sum_i || y_i ||^2)     (eq. 3)

over all pairs, where p_ui is 1 if the user interacted with the item, else 0, and
the confidence is c_ui = 1 + alpha r_ui for r_ui interactions (section 4). The
library `implicit` alternates between users and items with conjugate gradients.

The ranges that are searched are those of Rendle, Krichene, Zhang & Koren, "Revisiting
the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022, as far as
`implicit` can express them: its weight of an unobserved pair, alpha_0, is 1 / alpha
here, and its penalties are not scaled by frequency (nu = 0).
"""

import logging
from typing import Any

import numpy as np

from components.evaluate.search import Found, Point, Search
from components.evaluate.tuning import Validation
from components.evaluate.user_items import Fitted
from components.shared.contracts.tuned import IalsSettings
from components.shared.runtime.pace import Pace

logger = logging.getLogger(__name__)

_WEIGHTINGS = ("count", "label")
_FACTORS = (16, 32, 64, 128)
_ALPHAS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_PENALTIES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0)
# Weighted by count; 64 factors; alpha 5; a penalty of 30.
_FIRST = (0, 2, 2, 5)
# The penalty; both it and alpha, as more confidence goes with more regularization; alpha; factors;
# the weighting, with more weight for labels, which are at most 1.
_STEPS = (
    (0, 0, 0, 1), (0, 0, 0, -1), (0, 0, 1, 1), (0, 0, -1, -1), (0, 0, 1, 0), (0, 0, -1, 0),
    (0, 1, 0, 0), (0, -1, 0, 0), (1, 0, 1, 0),
)  # fmt: skip
_ITERATIONS = 10
_SEED = 0
# Up to this number of pairs, one thread is faster than several that wait for each other.
_FEW_PAIRS = 1_000_000


def tune_ials(validation: Validation, seconds: float) -> Found[IalsSettings]:
    """Search the settings, from those that did well on several logs.

    There are at least four times as many users, and as many items, as factors,
    unless there are fewer than 64 of them.

    Args:
        validation: The validation split.
        seconds: The time budget.
    """
    axes = (_WEIGHTINGS[: 1 + validation.labels_differ], _FACTORS, _ALPHAS, _PENALTIES)
    most = max(min(validation.known.count.shape) // 4, _FACTORS[0])

    def settings_at(point: Point) -> IalsSettings | None:
        if any(place not in range(len(axis)) for place, axis in zip(point, axes, strict=True)):
            return None
        weighting, factors, alpha, penalty = point
        if _FACTORS[factors] > most:
            return None
        return IalsSettings(
            weighting=_WEIGHTINGS[weighting],
            factors=_FACTORS[factors],
            regularization=_PENALTIES[penalty],
            alpha=_ALPHAS[alpha],
            iterations=_ITERATIONS,
        )

    def measure(settings: IalsSettings) -> float:
        weighted = validation.known.weighted(settings.weighting)
        return validation.value(fit_ials(weighted, settings))

    first = (_FIRST[0], sum(factors <= most for factors in _FACTORS[:3]) - 1, *_FIRST[2:])
    return Search("iALS", settings_at, measure, seconds).climb(first, _STEPS)


def fit_ials(interactions: Any, settings: IalsSettings) -> Fitted:
    """Factorize; the same matrix and settings give the same scores.

    Args:
        interactions: r, `(users, candidates)`, sparse. Pairs of 0 and below count
            as no interaction, as in p_ui (eq. 1).
        settings: The settings but for the weighting, which `interactions` has
            already.

    Returns:
        The model. Scores are inner products of the vectors; users without a pair
        above 0 have no signal.
    """
    users, items = ials_vectors(interactions, settings)
    positive = np.asarray((interactions > 0).sum(axis=1)).reshape(-1)
    return Fitted(lambda rows: users[rows] @ items.T, positive > 0)


def ials_vectors(interactions: Any, settings: IalsSettings) -> tuple[np.ndarray, np.ndarray]:
    """Factorize, and return the vectors of users and of items.

    Args:
        interactions: See `fit_ials`.
        settings: See `fit_ials`.

    Returns:
        x, `(users, factors) float32`, and y, `(candidates, factors) float32`.
    """
    from implicit.als import AlternatingLeastSquares  # type: ignore[import-untyped]
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    confidence = csr_matrix(interactions, copy=True)
    confidence.data = np.maximum(confidence.data, 0)
    confidence.eliminate_zeros()
    # The library takes values as confidences; in the paper they are 1 + alpha r.
    confidence.data = 1 + settings.alpha * confidence.data
    pace = Pace()

    def log_iteration(iteration: int, *_: object) -> None:
        if pace.is_due():
            logger.info(f"iALS: iteration {iteration + 1}/{settings.iterations}")

    # The library has its own threads, and warns if BLAS has some as well.
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularization,
            alpha=1.0,
            iterations=settings.iterations,
            use_gpu=False,
            num_threads=1 if confidence.nnz <= _FEW_PAIRS else 0,  # 0: all cores
            random_state=_SEED,
        )
        model.fit(confidence, show_progress=False, callback=log_iteration)
    return model.user_factors, model.item_factors
