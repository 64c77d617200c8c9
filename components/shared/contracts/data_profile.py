"""What is in the columns of the tables from ingest."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from components.shared.contracts.json_file import JsonFile

Kind = Literal["text", "number", "list", "time", "other"]


class Numbers(BaseModel):
    """The distribution of a column's numbers.

    Args:
        least: The smallest.
        greatest: The largest.
        mean: Their mean.
        deviation: Their standard deviation (of the population).
        deciles: The quantiles at 0, 0.1, …, 1.
        whole: Whether all are whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    least: float
    greatest: float
    mean: float
    deviation: float
    deciles: list[float]
    whole: bool


class TopValue(BaseModel):
    """A frequent value and its number of rows.

    Args:
        value: The value as text, cut to 80 characters.
        rows: Its number of rows; of a list column, its number of occurrences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: str
    rows: int


class ColumnProfile(BaseModel):
    """What is in a column.

    Args:
        name: The column's name.
        kind: What its values are.
        rows: Number of rows.
        missing: Number of rows without a value: null, NaN, empty text or list.
        distinct: Number of distinct values; None if there are more than
            `components.shared.profiling.column_summary.MOST_DISTINCT`.
        top: The most frequent values, at most 100; empty if `distinct` is None.
        numbers: The distribution, if all values are numbers.
        longest: The length of the longest list, or the number of words of the longest
            text.
        mean_length: The mean number of values of a list, or of words of a text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    rows: int
    missing: int
    distinct: int | None
    top: list[TopValue] = []
    numbers: Numbers | None = None
    longest: int = 0
    mean_length: float = 0.0

    @property
    def present(self) -> int:
        """The number of rows with a value."""
        return self.rows - self.missing

    @property
    def values(self) -> int:
        """The number of values: of a list column, of all lists together."""
        if self.kind == "list":
            return round(self.mean_length * self.rows)
        return self.rows - self.missing

    @property
    def missing_share(self) -> float:
        """The share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0


class DataProfile(JsonFile):
    """The profile of the training interactions and of the candidates.

    Args:
        interactions: The columns of the training split, without those that ingest
            derives from others.
        candidates: The columns of the candidates.
    """

    FILE: ClassVar[str] = "profile.json"

    interactions: list[ColumnProfile]
    candidates: list[ColumnProfile]
