"""A raw query from what a user of the command line gives, and from the log."""

import logging
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from components.shared.contracts.derived_columns import DERIVED, HISTORY, PROFILE, time_values
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import RawInput
from components.shared.contracts.missing import missing_value
from components.shared.runtime.errors import InputError

logger = logging.getLogger(__name__)

_RANGES: dict[str, tuple[float, float]] = {
    "int64": (-(2**63), 2**63 - 1),
    "float32": (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
}


def raw_query(
    info: ExportInfo, user: str, known: Mapping[str, Any], given: Mapping[str, str]
) -> dict[str, Any]:
    """Return the raw features of one query, each as its input takes it.

    A feature that is given as `""` is missing. So is one of an unknown user that is
    not given, if the model takes it as missing; a warning names these.

    Args:
        info: The description of the export.
        user: The user's id.
        known: The user's features in the log, empty for an unknown user.
        given: Features that replace those, as text.

    Raises:
        InputError: If a feature is required and missing, unknown, or of the wrong type.
    """
    inputs = {item.name: item for item in info.query_inputs}
    _check_given(info, given)
    values = {**_derived(inputs), **known, **given}
    if info.query_id is not None:
        values[info.query_id] = user
    missing = [name for name in inputs if name not in values]
    required = [name for name in missing if not inputs[name].optional]
    if required:
        raise InputError(f"User {user} is not in the log. Describe them: {_options(required)}")
    if missing:
        logger.warning(
            f"User {user} is not in the log, and these features are taken as missing. Give them "
            f"for a better answer: {_options(missing)}"
        )
    values |= dict.fromkeys(missing, "")
    return {name: _checked(info, item, values[name]) for name, item in inputs.items()}


def _check_given(info: ExportInfo, given: Mapping[str, str]) -> None:
    names = {item.name: item for item in info.query_inputs if item.name != info.query_id}
    for name, value in given.items():
        if name not in names:
            there_are = (
                f"Features are {', '.join(names)}."
                if names
                else "The model has no features that can be given"
                + (", only the user's id." if info.query_id else ".")
            )
            raise InputError(f"--feature {name}: there is no such feature. {there_are}")
        if value == "" and not names[name].optional:
            raise InputError(
                f"--feature {name}=: this model takes no missing {name}. {_values(names[name])}"
            )


def _options(names: Iterable[str]) -> str:
    return " ".join(f"--feature {name}=…" for name in names)


def _derived(inputs: Mapping[str, RawInput]) -> dict[str, Any]:
    """Return the derived features of a user without interactions, now."""
    now = np.array([int(datetime.now(UTC).timestamp())])
    times = time_values(now, [name for name in DERIVED if name != HISTORY])
    values = {HISTORY: [], PROFILE: [], **{name: int(value[0]) for name, value in times.items()}}
    return {name: values[name] for name, item in inputs.items() if item.derived}


def _checked(info: ExportInfo, item: RawInput, value: Any) -> Any:
    try:
        return _typed(item, value)
    except ValueError as error:
        option = "--user " if item.name == info.query_id else f"--feature {item.name}="
        raise InputError(f"{option}{value}: {_values(item)}") from error


def _values(item: RawInput) -> str:
    labels = "; ".join(f"{number} is {label}" for number, label in (item.labels or {}).items())
    is_vector = item.is_list and item.dtype == "float32"
    kind = f"{item.width} numbers, joined by |" if is_vector else item.dtype
    return f"{item.name} is {kind}. {labels}".rstrip()


def _typed(item: RawInput, value: Any) -> Any:
    """Return a value, as given or as it is in the log, as an input takes it in one row.

    Raises:
        ValueError: If it is not a number, or the type cannot hold it.
    """
    if item.dtype == "string":
        return _texts(item, value) if item.is_list else _text(value)
    if item.is_list:
        return _vector(item, value)
    if item.optional and _is_missing_number(value):
        return missing_value(item.dtype)
    number = int(value) if item.dtype == "int64" else float(value)
    least, most = _RANGES[item.dtype]
    if not least <= number <= most:  # also refuses NaN
        raise ValueError(f"{number} does not fit into {item.dtype}")
    return number


def _is_missing_number(value: Any) -> bool:
    """Return whether a value is missing: given as `""`, or NaN in the log."""
    return value == "" or (isinstance(value, float) and math.isnan(value))


def _texts(item: RawInput, value: Any) -> list[str]:
    values = value.split("|") if isinstance(value, str) else value
    return [text or "" for text in [*values, *[""] * item.width][: item.width]]


def _vector(item: RawInput, value: Any) -> list[float]:
    if not len(value):
        return [0.0] * item.width  # missing
    numbers = [float(number) for number in (value.split("|") if isinstance(value, str) else value)]
    if len(numbers) != item.width or not all(map(math.isfinite, numbers)):
        raise ValueError(f"not {item.width} numbers")
    return numbers


def _text(value: Any) -> str:
    """Return the text of an input of width 1, whose values in the log may be lists."""
    if isinstance(value, str):
        return value
    return next((text or "" for text in value), "")
