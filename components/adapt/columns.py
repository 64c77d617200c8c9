"""The columns of features, and the names of features in the encoded tables."""

import keyword
import re
from collections.abc import Mapping

from components.shared.contracts.derived_columns import DERIVED
from components.shared.contracts.tables import (
    CANDIDATE_ID,
    CANDIDATE_INDEX,
    LABEL,
    QUERY_ID,
    TIMESTAMP,
    TITLE,
    Column,
    DType,
)
from components.shared.features.config import FeaturesConfig, Side
from components.shared.features.types import FEATURE_TYPES, Feature
from components.shared.features.types.history import History
from components.shared.features.types.id import Id
from components.shared.features.types.profile import Profile
from components.shared.runtime.errors import InputError, in_one_message
from components.shared.storage.names import problem_of, shown

# The SavedModel's inputs are named after the query columns, and it has inputs of its own (`self` is
# tf.function's). The export's table of users has a column `seen`.
_INPUT_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")
_TAKEN_INPUTS = ("k", "exclude", "self", "seen")

# Other columns of the encoded tables.
_TAKEN_COLUMNS: dict[Side, tuple[str, ...]] = {
    "query": (QUERY_ID, CANDIDATE_INDEX, LABEL, TIMESTAMP),
    "candidate": (CANDIDATE_ID, TITLE),
}


def columns_of(
    features: Mapping[str, Feature], columns: list[Column], side: Side
) -> dict[str, Column]:
    """Find the column of each feature; a feature without one gets a derived column.

    Args:
        features: The features of one side, by the names of their columns.
        columns: The columns of that side.
        side: `query` or `candidate`.

    Raises:
        InputError: If a column does not exist, has a type that the feature does not
            accept, or a name that a feature cannot have.
    """
    problems = column_problems(features, columns, side)
    if problems:
        raise InputError(in_one_message(problems))
    by_name = {column.name: column for column in columns}
    return {
        name: by_name[name]
        if feature.HAS_COLUMN
        else Column(name=name, dtype=feature.column_types[0], derived=True)
        for name, feature in features.items()
    }


def column_problems(
    features: Mapping[str, Feature], columns: list[Column], side: Side
) -> list[str]:
    """Return why features cannot have their columns.

    Args:
        features: The features of one side, by the names of their columns.
        columns: The columns of that side.
        side: `query` or `candidate`.
    """
    by_name = {column.name: column for column in columns}
    problems = []
    for name, feature in features.items():
        if not feature.HAS_COLUMN:
            if name in by_name:
                problems.append(
                    f"features.{side}.{name}: a {feature.type} is made from the user's "
                    "interactions, but the source has a column of that name. Rename the column."
                )
        elif name not in by_name:
            derived = side == "query" and name in DERIVED
            problems.append(
                f"features.{side}.{name}: there is no such column. "
                + (f"Set {DERIVED[name]}, and ingest makes it. " if derived else "")
                + f"The {side} columns of this source are {', '.join(by_name)}."
            )
        elif wrong_name := name_problem(name, side):
            problems.append(wrong_name)
        elif wrong_type := type_problem(feature, by_name[name], side):
            problems.append(wrong_type)
    return problems


def type_problem(feature: Feature, column: Column, side: Side) -> str | None:
    """Return why a feature cannot take a column of its type; None if it can."""
    if column.dtype in feature.column_types:
        return None
    takes_joined = feature.takes_lists() and column.dtype == "string"
    return (
        f"features.{side}.{column.name}: type {feature.type} needs a column of "
        f"{' or '.join(feature.column_types)}, but {column.name} is {column.dtype}. Types for it "
        f"are {', '.join(_types_for(column.dtype, side))}."
        + (_how_to_declare_a_list(column.name, feature, side) if takes_joined else "")
    )


def _how_to_declare_a_list(name: str, feature: Feature, side: Side) -> str:
    table = "interactions" if side == "query" else "candidates"
    return (
        f" If the files have lists as text, such as a|b, set source.dtypes.{name} to "
        f"{feature.column_types[0]}, and source.formats.{table}.list_separator if the separator is "
        "not |."
    )


def _types_for(dtype: DType, side: Side) -> list[str]:
    """Return the feature types that accept a column type."""
    return [
        name
        for name, kind in FEATURE_TYPES.items()
        if kind.HAS_COLUMN
        and dtype in kind.COLUMN_TYPES[name]
        and not (kind.QUERY_ONLY and side == "candidate")
    ]


def name_problem(name: str, side: Side) -> str | None:
    """Return why a feature cannot have the name of a column; None if it can."""
    if side == "query":
        if name in _TAKEN_INPUTS or keyword.iskeyword(name) or not _INPUT_NAME.fullmatch(name):
            return (
                f"features.{side}.{name}: the SavedModel cannot have an input of that name. "
                "Rename the column: letters, digits and underscores, a letter first, and none of "
                f"{', '.join(_TAKEN_INPUTS)} or Python's keywords."
            )
    elif "/" in name:  # Keras refuses it in names of layers
        return f"features.{side}.{name}: a feature's name cannot have a slash. Rename the column."
    elif reason := problem_of(f"{name}.parquet"):  # its vocabulary's file
        return f"features.{side}.{shown(name)}: {reason}. Rename the column."
    return None


def item_id_feature(features: FeaturesConfig, candidate_id: str) -> str | None:
    """Find the candidate feature whose vocabulary histories and the profile share.

    Args:
        features: The features.
        candidate_id: The column of the items' ids.

    Returns:
        Its name; None if there is neither.

    Raises:
        InputError: If there is one of them, but no such feature.
    """
    of_items = [
        (name, item) for name, item in features.query.items() if isinstance(item, History | Profile)
    ]
    if not of_items:
        return None
    if not isinstance(features.candidate.get(candidate_id), Id):
        name, feature = of_items[0]
        why = (
            "a history uses the candidate tower's embeddings of items"
            if isinstance(feature, History)
            else "a profile consists of the items' ids"
        )
        raise InputError(
            f"features.query.{name}: {why}. Add features.candidate.{candidate_id} with type id."
        )
    return candidate_id


def encoded_names(features: FeaturesConfig, side: Side) -> dict[str, str]:
    """Return the names of a side's features in the encoded tables and vocabularies.

    Features keep their names. The side is put before a name only if the encoded
    table has another column of that name, or both sides have a feature of that name.
    """
    taken = {*_TAKEN_COLUMNS[side], *(features.query if side == "candidate" else ())}
    return {name: f"{side}_{name}" if name in taken else name for name in features.of(side)}
