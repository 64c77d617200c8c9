"""A training that is killed and retried ends with the weights of an uninterrupted one."""

import contextlib
import io
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import PLAIN
from killed_training import Moment, signal_at, start

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.step_record import record_step
from components.shared.contracts.tables import LABEL, read_table, write_table
from components.shared.contracts.training import Epoch
from components.shared.runtime.arrow import to_numpy
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json
from components.shared.runtime.step import run_step
from components.train.checkpoint import Position, TrainingState, training_key
from components.train.epoch_notes import Notes
from components.train.job import train
from components.train.resumable_fit import ResumableFit

DIVERGED = Epoch(epoch=2, loss=math.nan, seconds=0.5)
CRASH = signal.SIGUSR1
KILL, TERMINATE = signal.SIGKILL, signal.SIGTERM
STOPPED = 143
SEED = 7
SETTINGS: dict[str, Any] = {
    **PLAIN,
    "learning_rate": 0.01,
    "batch_size": 256,
    "epochs": 4,
    "validation_frequency": 2,
    "monitor": "hit_rate_at_20_filtered",
    "checkpoint_seconds": 0,
}
STEPS = 8  # of an epoch with them
# Small batches and a validation after each epoch leave time for a kill.
LONG = {**SETTINGS, "batch_size": 8, "epochs": 12, "validation_frequency": 1}
# The metric peaks early, and training stops after two validations without improvement.
IMPATIENT = {
    **SETTINGS,
    "learning_rate": 0.1,
    "epochs": 30,
    "validation_frequency": 1,
    "patience": 2,
}


@pytest.fixture(scope="module")
def small(ids_only_encoded: Path) -> Path:
    return ids_only_encoded


class Crash(BaseException):
    """Ends a training in this process."""


class Attempts:
    """Attempts at one training, each of which continues from the saved state."""

    def __init__(self, encoded: Path, folder: Path, **changes: Any):
        self.model = folder / "model" / "model"
        self.checkpoints = folder / "checkpoints"
        self.arguments: dict[str, Any] = {
            "encoded": str(encoded),
            "config": SETTINGS,
            "layer_sizes": [16],
            "seed": SEED,
            "model": str(self.model),
            "checkpoints": str(self.checkpoints),
            **changes,
        }

    def finish(self) -> dict[str, Any]:
        return train(**self.arguments)

    def stop(self, moment: Moment) -> None:
        """An attempt in this process that SIGTERM ends."""
        with signal_at(moment), pytest.raises(SystemExit) as ended:
            train(**self.arguments)
        assert ended.value.code == STOPPED

    def crash(self, moment: Moment) -> None:
        """An attempt in this process that ends without SIGTERM, as a kill does, at a moment.

        Unlike a kill it lets `finally` run: for tests of what was saved before.
        """

        def crash(number: int, frame: object) -> None:
            raise Crash

        previous = signal.signal(CRASH, crash)
        try:
            with signal_at(moment), pytest.raises(Crash):
                train(**self.arguments)
        finally:
            signal.signal(CRASH, previous)

    def kill(self, moment: Moment) -> str:
        """An attempt in its own process; returns its output."""
        process = start(self.arguments, moment)
        output, _ = process.communicate()
        assert process.returncode in (-moment.number, STOPPED), output
        return output

    @property
    def files(self) -> list[str]:
        """The files at the checkpoints' location."""
        return sorted(os.listdir(self.checkpoints)) if self.checkpoints.is_dir() else []

    @property
    def state_file(self) -> Path:
        (name,) = [name for name in self.files if name.endswith(".npz")]
        return self.checkpoints / name

    @property
    def state(self) -> TrainingState:
        return TrainingState.from_bytes(self.state_file.read_bytes())


@pytest.fixture
def attempts(small: Path, tmp_path: Path) -> Attempts:
    return Attempts(small, tmp_path)


