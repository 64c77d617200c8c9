"""The feature spec: what adapt learned about the features, for the steps after it."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.shared.contracts.derived_columns import PROFILE
from components.shared.contracts.json_file import JsonFile
from components.shared.contracts.tables import IdDType


class EncodedFeature(BaseModel):
    """A feature in the encoded tables.

    Args:
        name: The column's name in the encoded table.
        type: The feature's type in the config; `cross` for a cross.
        dtype: `int32` for indices into an embedding table, `float32` for values.
        width: Number of values in a row: 1 for a scalar, more for a padded list.
        cardinality: One more than the largest index; None for values.
        padding_index: The index that pads lists; None if it is not a padded list.
        oov_index: The index of all values that are not in the training split.
        raw_columns: The raw columns that it is made of; two for a cross.
        bin_boundaries: Boundaries of a discretized feature, ascending.
        missing_index: The index of missing values, if a discretized feature has a bin for
            them.
        mean: Mean of a normalized feature.
        variance: Variance of a normalized feature.
        shared_with: The candidate feature whose vocabulary and embedding table it
            shares; None if it has its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    type: str
    dtype: Literal["int32", "float32"]
    width: int = 1
    cardinality: int | None = None
    padding_index: int | None = None
    oov_index: int | None = None
    raw_columns: list[str]
    bin_boundaries: list[float] | None = None
    mean: float | None = None
    variance: float | None = None
    # Not written if None, as in files from before these fields.
    missing_index: int | None = Field(None, exclude_if=lambda index: index is None)
    shared_with: str | None = Field(None, exclude_if=lambda name: name is None)

    @property
    def is_cross(self) -> bool:
        """Whether it combines several raw columns."""
        return len(self.raw_columns) > 1

    @property
    def is_profile(self) -> bool:
        """Whether it is the set of the user's items, which no encoded table has."""
        return self.type == PROFILE

    @property
    def output(self) -> str:
        """The name of the FeatureSpace's output: the raw column, or the cross."""
        return self.name if self.is_cross else self.raw_columns[0]

    @property
    def is_list(self) -> bool:
        """Whether rows are lists; a padded feature is one even if its width is 1."""
        return self.padding_index is not None or self.width > 1


class RawInput(BaseModel):
    """A raw feature that a FeatureSpace takes.

    Args:
        name: The column's name.
        dtype: The type of its values.
        width: Number of values in a row; lists of strings are padded with `""`.
        labels: Names for the values of an integer category, for reports.
        derived: Whether the log's columns do not have it: ingest derives the column (see
            `components.shared.contracts.tables.Column`), or it is a profile.
        optional: Whether it may be missing: its value is then that of
            `components.shared.contracts.missing`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: Literal["string", "int64", "float32"]
    width: int = 1
    labels: dict[str, str] | None = None
    derived: bool = Field(False, exclude_if=lambda derived: not derived)
    # Not in files from before this field, whose models take no missing numbers.
    optional: bool = Field(False, exclude_if=lambda optional: not optional)

    @property
    def is_list(self) -> bool:
        """Whether a query gives `(batch, width)` values, not `(batch,)`."""
        return self.width > 1

    @property
    def is_profile(self) -> bool:
        """Whether it is the set of the user's items, which no table has."""
        return self.derived and self.name == PROFILE


class FeatureSpec(JsonFile):
    """What the steps after adapt need to know about the features.

    Args:
        query: Features of the query tower.
        candidate: Features of the candidate tower.
        query_inputs: Raw features that the query FeatureSpace takes.
        candidate_inputs: Raw features that the candidate FeatureSpace takes.
        query_id_feature: The query feature that is the user's id; None without one.
        candidate_id_feature: The candidate feature that is the item's id; None without
            one.
        query_id_dtype: The type of user ids.
        candidate_id_dtype: The type of candidate ids.
        label_scale: label = rating * label_scale + label_offset.
        label_offset: See `label_scale`.
        relevant_above: Rows with a label above this are relevant; all rows if None.
        label_range: The smallest and the largest label in the training split.
        warnings: Problems with the features, in sentences.
    """

    FILE: ClassVar[str] = "feature_spec.json"

    query: list[EncodedFeature]
    candidate: list[EncodedFeature]
    query_inputs: list[RawInput]
    candidate_inputs: list[RawInput]
    query_id_feature: str | None
    # Not in files from before this field, whose models have no profile.
    candidate_id_feature: str | None = Field(None, exclude_if=lambda name: name is None)
    query_id_dtype: IdDType
    candidate_id_dtype: IdDType
    label_scale: float
    label_offset: float
    relevant_above: float | None
    label_range: tuple[float, float]
    warnings: list[str] = Field([])

    @property
    def profile(self) -> EncodedFeature | None:
        """The feature that is the set of the user's items; None without one."""
        return next((feature for feature in self.query if feature.is_profile), None)

    @property
    def query_columns(self) -> list[EncodedFeature]:
        """The query features that the encoded interactions have: all but a profile."""
        return [feature for feature in self.query if not feature.is_profile]
