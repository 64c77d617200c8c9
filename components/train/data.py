"""The encoded tables as arrays, and the batches of rows that training takes."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import LABEL, read_table
from components.shared.runtime.arrow import to_numpy


@dataclass(frozen=True)
class EncodedData:
    """The tables that train reads.

    Args:
        folder: The folder from adapt.
        spec: The features.
        train: The training split.
        validation: The validation split.
        candidates: The candidates' features by name, `(candidates,)` or
            `(candidates, width)`.
    """

    folder: Path
    spec: FeatureSpec
    train: pa.Table
    validation: pa.Table
    candidates: dict[str, np.ndarray]

    @classmethod
    def read(cls, encoded: str) -> "EncodedData":
        """Read a folder from adapt, without the test split."""
        folder = Path(encoded)
        spec = FeatureSpec.read(folder)
        candidates = read_table(folder / "candidates", [f.name for f in spec.candidate])
        return cls(
            folder,
            spec,
            read_table(folder / "interactions" / "train"),
            read_table(folder / "interactions" / "validation"),
            {feature.name: to_numpy(candidates[feature.name]) for feature in spec.candidate},
        )

    def labels(self, positives_above: float | None = None) -> np.ndarray:
        """Return the labels of the training split, `(rows,) float32`.

        Args:
            positives_above: Return only labels above it; None: all.
        """
        labels = to_numpy(self.train[LABEL])
        return labels if positives_above is None else labels[labels > positives_above]

    @property
    def candidate_count(self) -> int:
        """The number of candidates."""
        return len(next(iter(self.candidates.values())))


class RowBatches(keras.utils.PyDataset):
    """Row numbers in batches, shuffled for each epoch.

    The order depends only on the seed and the epoch. All batches have the same size, so
    that the training step compiles once; each epoch leaves out a different remainder.

    Args:
        rows: The number of rows.
        batch_size: Rows per batch; all rows if there are fewer.
        seed: The seed of the order.
    """

    def __init__(self, rows: int, batch_size: int, seed: int):
        super().__init__()
        self._rows = rows
        self._batch_size = min(batch_size, rows)
        self._seed = seed
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Shuffle the rows for an epoch.

        Args:
            epoch: The epoch, from 0.
        """
        rng = np.random.default_rng([self._seed, epoch])
        self._order = rng.permutation(self._rows).astype(np.int32)

    def __len__(self) -> int:
        return self._rows // self._batch_size

    def __getitem__(self, step: int) -> tuple[np.ndarray]:
        return (self._batch(step),)

    def _batch(self, step: int) -> np.ndarray:
        first = step * self._batch_size
        return self._order[first : first + self._batch_size]


class RestOfEpoch(keras.utils.PyDataset):
    """The remaining batches of an epoch.

    Args:
        batches: All batches of the epoch.
        first: The first remaining step, from 0.
    """

    def __init__(self, batches: RowBatches, first: int):
        super().__init__()
        self._batches = batches
        self._first = first

    def __len__(self) -> int:
        return len(self._batches) - self._first

    def __getitem__(self, step: int) -> tuple[np.ndarray]:
        return self._batches[self._first + step]
