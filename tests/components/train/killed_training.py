"""Trainings that receive a signal at a chosen moment, in this process or in their own.

As a program it takes one JSON object: `train`, the arguments of the job, and `moment`, a
`Moment` or null.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

REPOSITORY = Path(__file__).parents[3]

Place = Literal[
    "restore",
    "step",
    "embedding",
    "validation",
    "epoch end",
    "checkpoint",
    "towers saved",
    "model in place",
]


@dataclass(frozen=True)
class Moment:
    """When a training receives a signal.

    Args:
        number: The signal.
        place: `restore`: before the first epoch of this attempt. `step`: before a step
            runs. `embedding`: in a validation, while Keras has the towers' weights.
            `validation`: while candidates are ranked. `epoch end`: after all callbacks
            of an epoch. `checkpoint`: when the first checkpoint is written, but not yet under
            its name. `towers saved`: when the model's folder is not yet in its place.
            `model in place`: before the checkpoint is deleted.
        epoch: Of `step`, `embedding`, `validation` and `epoch end`: the epoch, from 0.
        step: Of `step`: the step, from 0.
    """

    number: int
    place: Place
    epoch: int = 0
    step: int = 0


@contextlib.contextmanager
def signal_at(moment: Moment) -> Iterator[None]:
    """Send this process the signal, once, when the training inside comes to the moment."""
    from components.shared.contracts.training import History
    from components.shared.retrieval.towers import CandidateModel
    from components.train import validation
    from components.train.checkpoint import Checkpoint
    from components.train.data import RowBatches
    from components.train.epoch_notes import EpochNotes
    from components.train.resumable_fit import ResumableFit
    from components.train.validation import RetrievalValidation

    epoch_now: list[int] = []  # empty before the first one: Keras looks at a batch then
    left = [moment.number]

    def send() -> None:
        if left:
            signal.raise_signal(left.pop())

    with contextlib.ExitStack() as stack:

        def wrap(owner: Any, name: str, before: Callable[..., bool] | None,
                 after: Callable[..., bool] | None = None) -> None:  # fmt: skip
            original = getattr(owner, name)

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if before is not None and before(*args):
                    send()
                result = original(*args, **kwargs)
                if after is not None and after(*args):
                    send()
                return result

            stack.enter_context(mock.patch.object(owner, name, wrapper))

        def note_epoch(notes: object, epoch: int, *_: object) -> bool:
            epoch_now[:] = [epoch]
            return False

        in_epoch = [moment.epoch]
        wrap(EpochNotes, "on_epoch_begin", note_epoch)
        if moment.place == "restore":
            wrap(ResumableFit, "_restored", None, lambda *_: True)
        elif moment.place == "step":
            wrap(
                RowBatches, "__getitem__",
                lambda _, step: epoch_now == in_epoch and step == moment.step,
            )  # fmt: skip
        elif moment.place == "embedding":
            embeds: list[bool] = []
            wrap(validation, "embed", lambda *_: embeds.append(True) is not None)
            # It is traced again, as this is its first use in this process.
            wrap(CandidateModel, "call", lambda *_: bool(embeds) and epoch_now == in_epoch)
        elif moment.place == "validation":
            wrap(validation, "retrieve", lambda *_: epoch_now == in_epoch)
        elif moment.place == "epoch end":
            wrap(RetrievalValidation, "on_epoch_end", None, lambda *_: epoch_now == in_epoch)
        elif moment.place == "checkpoint":
            wrap(os, "replace", lambda _, target: str(target).endswith(".npz"))
        elif moment.place == "towers saved":
            wrap(History, "write", lambda *_: True)
        elif moment.place == "model in place":
            wrap(Checkpoint, "discard", lambda *_: True)
        yield


def start(train: dict[str, Any], moment: Moment | None) -> subprocess.Popen[str]:
    """Start a process that trains.

    Args:
        train: The job's arguments.
        moment: When it sends itself a signal.
    """
    request = {"train": train, "moment": None if moment is None else asdict(moment)}
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(request)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main(request: str) -> None:
    from components.shared.runtime.keras_backend import use_jax

    use_jax()

    from components.shared.runtime.step import run_step
    from components.train.job import train

    arguments = json.loads(request)
    moment = arguments["moment"]
    with signal_at(Moment(**moment)) if moment else contextlib.nullcontext():
        run_step("train", train, **arguments["train"])


if __name__ == "__main__":
    main(sys.argv[1])
