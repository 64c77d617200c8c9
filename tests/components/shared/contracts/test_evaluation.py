import json
from pathlib import Path
from typing import Any

import pytest

from components.shared.contracts.evaluation import ByProtocol, Epoch, Evaluation, Slice
from components.shared.contracts.metric import TOP_100_ACCURACY, Metric
from components.shared.runtime.errors import InputError

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
OLD: dict[str, Any] = {
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


def _written(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder


def test_a_file_keeps_its_keys_and_values_and_gains_a_format(tmp_path: Path) -> None:
    evaluation = Evaluation.read(_written(tmp_path, OLD))

    evaluation.write(tmp_path)

    assert json.loads((tmp_path / "evaluation.json").read_text()) == {**OLD, "format": 1}
    assert Evaluation.read(tmp_path) == evaluation


def test_its_parts_are_values(tmp_path: Path) -> None:
    evaluation = Evaluation.read(_written(tmp_path, OLD))

    assert evaluation.rankers == ["model", "most_popular", "ease"]
    assert evaluation.baseline_labels == {"most_popular": "most-popular", "ease": "EASE"}
    assert evaluation.headline.metric == Metric("hit_rate", 10)
    assert evaluation.headline.published is None
    assert evaluation.metrics.by("filtered")["ease"][TOP_100_ACCURACY] == 0.25
    assert evaluation.depths[0].history[0].validation == {Metric("hit_rate", 10, "raw"): 0.5}
    assert evaluation.slices[0].values == {"model": 0.5, "most_popular": 0.25, "ease": 0.375}
    flat = evaluation.flat_metrics()
    assert flat["ease_top_100_accuracy_raw"] == 0.25
    assert len(flat) == 2 * 3 * 3


def test_by_protocol_gives_the_value_of_the_protocol() -> None:
    values = ByProtocol[int](raw=1, filtered=2)

    assert (values.by("raw"), values.by("filtered")) == (1, 2)


@pytest.mark.parametrize(("place", "value"), [("train", "many"), ("candidates", None), ("rows", 1)])
def test_a_file_of_another_shape_is_refused_with_the_place(
    tmp_path: Path, place: str, value: Any
) -> None:
    content = {**OLD, "data": {**_DATA, place: value}}

    with pytest.raises(InputError, match=rf"evaluation\.json is not .*data\.{place}"):
        Evaluation.read(_written(tmp_path, content))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Slice(by="colour", value="green", relevant=1, model=value, most_popular=0.5)
    with pytest.raises(ValueError, match="finite"):
        Epoch(epoch=1, loss=value, seconds=0.5)