@pytest.fixture(scope="module")
def never_killed(
    sample_encoded: Path, small: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Trains uninterrupted and without checkpoints, once per config."""
    models: dict[str, Path] = {}

    def of(config: dict[str, Any], *, whole: bool = False, seed: int = SEED) -> Path:
        key = json.dumps([config, whole, seed])
        if key not in models:
            folder = tmp_path_factory.mktemp("never-killed")
            encoded = sample_encoded if whole else small
            attempt = Attempts(encoded, folder, config=config, seed=seed, checkpoints=None)
            attempt.finish()
            models[key] = attempt.model
        return models[key]

    return of


def weights(model: Path) -> list[np.ndarray]:
    return [
        weight
        for side in ("query", "candidate")
        for weight in keras.models.load_model(model / f"{side}_tower.keras").get_weights()
    ]


def same_weights(first: Path, second: Path) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def assert_the_same(model: Path, never_killed: Path) -> None:
    assert same_weights(model, never_killed)
    training, expected = (
        read_json(model / "training.json"),
        read_json(never_killed / "training.json"),
    )
    for name in ("validation", "best_epoch", "epochs"):
        assert training[name] == expected[name]
    history, entries = (
        read_json(model / "history.json")["epochs"],
        read_json(never_killed / "history.json")["epochs"],
    )
    assert [set(entry) for entry in history] == [set(entry) for entry in entries]
    for entry, other in zip(history, entries, strict=True):
        assert entry["loss"] == pytest.approx(other["loss"], rel=1e-6)
        apart = ("loss", "seconds")
        assert {k: v for k, v in entry.items() if k not in apart} == {
            k: v for k, v in other.items() if k not in apart
        }


# --- killed in its own process --------------------------------------------------------------------


def kill_after_a_line(
    process: subprocess.Popen[str], number: int, lines: int, seconds: float
) -> str:
    """Send a signal some time after a number of progress lines; the process may have ended."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        lines -= "weights," in line or " epoch " in line
        if lines <= 0:
            break
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(number)
    rest, _ = process.communicate()
    return output + rest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "seed"),
    [
        ([KILL, KILL], 1),
        ([TERMINATE, KILL, TERMINATE], 5),
    ],
)
def test_a_training_killed_at_random_and_retried_ends_with_uninterrupted_weights(
    small: Path,
    tmp_path: Path,
    never_killed: Callable[..., Path],
    signals: list[int],
    seed: int,
) -> None:
    attempts = Attempts(small, tmp_path, config=LONG)
    dice = random.Random(seed)

    for number in signals:
        process = start(attempts.arguments, None)
        output = kill_after_a_line(process, number, dice.randint(1, 3), dice.uniform(0, 0.3))
        # Before the first step and after the last one SIGTERM ends Python as it ends any program.
        assert process.returncode in (-number, STOPPED, 0), output
        if process.returncode == STOPPED:
            assert "stopped by SIGTERM after" in output
            assert "model.partial" not in os.listdir(attempts.model.parent)
    attempts.finish()

    assert_the_same(attempts.model, never_killed(LONG))
    assert os.listdir(attempts.model.parent) == ["model"]
    assert not [name for name in attempts.files if name.endswith(".npz")]


@pytest.mark.parametrize(
    "moment",
    [
        Moment(KILL, "step", 2, 3),
        Moment(KILL, "checkpoint"),
        *(
            pytest.param(moment, marks=pytest.mark.slow)
            for moment in (
                Moment(KILL, "towers saved"),
                Moment(KILL, "step", 0, 0),
                Moment(KILL, "validation", 3),
                Moment(KILL, "epoch end", 3),
                Moment(TERMINATE, "towers saved"),
                Moment(KILL, "model in place"),
            )
        ),
    ],
    ids=lambda moment: f"{signal.Signals(moment.number).name} {moment.place} {moment.epoch}",
)
def test_a_retry_finishes_after_a_kill(
    attempts: Attempts, never_killed: Callable[..., Path], moment: Moment
) -> None:
    attempts.kill(moment)

    attempts.finish()

    assert_the_same(attempts.model, never_killed(SETTINGS))
    assert os.listdir(attempts.model.parent) == ["model"]
    assert attempts.files == []


def test_a_process_logs_the_saved_position_on_sigterm_and_exits_with_143(
    attempts: Attempts,
) -> None:
    output = attempts.kill(Moment(TERMINATE, "step", 2, 4))

    assert re.search(
        r"stopped by SIGTERM after 2 epochs and 5 steps; the next attempt continues from there$",
        output.strip(),
    )
    assert os.listdir(attempts.model.parent) == []
    assert len(attempts.files) == 1


