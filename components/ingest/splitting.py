"""Assignment of rows to the training, validation and test split."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import IngestConfig
from components.shared.contracts.tables import CANDIDATE_INDEX, SPLITS, Schema

TRAIN, VALIDATION, TEST = range(len(SPLITS))


def hash_ids(ids: pa.Array) -> np.ndarray:
    """Hash ids.

    Args:
        ids: `(rows,)` strings or integers.

    Returns:
        `(rows,) uint64`, the same for an id on every machine.
    """
    encoded = ids.dictionary_encode()
    digests = [
        hashlib.blake2b(str(value).encode(), digest_size=8).digest()
        for value in encoded.dictionary.to_pylist()
    ]
    table = np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64)
    return table[encoded.indices.to_numpy()] if len(table) else np.empty(0, np.uint64)


def _mix(values: np.ndarray) -> np.ndarray:
    """Apply the finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014, fig. 14)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def uniform(query_hash: np.ndarray, candidate_hash: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each pair of user and item, determined by the seed.

    Args:
        query_hash: `(rows,) uint64`.
        candidate_hash: `(rows,) uint64`.
        seed: The seed.

    Returns:
        `(rows,) float64`.
    """
    start = np.frombuffer(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "<u8")
    mixed = _mix(_mix(query_hash ^ start[0]) ^ candidate_hash)
    return (mixed >> np.uint64(11)) * 2.0**-53


def assign_splits(
    rows: pa.Table,
    schema: Schema,
    config: IngestConfig,
    seed: int,
    candidate_hashes: np.ndarray,
    time_boundaries: tuple[float, float] | None,
) -> np.ndarray:
    """Assign each row to a split.

    Args:
        rows: All rows of some users, ordered by user and time, and as `ties` says.
        schema: The tables' columns.
        config: The kind of split and its fractions.
        seed: The seed of the random splits.
        candidate_hashes: `(candidates,) uint64`, hashes of the candidates' ids.
        time_boundaries: The first timestamps of the validation and of the test
            split; only for the temporal split.

    Returns:
        `(rows,) int8`: 0 train, 1 validation, 2 test.
    """
    splits = np.full(rows.num_rows, TRAIN, np.int8)
    timestamp = rows[schema.role("timestamp").name].to_numpy()
    if config.split == "temporal":
        if time_boundaries is None:
            raise ValueError("the temporal split needs time_boundaries")
        splits[timestamp >= time_boundaries[0]] = VALIDATION
        splits[timestamp >= time_boundaries[1]] = TEST
        return splits
    number = uniform(
        hash_ids(rows[schema.role("query_id").name].combine_chunks()),
        candidate_hashes[rows[CANDIDATE_INDEX].to_numpy()],
        seed,
    )
    if config.split == "random":
        held_out = config.test_fraction
        splits[number < held_out + (1 - held_out) * config.validation_fraction] = VALIDATION
        splits[number < held_out] = TEST
        return splits
    first = _first_rows(rows, schema)
    if config.split == "random_by_user":
        return _split_by_user(first, number, config)
    order = np.arange(rows.num_rows)
    if config.ties == "hash":
        # In catalogue order, the last row of one time would always be one of the newest items.
        order = np.lexsort((number, timestamp, _users(first, rows.num_rows)))
    return _split_last(first, order)


def _first_rows(rows: pa.Table, schema: Schema) -> np.ndarray:
    """Return the position of each user's first row, ascending; rows are ordered by user."""
    user = rows[schema.role("query_id").name]
    _, first = np.unique(
        pc.dictionary_encode(user).combine_chunks().indices.to_numpy(), return_index=True
    )
    return np.sort(first)


def _users(first: np.ndarray, rows: int) -> np.ndarray:
    """Return the number of each row's user: `(rows,) int64`."""
    return np.repeat(np.arange(len(first)), np.diff([*first, rows]))


def _split_last(first: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Hold out the last two rows of each user with at least three rows.

    Args:
        first: `(users,)`, the position of each user's first row.
        order: `(rows,)`, the rows' positions by user and time.

    Returns:
        `(rows,) int8`: 0 train, 1 validation, 2 test.
    """
    count = np.diff([*first, len(order)])
    enough = count >= 3  # other users would have no training rows left
    last = (first + count - 1)[enough]
    splits = np.full(len(order), TRAIN, np.int8)
    splits[order[last]] = TEST
    splits[order[last - 1]] = VALIDATION
    return splits


def _split_by_user(first: np.ndarray, number: np.ndarray, config: IngestConfig) -> np.ndarray:
    """Hold out the same share of each user's rows, those with the lowest numbers.

    The number of rows that are not held out is rounded half to even, as in the
    stratified split of recommenders-team/recommenders, and is at least one.

    Args:
        first: `(users,)`, the position of each user's first row.
        number: `(rows,) float64`, the order of a user's rows.
        config: The fractions.

    Returns:
        `(rows,) int8`: 0 train, 1 validation, 2 test.
    """
    count = np.diff([*first, len(number)])
    known = np.maximum(np.rint(count * (1 - config.test_fraction)), 1)
    train = np.maximum(np.rint(known * (1 - config.validation_fraction)), 1)
    user = _users(first, len(number))
    # Position among the user's rows; of rows with the same item, the earlier one is first.
    order = np.lexsort((number, user))
    place = np.arange(len(number)) - first[user]
    splits = np.full(len(number), TRAIN, np.int8)
    splits[order[place < (count - train)[user]]] = VALIDATION
    splits[order[place < (count - known)[user]]] = TEST
    return splits
