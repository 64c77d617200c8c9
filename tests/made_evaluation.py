"""An evaluation with made-up numbers."""

from collections.abc import Sequence
from typing import Any

from components.shared.contracts.evaluation import Evaluation

_METRICS = {"hit_rate_at_10": 0.5, "coverage_at_10": 1.0, "top_100_accuracy": 0.25}
_LEADS = {
    "most_popular": {"value": 0.25, "interval": [0.125, 0.375]},
    "ease": {"value": 0.125, "interval": [-0.125, 0.25]},
}
_INTERVALS = {
    "level": 0.95,
    "samples": 1000,
    "users": 9,
    "of": {name: [0.25, 0.75] for name in ("model", "most_popular", "ease")},
    "leads": _LEADS,
}
_EASE = {"weighting": "equal", "l2": 50.0, "validation": 0.5, "tried": 10}
_IALS = {
    "weighting": "count", "factors": 32, "regularization": 10.0, "alpha": 5.0, "iterations": 10,
    "validation": 0.5, "tried": 8,
}  # fmt: skip
_DEPTH = {
    "layer_sizes": "8", "exported": True, "monitor": "hit_rate_at_10_raw", "validation": 0.5,
    "best_epoch": 1, "refit": False, "samples_per_second": 1000, "device": "cpu: cpu",
    "test": {"raw": _METRICS, "filtered": _METRICS},
    "history": [{"epoch": 1, "loss": 2.0, "seconds": 0.5, "val_hit_rate_at_10_raw": 0.5}],
}  # fmt: skip
_EXAMPLE = {
    "user": "u-1", "features": {"colour": "green"}, "interactions": 1, "liked": ["A", None],
    "relevant": 1, "recommended": [{"title": None, "score": 0.5, "relevant": True}],
}  # fmt: skip
_DATA = {
    "train": 80, "validation": 10, "test": 10, "queries": 9, "relevant": 8, "relevant_above": None,
    "candidates": 20,
}  # fmt: skip
# Without `format`, as versions of this pipeline wrote the file that did not have a typed model.
EVALUATION: dict[str, Any] = {
    "data": _DATA,
    "ks": [10],
    "metrics": {
        protocol: dict.fromkeys(("model", "most_popular", "ease"), _METRICS)
        for protocol in ("raw", "filtered")
    },
    "baselines": {"settings": {"ease": _EASE, "ials": _IALS}, "left_out": {"most_liked": "why"}},
    "slices": [
        {"by": "colour", "value": "green", "relevant": 20, "model": 0.5, "most_popular": 0.25,
         "ease": 0.375}
    ],
    "depths": [_DEPTH],
    "examples": [_EXAMPLE],
    "warnings": ["careful"],
    "headline": {
        "metric": "hit_rate_at_10", "protocol": "filtered", "model": 0.5, "most_popular": 0.25,
        "ease": 0.375, "lead": 0.25, "intervals": _INTERVALS, "margin": 0.0,
        "published_margin": 0.0, "published_version": None, "compared": False,
        "good_enough": True, "reasons": [],
    },
}  # fmt: skip


def made_evaluation(good_enough: bool = True, reasons: Sequence[str] = ()) -> Evaluation:
    """Return a valid evaluation with this verdict."""
    verdict = {"good_enough": good_enough, "reasons": list(reasons)}
    return Evaluation.model_validate(
        {**EVALUATION, "headline": {**EVALUATION["headline"], **verdict}}
    )
