"""Default cut-offs follow the catalogue; those that are set do not."""

import pytest

from components.evaluate.config import EvaluateConfig
from components.shared.contracts.metric import Metric, cutoffs_for
from components.train.config import TrainConfig


@pytest.mark.parametrize(
    ("candidates", "ks"),
    [(500, [10, 50, 100]), (200, [10, 50, 100]), (199, [10, 50]), (40, [10]), (8, [4]), (1, [1])],
)
def test_default_cut_offs_are_at_most_half_of_the_catalogue(candidates: int, ks: list[int]) -> None:
    assert cutoffs_for(candidates) == ks
    evaluate = EvaluateConfig().fitted(candidates)
    assert (evaluate.ks, evaluate.headline.cutoff) == (ks, ks[-1])
    assert TrainConfig().fitted(candidates).monitor == Metric("hit_rate", ks[-1], "filtered")


def test_cut_offs_that_are_set_stay() -> None:
    settings = EvaluateConfig.model_validate({"ks": [10, 50, 100]})
    assert settings.fitted(40) == settings
    settings = EvaluateConfig.model_validate({"headline": "ndcg_at_50_raw"})
    assert (settings.fitted(40).ks, str(settings.fitted(40).headline)) == (
        [10, 50],
        "ndcg_at_50_raw",
    )
    training = TrainConfig.model_validate({"monitor": "hit_rate_at_100_filtered"})
    assert training.fitted(40) == training


def test_a_step_that_reads_dumped_settings_knows_which_are_defaults() -> None:
    for settings in (EvaluateConfig(margin=0.1), EvaluateConfig(ks=[100, 3])):
        again = EvaluateConfig.model_validate(settings.model_dump(mode="json"))
        assert again.fitted(40) == settings.fitted(40)
        assert again.cutoffs == settings.cutoffs
    assert "monitor" not in TrainConfig().model_dump()
    assert TrainConfig().fitted(40).model_dump(mode="json")["monitor"] == "hit_rate_at_10_filtered"
