"""Reads a config, applies overrides and checks it."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import masked
from pipeline.config.messages import explain
from pipeline.config.overrides import apply_override, describe_yaml_error
from pipeline.config.pipeline import PipelineConfig
from pipeline.config.suggestions import did_you_mean

_CONFIGS = resources.files("pipeline") / "configs"


def shipped_configs() -> list[str]:
    """Return the names of the configs that come with the package, in alphabetical order."""
    return sorted(
        path.name.removesuffix(".yaml")
        for path in _CONFIGS.iterdir()
        if path.name.endswith(".yaml")
    )


def load_config(name_or_path: str, overrides: Iterable[str] = ()) -> PipelineConfig:
    """Read a config and check it.

    Args:
        name_or_path: A shipped config's name or the path of a YAML file.
        overrides: `key=value` for each changed value; see `apply_override`.

    Raises:
        InputError: If there is no such config, or a key or value is wrong. The
            message names each key and what is allowed there.

    Example:
    ```python
    config = load_config("sample", ["train.epochs=5"])
    assert config.train.epochs == 5
    ```
    """
    values = _values(name_or_path)
    for override in overrides:
        apply_override(values, override)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{name_or_path}: {explain(error)}") from error


def _values(name_or_path: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(_text(name_or_path))
    except yaml.YAMLError as error:
        raise InputError(
            f"{name_or_path} is not valid YAML: {describe_yaml_error(error)}."
        ) from None
    if not isinstance(values, dict):
        raise InputError(
            f"{name_or_path} must hold keys and values; it holds {masked(repr(values))}."
        )
    return values


def _text(name_or_path: str) -> str:
    if Path(name_or_path).suffix in (".yaml", ".yml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(f"--config {name_or_path}: no such file.")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name_or_path} is not UTF-8: {error}. Save it as UTF-8.") from error
    shipped = shipped_configs()
    if name_or_path in shipped:
        return (_CONFIGS / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    raise InputError(
        f"--config {name_or_path}: no such config.{did_you_mean(name_or_path, shipped)} Shipped "
        f"configs: {', '.join(shipped)}. For a config of your own, give the path of a .yaml file."
    )
