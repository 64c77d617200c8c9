"""A trained model's `training.json`, `history.json` and `refit_history.json`."""

import math
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from components.shared.contracts.json_file import JsonFile
from components.shared.contracts.metric import Metric


class AutoChoice(BaseModel):
    """The value of a setting that was `auto`.

    Args:
        value: The value.
        reason: Why, in a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Any
    reason: str


class Trial(BaseModel):
    """A training of a search for better settings.

    Args:
        changes: Its settings that differ from those of the first training.
        validation: The monitored metric in the best epoch; None if it could not be
            trained.
        best_epoch: The best epoch, from 1; 0 if it could not be trained.
        seconds: Its time.
        problem: Why it could not be trained; empty if it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    changes: dict[str, Any]
    validation: float | None = Field(None, allow_inf_nan=False)
    best_epoch: int = 0
    seconds: float
    problem: str = ""

    @property
    def value(self) -> float:
        """The value by which trials are ranked."""
        return -math.inf if self.validation is None else self.validation


class Training(JsonFile):
    """How a model was trained, and what it reached on the validation split.

    Args:
        layer_sizes: The layer stack's name: `64-32`, or `none` without dense layers.
        monitor: The metric that chose the best epoch.
        validation: The metric's value in the best epoch.
        best_epoch: The best epoch, from 1.
        epochs: Epochs trained.
        refit: Whether the model was trained again on the training and validation splits.
        fit_seconds: Time of all epochs and validations, tuning and refit included.
        samples_per_second: Training rows per second, the median over the epochs after
            the first, which compiles.
        device: JAX's backend and the kind of device: `gpu: NVIDIA H100`.
        begins_from: The published version that a warm start began from; empty for a
            cold start.
        seed: The seed of the weights and of the order of rows.
        config: The `TrainSettings`: the values that the model was trained by.
        auto: The settings among them that were `auto`.
        trials: The trainings of `tune`, in order; empty without it.

    Example:
    ```python
    text = '''{"layer_sizes": "64-32", "monitor": "ndcg_at_10_raw", "validation": 0.5,
               "best_epoch": 3, "epochs": 5, "fit_seconds": 2.5, "samples_per_second": 90000,
               "device": "cpu: cpu", "seed": 42, "config": {"epochs": 5}}'''
    training = Training.parse(text, "training.json")
    assert training.monitor.cutoff == 10
    assert not training.refit
    ```
    """

    FILE: ClassVar[str] = "training.json"

    layer_sizes: str
    monitor: Metric
    validation: float = Field(allow_inf_nan=False)
    best_epoch: int
    epochs: int
    # Absent from models that were published before refit and warm start existed.
    refit: bool = False
    fit_seconds: float
    samples_per_second: int
    device: str
    begins_from: str = ""
    seed: int
    config: dict[str, Any]
    # Absent from models that were trained before `auto` existed.
    auto: dict[str, AutoChoice] = Field({})
    trials: list[Trial] = Field([])

    @property
    def summary(self) -> dict[str, Any]:
        """What the UI shows of the training: all but seed, settings and format."""
        return self.model_dump(mode="json", exclude={"format", "seed", "config", "auto", "trials"})


class Epoch(BaseModel):
    """An epoch of a training, with the validation metrics `val_<metric>` if it was validated.

    Args:
        epoch: The epoch, from 1.
        loss: The mean training loss.
        seconds: The epoch's time, without its validation.

    Example:
    ```python
    epoch = Epoch(epoch=1, loss=6.5, seconds=0.25).validated({"val_mrr_at_5_raw": 0.5})
    assert epoch.metrics == {"val_mrr_at_5_raw": 0.5}
    assert list(epoch.model_dump()) == ["epoch", "loss", "seconds", "val_mrr_at_5_raw"]
    ```
    """

    # A loss that is not finite ends a training, but may be in the state of a killed one.
    model_config = ConfigDict(extra="allow", frozen=True, ser_json_inf_nan="constants")
    __pydantic_extra__: dict[str, float]

    epoch: int
    loss: float
    seconds: float

    @property
    def metrics(self) -> dict[str, float]:
        """The validation metrics by `val_<metric>`; empty without a validation."""
        return dict(self.__pydantic_extra__)

    @property
    def validation(self) -> dict[Metric, float]:
        """The validation metrics by their names; empty without a validation."""
        return {
            Metric.parse(name.removeprefix("val_")): value for name, value in self.metrics.items()
        }

    def validated(self, metrics: dict[str, float]) -> Self:
        """Return the same epoch with validation metrics.

        Args:
            metrics: Values by `val_<metric>`.
        """
        return type(self)(**{**self.model_dump(), **metrics})


class History(JsonFile):
    """The epochs of a training, in order.

    Args:
        epochs: All epochs.

    Example:
    ```python
    old = History.parse('[{"epoch": 1, "loss": 6.5, "seconds": 0.25}]', "history.json")
    assert old.epochs[0].loss == 6.5
    ```
    """

    FILE: ClassVar[str] = "history.json"

    epochs: list[Epoch]

    @classmethod
    def parse(cls, text: str | bytes, source: str) -> Self:
        """Read the file's content, also the plain list of epochs of earlier versions.

        Args:
            text: The JSON text.
            source: Where it is from, for messages.

        Raises:
            InputError: If it has a newer format, or is not a history.
        """
        content = text.decode() if isinstance(text, bytes) else text
        if content.lstrip().startswith("["):
            content = f'{{"epochs": {content}}}'
        return super().parse(content, source)


class RefitHistory(History):
    """The epochs of the refit, the second training on the training and validation splits.

    Args:
        epochs: All epochs; none is validated.
    """

    FILE: ClassVar[str] = "refit_history.json"
