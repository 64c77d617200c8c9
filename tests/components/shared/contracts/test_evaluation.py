import json
from pathlib import Path
from typing import Any

import pytest
from made_evaluation import EVALUATION

from components.shared.contracts.evaluation import ByProtocol, Evaluation, Slice
from components.shared.contracts.metric import TOP_100_ACCURACY, Metric
from components.shared.runtime.errors import InputError


def _written(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder


def test_a_file_keeps_its_keys_and_values_and_gains_a_format(tmp_path: Path) -> None:
    evaluation = Evaluation.read(_written(tmp_path, EVALUATION))

    evaluation.write(tmp_path)

    assert json.loads((tmp_path / "evaluation.json").read_text()) == {**EVALUATION, "format": 1}
    assert Evaluation.read(tmp_path) == evaluation


def test_its_parts_are_values(tmp_path: Path) -> None:
    evaluation = Evaluation.read(_written(tmp_path, EVALUATION))

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
    content = {**EVALUATION, "data": {**EVALUATION["data"], place: value}}

    with pytest.raises(InputError, match=rf"evaluation\.json is not .*data\.{place}"):
        Evaluation.read(_written(tmp_path, content))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Slice(by="colour", value="green", relevant=1, model=value, most_popular=0.5)
