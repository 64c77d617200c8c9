"""The base of all feature types: what every type has to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.contracts.table_needs import ColumnNeed
from components.shared.contracts.tables import Column, DType, value_type
from components.shared.features.published_feature import PublishedFeature, grown_vocabulary
from components.shared.features.statistics import ColumnStatistics, vocabulary
from components.shared.runtime.errors import InputError

MISSING_NAME = "(missing)"


@dataclass(frozen=True)
class ItemIds:
    """The candidate feature that is the item's id, whose vocabulary histories and profiles share.

    Args:
        name: Its name in the encoded tables.
        vocabulary: `token`, `count` in the order of the indices.
    """

    name: str
    vocabulary: pa.Table


@dataclass(frozen=True)
class FeatureData:
    """What a feature is built from.

    Args:
        name: The feature's name, which is its column's.
        encoded_name: Its name in the encoded tables.
        column: The raw column.
        statistics: Statistics of the training rows.
        published: The published model's feature of that name and type, for a warm
            start: its tokens keep their indices, its bins and moments stay, so
            that its weights can be reused.
        items: The item's id, if a feature of the query side needs it.
    """

    name: str
    encoded_name: str
    column: Column
    statistics: ColumnStatistics
    published: PublishedFeature | None = None
    items: ItemIds | None = None

    @property
    def layer_name(self) -> str:
        """The name of the feature's preprocessing layer."""
        return f"{self.name}_preprocessor"

    @property
    def published_width(self) -> int:
        """The width of the published feature; 0 without one."""
        return self.published.encoded.width if self.published else 0

    def no_value_error(self) -> InputError:
        """Return the error about a column without any value."""
        return InputError(f"features: {self.name} has no value in any training row: leave it out.")

    def vocabulary(self, max_tokens: int | None, special: int) -> pa.Table:
        """Return the vocabulary: the published tokens, then the most frequent new ones.

        Args:
            max_tokens: Limit on the number of indices; None for no limit.
            special: How many of these indices are not tokens: padding, OOV.

        Returns:
            `token`, `count` in the order of the indices.

        Raises:
            InputError: If no row has a value.
        """
        counts = self.statistics.counts
        if counts is None or not counts.num_rows:
            raise self.no_value_error()
        ordered = vocabulary(counts)
        limit = max_tokens - special if max_tokens else None
        tokens = self.published.tokens if self.published else None
        if tokens is not None and tokens.type == ordered["token"].type:
            return grown_vocabulary(ordered, tokens, limit)
        return ordered.slice(0, limit)


@dataclass(frozen=True)
class AdaptedFeature:
    """A feature with everything that was learned about it.

    Args:
        feature: The FeatureSpace's feature (`keras.utils.FeatureSpace.feature`).
        encoded: Its description in the encoded tables.
        vocabulary: `token`, `count` in the order of the indices, if it has one.
        warning: Why the feature cannot distinguish rows, if it cannot.
    """

    feature: Any
    encoded: EncodedFeature
    vocabulary: pa.Table | None = None
    warning: str | None = None


class FeatureType(BaseModel):
    """A type of feature. A subclass is its config and knows everything about the type.

    A subclass has a field `type`, a `Literal` of its names in the config. Methods
    that build Keras layers import keras themselves, because the config is also
    read where keras is not installed.

    Args:
        type: The type's name in the config.
        missing: What happens to rows without a value. `reject`: ingest rejects them.
            Anything else keeps them.

    Attributes:
        COLUMN_TYPES: The column types that each of its names accepts.
        CROSSABLE: Whether FeatureSpace turns it into one index, so that it can be
            part of a cross.
        HAS_COLUMN: Whether its values are a column of the tables; otherwise each step
            computes them from the interactions of the splits before.
        HOLDS_IDS: Whether it consists of ids, which id dropout may replace by OOV.
        QUERY_ONLY: Why it is for the query side only; empty for both sides.
        HAS_VALUE_NAMES: Whether `value_names` names its indices.
    """

    model_config = ConfigDict(extra="forbid")

    COLUMN_TYPES: ClassVar[Mapping[str, Sequence[DType]]]
    CROSSABLE: ClassVar[bool] = False
    HAS_COLUMN: ClassVar[bool] = True
    HOLDS_IDS: ClassVar[bool] = False
    QUERY_ONLY: ClassVar[str] = ""
    HAS_VALUE_NAMES: ClassVar[bool] = False

    type: str
    # A type that says nothing about missing values takes none.
    missing: str = "reject"

    @classmethod
    def takes_lists(cls) -> bool:
        """Return whether its columns are lists."""
        return all(types[0].startswith("list<") for types in cls.COLUMN_TYPES.values())

    @property
    def column_types(self) -> Sequence[DType]:
        """The column types that the feature accepts."""
        return self.COLUMN_TYPES[self.type]

    @property
    def need(self) -> ColumnNeed:
        """What the feature needs of its column."""
        return ColumnNeed(
            dtypes=list(self.column_types),
            missing="reject" if self.missing == "reject" else "keep",
        )

    def statistics(self, column: pa.ChunkedArray) -> ColumnStatistics:
        """Compute the statistics that the type needs.

        Args:
            column: A batch of the raw column, without nulls.
        """
        return ColumnStatistics(rows=len(column))

    def adapt(self, data: FeatureData) -> AdaptedFeature:
        """Build the preprocessor from statistics.

        Args:
            data: What it is built from. A published feature of another type is
                ignored.

        Raises:
            InputError: If no row has a value.
        """
        if data.published is not None and data.published.encoded.type != self.type:
            data = replace(data, published=None)
        if not data.statistics.rows:
            raise data.no_value_error()
        return self._adapt(data)

    def _adapt(self, data: FeatureData) -> AdaptedFeature:
        raise NotImplementedError

    @classmethod
    def value_names(
        cls, feature: EncodedFeature, tokens: Sequence[Any], labels: Mapping[str, str]
    ) -> list[str]:
        """Name the indices of an encoded feature, for reports.

        Args:
            feature: The encoded feature.
            tokens: Its vocabulary, in the order of the indices; empty without one.
            labels: Names of values, by the value as text.

        Returns:
            A name for each index; empty if the type has no names.
        """
        return []

    def _encoded(
        self, data: FeatureData, dtype: Literal["int32", "float32"], **more: Any
    ) -> EncodedFeature:
        return EncodedFeature(
            name=data.encoded_name, type=self.type, dtype=dtype, raw_columns=[data.name], **more
        )

    @staticmethod
    def _preprocessed(
        data: FeatureData,
        layer: Any,
        encoded: EncodedFeature,
        vocabulary: pa.Table | None = None,
        warning: str | None = None,
    ) -> AdaptedFeature:
        import keras

        return AdaptedFeature(
            keras.utils.FeatureSpace.feature(
                # Not FeatureSpace's own integer presets: they cut ids to 32 bits.
                dtype=value_type(data.column.dtype),
                preprocessor=layer,
                output_mode="int" if encoded.dtype == "int32" else "float",
            ),
            encoded,
            vocabulary,
            warning,
        )


def shown_token(token: object) -> str:
    """Return the token of a vocabulary as people read it."""
    return MISSING_NAME if token in ("", MISSING_INTEGER) else str(token)


def one_value_warning(name: str, value: object) -> str:
    """Return the warning about a column with a single value."""
    return f"{name} has one value only ({value}): it cannot tell rows apart."
