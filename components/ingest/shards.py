"""A shard: all rows of some users, from the raw log's order to the files of the tables."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import IngestConfig
from components.ingest.context import add_context
from components.ingest.counts import Counts, lowest
from components.ingest.rejects import rejects_of
from components.ingest.sources.log import Rejected
from components.ingest.splitting import TRAIN, assign_splits, hash_ids
from components.shared.contracts.tables import CANDIDATE_INDEX, SPLITS, Schema, write_table

DUPLICATE = "duplicate"
REPEATED = "repeated interaction, in histories only"

_REJECTS_AT_ONCE = 65_536


def split_by_user(rows: pa.Table, query_id: str, shards: int) -> Iterator[tuple[int, pa.Table]]:
    """Divide rows among shards by a hash of the user.

    Args:
        rows: Some rows.
        query_id: The column of the user's id.
        shards: Number of shards.

    Yields:
        A shard's number and its rows.
    """
    if shards == 1:
        yield 0, rows
        return
    shard = hash_ids(rows[query_id].combine_chunks()) % np.uint64(shards)
    for number in np.unique(shard):
        yield int(number), rows.filter(pa.array(shard == number))


class WriteShard(beam.DoFn):
    """Order a shard, drop duplicates, assign splits, derive columns, and write its files.

    This is one DoFn rather than one for each part, because between fused DoFns
    Beam keeps every intermediate table of the shard in memory.

    Args:
        schema: The tables' columns.
        settings: How the log is split.
        seed: The seed of the random splits.
        candidate_ids: `(candidates,)`, in the order of the candidates table.
        folder: The folder of the tables.
        order: Orders the rows of a shard by user and time; see `shard_order`.
    """

    def __init__(
        self,
        schema: Schema,
        settings: IngestConfig,
        seed: int,
        candidate_ids: pa.Array,
        folder: Path,
        order: Callable[[pa.Table, Schema, str], pa.Table],
    ):
        self._schema = schema
        self._settings = settings
        self._seed = seed
        self._candidate_ids = candidate_ids
        self._candidate_hashes = hash_ids(candidate_ids)
        self._folder = folder
        self._order = order

    def process(
        self, shard: tuple[int, Iterable[pa.Table]], boundaries: tuple[float, float] | None
    ) -> Iterator[Counts | Rejected]:
        """Write a shard; yield its counts, and its duplicates as `rejects`."""
        number, parts = shard
        schema, settings = self._schema, self._settings
        rows = self._order(pa.concat_tables(parts), schema, settings.ties)
        if settings.duplicates == "reject":
            stays = pa.array(_is_latest(rows, schema.role("query_id").name))
            for batch in _duplicates(rows.filter(pc.invert(stays))):
                yield beam.pvalue.TaggedOutput("rejects", batch)
            rows = rows.filter(stays)
        latest = np.ones(rows.num_rows, bool)
        if settings.duplicates == "history":
            latest = _is_latest(rows, schema.role("query_id").name)
        splits = self._splits(rows, latest, boundaries)
        rows = add_context(rows, splits, schema, settings, self._candidate_ids)
        rows = rows.filter(pa.array(latest))
        rows = rows.select(schema.interactions_arrow.names).cast(schema.interactions_arrow)
        counts = self._write(number, rows, splits[latest])
        if repeated := int((~latest).sum()):
            counts.dropped[REPEATED] = repeated
        yield counts

    def _splits(
        self, rows: pa.Table, latest: np.ndarray, boundaries: tuple[float, float] | None
    ) -> np.ndarray:
        """Assign each row to a split; an earlier interaction is in one for histories only.

        Histories contain what is known when a split is predicted, so an earlier
        interaction is in the split of its own time, or of its pair if the split is random.

        Args:
            rows: All rows of some users, ordered by user and time, and as `ties` says.
            latest: `(rows,) bool`, whether a row is the latest of its user and item.
            boundaries: As `assign_splits` takes them.

        Returns:
            `(rows,) int8`.
        """
        schema, settings = self._schema, self._settings
        splits = np.full(rows.num_rows, TRAIN, np.int8)
        splits[latest] = assign_splits(
            rows.filter(pa.array(latest)), schema, settings, self._seed,
            self._candidate_hashes, boundaries,
        )  # fmt: skip
        if latest.all() or settings.split == "leave_last_out":
            return splits  # a history only has what is earlier than its row
        if settings.split == "temporal":
            return assign_splits(
                rows, schema, settings, self._seed, self._candidate_hashes, boundaries
            )
        pair = _pairs(rows, schema.role("query_id").name)
        of_latest = np.argsort(pair[latest])
        place = np.searchsorted(pair[latest], pair, sorter=of_latest)
        return np.asarray(splits[latest][of_latest][place])

    def _write(self, number: int, rows: pa.Table, splits: np.ndarray) -> Counts:
        timestamp = self._schema.role("timestamp").name
        ratings = pc.value_counts(rows[self._schema.role("rating").name]).to_pylist()
        counts = Counts(
            users=len(rows[self._schema.role("query_id").name].unique()),
            ratings=lowest({entry["values"]: entry["counts"] for entry in ratings}),
        )
        for index, split in enumerate(SPLITS):
            part = rows.filter(pa.array(splits == index))
            counts.rows[split] = part.num_rows
            if part.num_rows:
                folder = self._folder / "interactions" / split
                write_table(part, folder, number, self._settings.shards)
                extent = pc.min_max(part[timestamp]).as_py()
                counts.times[split] = extent["min"], extent["max"]
        return counts


def _duplicates(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Return rows as rejects, some at a time: their records pass through Python."""
    for first in range(0, rows.num_rows, _REJECTS_AT_ONCE):
        some = rows.slice(first, _REJECTS_AT_ONCE)
        yield from rejects_of(some, pa.repeat(DUPLICATE, some.num_rows)).to_batches()


def _is_latest(rows: pa.Table, query_id: str) -> np.ndarray:
    """Return whether a row is the last of its user and item: `(rows,) bool`."""
    pair = _pairs(rows, query_id)
    _, last = np.unique(pair[::-1], return_index=True)
    latest = np.zeros(len(pair), bool)
    latest[len(pair) - 1 - last] = True
    return latest


def _pairs(rows: pa.Table, query_id: str) -> np.ndarray:
    """Return a number for each pair of user and item: `(rows,) int64`."""
    user = pc.dictionary_encode(rows[query_id]).combine_chunks().indices.to_numpy()
    return user.astype(np.int64) << 32 | rows[CANDIDATE_INDEX].to_numpy()
