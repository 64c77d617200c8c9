"""Which columns features are made of."""

from collections.abc import Mapping

from components.adapt.config import Feature
from components.errors import InputError
from components.tables import Column

_COLUMN_TYPES: dict[str, tuple[str, ...]] = {
    "id": ("string", "int64"),
    "integer_categorical": ("int64",),
    "string_categorical": ("string",),
    "integer_hashed": ("int64",),
    "string_hashed": ("string",),
    "float": ("float32", "int64"),
    "float_rescaled": ("float32", "int64"),
    "float_normalized": ("float32", "int64"),
    "float_discretized": ("float32", "int64"),
    "text": ("string",),
    "multi_categorical": ("list<string>",),
}


def columns_of(
    features: Mapping[str, Feature], columns: list[Column], side: str
) -> dict[str, Column]:
    """Finds the column of each feature.

    Args:
        features: The features of one side, by the names of their columns.
        columns: The columns of that side.
        side: `query` or `candidate`, for messages.

    Raises:
        InputError: If a column is not there, or has a type that the feature
            cannot use.
    """
    by_name = {column.name: column for column in columns}
    for name, feature in features.items():
        if name not in by_name:
            raise InputError(
                f"features.{side}.{name}: there is no such column. The {side} columns of this "
                f"source are {', '.join(by_name)}."
            )
        dtype = by_name[name].dtype
        if dtype not in _COLUMN_TYPES[feature.type]:
            fitting = [kind for kind, types in _COLUMN_TYPES.items() if dtype in types]
            raise InputError(
                f"features.{side}.{name}: type {feature.type} needs a column of "
                f"{' or '.join(_COLUMN_TYPES[feature.type])}, but {name} is {dtype}. Types for it "
                f"are {', '.join(fitting)}."
            )
    return {name: by_name[name] for name in features}
