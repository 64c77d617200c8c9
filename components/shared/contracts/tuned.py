"""The settings of the baselines that the validation split chose, in `evaluation.json`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EaseSettings(_Settings):
    """Settings of EASE that the validation split chose among.

    Args:
        weighting: What a pair of user and item counts: `equal` (1) or `label`
            (its mean label).
        l2: The penalty.
    """

    weighting: Literal["equal", "label"]
    l2: float


class IalsSettings(_Settings):
    """Settings of iALS that the validation split chose among.

    Args:
        weighting: What a pair of user and item counts: `count` (its
            interactions) or `label` (its mean label).
        factors: Length of the vectors.
        regularization: The penalty.
        alpha: Weight of an interaction.
        iterations: Number of alternations between users and items.
    """

    weighting: Literal["count", "label"]
    factors: int
    regularization: float
    alpha: float
    iterations: int


class RecentSettings(_Settings):
    """The setting of recent-popular that the validation split chose.

    Args:
        days: Only interactions of this many days before the boundary count; None:
            all of them.
    """

    days: int | None


class _Tuned(_Settings):
    """How well the chosen settings did.

    Args:
        validation: The headline metric on the validation split.
        tried: Number of settings that were compared.
        cut: Whether the time budget ended the search before it was done.
    """

    validation: float
    tried: int
    # Omitted at its default, so that a file from before it stays the same.
    cut: bool = Field(False, exclude_if=lambda cut: not cut)


class TunedEase(_Tuned, EaseSettings):
    """The settings of EASE that did best on the validation split."""


class TunedIals(_Tuned, IalsSettings):
    """The settings of iALS that did best on the validation split."""


class TunedRecent(_Tuned, RecentSettings):
    """The setting of recent-popular that did best on the validation split."""


Tuned = TunedEase | TunedIals | TunedRecent
