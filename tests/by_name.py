"""Calls a function by its name; what another process imports instead of the fixtures."""

import importlib
from typing import Any


def call_by_name(name: str, **kwargs: Any) -> Any:
    """Calls `module:function`."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)(**kwargs)