# --- stopped by SIGTERM at a chosen moment --------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "done"),
    [
        pytest.param(Moment(TERMINATE, "restore"), (0, 0), id="before the first step"),
        pytest.param(Moment(TERMINATE, "step", 0, 0), (0, 1), id="first step"),
        pytest.param(Moment(TERMINATE, "step", 1, 3), (1, 4), id="in the middle"),
        pytest.param(
            Moment(TERMINATE, "step", 2, STEPS - 2), (2, STEPS - 1), id="last step but one"
        ),
        pytest.param(
            Moment(TERMINATE, "step", 1, STEPS - 1), (1, STEPS), id="last step of an epoch"
        ),
        pytest.param(
            Moment(TERMINATE, "step", 2, STEPS - 1), (2, STEPS), id="last step, no validation"
        ),
        pytest.param(Moment(TERMINATE, "embedding", 1), (1, STEPS), id="embedding"),
        pytest.param(Moment(TERMINATE, "validation", 1), (1, STEPS), id="validation"),
        pytest.param(Moment(TERMINATE, "epoch end", 0), (1, 0), id="end without validation"),
        pytest.param(Moment(TERMINATE, "epoch end", 1), (2, 0), id="after validation"),
        pytest.param(Moment(TERMINATE, "step", 3, STEPS - 1), (3, STEPS), id="last step"),
        pytest.param(Moment(TERMINATE, "validation", 3), (3, STEPS), id="last validation"),
        pytest.param(Moment(TERMINATE, "epoch end", 3), (4, 0), id="after all"),
    ],
)
def test_a_training_continues_where_sigterm_stopped_it(
    attempts: Attempts,
    never_killed: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    moment: Moment,
    done: tuple[int, int],
) -> None:
    attempts.stop(moment)
    epochs_and_steps = f"{done[0]} epochs and {done[1]} steps"
    assert f"stopped by SIGTERM after {epochs_and_steps}; the next" in capsys.readouterr().out
    assert (attempts.state.position.epoch, attempts.state.position.step) == done
    assert list(attempts.model.parent.iterdir()) == []

    attempts.finish()

    assert f"continues a previous attempt: {epochs_and_steps} are done" in capsys.readouterr().out
    assert_the_same(attempts.model, never_killed(SETTINGS))
    assert attempts.files == []


@pytest.mark.parametrize(
    ("optimizer", "whole"), [("adam", True), ("adagrad", False), ("sgd", False)]
)
def test_the_state_of_every_optimizer_and_feature_is_restored(
    sample_encoded: Path,
    small: Path,
    tmp_path: Path,
    never_killed: Callable[..., Path],
    optimizer: str,
    whole: bool,
) -> None:
    config = {**SETTINGS, "optimizer": optimizer, "sample_weight": "label", "l2": 1e-4}
    attempts = Attempts(sample_encoded if whole else small, tmp_path, config=config)

    attempts.stop(Moment(TERMINATE, "step", 2, 3))
    attempts.finish()

    assert_the_same(attempts.model, never_killed(config, whole=whole))


def test_a_training_can_be_stopped_repeatedly_in_one_epoch(
    attempts: Attempts, never_killed: Callable[..., Path]
) -> None:
    moments = [(0, 2), (2, 0), (2, 1), (2, 4), (2, STEPS - 1), (3, 5)]
    done = []

    for epoch, step in moments:
        attempts.stop(Moment(TERMINATE, "step", epoch, step))
        done.append((attempts.state.position.epoch, attempts.state.position.step))
    attempts.finish()

    assert done == [(0, 3), (2, 1), (2, 2), (2, 5), (2, STEPS), (3, 6)]
    assert_the_same(attempts.model, never_killed(SETTINGS))


