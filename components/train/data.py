"""The encoded tables as arrays, and the batches of rows that training takes."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import FeatureSpec
from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, read_table
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

    def interactions(
        self, positives_above: float | None = None, *, with_validation: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the model's columns of the training split.

        Args:
            positives_above: Return only rows with a label above it; None: all rows.
            with_validation: Whether to append the rows of the validation split.

        Returns:
            Query features, `candidate_index` and `label` by name, `(rows,)` or
            `(rows, width)`.
        """
        names = [*(feature.name for feature in self.spec.query), CANDIDATE_INDEX, LABEL]
        rows = self.train.select(names)
        if with_validation:
            rows = pa.concat_tables([rows, self.validation.select(names)])
        columns = {name: to_numpy(rows[name]) for name in names}
        if positives_above is None:
            return columns
        positive = columns[LABEL] > positives_above
        return {name: values[positive] for name, values in columns.items()}

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


def grouped_by_query(interactions: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Group rows with the same query features.

    Args:
        interactions: Query features, `candidate_index` and `label` of each row.
        size: The largest number of rows in a group; a query with more rows has several
            groups.

    Returns:
        Query features of each group, `(groups,)` or `(groups, width)`; `candidate_index`
        and `label`, `(groups, size)`, padded with -1 and 0.
    """
    item, label = interactions[CANDIDATE_INDEX], interactions[LABEL]
    features = {
        name: values
        for name, values in interactions.items()
        if name not in (CANDIDATE_INDEX, LABEL)
    }
    keys = [values.reshape(len(values), -1).view(np.int32) for values in features.values()]
    _, query, counts = np.unique(
        np.concatenate(keys, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    order = np.argsort(query.reshape(-1), kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    column = place % size
    group = np.cumsum(column == 0) - 1
    groups = group[-1] + 1
    items = np.full((groups, size), -1, item.dtype)
    labels = np.zeros((groups, size), label.dtype)
    items[group, column] = item[order]
    labels[group, column] = label[order]
    first = order[column == 0]
    return {
        **{name: values[first] for name, values in features.items()},
        CANDIDATE_INDEX: items,
        LABEL: labels,
    }


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
        first = step * self._batch_size
        return (self._order[first : first + self._batch_size],)


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
