"""Columns in device memory."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


class DeviceTable(keras.layers.Layer):
    """A table's columns in device memory.

    A batch is then a vector of row numbers: 4 bytes per row from the host.

    Args:
        columns: `(rows,)` or `(rows, width)` arrays by name.
    """

    def __init__(self, columns: dict[str, np.ndarray], **kwargs: Any):
        super().__init__(**kwargs)
        self.columns = {}
        for name, values in columns.items():
            column = self.add_weight(
                shape=values.shape, dtype=str(values.dtype), trainable=False, initializer="zeros",
                name=name,
            )  # fmt: skip
            column.assign(values)
            self.columns[name] = column
        self.built = True

    def call(self, rows: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Return rows of some columns.

        Args:
            rows: `(…) int32`.
            names: The columns; all by default.

        Returns:
            `(…)` or `(…, width)` by column.
        """
        names = list(self.columns) if names is None else names
        return {name: keras.ops.take(self.columns[name], rows, axis=0) for name in names}

    def everything(self) -> dict[str, Any]:
        """Return the whole table."""
        return {name: keras.ops.convert_to_tensor(column) for name, column in self.columns.items()}
