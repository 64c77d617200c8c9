"""What adapt learned about the features: the contract between adapt and the steps after it."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from components.shared.contracts.tables import IdDType

FEATURE_SPEC = "feature_spec.json"


class EncodedFeature(BaseModel):
    """A feature as it stands in the encoded tables.

    Args:
        name: The column's name in the encoded table.
        type: The kind of feature, as the config names it.
        dtype: `int32` for indices into an embedding table, `float32` for values.
        width: Values in a row: 1 for a scalar, more for a padded list.
        cardinality: One more than the largest index; none for values.
        padding_index: The index that means "no value here", if lists are padded.
        oov_index: The index of every value that training did not have.
        raw_columns: The raw columns it is made of; two or more for a cross.
        bin_boundaries: Where a discretized feature is cut, ascending.
        mean: Of a normalized feature; what is taken off its values.
        variance: Of a normalized feature.
        shared_with: The candidate feature whose vocabulary it has, and whose
            embedding table it uses; none, if it has its own.
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
    # Not written where there is nothing to say, as in files from before this field.
    shared_with: str | None = Field(None, exclude_if=lambda name: name is None)

    @property
    def output(self) -> str:
        """What the FeatureSpace calls it: the name of the raw column, or of the cross."""
        return self.raw_columns[0] if len(self.raw_columns) == 1 else self.name


class RawInput(BaseModel):
    """A raw feature, as a FeatureSpace takes it.

    Args:
        name: The column's name.
        dtype: The type of its values.
        width: Values in a row; lists of strings are padded with `""`.
        labels: Names for the values of an integer category, for reports.
        derived: Whether ingest made the column from the log; see
            `components.shared.contracts.tables.Column`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: Literal["string", "int64", "float32"]
    width: int = 1
    labels: dict[str, str] | None = None
    derived: bool = Field(False, exclude_if=lambda derived: not derived)


class FeatureSpec(BaseModel):
    """Everything that the steps after adapt need to know about the features.

    Args:
        query: Features of the query tower.
        candidate: Features of the candidate tower.
        query_inputs: Raw features that the query FeatureSpace takes.
        candidate_inputs: Raw features that the candidate FeatureSpace takes.
        query_id_feature: The query feature that is the user's id, if there is one.
        query_id_dtype: The type of the user's id.
        candidate_id_dtype: The type of a candidate's id.
        label_scale: label = rating * label_scale + label_offset.
        label_offset: See `label_scale`.
        relevant_above: Rows whose label is above it are relevant; all, if none.
        label_range: Least and greatest label in the training split.
        warnings: What looks wrong with the features, in sentences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: list[EncodedFeature]
    candidate: list[EncodedFeature]
    query_inputs: list[RawInput]
    candidate_inputs: list[RawInput]
    query_id_feature: str | None
    query_id_dtype: IdDType
    candidate_id_dtype: IdDType
    label_scale: float
    label_offset: float
    relevant_above: float | None
    label_range: tuple[float, float]
    warnings: list[str] = []

    @classmethod
    def read(cls, encoded: str | os.PathLike[str]) -> "FeatureSpec":
        """Reads the spec from a folder of encoded tables."""
        return cls.model_validate_json((Path(encoded) / FEATURE_SPEC).read_text())

    def write(self, encoded: str | os.PathLike[str]) -> None:
        """Writes the spec into a folder of encoded tables."""
        (Path(encoded) / FEATURE_SPEC).write_text(self.model_dump_json(indent=2) + "\n")
