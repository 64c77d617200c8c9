"""Reads a config file and applies overrides to it."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import (
    ValidationError,
)

from components.shared.runtime.errors import InputError
from components.shared.storage.credentials import masked
from pipeline.config.messages import explain, walk
from pipeline.config.pipeline import PipelineConfig

_CONFIGS = resources.files("pipeline") / "configs"


def shipped_configs() -> list[str]:
    """The names of the configs that come with the package."""
    return sorted(
        path.name.removesuffix(".yaml")
        for path in _CONFIGS.iterdir()
        if path.name.endswith(".yaml")
    )


def load_config(name_or_path: str, overrides: Iterable[str] = ()) -> PipelineConfig:
    """Reads a config and checks it.

    Args:
        name_or_path: A shipped config's name, or the path of a YAML file.
        overrides: `key=value` each; the key is a path with dots
            (`train.epochs`), the value is YAML. `null` takes the key away, so
            that its default counts, or a feature is gone.

    Raises:
        InputError: If there is no such config, or a key or value is wrong. The
            message names each key and what is allowed there.
    """
    if Path(name_or_path).suffix in (".yaml", ".yml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(f"--config {name_or_path}: there is no such file.")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name_or_path} is not UTF-8: {error}. Save it as UTF-8.") from error
    elif name_or_path in shipped_configs():
        text = (_CONFIGS / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        raise InputError(
            f"--config {name_or_path}: there is no such config. Shipped are "
            f"{', '.join(shipped_configs())}; or give the path of a .yaml file."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name_or_path} is no YAML: {_where(error)}.") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{name_or_path} must hold keys and values; it holds {masked(repr(values))}."
        )
    for override in overrides:
        _override(values, override)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{name_or_path}: {explain(error)}") from error


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {masked(override)}: write key=value, e.g. --set train.epochs=5.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {masked(key)}: the value is no YAML: {_where(error)}.") from None
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise InputError(f"--set {masked(key)}: {parent} is a value, nothing is below it.")
    if value is None and (last in node or _is_key(parents, last)):
        node.pop(last, None)
    else:
        node[last] = value


def _where(error: yaml.YAMLError) -> str:
    """Says what is wrong and where, but does not quote the line: a secret may be in it."""
    mark = getattr(error, "problem_mark", None)
    what = masked(getattr(error, "problem", None) or str(error).partition("\n")[0])
    return f"{what}, in line {mark.line + 1}, column {mark.column + 1}" if mark else what


def _is_key(parents: list[str], key: str) -> bool:
    """Whether a config may have a key there."""
    types = [PipelineConfig, *(annotation for _, _, annotation in walk(parents))]
    return get_origin(types[-1]) is dict or key in getattr(types[-1], "model_fields", {})
