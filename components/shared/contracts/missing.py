"""The values of raw columns that stand for a missing value.

Tables have no nulls, because Keras's preprocessing layers take none. A missing value is

    string          ""
    list<…>         an empty list
    float32         NaN
    int64           `MISSING_INTEGER`, the least 64-bit integer
"""

import math
from typing import Any

import numpy as np

from components.shared.contracts.tables import DType

MISSING_INTEGER = int(np.iinfo(np.int64).min)


def missing_value(dtype: DType) -> Any:
    """Return the value that stands for a missing one.

    Example:
    ```python
    assert missing_value("string") == ""
    assert missing_value("list<string>") == []
    ```
    """
    values: dict[DType, Any] = {
        "string": "",
        "list<string>": [],
        "list<float32>": [],
        "float32": math.nan,
        "int64": MISSING_INTEGER,
    }
    return values[dtype]
