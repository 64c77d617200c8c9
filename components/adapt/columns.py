"""Which columns features are made of."""

import keyword
import re
from collections.abc import Mapping
from typing import Literal

from components.adapt.config import Feature, FeaturesConfig, History, Id
from components.shared.contracts.derived_columns import DERIVED
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
    Column,
)
from components.shared.runtime.errors import InputError
from components.shared.storage.names import problem_of, shown

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
    "history": ("list<string>",),
}

# The SavedModel names its inputs after the query columns, and has inputs of its own (`self` is
# tf.function's); the export's table of users has a column `seen`.
_INPUT_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")
_TAKEN_INPUTS = ("k", "exclude", "self", "seen")

# Columns that the encoded tables have besides the features.
_TAKEN_COLUMNS = {
    "query": (QUERY_ID, CANDIDATE_INDEX, LABEL, TIMESTAMP),
    "candidate": (CANDIDATE_ID, TITLE),
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
        InputError: If a column is not there, has a type that the feature
            cannot use, or a name that nothing can be called.
    """
    by_name = {column.name: column for column in columns}
    for name, feature in features.items():
        if name not in by_name:
            derived = side == "query" and name in DERIVED
            raise InputError(
                f"features.{side}.{name}: there is no such column. "
                + (f"Set {DERIVED[name]}, and ingest makes it. " if derived else "")
                + f"The {side} columns of this source are {', '.join(by_name)}."
            )
        _check_name(name, side)
        dtype = by_name[name].dtype
        if dtype not in _COLUMN_TYPES[feature.type]:
            fitting = [
                kind
                for kind, types in _COLUMN_TYPES.items()
                if dtype in types and (kind, side) != ("history", "candidate")
            ]
            raise InputError(
                f"features.{side}.{name}: type {feature.type} needs a column of "
                f"{' or '.join(_COLUMN_TYPES[feature.type])}, but {name} is {dtype}. Types for it "
                f"are {', '.join(fitting)}."
            )
    return {name: by_name[name] for name in features}


def _check_name(name: str, side: str) -> None:
    if side == "query":
        if name in _TAKEN_INPUTS or keyword.iskeyword(name) or not _INPUT_NAME.fullmatch(name):
            raise InputError(
                f"features.{side}.{name}: the SavedModel cannot have an input of that name. Rename "
                "the column: letters, digits and underscores, a letter first, and none of "
                f"{', '.join(_TAKEN_INPUTS)} or Python's keywords."
            )
    elif "/" in name:  # Keras refuses it in names of layers
        raise InputError(
            f"features.{side}.{name}: a feature's name cannot have a slash. Rename the column."
        )
    elif reason := problem_of(f"{name}.parquet"):  # its vocabulary's file
        raise InputError(f"features.{side}.{shown(name)}: {reason}. Rename the column.")


def item_id_feature(features: FeaturesConfig, candidate_id: str) -> str | None:
    """Finds the candidate feature whose vocabulary histories have.

    Args:
        features: The features.
        candidate_id: The column of the items' ids.

    Returns:
        Its name; none, if there is no history.

    Raises:
        InputError: If there is a history, but no such feature.
    """
    histories = [name for name, item in features.query.items() if isinstance(item, History)]
    if not histories:
        return None
    if not isinstance(features.candidate.get(candidate_id), Id):
        raise InputError(
            f"features.query.{histories[0]}: a history is made of the candidate tower's embeddings "
            f"of items. Add features.candidate.{candidate_id} with type id."
        )
    return candidate_id


def encoded_names(features: FeaturesConfig, side: Literal["query", "candidate"]) -> dict[str, str]:
    """What the features of a side are called in the encoded tables and vocabularies.

    They keep their names. Only where an encoded table has a column of that name
    already, or both sides have a feature of that name, is the side put before it.
    """
    taken = {*_TAKEN_COLUMNS[side], *(features.query if side == "candidate" else ())}
    own = features.query if side == "query" else features.candidate
    return {name: f"{side}_{name}" if name in taken else name for name in own}
