"""The rankers that evaluate compares: each orders the catalogue for every query."""

from typing import Literal, get_args

Baseline = Literal["most_popular", "recent_popular", "most_liked", "ease", "ials"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
# The exported model, the baselines, and the published model.
Ranker = Literal[
    "model", "most_popular", "recent_popular", "most_liked", "ease", "ials", "published"
]
RANKERS: tuple[Ranker, ...] = get_args(Ranker)
MODEL: Ranker = "model"
MOST_POPULAR: Ranker = "most_popular"
PUBLISHED: Ranker = "published"
# How logs, summaries and reports name them.
BASELINE_LABELS: dict[Ranker, str] = {
    "most_popular": "most-popular",
    "recent_popular": "recent-popular",
    "most_liked": "most-liked",
    "ease": "EASE",
    "ials": "iALS",
}
