"""Embeddings of many rows."""

import keras
import numpy as np


def embed(tower: keras.Model, features: dict[str, np.ndarray]) -> np.ndarray:
    """Embed rows with a tower, batch by batch.

    Args:
        tower: A query or a candidate tower.
        features: Encoded features, `(rows,)` or `(rows, width)` each.

    Returns:
        `(rows, dim) float32`.
    """
    rows = len(next(iter(features.values())))
    return np.asarray(tower.predict(features, batch_size=min(rows, 65_536), verbose=0))
