"""Embeddings of many rows."""

import keras
import numpy as np

_ROWS_AT_ONCE = 65_536
_INDICES_AT_ONCE = 1 << 19  # their embeddings have to fit into memory: 256 MiB at a width of 128


def embed(tower: keras.Model, features: dict[str, np.ndarray]) -> np.ndarray:
    """Embed rows with a tower, batch by batch.

    Args:
        tower: A query or a candidate tower.
        features: Encoded features, `(rows,)` or `(rows, width)` each.

    Returns:
        `(rows, dim) float32`.
    """
    rows = len(next(iter(features.values())))
    width = max(values.size // max(rows, 1) for values in features.values())
    batch_size = min(rows, _ROWS_AT_ONCE, max(_INDICES_AT_ONCE // max(width, 1), 1))
    return np.asarray(tower.predict(features, batch_size=batch_size, verbose=0))
