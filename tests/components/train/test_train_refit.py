"""Refitting on the training and validation splits."""

import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TRAIN

from components.shared.contracts.tables import table_files
from components.shared.runtime.files import read_json
from components.train.job import train

CONFIG = {**TRAIN, "epochs": 4, "validation_frequency": 1}


def fitted(encoded: Path, model: Path, seed: int = 3, **changes: object) -> Path:
    train(encoded=str(encoded), config={**CONFIG, **changes}, layer_sizes=[8], seed=seed,
          model=str(model))  # fmt: skip
    return model


def towers(model: Path) -> list[np.ndarray]:
    return [
        weights
        for side in ("query", "candidate")
        for weights in keras.models.load_model(model / f"{side}_tower.keras").get_weights()
    ]


def equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def moved_to_training(encoded: Path, folder: Path) -> Path:
    """The same data, with the validation rows added to the training split."""
    shutil.copytree(encoded, folder)
    train_part = folder / "interactions" / "train"
    rows = [pq.read_table(path) for path in table_files(train_part)]
    rows += [pq.read_table(path) for path in table_files(folder / "interactions" / "validation")]
    for path in table_files(train_part):
        Path(path).unlink()
    pq.write_table(pa.concat_tables(rows), train_part / "part-00000-of-00001.parquet")
    return folder


def test_a_refit_trains_on_both_parts_for_the_best_number_of_epochs(
    ids_only_encoded: Path, tmp_path: Path
) -> None:
    refitted = fitted(ids_only_encoded, tmp_path / "refitted", refit=True)
    about = read_json(refitted / "training.json")
    both = moved_to_training(ids_only_encoded, tmp_path / "both")
    best = about["best_epoch"]
    # Only the weights after the last epoch count here: with one validation, at the end.
    direct = fitted(both, tmp_path / "direct", epochs=best, validation_frequency=best)
    assert equal(towers(refitted), towers(direct))
    first = fitted(ids_only_encoded, tmp_path / "first")
    assert not equal(towers(refitted), towers(first))


def test_validation_metrics_are_those_of_the_first_training(
    ids_only_encoded: Path, tmp_path: Path
) -> None:
    refitted = read_json(
        fitted(ids_only_encoded, tmp_path / "refitted", refit=True) / "training.json"
    )
    first = read_json(fitted(ids_only_encoded, tmp_path / "first") / "training.json")
    for name in ("validation", "best_epoch", "epochs", "monitor"):
        assert refitted[name] == first[name]


def test_a_refit_writes_both_histories(ids_only_encoded: Path, tmp_path: Path) -> None:
    refitted = fitted(ids_only_encoded, tmp_path / "refitted", refit=True)
    history = read_json(refitted / "history.json")["epochs"]
    again = read_json(refitted / "refit_history.json")["epochs"]
    assert len(history) == 4
    assert len(again) == read_json(refitted / "training.json")["best_epoch"]
    assert all(np.isfinite(entry["loss"]) for entry in again)
    assert not (fitted(ids_only_encoded, tmp_path / "first") / "refit_history.json").exists()


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from components.shared.runtime.keras_backend import use_jax
use_jax()
from components.shared.runtime.step import run_step
from components.train.job import train
from components.train.resumable_fit import ResumableFit

begun = []
original = ResumableFit.on_epoch_begin
def on_epoch_begin(self, epoch, logs=None):
    original(self, epoch, logs)
    if self.checkpoint._name.endswith("-refit.npz"):
        begun.append(epoch)
        if len(begun) == {epochs}:
            import os, signal
            os.kill(os.getpid(), signal.{signal})
ResumableFit.on_epoch_begin = on_epoch_begin
run_step("train", train, encoded={encoded!r}, config={config!r}, layer_sizes=[8], seed=3,
         model={model!r}, checkpoints={checkpoints!r})
print("whole")
"""


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_killed_refit_continues(
    ids_only_encoded: Path, tmp_path: Path, number: signal.Signals
) -> None:
    config = {**CONFIG, "refit": True, "checkpoint_seconds": 0}
    checkpoints = tmp_path / "checkpoints"
    script = SCRIPT.format(
        tests=str(Path(__file__).parents[2]), encoded=str(ids_only_encoded), config=config,
        model=str(tmp_path / "model"), checkpoints=str(checkpoints), epochs=2, signal=number.name,
    )  # fmt: skip
    first = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "whole" not in first.stdout
    assert "refit on the training and validation splits" in first.stdout
    assert not (tmp_path / "model").exists()
    names = sorted(path.name for path in checkpoints.iterdir())
    assert len(names) == 2, names

    with contextlib.chdir(tmp_path):
        train(encoded=str(ids_only_encoded), config=config, layer_sizes=[8], seed=3,
              model=str(tmp_path / "model"), checkpoints=str(checkpoints))  # fmt: skip
    assert not list(checkpoints.iterdir())
    uninterrupted = fitted(ids_only_encoded, tmp_path / "whole", refit=True)
    assert equal(towers(tmp_path / "model"), towers(uninterrupted))
