"""The settings of adapt: which features there are and how each is encoded.

The types carry the names of the presets of `keras.utils.FeatureSpace`; `id`,
`text` and `multi_categorical` are features with a preprocessor of their own.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.shared.features.encoding_config import EncodingConfig


class _Feature(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Id(_Feature):
    """The id of a user or an item, string or 64-bit integer: an embedding each.

    Args:
        type: `id`.
        max_tokens: Keep the most frequent ids only; counts the OOV index.
    """

    type: Literal["id"]
    max_tokens: int | None = Field(None, ge=2)


class Categorical(_Feature):
    """A category: the most frequent value has the lowest index after OOV, which is 0.

    Args:
        type: `integer_categorical` or `string_categorical`, as the column is.
        max_tokens: Keep the most frequent values only; counts the OOV index.
    """

    type: Literal["integer_categorical", "string_categorical"]
    max_tokens: int | None = Field(None, ge=2)


class Float(_Feature):
    """A number as it is.

    Args:
        type: `float`.
    """

    type: Literal["float"]


class FloatRescaled(_Feature):
    """value * scale + offset.

    Args:
        type: `float_rescaled`.
        scale: See above.
        offset: See above.
    """

    type: Literal["float_rescaled"]
    scale: float = 1.0
    offset: float = 0.0


class FloatNormalized(_Feature):
    """(value - mean) / standard deviation, of the population of training rows.

    Args:
        type: `float_normalized`.
    """

    type: Literal["float_normalized"]


class FloatDiscretized(_Feature):
    """A number as one of several bins that hold about equally many training rows.

    Args:
        type: `float_discretized`.
        num_bins: How many bins; fewer where values repeat.
    """

    type: Literal["float_discretized"]
    num_bins: int = Field(ge=2)


class Hashed(_Feature):
    """A category hashed into a fixed number of indices: no vocabulary, some collisions.

    Args:
        type: `integer_hashed` or `string_hashed`, as the column is.
        num_bins: How many indices.
    """

    type: Literal["integer_hashed", "string_hashed"]
    num_bins: int = Field(ge=2)


class Text(_Feature):
    """Words of a text, lower case, without punctuation; their embeddings are averaged.

    Args:
        type: `text`.
        max_tokens: Size of the vocabulary; counts the padding and the OOV index.
        sequence_length: How many words are kept of a text.
    """

    type: Literal["text"]
    max_tokens: int = Field(10_000, ge=3)
    sequence_length: int = Field(16, ge=1)


class MultiCategorical(_Feature):
    """Several categories of one row, padded; their embeddings are averaged.

    Args:
        type: `multi_categorical`.
        max_tokens: Keep the most frequent values only; counts the padding and
            the OOV index.
        max_values: How many values are kept of a row; by default as many as the
            longest row has.
    """

    type: Literal["multi_categorical"]
    max_tokens: int | None = Field(None, ge=3)
    max_values: int | None = Field(None, ge=1)


class History(_Feature):
    """The items that a user had before; their embeddings in the candidate tower are averaged.

    Its vocabulary is that of the candidate feature of type `id` on the items'
    ids, so that an index means the same item in both towers. Items without an
    index there count as padding.

    Args:
        type: `history`.
        max_values: How many items are kept of a row, the first ones; by default
            `ingest.history_length`, or as many as the longest row has where the
            column is the log's own.
    """

    type: Literal["history"]
    max_values: int | None = Field(None, ge=1)


Feature = (
    Id
    | Categorical
    | Float
    | FloatRescaled
    | FloatNormalized
    | FloatDiscretized
    | Hashed
    | Text
    | MultiCategorical
    | History
)
_FeatureByType = Annotated[Feature, Field(discriminator="type")]

# What can be crossed: features that FeatureSpace turns into one index.
_CROSSABLE = (Id, Categorical, FloatDiscretized, Hashed)


class Cross(_Feature):
    """The combination of two features of one side, hashed.

    Args:
        features: Names of the features; Keras 3.15 crosses two, no more.
        dim: How many indices.
    """

    features: list[str] = Field(min_length=2, max_length=2)
    dim: int = Field(ge=2)

    @property
    def name(self) -> str:
        """The name that FeatureSpace gives it: `a_X_b`."""
        return "_X_".join(self.features)


class Label(_Feature):
    """label = rating * scale + offset.

    Args:
        scale: 1/4 turns ratings of 1 to 5 into 0 to 1, with the offset.
        offset: See `scale`.
        relevant_above: An interaction counts as relevant, in validation and
            evaluation, if its label is above this; every one by default.
    """

    scale: float = 1.0
    offset: float = 0.0
    relevant_above: float | None = None


class FeaturesConfig(BaseModel):
    """The features, by the names of their columns.

    Args:
        query: Features of the user.
        candidate: Features of the item.
        crosses: Combinations of features of one side.
        label: How the rating becomes the label.
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
            sides = [
                name
                for name, side in (("query", self.query), ("candidate", self.candidate))
                if set(cross.features) <= set(side)
            ]
            if not sides:
                known = ", ".join([*self.query, *self.candidate])
                raise ValueError(
                    f"crosses: {cross.name}: {', '.join(cross.features)} are not features of one "
                    f"side. Features are {known}"
                )
            for side in sides:
                self._check_crossable(cross, self.query if side == "query" else self.candidate)
        return self

    @staticmethod
    def _check_crossable(cross: Cross, features: dict[str, Feature]) -> None:
        for name in cross.features:
            if not isinstance(features[name], _CROSSABLE):
                raise ValueError(
                    f"crosses: {cross.name}: {name} is {features[name].type}; only ids, "
                    "categories, hashed and discretized features can be crossed"
                )

    @model_validator(mode="after")
    def _histories_are_of_users(self) -> "FeaturesConfig":
        for name, feature in self.candidate.items():
            if isinstance(feature, History):
                raise ValueError(
                    f"candidate.{name}: type history is for a query feature, the items of a user; "
                    "of an item, use multi_categorical"
                )
        return self

    @model_validator(mode="after")
    def _in_order(self) -> "FeaturesConfig":
        # kfp hands a struct over in any order; towers are to be built in the same one each time.
        self.query = dict(sorted(self.query.items()))
        self.candidate = dict(sorted(self.candidate.items()))
        return self

    def crosses_of(self, side: Literal["query", "candidate"]) -> list[Cross]:
        """The crosses of one side."""
        features = getattr(self, side)
        return [cross for cross in self.crosses if set(cross.features) <= set(features)]


class AdaptConfig(EncodingConfig):
    """How adapt runs."""