@pytest.mark.parametrize("config", [SETTINGS, IMPATIENT], ids=["all epochs", "patience"])
def test_a_training_stopped_in_each_validation_repeats_it(
    small: Path,
    tmp_path: Path,
    never_killed: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    config: dict[str, Any],
) -> None:
    expected = never_killed(config)
    epochs = len(read_json(expected / "history.json")["epochs"])
    attempts = Attempts(small, tmp_path, config=config)
    for epoch in range(config["validation_frequency"] - 1, epochs, config["validation_frequency"]):
        for _ in range(2):  # the second time in a validation that an attempt begins with
            capsys.readouterr()
            attempts.stop(Moment(TERMINATE, "validation", epoch))
            assert (attempts.state.position.epoch, attempts.state.position.step) == (epoch, STEPS)
            assert len(attempts.state.notes.history) == epoch
            assert f" epoch {epoch + 1}/" not in capsys.readouterr().out

    attempts.finish()

    assert_the_same(attempts.model, expected)


def test_a_signal_before_the_first_step_of_an_attempt_loses_nothing(
    attempts: Attempts, never_killed: Callable[..., Path]
) -> None:
    attempts.stop(Moment(TERMINATE, "step", 1, 4))
    before = attempts.state

    attempts.stop(Moment(TERMINATE, "restore"))
    after = attempts.state

    assert after.position == before.position
    attempts.finish()
    assert_the_same(attempts.model, never_killed(SETTINGS))


@pytest.mark.parametrize(
    "epochs_before_the_end",
    [3, 2, 1, 0],
)
def test_patience_and_the_best_epoch_survive_a_stop(
    small: Path, tmp_path: Path, never_killed: Callable[..., Path], epochs_before_the_end: int
) -> None:
    expected = never_killed(IMPATIENT)
    epochs = len(read_json(expected / "history.json")["epochs"])
    best_epoch = read_json(expected / "training.json")["best_epoch"]
    assert 3 < epochs < IMPATIENT["epochs"]  # or it was not patience that ended it
    assert best_epoch == epochs - IMPATIENT["patience"]
    attempts = Attempts(small, tmp_path, config=IMPATIENT)

    attempts.stop(Moment(TERMINATE, "epoch end", epochs - 1 - epochs_before_the_end))
    attempts.finish()

    assert_the_same(attempts.model, expected)


@pytest.mark.parametrize(
    ("change", "moment", "ends_with"),
    [
        pytest.param({}, None, None, id="success"),
        pytest.param({}, Moment(TERMINATE, "step", 0, 1), SystemExit, id="SIGTERM"),
        pytest.param(
            {"loss": "mse", "optimizer": "sgd", "learning_rate": 1e6}, None, InputError, id="error"
        ),
    ],
)
def test_the_previous_sigterm_handler_is_restored_however_the_training_ends(
    small: Path,
    tmp_path: Path,
    change: dict[str, Any],
    moment: Moment | None,
    ends_with: type[BaseException] | None,
) -> None:
    def handler(number: int, frame: object) -> None:
        raise AssertionError("the training has its own handler")

    attempts = Attempts(small, tmp_path, config={**SETTINGS, **change})
    former = signal.signal(TERMINATE, handler)
    try:
        with (
            signal_at(moment) if moment else contextlib.nullcontext(),
            pytest.raises(ends_with) if ends_with else contextlib.nullcontext(),
        ):
            attempts.finish()
        assert signal.getsignal(TERMINATE) is handler
    finally:
        signal.signal(TERMINATE, former)


def test_a_training_in_another_thread_runs_without_a_handler(
    attempts: Attempts, never_killed: Callable[..., Path]
) -> None:
    thread = threading.Thread(target=attempts.finish)
    thread.start()
    thread.join()

    assert_the_same(attempts.model, never_killed(SETTINGS))


# --- what is saved, and when ----------------------------------------------------------------------


