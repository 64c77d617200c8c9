"""A config's search space, its settings, and how Optuna represents them."""

import json
from collections.abc import Mapping
from typing import Any

import optuna
import yaml

from pipeline.config.pipeline import PipelineConfig
from pipeline.config.tune import LAYER_SIZES, Choices, Range, TuneConfig

_TRAIN = "train."

Settings = dict[str, Any]  # by key of the space


def own_settings(config: PipelineConfig) -> Settings:
    """Return the config's own values of the keys in its space."""
    train = config.train.model_dump(mode="json")
    return {
        key: config.layer_stacks[0] if key == LAYER_SIZES else train[key.removeprefix(_TRAIN)]
        for key in config.tune.space
    }


def with_settings(config: PipelineConfig, settings: Settings) -> PipelineConfig:
    """Return the config with some values replaced.

    Raises:
        pydantic.ValidationError: If the values do not go together.
    """
    values = yaml.safe_load(config.to_yaml())
    for key, value in settings.items():
        if key == LAYER_SIZES:
            values["layer_stacks"] = [value]
        else:
            values["train"][key.removeprefix(_TRAIN)] = value
    return PipelineConfig.model_validate(values)


class Sampler:
    """Suggests settings from a space, learning from the results of earlier ones.

    Args:
        search: The space and the kind of sampler.
        seed: The same seed and results give the same suggestions.
    """

    def __init__(self, search: TuneConfig, seed: int):
        self._space = search.space
        self._distributions = {key: _distribution(what) for key, what in search.space.items()}
        sampler = (
            optuna.samplers.RandomSampler(seed=seed)
            if search.sampler == "random"
            else optuna.samplers.TPESampler(seed=seed)
        )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: optuna.trial.Trial | None = None

    def suggest(self) -> Settings:
        """Return the settings to try next."""
        self._asked = self._study.ask(self._distributions)
        return _settings(self._asked.params, self._space)

    def learn(self, value: float | None) -> None:
        """Take the result of the latest suggestion.

        Args:
            value: The value to maximize; None if it could not be measured.
        """
        assert self._asked is not None
        if value is None:
            # Optuna ignores failed trials, but keeps away from pruned ones.
            self._study.tell(self._asked, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(self._asked, value)

    def learn_from(self, settings: Settings, value: float) -> None:
        """Take the result of settings that were not suggested; ignored if not in the space."""
        if not all(_contains(what, settings[key]) for key, what in self._space.items()):
            return
        params = {key: _parameter(settings[key], what) for key, what in self._space.items()}
        self._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=self._distributions, value=value)
        )


def _distribution(what: Choices | Range) -> optuna.distributions.BaseDistribution:
    if isinstance(what, Choices):
        # Optuna takes no lists.
        return optuna.distributions.CategoricalDistribution([json.dumps(v) for v in what.choices])
    if what.integer:
        return optuna.distributions.IntDistribution(int(what.low), int(what.high), log=what.log)
    return optuna.distributions.FloatDistribution(what.low, what.high, log=what.log)


def _settings(params: Mapping[str, Any], space: Mapping[str, Choices | Range]) -> Settings:
    settings = {}
    for key, what in space.items():
        value = params[key]
        if isinstance(what, Choices):
            value = json.loads(value)
        elif not what.integer:
            # Three digits: nobody wants to read a rate of 0.0031415926535.
            value = min(max(float(f"{value:.3g}"), what.low), what.high)
        settings[key] = value
    return settings


def _contains(what: Choices | Range, value: Any) -> bool:
    if isinstance(what, Choices):
        return value in what.choices
    return isinstance(value, int | float) and what.low <= value <= what.high


def _parameter(value: Any, what: Choices | Range) -> Any:
    """Return a setting as Optuna represents it."""
    if isinstance(what, Choices):
        return json.dumps(what.choices[what.choices.index(value)])
    return value
