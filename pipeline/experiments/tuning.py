"""A search for the settings of train that do best on the validation split."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from pydantic import ValidationError

from components.shared.contracts.training import Training
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import replace_text
from pipeline.config.pipeline import PipelineConfig
from pipeline.experiments.processes import JobFailed
from pipeline.experiments.space import Sampler, Settings, own_settings, with_settings
from pipeline.experiments.trainings import Experiments, mean_and_spread


@dataclass(frozen=True)
class Trial:
    """A combination of settings that was tried.

    Args:
        number: From 1, in the order in which they were tried.
        settings: Its values, by the keys of the space.
        values: The monitored validation metric, one value for each seed; empty
            if the combination cannot be trained.
        best_epochs: The best epoch, one for each seed.
        problem: Why it cannot be trained.
        monitor: The monitored metric; empty if the combination cannot be trained.
    """

    number: int
    settings: Settings
    values: list[float]
    best_epochs: list[int]
    problem: str = ""
    monitor: str = ""

    @property
    def mean(self) -> float:
        """The mean over the seeds, by which trials are ranked."""
        return fmean(self.values) if self.values else float("-inf")


def tune(
    config: PipelineConfig, output: str, say: Callable[[str], None] = print
) -> tuple[list[Trial], Path]:
    """Search the space of a config's section `tune`.

    The test split is not used. The same config gives the
    same trials. Each is kept: a search that was stopped continues where it was, and
    one with more trials begins with those that are done.

    Args:
        config: The config; its own settings are the first trial.
        output: The output folder. Results go to `tune/<name>` in it: `trials.csv`, and
            `best.yaml`, the config with the best trial's settings.
        say: Called with each line of progress.

    Returns:
        All trials, the best first, and the folder of the results.

    Raises:
        InputError: If the space is empty or no trial could be trained.
    """
    search = config.tune
    if not search.space:
        raise InputError(
            "tune.space: it is empty. Name settings and the values to try, e.g. {train.dropout: "
            "{choices: [0, 0.3]}, train.learning_rate: {low: 0.001, high: 0.01, log: true}}."
        )
    experiments = Experiments(output, say)
    folder = Path(output).resolve() / "tune" / config.name
    sampler = Sampler(search, config.seed)
    trials: list[Trial] = []
    for number in range(1, search.trials + 1):
        settings = own_settings(config) if number == 1 else sampler.suggest()
        trial = _tried(experiments, config, number, settings)
        trials.append(trial)
        if number > 1:
            sampler.learn(trial.mean if trial.values else None)
        elif trial.values:
            sampler.learn_from(settings, trial.mean)
        best = max(trials, key=lambda trial: trial.mean)
        say(f"trial {number}/{search.trials}: {_described(trial)}"
            + ("  <- best so far" if best is trial and trial.values else ""))  # fmt: skip
        replace_text(folder / "trials.csv", _table(trials, search.space))
        if best.values:
            replace_text(folder / "best.yaml", with_settings(config, best.settings).to_yaml())
    if not best.values:
        raise InputError(f"No trial could be trained. The first one: {trials[0].problem}")
    return sorted(trials, key=lambda trial: -trial.mean), folder


def _tried(
    experiments: Experiments, config: PipelineConfig, number: int, settings: Settings
) -> Trial:
    experiments.encoded(config)  # an error in the data ends the search
    try:
        # The validation metric is that of the first training, so a refit would be wasted.
        once = {"train.refit": False, "train.tune": "none"}
        tried = with_settings(config, {**settings, **once})
        models = [
            experiments.trained(tried, tried.layer_stacks[0], tried.seed + n)
            for n in range(config.tune.seeds)
        ]
    except ValidationError as error:
        return Trial(number, settings, [], [], _problems(error))
    except JobFailed:
        raise
    except InputError as error:
        return Trial(number, settings, [], [], str(error))
    results = [Training.read(model) for model in models]
    return Trial(
        number,
        settings,
        [result.validation for result in results],
        [result.best_epoch for result in results],
        monitor=str(results[0].monitor),
    )


def _problems(error: ValidationError) -> str:
    problems = "; ".join(
        ": ".join([*map(str, problem["loc"][1:2]), problem["msg"]]) for problem in error.errors()
    )
    return problems.replace("Value error, ", "")


def _described(trial: Trial) -> str:
    settings = ", ".join(
        f"{key.removeprefix('train.')} {json.dumps(value)}" for key, value in trial.settings.items()
    )
    if not trial.values:
        return f"cannot be trained: {trial.problem} ({settings})"
    return f"{trial.monitor} {mean_and_spread(trial.values)} ({settings})"


def _table(trials: Sequence[Trial], keys: Iterable[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "validation", "spread", "best_epochs", *keys, "problem"])
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
