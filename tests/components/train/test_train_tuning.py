"""The short search for better settings within a training."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import TRAIN

from components.shared.contracts.training import AutoChoice, Training, Trial
from components.shared.runtime.files import read_json
from components.train.config import AUTO, TrainSettings
from components.train.job import train
from components.train.trainer import Trained, Trainer
from components.train.tuning import MOVES, Search, TrialRecord, tuned_choices

FIRST = TrainSettings(embedding_dimension=64, dropout=0.5, learning_rate=0.004)
Value = Callable[[TrainSettings], float | None]


def searched(
    value: Value, automatic: set[str] | None = None, seconds: float = 1e9, each: float = 10
) -> Search:
    """A search whose trainings reach a value right away."""
    moves = {"embedding_dimension", "dropout", "l2", "learning_rate"}
    search = Search(FIRST, moves if automatic is None else automatic, seconds)
    while (changes := search.propose()) is not None:
        reached = value(search.settings(changes))
        search.note(Trial(changes=changes, validation=reached, best_epoch=1, seconds=each))
    return search


def test_changes_are_tried_one_at_a_time_around_the_best() -> None:
    search = searched(lambda settings: 0.5 if settings.dropout == 0.3 else 0.1)

    assert [trial.changes for trial in search.trials] == [
        {},
        {"embedding_dimension": 128},
        {"embedding_dimension": 32},
        {"dropout": 0.7},
        {"dropout": 0.3},  # an improvement: the following trials keep it
        {"dropout": 0.3, "l2": 1e-5},
        {"dropout": 0.3, "learning_rate": 0.008},
        {"dropout": 0.3, "learning_rate": 0.002},
    ]
    assert search.best.changes == {"dropout": 0.3}


def test_the_other_loss_is_tried_first_and_its_own_settings_move_with_it() -> None:
    other = {"loss": "quadratic", "embedding_dimension": 128, "unobserved_weight": 0.2}
    search = Search(FIRST, {"l2"}, 1e9, other)
    while (changes := search.propose()) is not None:
        value = float(changes.get("loss") == "quadratic") + changes.get("unobserved_weight", 0)
        search.note(Trial(changes=changes, validation=value, best_epoch=1, seconds=1))

    assert [trial.changes for trial in search.trials] == [
        {},
        other,
        {**other, "embedding_dimension": 256},
        {**other, "embedding_dimension": 64},
        {**other, "l2": 1e-5},
        {**other, "unobserved_weight": 0.4},
    ]


def test_the_other_direction_is_not_tried_after_an_improvement() -> None:
    search = searched(lambda settings: settings.dropout, {"dropout"})

    assert [trial.changes for trial in search.trials] == [{}, {"dropout": 0.7}]


def test_only_automatic_settings_change() -> None:
    assert len(searched(lambda settings: 0.1, set()).trials) == 1
    for trial in searched(lambda settings: 0.1, {"l2"}).trials:
        assert trial.changes.keys() <= {"l2"}


def test_an_equal_value_is_no_improvement() -> None:
    assert searched(lambda settings: 0.1).best.changes == {}


def test_a_training_that_failed_is_never_the_best() -> None:
    search = searched(lambda settings: 0.1 if settings == FIRST else None)

    assert search.best is search.trials[0]
    assert len(search.trials) == 8


@pytest.mark.parametrize(("seconds", "trainings"), [(9, 1), (10, 2), (29, 3), (30, 4)])
def test_a_training_begins_only_if_the_longest_so_far_would_fit(
    seconds: float, trainings: int
) -> None:
    assert len(searched(lambda settings: 0.1, seconds=seconds, each=10).trials) == trainings


def test_the_next_attempt_continues_with_the_trials_of_the_one_before() -> None:
    whole = searched(lambda settings: settings.dropout)
    again = Search(FIRST, set(MOVES) - {"profile_dropout"}, 1e9)

    again.replay(whole.trials[:4])

    assert again.propose() == whole.trials[4].changes


def test_trials_of_another_search_are_ignored() -> None:
    search = Search(FIRST, {"dropout"}, 1e9)

    search.replay(searched(lambda settings: 0.1).trials)

    assert (search.trials, search.propose()) == ([], {})


def test_a_damaged_record_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "key-trials.json").write_text("[{")

    assert TrialRecord(str(tmp_path), "key").read() == []
    assert "damaged" in caplog.text


def test_a_choice_that_tuning_changed_says_so() -> None:
    choices = {name: AutoChoice(value=0.5, reason="rule") for name in ("dropout", "l2")}

    found = tuned_choices(choices, Trial(changes={"dropout": 0.3}, seconds=1))

    assert found["dropout"].value == 0.3
    assert "0.5" in found["dropout"].reason
    assert found["l2"] == choices["l2"]


# --- trainings ------------------------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    **TRAIN, "epochs": 3, "validation_frequency": 1, "tune": "small", "checkpoint_seconds": 0,
    "dropout": AUTO, "learning_rate": AUTO,
}  # fmt: skip


def fitted(encoded: Path, model: Path, config: dict[str, Any], checkpoints: Path) -> Path:
    train(encoded=str(encoded), config=config, layer_sizes=[], seed=3, model=str(model),
          checkpoints=str(checkpoints))  # fmt: skip
    return model


def towers(model: Path) -> list[np.ndarray]:
    return [
        weights
        for side in ("query", "candidate")
        for weights in keras.models.load_model(model / f"{side}_tower.keras").get_weights()
    ]


def trials(model: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(model / "training.json")["trials"]
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in found]


@pytest.fixture(scope="module")
def model(ids_only_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    return fitted(ids_only_encoded, folder / "model", CONFIG, folder / "states")


def test_the_best_trial_is_the_model(ids_only_encoded: Path, model: Path, tmp_path: Path) -> None:
    about = Training.read(model)
    best = max(about.trials, key=lambda trial: trial.value)
    alone = {**CONFIG, "tune": "none", "dropout": 0.5, "learning_rate": 0.003, **best.changes}

    direct = fitted(ids_only_encoded, tmp_path / "direct", alone, tmp_path / "states")

    assert len(about.trials) > 2
    assert best.changes != {}  # or any search would pass
    assert about.validation == best.validation
    assert about.best_epoch == best.best_epoch
    assert all(np.array_equal(a, b) for a, b in zip(towers(model), towers(direct), strict=True))
    for name, value in best.changes.items():
        assert about.config[name] == about.auto[name].value == value


def test_no_state_is_left(model: Path) -> None:
    assert list((model.parent / "states").iterdir()) == []


SCRIPT = """
import os, signal, sys
from components.shared.runtime.keras_backend import use_jax
use_jax()
from components.train.job import train
from components.train.resumable_fit import ResumableFit

