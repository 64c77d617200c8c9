"""The section `tune`: the settings that a search tries."""

from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from components.train.config import LayerSizes, TrainConfig, TrainSettings

LAYER_SIZES = "layer_sizes"
_TRAIN = "train."
# Trials are compared by train.monitor, and are neither refitted nor tuned by themselves.
_FIXED = ("monitor", "refit", "tune", "tune_seconds")


class Choices(BaseModel):
    """One of several values.

    Args:
        choices: The values.
    """

    model_config = ConfigDict(extra="forbid")

    choices: list[Any] = Field(min_length=1)


class Range(BaseModel):
    """A number from a range.

    Args:
        low: The smallest value.
        high: The largest value.
        log: Whether to sample uniformly on a logarithmic scale.
        integer: Whether to sample whole numbers only.
    """

    model_config = ConfigDict(extra="forbid")

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} must be above 0, because log is true")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError("low and high must be whole numbers, because integer is true")
        return self


def _kind(values: Any) -> str:
    has_choices = isinstance(values, Choices) or (isinstance(values, dict) and "choices" in values)
    return "choices" if has_choices else "range"


Values = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


def _type_of(key: str) -> tuple[Any, TypeAdapter[Any]]:
    """Return the type of a key's value, and the adapter that validates one."""
    if key == LAYER_SIZES:
        return LayerSizes, TypeAdapter(LayerSizes)
    name = key.removeprefix(_TRAIN)
    field = TrainConfig.model_fields[name]
    checked: Any = Annotated[field.annotation, field]
    return TrainSettings.model_fields[name].annotation, TypeAdapter(checked)


class TuneConfig(BaseModel):
    """The settings that a search tries, and how it chooses them.

    Args:
        space: The values to try, by key: keys of the section `train`, e.g.
            `train.dropout`, and `layer_sizes`, the dense layers of both towers.
            Other settings keep the config's values; of several layer stacks, the
            first one is used.
        sampler: `tpe`: tree-structured Parzen estimator (Bergstra et al.,
            "Algorithms for hyper-parameter optimization", NeurIPS 2011).
            `random`: random search (Bergstra & Bengio, JMLR 2012).
        trials: Number of trials.
        seeds: Seeds per trial; trials are ranked by the mean. A validation split
            is small, so with one seed the best of many trials is partly luck.
    """

    model_config = ConfigDict(extra="forbid")

    space: dict[str, Values] = {}
    sampler: Annotated[str, Field(pattern="^(tpe|random)$")] = "tpe"
    trials: int = Field(30, ge=1)
    seeds: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _space_is_of_train(self) -> "TuneConfig":
        known = [f"{_TRAIN}{name}" for name in TrainConfig.model_fields if name not in _FIXED]
        for key in self.space:
            if key not in (LAYER_SIZES, *known):
                names = ", ".join(known)
                raise ValueError(
                    f"space: {key} cannot be tuned. Keys that can: {LAYER_SIZES}, {names}"
                )
        return self

    @model_validator(mode="after")
    def _values_are_valid(self) -> "TuneConfig":
        for key, what in self.space.items():
            annotation, adapter = _type_of(key)
            if isinstance(what, Range):
                kinds = [getattr(kind, "__origin__", kind) for kind in get_args(annotation)]
                numbers = {int, float}.intersection([annotation, *kinds])
                if not numbers or key == LAYER_SIZES:
                    raise ValueError(
                        f"space: {key} is not a number, so it cannot have a range: give choices"
                    )
                if int in numbers and not what.integer:
                    raise ValueError(f"space: {key} is a whole number: set integer to true")
            for value in what.choices if isinstance(what, Choices) else (what.low, what.high):
                try:
                    adapter.validate_python(value)
                except ValidationError as error:
                    raise ValueError(
                        f"space: {key} cannot be {value!r}: {error.errors()[0]['msg']}"
                    ) from error
        return self