def test_without_checkpoints_nothing_is_written_and_sigterm_still_stops_the_training(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = Attempts(small, tmp_path, checkpoints=None)

    attempts.stop(Moment(TERMINATE, "step", 1, 4))

    assert capsys.readouterr().out.endswith("stopped by SIGTERM after 1 epochs and 5 steps\n")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_credentials_in_the_checkpoint_location_are_refused_and_not_printed(
    small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    attempts = Attempts(small, tmp_path, checkpoints="s3://key:secret-9@bucket/checkpoints")

    with pytest.raises(SystemExit):
        run_step("train", train, **attempts.arguments)

    output = "".join(capfd.readouterr())
    assert "[train] error: s3://***@bucket/checkpoints (in front of the bucket or host): " in output
    assert "secret-9" not in output


@pytest.mark.parametrize(
    ("seconds", "killed_at", "saved"),
    [
        pytest.param(0, (3, 0), (3, 0), id="0 means after each epoch"),
        pytest.param(0, (3, 5), (3, 0), id="and in none"),
        pytest.param(1e-9, (0, 5), (0, 5), id="in the first epoch"),
        pytest.param(1e-9, (3, 5), (3, 5), id="in a later one"),
        pytest.param(3600, (2, 0), (2, 0), id="after the first validation"),
        pytest.param(3600, (3, 5), (2, 0), id="and not after that"),
        pytest.param(3600, (1, 5), None, id="nor before"),
    ],
)
def test_state_is_saved_when_it_is_due_and_after_the_first_validation(
    small: Path,
    tmp_path: Path,
    never_killed: Callable[..., Path],
    seconds: float,
    killed_at: tuple[int, int],
    saved: tuple[int, int] | None,
) -> None:
    config = {**SETTINGS, "checkpoint_seconds": seconds}
    attempts = Attempts(small, tmp_path, config=config)

    attempts.crash(Moment(CRASH, "step", *killed_at))

    if saved is None:
        assert attempts.files == []
    else:
        assert (attempts.state.position.epoch, attempts.state.position.step) == saved
        assert len(attempts.state.notes.history) == saved[0]
    attempts.finish()
    assert_the_same(attempts.model, never_killed(config))


def test_without_checkpoints_no_step_saves_state(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ResumableFit, "_save", lambda *arguments: asked.append(arguments))
    config = {**SETTINGS, "checkpoint_seconds": 1e-9}

    Attempts(small, tmp_path, config=config, checkpoints=None).finish()

    assert asked == []


def test_short_epochs_leave_a_checkpoint_before_checkpoint_seconds_have_passed(
    small: Path, tmp_path: Path
) -> None:
    config = {**SETTINGS, "checkpoint_seconds": 30, "epochs": 20, "validation_frequency": 1}
    attempts = Attempts(small, tmp_path, config=config)

    attempts.crash(Moment(CRASH, "step", 19, 5))
    assert attempts.state.position.epoch >= 1

    # Each attempt saves after its own first validation, so each makes progress.
    attempts.crash(Moment(CRASH, "step", 19, 5))
    assert attempts.state.position.epoch >= 2


def test_a_kill_during_a_save_leaves_the_previous_checkpoint(
    attempts: Attempts, never_killed: Callable[..., Path]
) -> None:
    attempts.stop(Moment(TERMINATE, "step", 0, 3))

    attempts.kill(Moment(KILL, "checkpoint"))

    assert (attempts.state.position.epoch, attempts.state.position.step) == (0, 4)
    attempts.finish()
    assert_the_same(attempts.model, never_killed(SETTINGS))


def test_a_checkpoint_contains_no_pickle(attempts: Attempts) -> None:
    attempts.stop(Moment(TERMINATE, "step", 2, 1))

    with np.load(attempts.state_file, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}

    assert all(array.dtype != object for array in arrays.values())
    kinds = {name.split("/")[0] for name in arrays}
    assert kinds == {"weights", "optimizer", "best", "progress"}


def test_a_state_survives_writing_and_reading() -> None:
    rng = np.random.default_rng(3)
    state = TrainingState(
        Position(epoch=11, step=2, loss=0.1),
        weights=[rng.random((2, 3)), np.float32(0.5), np.arange(12, dtype=np.int32)],
        optimizer=[np.array(5, np.int32), *(np.full(n, n) for n in range(11))],
        best_weights=[[rng.random(n) for n in range(12)], [rng.random(2)]],
        notes=Notes(history=[Epoch(epoch=1, loss=0.1, seconds=0.5), DIVERGED]),
    )

    read = TrainingState.from_bytes(state.to_bytes())

    assert read.position == state.position
    assert read.notes.history[0] == state.notes.history[0]
    assert math.isnan(read.notes.history[1].loss)
    assert (read.notes.best, read.notes.best_epoch, read.notes.since_best) == (None, 0, 0)
    pairs = [(read.weights, state.weights), (read.optimizer, state.optimizer)]
    for some, others in [*pairs, *zip(read.best_weights, state.best_weights, strict=True)]:
        for array, other in zip(some, others, strict=True):
            assert np.array_equal(array, other)
            assert array.dtype == np.asarray(other).dtype
    assert len(read.best_weights) == 2


def test_another_training_ignores_the_state(
    small: Path, tmp_path: Path, never_killed: Callable[..., Path]
) -> None:
    stopped = Attempts(small, tmp_path)
    stopped.stop(Moment(TERMINATE, "step", 1, 4))
    other = Attempts(small, tmp_path, seed=8, model=str(tmp_path / "other"))

    other.finish()

    assert_the_same(tmp_path / "other", never_killed(SETTINGS, seed=8))
    assert len(stopped.files) == 1
    stopped.finish()
    assert_the_same(stopped.model, never_killed(SETTINGS))


def test_the_key_depends_on_every_setting(small: Path) -> None:
    settings: dict[str, Any] = {
        "config": SETTINGS, "layer_sizes": [16], "seed": 7, "begins_from": None,
    }  # fmt: skip
    key = training_key(str(small), **settings)

    others = [
        training_key(str(small), **{**settings, **change})
        for change in (
            {"config": {**SETTINGS, "learning_rate": 0.02}},
            {"layer_sizes": [16, 8]},
            {"seed": 8},
            {"begins_from": "shop-0123456789ab"},
            {"begins_from": "shop-ba9876543210"},
        )
    ]

    assert training_key(str(small), **settings) == key
    assert len({key, *others}) == 6


def _other_labels(folder: Path) -> None:
    table = read_table(folder)
    index = table.schema.get_field_index(LABEL)
    write_table(table.set_column(index, LABEL, [to_numpy(table[LABEL]) * 2]), folder)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        pytest.param(lambda e: _other_labels(e / "interactions/train"), True, id="train"),
        pytest.param(lambda e: _other_labels(e / "interactions/validation"), True, id="validation"),
        pytest.param(lambda e: _other_labels(e / "interactions/test"), False, id="test"),
        pytest.param(lambda e: shutil.rmtree(e / "interactions/test"), False, id="no test split"),
        pytest.param(
            lambda e: write_table(read_table(e / "candidates").slice(1), e / "candidates"),
            True,
            id="candidates",
        ),
        pytest.param(
            lambda e: FeatureSpec.read(e).model_copy(update={"relevant_above": 0.1}).write(e),
            True,
            id="spec",
        ),
        pytest.param(
            lambda e: (e / "query_feature_space.keras").write_bytes(b"another time"),
            False,
            id="FeatureSpace",
        ),
        pytest.param(
            lambda e: record_step(e, "adapt", {"config": {"shards": 9}}),
            False,
            id="the record of adapt",
        ),
    ],
)
def test_the_key_depends_on_the_data_that_train_reads(
    small: Path, tmp_path: Path, change: Callable[[Path], object], counts: bool
) -> None:
    copy = tmp_path / "copied"  # another place is no other data
    shutil.copytree(small, copy)
    assert training_key(str(copy), seed=1) == training_key(str(small), seed=1)

    change(copy)

    assert (training_key(str(copy), seed=1) != training_key(str(small), seed=1)) == counts


def _without(name: str) -> Callable[[bytes], bytes]:
    def edited(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as file:
            arrays = {key: file[key] for key in file.files if not key.startswith(name)}
        target = io.BytesIO()
        np.savez(target, **arrays)
        return target.getvalue()

    return edited


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"garbage" * 1000, id="garbage"),
        pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
        pytest.param(_without("progress"), id="without progress"),
        pytest.param(_without("optimizer"), id="without optimizer"),
        pytest.param(
            lambda content: content[:3000] + bytes(64) + content[3064:], id="bits flipped"
        ),
    ],
)
def test_a_damaged_checkpoint_is_ignored_with_a_warning(
    attempts: Attempts,
    never_killed: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    damaged: Callable[[bytes], bytes],
) -> None:
    attempts.stop(Moment(TERMINATE, "step", 1, 4))
    path = attempts.state_file
    path.write_bytes(damaged(path.read_bytes()))
    capsys.readouterr()

    attempts.finish()

    assert re.search(rf"warning: .*{path.name}", capsys.readouterr().out)
    assert_the_same(attempts.model, never_killed(SETTINGS))
    assert attempts.files == []