begun = []
original = ResumableFit.on_epoch_begin
def on_epoch_begin(self, epoch, logs=None):
    original(self, epoch, logs)
    begun.append(epoch)
    if len(begun) == {epochs}:
        os.kill(os.getpid(), signal.{signal})
ResumableFit.on_epoch_begin = on_epoch_begin
train(encoded={encoded!r}, config={config!r}, layer_sizes=[], seed=3, model={model!r},
      checkpoints={checkpoints!r})
"""


@pytest.mark.parametrize("name", [pytest.param("SIGKILL", marks=pytest.mark.slow), "SIGTERM"])
@pytest.mark.parametrize("refit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_search_continues_where_it_was(
    ids_only_encoded: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, refit: bool,
) -> None:  # fmt: skip
    config = {**CONFIG, "refit": refit}
    states = tmp_path / "states"
    script = SCRIPT.format(
        encoded=str(ids_only_encoded), config=config, model=str(tmp_path / "model"),
        checkpoints=str(states), epochs=3 * 2 + 2, signal=name,
    )  # fmt: skip
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode != 0
    assert not (tmp_path / "model").exists()
    # Two trainings are complete: the best one's state, the third one's, and the record.
    assert len(list(states.iterdir())) == 3
    trained: list[TrainSettings] = []
    original = Trainer.train

    def noted(self: Trainer, settings: TrainSettings) -> Trained:
        trained.append(settings)
        return original(self, settings)

    monkeypatch.setattr(Trainer, "train", noted)

    with contextlib.chdir(tmp_path):
        fitted(ids_only_encoded, tmp_path / "model", config, states)

    assert trials(tmp_path / "model") == trials(model)
    # The best of the first two is read back, and one of them is not trained again.
    assert len(trained) == len(trials(model)) - 1
    assert list(states.iterdir()) == []
    if not refit:
        pairs = zip(towers(tmp_path / "model"), towers(model), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
