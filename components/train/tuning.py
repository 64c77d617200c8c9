"""A short search for better settings, within the training step.

It begins with the settings that follow the data, tries the other loss, and then changes one setting
at a time, in a fixed order: a change that improves the monitored metric on the validation split is
kept. How many changes are
tried depends on the time that trainings take, so it differs between machines.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from components.shared.contracts.training import AutoChoice, Trial
from components.shared.runtime.errors import InputError
from components.shared.storage.location import Location
from components.train.config import NONE, TrainSettings
from components.train.trainer import Trained, Trainer

logger = logging.getLogger(__name__)

WIDEST, NARROWEST = 256, 16
DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
PENALTIES = (0.0, 1e-5, 3e-5, 1e-4)
PROFILE_DROPOUTS = (0.0, 0.3, 0.5, 0.7)

_TRIALS = TypeAdapter(list[Trial])


def _beside(values: Sequence[float]) -> Callable[[float], list[float]]:
    """Return a function that gives the values next to one, the larger one first."""

    def around(value: float) -> list[float]:
        return [*[other for other in values if other > value][:1],
                *[other for other in values if other < value][-1:]]  # fmt: skip

    return around


def _widths(width: int) -> list[int]:
    return [other for other in (2 * width, width // 2) if NARROWEST <= other <= WIDEST]


# What to try instead of a value: the second one only if the first is no improvement.
MOVES: dict[str, Callable[[Any], list[Any]]] = {
    "embedding_dimension": _widths,
    "dropout": _beside(DROPOUTS),
    "profile_dropout": _beside(PROFILE_DROPOUTS),
    "l2": _beside(PENALTIES),
    "unobserved_weight": lambda weight: [2 * weight, weight / 2],
    "learning_rate": lambda rate: [2 * rate, rate / 2],
    "recency_half_life": lambda days: [180.0, 30.0] if days == NONE else [days / 2, 2 * days],
}


class Search:
    """Proposes changes of settings, and notes what they bring.

    Attributes:
        trials: The trainings so far; the first one has no changes.

    Args:
        first: The settings of the first training.
        automatic: The settings that may be changed: those that the user has not set.
        seconds: Time for the trainings after the first one. None is cut short: one is
            proposed only if the longest so far would still fit.
        other_loss: What changes with the other loss; nothing to keep the loss.

    Example:
    ```python
    search = Search(TrainSettings(dropout=0.5), {"dropout"}, seconds=100)
    assert search.propose() == {}
    search.note(Trial(changes={}, validation=0.3, best_epoch=4, seconds=20))
    assert search.propose() == {"dropout": 0.7}
    search.note(Trial(changes={"dropout": 0.7}, validation=0.2, best_epoch=9, seconds=20))
    assert search.propose() == {"dropout": 0.3}
    ```
    """

    def __init__(
        self,
        first: TrainSettings,
        automatic: set[str],
        seconds: float,
        other_loss: dict[str, Any] | None = None,
    ):
        self._first = first
        self._other_loss = other_loss or {}
        self._automatic = automatic
        self._seconds = seconds
        self._next = self._proposals()
        self.trials: list[Trial] = []

    @property
    def best(self) -> Trial:
        """The best trial so far, the first of several."""
        return max(self.trials, key=lambda trial: trial.value)

    def settings(self, changes: dict[str, Any]) -> TrainSettings:
        """Return the first training's settings with changes."""
        return TrainSettings.model_validate({**self._first.model_dump(), **changes})

    def propose(self) -> dict[str, Any] | None:
        """Return what the next training changes of the first one's settings.

        Returns:
            Values by setting, empty for the first training; None if all changes were
            tried, or there is no time for another training.
        """
        if self.trials:
            spent = sum(trial.seconds for trial in self.trials[1:])
            longest = max(trial.seconds for trial in self.trials)
            if spent + longest > self._seconds:
                return None
        return next(self._next, None)

    def note(self, trial: Trial) -> bool:
        """Note a training; return whether it is the best so far."""
        self.trials.append(trial)
        return self.best is trial

    def replay(self, trials: Sequence[Trial]) -> None:
        """Note the trainings that a previous attempt completed.

        If they are not those that this search proposes, it begins with none.
        """
        for trial in trials:
            if self.propose() != trial.changes:
                self.trials, self._next = [], self._proposals()
                return
            self.note(trial)

    def _proposals(self) -> Iterator[dict[str, Any]]:
        yield {}
        if self._other_loss:
            yield self._other_loss
        for name, around in MOVES.items():
            settings = self.settings(self.best.changes)
            if name not in self._automatic | self.best.changes.keys():
                continue
            if name == "unobserved_weight" and settings.loss != "quadratic":
                continue
            for value in around(getattr(settings, name)):
                yield {**self.best.changes, name: value}
                if self.trials[-1] is self.best:
                    break


