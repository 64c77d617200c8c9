"""A raw query from what a user of the command line gives, and from the log."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from components.shared.contracts.derived_columns import DERIVED, HISTORY, time_values
from components.shared.contracts.export import ExportInfo
from components.shared.contracts.feature_spec import RawInput
from components.shared.runtime.errors import InputError

_RANGES: dict[str, tuple[float, float]] = {
    "int64": (-(2**63), 2**63 - 1),
    "float32": (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
}


def raw_query(
    info: ExportInfo, user: str, known: Mapping[str, Any], given: Mapping[str, str]
) -> dict[str, Any]:
    """Return the raw features of one query, each as its input takes it.

    Args:
        info: The description of the export.
        user: The user's id.
        known: The user's features in the log, empty for an unknown user.
        given: Features that replace those, as text.

    Raises:
        InputError: If a feature is missing, unknown, or of the wrong type.
    """
    inputs = {item.name: item for item in info.query_inputs}
    unknown = [name for name in given if name not in inputs or name == info.query_id]
    if unknown:
        names = ", ".join(name for name in inputs if name != info.query_id)
        raise InputError(f"--feature {unknown[0]}: there is no such feature. Features are {names}.")
    values = {**_derived(inputs), **known, **given}
    if info.query_id is not None:
        values[info.query_id] = user
    missing = [name for name in inputs if name not in values]
    if missing:
        example = " ".join(f"--feature {name}=…" for name in missing)
        raise InputError(f"User {user} is not in the log. Describe them: {example}")
    return {name: _checked(info, item, values[name]) for name, item in inputs.items()}


def _derived(inputs: Mapping[str, RawInput]) -> dict[str, Any]:
    """Return the derived features of a user without a log, now."""
    now = np.array([int(datetime.now(UTC).timestamp())])
    times = time_values(now, [name for name in DERIVED if name != HISTORY])
    values = {HISTORY: [], **{name: int(value[0]) for name, value in times.items()}}
    return {name: values[name] for name, item in inputs.items() if item.derived}


def _checked(info: ExportInfo, item: RawInput, value: Any) -> Any:
    try:
        return _typed(item, value)
    except ValueError as error:
        labels = "; ".join(f"{number} is {label}" for number, label in (item.labels or {}).items())
        option = "--user " if item.name == info.query_id else f"--feature {item.name}="
        message = f"{option}{value}: {item.name} is {item.dtype}. {labels}"
        raise InputError(message.rstrip()) from error


def _typed(item: RawInput, value: Any) -> Any:
    """Return a value, as given or as it is in the log, as an input takes it in one row.

    Raises:
        ValueError: If it is not a number, or the type cannot hold it.
    """
    if item.dtype == "string":
        return _texts(item, value) if item.is_list else _text(value)
    number = int(value) if item.dtype == "int64" else float(value)
    least, most = _RANGES[item.dtype]
    if not least <= number <= most:  # also refuses NaN
        raise ValueError(f"{number} does not fit into {item.dtype}")
    return number


def _texts(item: RawInput, value: Any) -> list[str]:
    values = value.split("|") if isinstance(value, str) else value
    return [text or "" for text in [*values, *[""] * item.width][: item.width]]


def _text(value: Any) -> str:
    """Return the text of an input of width 1, whose values in the log may be lists."""
    if isinstance(value, str):
        return value
    return next((text or "" for text in value), "")
