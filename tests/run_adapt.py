"""Adapt with its default config, in the process that has TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_adapt(
    in_tensorflow: Callable[..., Any],
    tables: Path,
    features: dict[str, Any],
    encoded: Path,
    **more: Any,
) -> Path:
    """Takes tables through adapt; gives the folder of what it made."""
    in_tensorflow(
        "components.adapt.job:adapt",
        tables=str(tables),
        features=features,
        config={},
        encoded=str(encoded),
        **more,
    )
    return encoded
