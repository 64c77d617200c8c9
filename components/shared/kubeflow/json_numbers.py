"""Whole numbers in JSON, which KFP's IR and API write as floats."""

from collections.abc import Mapping
from typing import Any


def whole_numbers(value: Any) -> Any:
    """Return a JSON value with whole floats as ints, e.g. 64 for 64.0.

    Args:
        value: A JSON value; lists and mappings are converted throughout.

    Example:
    ```python
    assert str(whole_numbers([64.0, 0.5])) == "[64, 0.5]"
    ```
    """
    if isinstance(value, list | tuple):
        return [whole_numbers(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): whole_numbers(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
