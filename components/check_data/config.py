"""The settings of check_data."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class DriftConfig(BaseModel):
    """How a run's data is compared with the data of the published model.

    The training split and the candidates of both runs are compared. What could be chance
    in few rows, i.e. a change of less than four standard errors, never exceeds a limit.

    Args:
        on_break: What happens if a limit is exceeded, a column has another type or is
            gone: the run stops before anything is trained (`stop`), goes on with a
            warning (`warn`), or nothing is compared (`off`).
        ignore: Columns whose values are not compared, only their types.
        max_missing_increase: By how much the share of rows without a value may grow.
        max_share_change: By how much the share of any category value may change: the
            L-infinity distance of TensorFlow Data Validation.
        max_new_share: The share of rows whose value was not there before, in columns that
            had at most 100 values.
        max_gone_share: The share of rows, in the published model's data, whose value is no
            longer there.
        max_mean_shift: By how much the mean of a number may change, in standard deviations
            of the published model's data.
        label_slack: By how much ratings may lie beyond the published range, as a fraction
            of that range.
        min_volume: The smallest number of interactions and of candidates, as a fraction of
            the published number.
        max_volume: The greatest number, as a multiple of the published number.
        beam_options: Options for Apache Beam, e.g. `--direct_num_workers=2`.
    """

    model_config = ConfigDict(extra="forbid")

    on_break: Literal["stop", "warn", "off"] = "warn"
    ignore: list[str] = []
    max_missing_increase: float = Field(0.05, gt=0, le=1)
    max_share_change: float = Field(0.1, gt=0, le=1)
    max_new_share: float = Field(0.05, gt=0, le=1)
    max_gone_share: float = Field(0.05, gt=0, le=1)
    max_mean_shift: float = Field(0.5, gt=0)
    label_slack: float = Field(0.1, ge=0)
    min_volume: float = Field(0.5, ge=0, lt=1)
    max_volume: float = Field(3.0, gt=1)
    beam_options: list[str] = []

    @field_validator("on_break", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        """YAML 1.1 reads `off` as false."""
        return "off" if value is False else value
