"""Overrides: `--set train.epochs=5` changes one value of a config."""

from typing import Any

import yaml

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import masked
from pipeline.config.locations import is_key


def apply_override(values: dict[str, Any], override: str) -> None:
    """Change a value of a config in place.

    Args:
        values: The config as read from YAML, not checked yet.
        override: `key=value`; the key is a dotted path, the value is YAML. `null`
            removes the key, which restores its default or drops a feature.

    Raises:
        InputError: If the override cannot be read, or there is a value above its key.

    Example:
    ```python
    values = {"train": {"epochs": 16}}
    apply_override(values, "train.epochs=5")
    assert values == {"train": {"epochs": 5}}
    ```
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {masked(override)}: write key=value, e.g. --set train.epochs=5.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            f"--set {masked(key)}: the value is not valid YAML: {describe_yaml_error(error)}."
        ) from None
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise InputError(f"--set {masked(key)}: {parent} is a value and has no keys below it.")
    if value is None and (last in node or is_key(parents, last)):
        node.pop(last, None)
    else:
        node[last] = value


def describe_yaml_error(error: yaml.YAMLError) -> str:
    """Return the error and its place without the line itself, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    what = masked(getattr(error, "problem", None) or str(error).partition("\n")[0])
    return f"{what}, at line {mark.line + 1}, column {mark.column + 1}" if mark else what