class TrialRecord:
    """The trials of a search, kept for the next attempt.

    Args:
        location: A folder, `s3://` or `gs://`; None to keep none.
        key: The key of the first training's state.
    """

    def __init__(self, location: str | None, key: str):
        self._location = Location(location) if location else None
        self._name = f"{key}-trials.json"

    def read(self) -> list[Trial]:
        """Return what a previous attempt has kept; empty, with a warning, if it is damaged."""
        content = self._location.read(self._name) if self._location else None
        if content is None:
            return []
        try:
            return _TRIALS.validate_json(content)
        except ValidationError:
            logger.warning(f"{self._name} of a previous attempt is damaged: tuning starts again")
            return []

    def write(self, trials: list[Trial]) -> None:
        """Keep the trials so far; a failure is logged, as it is no reason to end a training."""
        if self._location is None:
            return
        try:
            self._location.write(self._name, _TRIALS.dump_json(trials))
        except (InputError, OSError) as error:
            logger.warning(f"the trials were not saved: {error}")

    def discard(self) -> None:
        """Delete the trials."""
        if self._location is not None:
            self._location.delete(self._name)


def tuned(trainer: Trainer, search: Search, record: TrialRecord, name: str) -> Trained:
    """Run a search, or continue that of a previous attempt.

    Args:
        trainer: Trains by the settings that the search proposes.
        search: A search without trials.
        record: Where its trials are kept.
        name: The model's name in progress lines.

    Returns:
        The training that was best on the validation split.

    Raises:
        InputError: If the first training cannot be done.
        SystemExit: With status 143, after SIGTERM.
    """
    search.replay(record.read())
    best = None
    if search.trials:
        logger.info(f"{name}: continues tuning after {len(search.trials)} trials")
        best = trainer.train(search.settings(search.best.changes))
    while (changes := search.propose()) is not None:
        trained, trial = _tried(trainer, search.settings(changes), changes)
        if search.note(trial):
            best = trained
        assert best is not None  # a first training that fails raises
        record.write(search.trials)
        trainer.forget_others(best.settings)
        logger.info(f"{name}: {_described(search, best.settings)}")
    assert best is not None
    return best


def _tried(
    trainer: Trainer, settings: TrainSettings, changes: dict[str, Any]
) -> tuple[Trained | None, Trial]:
    began = time.perf_counter()
    try:
        trained = trainer.train(settings)
    except InputError as error:
        if not changes:
            raise
        seconds = round(time.perf_counter() - began, 2)
        return None, Trial(changes=changes, seconds=seconds, problem=str(error))
    return trained, Trial(
        changes=changes,
        validation=trained.best,
        best_epoch=trained.best_epoch,
        seconds=trained.seconds,
    )


def _described(search: Search, best: TrainSettings) -> str:
    trial = search.trials[-1]
    changes = ", ".join(f"{name} {value}" for name, value in trial.changes.items())
    found = trial.problem or f"{best.monitor} {trial.validation:.4f}"
    rank = "the best so far" if trial is search.best else f"best {search.best.value:.4f}"
    return (
        f"trial {len(search.trials)}: {changes or 'no changes'}: {found}, {rank}; "
        f"{trial.seconds:.0f} s"
    )


def tuned_choices(choices: dict[str, AutoChoice], best: Trial) -> dict[str, AutoChoice]:
    """Return what `auto` means after a search.

    Args:
        choices: The choices of the first training.
        best: The best trial.
    """

    def reason(name: str) -> str:
        than = f" than {choices[name].value}" if name in choices else ""
        return f"better on the validation split{than}"

    changed = {
        name: AutoChoice(value=value, reason=reason(name)) for name, value in best.changes.items()
    }
    return {**choices, **changed}
