"""FeatureSpaces built from statistics, without `FeatureSpace.adapt`.

`FeatureSpace.adapt` reads the data once per feature, 32 rows at a time. The
statistics contain everything that it would learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.config import Cross
from components.shared.features.feature_type import AdaptedFeature


@dataclass(frozen=True)
class AdaptedSide:
    """The FeatureSpace of one side, with everything that was learned about its features.

    Args:
        features: The features by the names of their columns.
        space: The FeatureSpace.
        encoded: The features that it returns: these, and the crosses.
    """

    features: dict[str, AdaptedFeature]
    space: keras.utils.FeatureSpace
    encoded: list[EncodedFeature]

    @property
    def warnings(self) -> list[str]:
        """The features' warnings."""
        return [item.warning for item in self.features.values() if item.warning]

    def save(self, folder: Path) -> None:
        """Write the FeatureSpace and the vocabularies."""
        self.space.save(folder / f"{self.space.name}.keras")
        for feature in self.features.values():
            if feature.vocabulary is not None:
                (folder / "vocabularies").mkdir(exist_ok=True)
                path = folder / "vocabularies" / f"{feature.encoded.name}.parquet"
                pq.write_table(feature.vocabulary, path)


def build_side(features: dict[str, AdaptedFeature], crosses: list[Cross], name: str) -> AdaptedSide:
    """Combine adapted features into a FeatureSpace that is ready to use.

    Args:
        features: The features by name.
        crosses: Combinations of them.
        name: The FeatureSpace's name.
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
    # Keras 3.15 treats layers with a given vocabulary or given boundaries as not adapted, and
    # cannot adapt them. This marks the space as adapted.
    space.build_from_config({})
    # The first call builds it; before that, it cannot be saved completely.
    space(_empty_row(features))
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
    return AdaptedSide(features, space, encoded)


def _empty_row(features: Mapping[str, AdaptedFeature]) -> dict[str, Any]:
    return {
        name: np.array([[""]], object)
        if adapted.feature.dtype == "string"
        else np.zeros((1, adapted.encoded.width if adapted.encoded.type == "vector" else 1))
        for name, adapted in features.items()
    }
