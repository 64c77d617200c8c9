"""Rows of one query as groups, and batches of groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.train.data import RowBatches

_NARROWEST = 4


@dataclass(frozen=True)
class Bucket:
    """Groups of similar length, padded to the same width.

    Args:
        rows: `(groups, width) int32`, row numbers, padded with -1.
        batch: Number of groups of a batch.
    """

    rows: np.ndarray
    batch: int


@dataclass(frozen=True)
class RowGroups:
    """Rows in groups.

    Args:
        order: `(rows,) int32`, the row numbers, group by group.
        offsets: `(groups + 1,) int64`, where each group begins in `order`.
    """

    order: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, key: np.ndarray, size: int, time: np.ndarray | None = None) -> "RowGroups":
        """Group rows of the same key.

        Args:
            key: `(rows,)` or `(rows, columns)` integers.
            size: The largest number of rows in a group; a key with more rows has several
                groups.
            time: `(rows,)`, by which the rows of a key are ordered; rows of the same
                time, and all rows without it, keep their order.
        """
        _, number, counts = np.unique(
            key, axis=0 if key.ndim > 1 else None, return_inverse=True, return_counts=True
        )
        number = number.reshape(-1)
        order = np.argsort(number, kind="stable") if time is None else np.lexsort((time, number))
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        begins = np.flatnonzero(place % size == 0)
        return cls(order.astype(np.int32), np.append(begins, len(order)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The number of rows of each group, `(groups,) int64`."""
        return np.diff(self.offsets)

    @property
    def shares(self) -> np.ndarray:
        """One divided by the length of each row's group, `(rows,) float32`."""
        shares = np.empty(len(self.order), np.float32)
        shares[self.order] = np.repeat(1 / self.lengths, self.lengths)
        return shares

    @property
    def first(self) -> np.ndarray:
        """The first row of each group, `(groups,) int32`."""
        return self.order[self.offsets[:-1]]

    def padded(self, groups: np.ndarray, width: int) -> np.ndarray:
        """Return the row numbers of some groups, `(groups, width) int32`, padded with -1."""
        lengths = self.lengths[groups]
        table = np.full((len(groups), width), -1, np.int32)
        row = np.repeat(np.arange(len(groups)), lengths)
        column = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        table[row, column] = self.order[np.repeat(self.offsets[:-1][groups], lengths) + column]
        return table

    def of_one_width(self, width: int, batch: int) -> list[Bucket]:
        """Return all groups as one bucket.

        Args:
            width: Its width.
            batch: Groups per batch; all if there are fewer.
        """
        return [Bucket(self.padded(np.arange(len(self)), width), min(batch, len(self)))]

    def by_length(
        self, batch_size: int, lengths: np.ndarray | None = None, widest: int | None = None
    ) -> list[Bucket]:
        """Return the groups in buckets, so that little of a batch is padding.

        Widths are powers of two. A bucket with fewer rows than a batch is joined with
        the next wider one, as each width compiles the training step once more.

        Args:
            batch_size: Rows per batch, about: a bucket is divided into equal batches.
            lengths: `(groups,)`, how wide each group must be; by default, its number of
                rows.
            widest: The greatest width; by default, the next power of two.
        """
        rows = self.lengths
        needed = rows if lengths is None else np.maximum(rows, lengths)
        width = 1 << np.ceil(np.log2(np.maximum(needed, _NARROWEST))).astype(int)
        width = np.minimum(width, widest or width.max())
        buckets: list[list[Any]] = []
        waiting = np.zeros(0, np.int64)
        for wide in np.unique(width):
            waiting = np.concatenate([waiting, np.flatnonzero(width == wide)])
            if rows[waiting].sum() >= batch_size:
                buckets.append([waiting, wide])
                waiting = waiting[:0]
        if len(waiting):
            last = buckets.pop()[0] if buckets else waiting[:0]
            buckets.append([np.concatenate([last, waiting]), width.max()])
        return [
            Bucket(
                self.padded(groups, int(wide)),
                len(groups) // min(max(round(rows[groups].sum() / batch_size), 1), len(groups)),
            )
            for groups, wide in buckets
        ]


class GroupBatches(RowBatches):
    """Row numbers of groups in batches, shuffled for each epoch.

    The order depends only on the seed and the epoch. A batch holds groups of one bucket;
    each epoch leaves out a different remainder of each.

    Args:
        buckets: The groups.
        seed: The seed of the order.
    """

    def __init__(self, buckets: list[Bucket], seed: int):
        self._buckets = buckets
        super().__init__(sum(len(bucket.rows) for bucket in buckets), 1, seed)

    def begin_epoch(self, epoch: int) -> None:
        """Shuffle the groups of each bucket, and the batches.

        Args:
            epoch: The epoch, from 0.
        """
        rng = np.random.default_rng([self._seed, epoch])
        steps = []
        for number, bucket in enumerate(self._buckets):
            order = rng.permutation(len(bucket.rows))
            full = len(order) // bucket.batch * bucket.batch
            steps += [(number, groups) for groups in order[:full].reshape(-1, bucket.batch)]
        self._steps = [steps[place] for place in rng.permutation(len(steps))]

    def __len__(self) -> int:
        return len(self._steps)

    def _batch(self, step: int) -> np.ndarray:
        number, groups = self._steps[step]
        return self._buckets[number].rows[groups]
