"""The encoded tables as arrays, and the order in which training takes rows."""

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

    def interactions(
        self, positives_above: float | None = None, *, with_validation: bool = False
    ) -> dict[str, np.ndarray]:
        """The columns of the training part that the model takes.

        Args:
            positives_above: Only rows with a label above it; all by default.
            with_validation: Whether rows of the validation part follow.
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

    @property
    def candidate_count(self) -> int:
        """How many candidates there are."""
        return len(next(iter(self.candidates.values())))


def grouped_by_query(interactions: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Puts rows with the same query features together.

    Args:
        interactions: Query features, `candidate_index` and `label` of each row.
        size: The most rows of a group; a query with more has several groups.

    Returns:
        Query features of each group, `(groups,)` or `(groups, width)`;
        `candidate_index` and `label`, `(groups, size)`, -1 and 0 where a group
        has fewer rows.
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
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Puts the rows into the order of an epoch.

        Args:
            epoch: Its number, from 0.
        """
        rng = np.random.default_rng([self._seed, epoch])
        self._order = rng.permutation(self._rows).astype(np.int32)

    def __len__(self) -> int:
        return self._rows // self._batch_size

    def __getitem__(self, step: int) -> tuple[np.ndarray]:
        first = step * self._batch_size
        return (self._order[first : first + self._batch_size],)


class RestOfEpoch(keras.utils.PyDataset):
    """The batches of an epoch from some step on.

    Args:
        batches: All of them.
        first: The first step.
    """

    def __init__(self, batches: RowBatches, first: int):
        super().__init__()
        self._batches = batches
        self._first = first

    def __len__(self) -> int:
        return len(self._batches) - self._first

    def __getitem__(self, step: int) -> tuple[np.ndarray]:
        return self._batches[self._first + step]
