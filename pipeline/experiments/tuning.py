"""A search for the settings of train that do best on the validation part."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import optuna
import yaml
from pydantic import ValidationError

from components.shared.contracts.training import Training
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import replace_text
from pipeline.config.pipeline import PipelineConfig
from pipeline.config.tune import LAYER_SIZES, Choices, Range, TuneConfig
from pipeline.experiments.trainings import Experiments, JobFailed, mean_and_spread


@dataclass(frozen=True)
class Trial:
    """One combination of settings.

    Args:
        number: From 1, in the order in which they were tried.
        settings: Its values, by the keys of the space.
        values: The monitored validation metric of each seed; empty where the
            combination cannot be trained.
        best_epochs: Of each seed.
        problem: Why it cannot be trained.
    """

    number: int
    settings: dict[str, Any]
    values: list[float]
    best_epochs: list[int]
    problem: str = ""

    @property
    def mean(self) -> float:
        """The mean over the seeds: what the search goes by."""
        return fmean(self.values) if self.values else float("-inf")


def tune(
    config: PipelineConfig, output: str, say: Callable[[str], None] = print
) -> tuple[list[Trial], Path]:
    """Searches the space of a config's section `tune`.

    Only the training and the validation part are used. The same config gives the
    same trials. Each is kept: a search that was stopped goes on where it was, and
    one with more trials begins with those that are done.

    Args:
        config: The config; its own settings are the first trial.
        output: A folder; results go to `tune/<name>` in it: `trials.csv`, and
            `best.yaml`, the config with the best trial's settings.
        say: Takes lines of progress.

    Returns:
        All trials, the best first, and the folder.

    Raises:
        InputError: If the space is empty or no trial could be trained.
    """
    search = config.tune
    if not search.space:
        raise InputError(
            "tune.space: there is nothing to search. Name settings and what to try, e.g. "
            "{train.dropout: {choices: [0, 0.3]}, train.learning_rate: {low: 0.001, high: 0.01, "
            "log: true}}."
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    experiments = Experiments(output, say)
    folder = Path(output).resolve() / "tune" / config.name
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(direction="maximize", sampler=_sampler(search, config.seed))
    space = {key: _distribution(what) for key, what in search.space.items()}
    own = _own_settings(config)
    trials: list[Trial] = []
    for number in range(1, search.trials + 1):
        asked = study.ask(space) if number > 1 else None
        settings = own if asked is None else _settings(asked.params, search)
        trial = _tried(experiments, config, number, settings)
        trials.append(trial)
        if asked is not None and trial.values:
            study.tell(asked, trial.mean)
        elif asked is not None:
            # The sampler forgets what has failed; of what was pruned it keeps away.
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        elif trial.values and all(_is_in(own[key], what) for key, what in search.space.items()):
            params = {key: _parameter(own[key], what) for key, what in search.space.items()}
            known = optuna.trial.create_trial(params=params, distributions=space, value=trial.mean)
            study.add_trial(known)
        best = max(trials, key=lambda trial: trial.mean)
        say(f"trial {number}/{search.trials}: {_described(trial, config)}"
            + ("  <- best so far" if best is trial and trial.values else ""))  # fmt: skip
        replace_text(folder / "trials.csv", _table(trials, search))
        if best.values:
            replace_text(folder / "best.yaml", _with_settings(config, best.settings).to_yaml())
    if not best.values:
        raise InputError(f"No trial could be trained. The first: {trials[0].problem}")
    return sorted(trials, key=lambda trial: -trial.mean), folder


def _sampler(search: TuneConfig, seed: int) -> optuna.samplers.BaseSampler:
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def _distribution(what: Choices | Range) -> optuna.distributions.BaseDistribution:
    if isinstance(what, Choices):
        # optuna takes no lists.
        return optuna.distributions.CategoricalDistribution([json.dumps(v) for v in what.choices])
    if what.integer:
        return optuna.distributions.IntDistribution(int(what.low), int(what.high), log=what.log)
    return optuna.distributions.FloatDistribution(what.low, what.high, log=what.log)


def _settings(params: dict[str, Any], search: TuneConfig) -> dict[str, Any]:
    """The values of what optuna suggests."""
    settings = {}
    for key, what in search.space.items():
        value = params[key]
        if isinstance(what, Choices):
            value = json.loads(value)
        elif not what.integer:
            # Three digits: nobody wants to read a rate of 0.0031415926535.
            value = min(max(float(f"{value:.3g}"), what.low), what.high)
        settings[key] = value
    return settings


def _is_in(value: Any, what: Choices | Range) -> bool:
    if isinstance(what, Choices):
        return value in what.choices
    return isinstance(value, int | float) and what.low <= value <= what.high


def _parameter(value: Any, what: Choices | Range) -> Any:
    """A value as optuna knows it."""
    if isinstance(what, Choices):
        return json.dumps(what.choices[what.choices.index(value)])
    return value


def _own_settings(config: PipelineConfig) -> dict[str, Any]:
    """The config's own values of what the space names."""
    train = config.train.model_dump(mode="json")
    return {
        key: config.layer_stacks[0] if key == LAYER_SIZES else train[key.removeprefix("train.")]
        for key in config.tune.space
    }


def _with_settings(config: PipelineConfig, settings: dict[str, Any]) -> PipelineConfig:
    """The config with some values replaced, checked as one that was read from a file."""
    values = yaml.safe_load(config.to_yaml())
    for key, value in settings.items():
        if key == LAYER_SIZES:
            values["layer_stacks"] = [value]
        else:
            values["train"][key.removeprefix("train.")] = value
    return PipelineConfig.model_validate(values)


def _tried(
    experiments: Experiments, config: PipelineConfig, number: int, settings: dict[str, Any]
) -> Trial:
    experiments.encoded(config)  # what is wrong with the data ends the search
    try:
        # The validation metric is that of the first training; a second one would be in vain.
        tried = _with_settings(config, {**settings, "train.refit": False})
        folders = [
            experiments.trained(tried, tried.layer_stacks[0], tried.seed + n)
            for n in range(config.tune.seeds)
        ]
    except ValidationError as error:
        problems = "; ".join(
            ": ".join([*map(str, problem["loc"][1:2]), problem["msg"]])
            for problem in error.errors()
        )
        return Trial(number, settings, [], [], problems.replace("Value error, ", ""))
    except JobFailed:
        raise
    except InputError as error:
        return Trial(number, settings, [], [], str(error))
    summaries = [Training.read(folder) for folder in folders]
    return Trial(
        number,
        settings,
        [summary.validation for summary in summaries],
        [summary.best_epoch for summary in summaries],
    )


def _described(trial: Trial, config: PipelineConfig) -> str:
    settings = ", ".join(
        f"{key.removeprefix('train.')} {json.dumps(value)}" for key, value in trial.settings.items()
    )
    if not trial.values:
        return f"cannot be trained: {trial.problem} ({settings})"
    return f"{config.train.monitor} {mean_and_spread(trial.values)} ({settings})"


def _table(trials: list[Trial], search: TuneConfig) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "validation", "spread", "best_epochs", *search.space, "problem"])
    for trial in trials:
        writer.writerow(
            [
                trial.number,
                f"{trial.mean:.6f}" if trial.values else "",
                f"{stdev(trial.values):.6f}" if len(trial.values) > 1 else "",
                " ".join(map(str, trial.best_epochs)),
                *(json.dumps(value) for value in trial.settings.values()),
                trial.problem,
            ]
        )
    return text.getvalue()
