"""All feature types, one module each.

Their names follow the presets of `keras.utils.FeatureSpace`; `id`, `text`,
`multi_categorical`, `history` and `profile` have preprocessors of their own. To add a
type, write its module and add its class to `Feature`.
"""

from typing import get_args

from components.shared.contracts.feature_spec import EncodedFeature
from components.shared.features.feature_type import FeatureType
from components.shared.features.types.categorical import Categorical
from components.shared.features.types.discretized import FloatDiscretized
from components.shared.features.types.hashed import Hashed
from components.shared.features.types.history import History
from components.shared.features.types.id import Id
from components.shared.features.types.multi_categorical import MultiCategorical
from components.shared.features.types.normalized import FloatNormalized
from components.shared.features.types.number import Float
from components.shared.features.types.profile import Profile
from components.shared.features.types.rescaled import FloatRescaled
from components.shared.features.types.text import Text
from components.shared.features.types.vector import Vector

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
    | Profile
    | Vector
)

FEATURE_TYPES: dict[str, type[FeatureType]] = {
    name: kind for kind in get_args(Feature) for name in kind.COLUMN_TYPES
}


def type_of(feature: EncodedFeature) -> type[FeatureType] | None:
    """Return the type of an encoded feature; None for a cross, which combines two features."""
    return FEATURE_TYPES.get(feature.type)


def holds_ids(feature: EncodedFeature) -> bool:
    """Return whether an encoded feature consists of ids, which id dropout may replace."""
    kind = type_of(feature)
    return kind is not None and kind.HOLDS_IDS
