"""The config's section `features`: what the towers see."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.shared.contracts.derived_columns import PROFILE
from components.shared.contracts.table_needs import ColumnNeed
from components.shared.features.types import Feature
from components.shared.features.types.profile import Profile

Side = Literal["query", "candidate"]
_FeatureByType = Annotated[Feature, Field(discriminator="type")]


class Cross(BaseModel):
    """The combination of two features of one side, hashed.

    Args:
        features: Names of the two features; Keras 3.15 crosses two at most.
        dim: Number of indices.
    """

    model_config = ConfigDict(extra="forbid")

    features: list[str] = Field(min_length=2, max_length=2)
    dim: int = Field(ge=2)

    @property
    def name(self) -> str:
        """The name that FeatureSpace gives it: `a_X_b`."""
        return "_X_".join(self.features)


class Label(BaseModel):
    """label = rating * scale + offset.

    Args:
        scale: Factor; with the offset, 1/4 maps ratings of 1 to 5 to 0 to 1.
        offset: Added after scaling.
        relevant_above: In validation and evaluation, an interaction is relevant
            if its label is above this. All are by default.
    """

    model_config = ConfigDict(extra="forbid")

    scale: float = 1.0
    offset: float = 0.0
    relevant_above: float | None = None


class FeaturesConfig(BaseModel):
    """The features, by the names of their columns.

    Args:
        query: Features of the user.
        candidate: Features of the item.
        crosses: Combinations of features of one side.
        label: How ratings become labels.
    """

    model_config = ConfigDict(extra="forbid")

    query: dict[str, _FeatureByType] = Field(min_length=1)
    candidate: dict[str, _FeatureByType] = Field(min_length=1)
    crosses: list[Cross] = []
    label: Label = Label()

    @model_validator(mode="after")
    def _crosses_are_of_one_side(self) -> "FeaturesConfig":
        names = [cross.name for cross in self.crosses]
        for cross in self.crosses:
            if names.count(cross.name) > 1:
                raise ValueError(f"crosses: {cross.name} is there twice")
            sides = [side for side in (self.query, self.candidate) if _has_all(side, cross)]
            if not sides:
                known = ", ".join([*self.query, *self.candidate])
                raise ValueError(
                    f"crosses: {cross.name}: {', '.join(cross.features)} are not features of one "
                    f"side. Features are {known}"
                )
            for side in sides:
                _check_crossable(cross, side)
        return self

    @model_validator(mode="after")
    def _query_features_are_of_users(self) -> "FeaturesConfig":
        for name, feature in self.candidate.items():
            if feature.QUERY_ONLY:
                raise ValueError(
                    f"candidate.{name}: type {feature.type} is for query features: "
                    f"{feature.QUERY_ONLY}"
                )
        return self

    @model_validator(mode="after")
    def _profile_has_its_name(self) -> "FeaturesConfig":
        for name, feature in self.query.items():
            if isinstance(feature, Profile) and name != PROFILE:
                raise ValueError(
                    f"query.{name}: a feature of type profile has no column, and its name must be "
                    f"{PROFILE}. Rename it to query.{PROFILE}."
                )
        return self

    @model_validator(mode="after")
    def _in_order(self) -> "FeaturesConfig":
        # kfp passes structs in any order; towers must be built in the same order each time.
        self.query = dict(sorted(self.query.items()))
        self.candidate = dict(sorted(self.candidate.items()))
        return self

    def of(self, side: Side) -> dict[str, Feature]:
        """Return the features of one side."""
        return self.query if side == "query" else self.candidate

    def with_column(self, side: Side) -> dict[str, Feature]:
        """Return the features of one side whose values are a column of the tables."""
        return {name: item for name, item in self.of(side).items() if item.HAS_COLUMN}

    def needs(self, side: Side) -> dict[str, ColumnNeed]:
        """Return what the features of one side need of their columns."""
        return {name: feature.need for name, feature in self.with_column(side).items()}

    def crosses_of(self, side: Side) -> list[Cross]:
        """Return the crosses of one side."""
        return [cross for cross in self.crosses if _has_all(self.of(side), cross)]


def _has_all(features: Mapping[str, Feature], cross: Cross) -> bool:
    return set(cross.features) <= set(features)


def _check_crossable(cross: Cross, features: Mapping[str, Feature]) -> None:
    for name in cross.features:
        if not features[name].CROSSABLE:
            raise ValueError(
                f"crosses: {cross.name}: {name} is {features[name].type}; only ids, "
                "categories, hashed and discretized features can be crossed"
            )
