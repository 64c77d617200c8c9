"""Reads and checks a run's values for the pipeline's parameters."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from components.shared.runtime.errors import InputError

# KFP's server refuses more characters of JSON, all parameters of a run together.
MAX_CHARACTERS = 10_000
_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "STRING": (str, "a string"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": (bool, "true or false"),
    "LIST": (list, "a list"),
    "STRUCT": (dict, "a mapping"),
}


def pipeline_parameters(compiled: str) -> dict[str, str]:
    """Return the types of the pipeline's parameters by name, as the IR calls them.

    Args:
        compiled: The compiled pipeline, as YAML.
    """
    specification = next(iter(yaml.safe_load_all(compiled)))
    inputs = specification["root"].get("inputDefinitions", {})
    return {
        name: definition["parameterType"]
        for name, definition in inputs.get("parameters", {}).items()
    }


def read_parameters(pairs: Iterable[str], compiled: str) -> dict[str, Any]:
    """Read a run's values for pipeline parameters.

    Args:
        pairs: `KEY=VALUE` each; the value is YAML.
        compiled: The compiled pipeline, as YAML.

    Raises:
        InputError: If the pipeline has no such parameter, or the value has another type.
    """
    types = pipeline_parameters(compiled)
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--param {pair}: write KEY=VALUE, e.g. --param seed=7.")
        if name not in types:
            raise InputError(
                f"--param {pair}: the pipeline has no parameter {name!r}. It has "
                f"{', '.join(sorted(types))}."
            )
        values[name] = _typed(pair, text, types[name])
    return values


def check_size(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that are too long for the server.

    Raises:
        InputError: If their JSON is longer than `MAX_CHARACTERS`.
    """
    length = len(json.dumps(parameters))
    if length > MAX_CHARACTERS:
        longest = max(parameters, key=lambda name: len(json.dumps(parameters[name])))
        raise InputError(
            f"--param: the parameters have {length:,} characters as JSON, and KFP accepts "
            f"{MAX_CHARACTERS:,}. The longest is {longest}. Set it in the config instead: the "
            "config's values are part of the uploaded pipeline."
        )


def _typed(pair: str, text: str, kind: str) -> Any:
    try:
        value = yaml.safe_load(text)
        if kind == "STRING" and not isinstance(value, str):
            return text  # e.g. 20261124, which YAML reads as a number
        json.dumps(value, allow_nan=False)
    except yaml.YAMLError as error:
        if kind == "STRING":
            return text
        raise InputError(f"--param {pair}: the value is not YAML: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"--param {pair}: JSON cannot hold the value: {error}.") from error
    allowed, name = _TYPES.get(kind, (object, kind))
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise InputError(f"--param {pair}: the value must be {name}.")
    return value
