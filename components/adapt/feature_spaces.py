"""FeatureSpaces built from statistics, without `FeatureSpace.adapt`.

`adapt` reads the data once for each feature, 32 rows at a time. What it would
learn is in the statistics already, so the preprocessing layers are made with it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.adapt.config import (
    Categorical,
    Cross,
    Feature,
    Float,
    FloatDiscretized,
    FloatNormalized,
    FloatRescaled,
    Hashed,
    History,
    Id,
    MultiCategorical,
    Text,
)
from components.adapt.former import FormerFeature, grown_vocabulary
from components.adapt.statistics import ColumnStatistics, vocabulary
from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.contracts.tables import Column
from components.shared.runtime.errors import InputError

# Keras counts these in max_tokens: out-of-vocabulary, and padding where there is any.
_OOV, _PADDING = 1, 1

# What Keras calls them. Vocabularies are given with them: where Keras 3.15 gets one without, and
# its first value happens to be -1 or "[UNK]", it takes that for the out-of-vocabulary token.
_OOV_INTEGER, _OOV_STRING, _PADDING_STRING = -1, "[UNK]", ""


@dataclass(frozen=True)
class AdaptedFeature:
    """A feature with all that was learned about it.

    Args:
        feature: What goes into the FeatureSpace.
        encoded: What comes out of it.
        vocabulary: `token`, `count` in the order of the indices, if it has one.
        warning: What looks wrong with it.
    """

    feature: Any
    encoded: EncodedFeature
    vocabulary: pa.Table | None = None
    warning: str | None = None


@dataclass(frozen=True)
class ItemIds:
    """The candidate feature that is the item's id, for histories, which are made of such ids.

    Args:
        name: Its name in the encoded tables.
        vocabulary: `token`, `count` in the order of the indices.
    """

    name: str
    vocabulary: pa.Table


def adapt_feature(
    name: str,
    feature: Feature,
    column: Column,
    statistics: ColumnStatistics,
    encoded_name: str | None = None,
    former: FormerFeature | None = None,
    items: ItemIds | None = None,
) -> AdaptedFeature:
    """Makes a feature of a FeatureSpace from statistics.

    Args:
        name: The feature's name, which is its column's.
        feature: How to encode it.
        column: The column.
        statistics: Of the training rows.
        encoded_name: Its name in the encoded tables; the same by default.
        former: The published model's feature of that name. What has an index
            there keeps it, and bins and moments stay what they are, so that
            its weights can be taken over. It counts only if it is of the same
            type and made of the same values.
        items: The item's id, if the feature is a history.

    Raises:
        InputError: If no row has a value.
    """
    preprocessor_name = f"{name}_preprocessor"
    known: pa.Table | None = None
    warning = None

    def encoded(dtype: Literal["int32", "float32"], **more: Any) -> EncodedFeature:
        return EncodedFeature(
            name=encoded_name or name, type=feature.type, dtype=dtype, raw_columns=[name], **more
        )

    if former is not None and former.encoded.type != feature.type:
        former = None

    def limited(counts: pa.Table | None, max_tokens: int | None, special: int) -> pa.Table:
        if counts is None or not counts.num_rows:
            raise InputError(f"features: {name} has no value in any training row: leave it out.")
        ordered = vocabulary(counts)
        most = max_tokens - special if max_tokens else None
        tokens = former.tokens if former is not None else None
        if tokens is not None and tokens.type == ordered["token"].type:
            return grown_vocabulary(ordered, tokens, most)
        return ordered.slice(0, most)

    if isinstance(feature, Id | Categorical):
        known = limited(statistics.counts, feature.max_tokens, _OOV)
        tokens = known["token"].to_numpy(zero_copy_only=False)
        if column.dtype == "string":
            layer = keras.layers.StringLookup(
                vocabulary=[_OOV_STRING, *tokens], num_oov_indices=1, name=preprocessor_name
            )
        else:
            layer = keras.layers.IntegerLookup(
                vocabulary=np.concatenate([[_OOV_INTEGER], tokens]).astype(np.int64),
                num_oov_indices=1,
                name=preprocessor_name,
            )
        spec = encoded("int32", cardinality=known.num_rows + _OOV, oov_index=0)
        if known.num_rows == 1:
            warning = f"{name} has one value only ({tokens[0]}): it cannot tell rows apart."
    elif isinstance(feature, Text):
        known = limited(statistics.counts, feature.max_tokens, _PADDING + _OOV)
        layer = keras.layers.TextVectorization(
            # All published tokens are kept, also where max_tokens is less than it was.
            max_tokens=max(feature.max_tokens, known.num_rows + _PADDING + _OOV),
            output_sequence_length=feature.sequence_length,
            vocabulary=known["token"].to_pylist(),
            name=preprocessor_name,
        )
        spec = encoded(
            "int32",
            width=feature.sequence_length,
            cardinality=known.num_rows + _PADDING + _OOV,
            padding_index=0,
            oov_index=1,
        )
    elif isinstance(feature, MultiCategorical):
        known = limited(statistics.counts, feature.max_tokens, _PADDING + _OOV)
        layer = keras.layers.StringLookup(
            vocabulary=[_PADDING_STRING, _OOV_STRING, *known["token"].to_pylist()],
            mask_token=_PADDING_STRING,
            num_oov_indices=1,
            name=preprocessor_name,
        )
        spec = encoded(
            "int32",
            width=feature.max_values
            or max(statistics.longest, former.encoded.width if former is not None else 0),
            cardinality=known.num_rows + _PADDING + _OOV,
            padding_index=0,
            oov_index=1,
        )
    elif isinstance(feature, History):
        assert items is not None
        counts = items.vocabulary
        known = counts.set_column(0, "token", pc.cast(counts["token"], pa.string()))
        # "" pads, and is in no vocabulary of ids: it is index 0, as every item without one.
        layer = keras.layers.StringLookup(
            vocabulary=[_OOV_STRING, *known["token"].to_pylist()],
            num_oov_indices=1,
            name=preprocessor_name,
        )
        longest = max(statistics.longest, former.encoded.width if former is not None else 0, 1)
        spec = encoded(
            "int32",
            width=feature.max_values or column.width or longest,
            cardinality=known.num_rows + _OOV,
            padding_index=0,
            oov_index=0,
            shared_with=items.name,
        )
        if not statistics.longest:
            warning = f"{name} has no item in any training row: it cannot tell rows apart."
    elif isinstance(feature, Hashed):
        layer = keras.layers.Hashing(num_bins=feature.num_bins, name=preprocessor_name)
        spec = encoded("int32", cardinality=feature.num_bins)
    elif isinstance(feature, FloatDiscretized):
        assert statistics.quantiles is not None
        boundaries = statistics.quantiles.bin_boundaries(feature.num_bins)
        if former is not None and former.encoded.bin_boundaries is not None:
            boundaries = former.encoded.bin_boundaries
        layer = keras.layers.Discretization(bin_boundaries=boundaries, name=preprocessor_name)
        spec = encoded("int32", cardinality=len(boundaries) + 1, bin_boundaries=boundaries)
        if len(statistics.quantiles.values) == 1:
            value = f"{statistics.quantiles.values[0]:g}"
            warning = f"{name} has one value only ({value}): it cannot tell rows apart."
    elif isinstance(feature, FloatNormalized):
        mean, variance = statistics.mean, statistics.variance
        if former is not None and former.encoded.mean is not None:
            mean, variance = former.encoded.mean, former.encoded.variance or 0.0
        layer = keras.layers.Normalization(
            axis=-1, mean=[mean], variance=[variance], name=preprocessor_name
        )
        spec = encoded("float32", mean=mean, variance=variance)
        if statistics.variance == 0:
            value = f"{statistics.mean:g}"
            warning = f"{name} has one value only ({value}): it cannot tell rows apart."
    elif isinstance(feature, FloatRescaled):
        layer = keras.layers.Rescaling(feature.scale, feature.offset, name=preprocessor_name)
        spec = encoded("float32")
    elif isinstance(feature, Float):
        return AdaptedFeature(keras.utils.FeatureSpace.float(name=name), encoded("float32"))
    return AdaptedFeature(
        keras.utils.FeatureSpace.feature(
            # Not FeatureSpace's own integer presets: they cut ids to 32 bits.
            dtype="string" if column.dtype == "list<string>" else column.dtype,
            preprocessor=layer,
            output_mode="int" if spec.dtype == "int32" else "float",
        ),
        spec,
        known,
        warning,
    )


def build_feature_space(
    features: dict[str, AdaptedFeature], crosses: list[Cross], name: str
) -> tuple[keras.utils.FeatureSpace, list[EncodedFeature]]:
    """Joins adapted features into a FeatureSpace that is ready to use.

    Args:
        features: The features by name.
        crosses: Combinations of them.
        name: The FeatureSpace's name.

    Returns:
        The FeatureSpace, and what comes out of it.
    """
    space = keras.utils.FeatureSpace(
        features={name: adapted.feature for name, adapted in features.items()},
        crosses=[
            keras.utils.FeatureSpace.cross(tuple(cross.features), cross.dim, output_mode="int")
            for cross in crosses
        ],
        output_mode="dict",
        name=name,
    )
    # Keras 3.15 counts layers with a given vocabulary or given boundaries as
    # not adapted, and cannot adapt them. This marks the space as adapted.
    space.build_from_config({})
    # The first call builds it; before that it could not be saved whole.
    space(
        {
            name: np.array([[""]], object)
            if adapted.feature.dtype == "string"
            else np.zeros((1, 1))
            for name, adapted in features.items()
        }
    )
    encoded = [adapted.encoded for adapted in features.values()]
    encoded += [
        EncodedFeature(
            name=cross.name,
            type="cross",
            dtype="int32",
            cardinality=cross.dim,
            raw_columns=cross.features,
        )
        for cross in crosses
    ]
    return space, encoded
