"""How the report writes metrics and numbers."""

import math

from components.shared.contracts.evaluation import Interval
from components.shared.contracts.metric import TOP_100_ACCURACY, Metric
from components.shared.contracts.tuned import Tuned, TunedRecent

MISSING = "\N{EN DASH}"
MEASURE_LABELS = {
    "hit_rate": "hit rate",
    "recall": "recall",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "coverage": "coverage",
    "novelty": "novelty",
    "debiased_hit_rate": "debiased hit rate",
    "debiased_ndcg": "debiased NDCG",
}


def metric_label(metric: Metric) -> str:
    """Return `hit rate@100, filtered` for `hit_rate_at_100_filtered`."""
    if metric.measure == TOP_100_ACCURACY.measure:
        return "top-100 accuracy"
    label = f"{MEASURE_LABELS[metric.measure]}@{metric.cutoff}"
    return f"{label}, {metric.protocol}" if metric.protocol else label


def metric_value(value: float | None) -> str:
    """Return a value with four decimals."""
    return f"{value:.4f}" if _is_number(value) else MISSING


def interval(ends: Interval) -> str:
    """Return `0.1000 to 0.2000`."""
    return f"{metric_value(ends[0])} to {metric_value(ends[1])}"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    # A real minus sign is as wide as the plus sign, so columns stay aligned.
    return f"{value:+.4f}".replace("-", "\N{MINUS SIGN}") if _is_number(value) else MISSING


def signed_interval(ends: Interval) -> str:
    """Return the interval of a difference."""
    return f"{signed(ends[0])} to {signed(ends[1])}"


def count(value: int | None) -> str:
    """Return a number with thousands separators."""
    return f"{value:,}" if value is not None else MISSING


def score(value: float) -> str:
    """Return a score with three decimals."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}") if _is_number(value) else MISSING


def percent(share: float) -> str:
    """Return the length of a bar, for CSS."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%" if _is_number(share) else "0%"


def device(name: str) -> str:
    """Return JAX's `backend: kind`, shortened if both are the same, as on a CPU."""
    backend, _, kind = name.partition(": ")
    return backend if backend == kind else name


def settings(tuned: Tuned) -> str:
    """Return the settings that were chosen for a baseline."""
    if isinstance(tuned, TunedRecent):
        values = "all times" if tuned.days is None else f"the last {tuned.days} days"
    else:
        chosen = {
            name: value for name, value in tuned if name not in ("validation", "tried", "cut")
        }
        values = ", ".join(
            f"{name} {value:g}" if isinstance(value, float | int) else f"{name} by {value}"
            for name, value in chosen.items()
        )
    cut = "; evaluate.tuning_seconds ended the search" if tuned.cut else ""
    return f"{values}; {tuned.validation:.4f} on validation, the best of {tuned.tried}{cut}"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
