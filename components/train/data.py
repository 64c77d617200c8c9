"""The encoded tables as arrays, and the order in which training takes rows."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa

from components.feature_spec import FeatureSpec
from components.tables import CANDIDATE_INDEX, LABEL, read_table, to_numpy


@dataclass(frozen=True)
class EncodedData:
    """What train reads.

    Args:
        spec: The features.
        train: The training part.
        validation: The validation part.
        candidates: The candidates' features, `(candidates,)` or
            `(candidates, width)`.
    """

    spec: FeatureSpec
    train: pa.Table
    validation: pa.Table
    candidates: dict[str, np.ndarray]

    @classmethod
    def read(cls, encoded: str) -> "EncodedData":
        """Reads a folder that adapt wrote; never the test part."""
        folder = Path(encoded)
        spec = FeatureSpec.read(folder)
        candidates = read_table(folder / "candidates", [f.name for f in spec.candidate])
        return cls(
            spec,
            read_table(folder / "interactions" / "train"),
            read_table(folder / "interactions" / "validation"),
            {feature.name: to_numpy(candidates[feature.name]) for feature in spec.candidate},
        )

    @property
    def interactions(self) -> dict[str, np.ndarray]:
        """The columns of the training part that the model takes."""
        names = [*(feature.name for feature in self.spec.query), CANDIDATE_INDEX, LABEL]
        return {name: to_numpy(self.train[name]) for name in names}

    @property
    def candidate_count(self) -> int:
        """How many candidates there are."""
        return len(next(iter(self.candidates.values())))


class RowBatches(keras.utils.PyDataset):
    """Row numbers in batches, in another order each epoch.

    The order depends on the seed and the epoch alone. Batches are all of one
    size, so that the training step compiles once; the rows left over are others
    each epoch.

    Args:
        rows: How many rows there are.
        batch_size: Rows of a batch; all rows, where there are fewer.
        seed: Of the order.
    """

    def __init__(self, rows: int, batch_size: int, seed: int):
        super().__init__()
        self._rows = rows
        self._batch_size = min(batch_size, rows)
        self._seed = seed
        self._epoch = 0
        self._order = self._shuffled()

    def _shuffled(self) -> np.ndarray:
        rng = np.random.default_rng([self._seed, self._epoch])
        return rng.permutation(self._rows).astype(np.int32)

    def __len__(self) -> int:
        return self._rows // self._batch_size

    def __getitem__(self, step: int) -> tuple[np.ndarray]:
        first = step * self._batch_size
        return (self._order[first : first + self._batch_size],)

    def on_epoch_end(self) -> None:
        """Shuffles for the next epoch."""
        self._epoch += 1
        self._order = self._shuffled()
