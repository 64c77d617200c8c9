"""Parquet: schemas and batches, with one clear error if a file is damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.runtime.errors import InputError


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what pyarrow raises for damaged files into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        encrypted = "encrypt" in reason.lower() or "decrypt" in reason.lower()
        raise InputError(
            f"{name} is encrypted, which is not read. Write it again without encryption."
            if encrypted
            else f"{name} is not a Parquet file, or is damaged ({reason}). Write it again."
        ) from error


def parquet_columns(path: str, name: str) -> list[tuple[str, pa.DataType]]:
    """Return the names and types of a file's columns; a name may occur twice.

    Raises:
        InputError: If the file is damaged.
    """
    with _reading(name):
        return [(field.name, field.type) for field in pq.read_schema(path)]


def row_groups(path: str, name: str) -> list[int]:
    """Return the number of rows of each row group."""
    with _reading(name):
        metadata = pq.read_metadata(path)
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def read_row_group(
    path: str, name: str, group: int, columns: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Read some columns of a row group in batches.

    Text in the batches may be other than UTF-8, as Parquet does not enforce it.

    Raises:
        InputError: If the file is damaged.
    """
    with _reading(name):
        file: Any = pq.ParquetFile(path, page_checksum_verification=True)
    rows = file.metadata.row_group(group).num_rows
    if not columns:
        for begin in range(0, rows, batch_rows):
            count = min(batch_rows, rows - begin)
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
        return
    batches = file.iter_batches(batch_rows, row_groups=[group], columns=columns)
    while True:
        with _reading(name):
            batch = next(batches, None)
            if batch is None:
                break
            batch.validate()
            rows -= batch.num_rows
        yield batch
    if rows:
        raise InputError(
            f"{name} is damaged: row group {group} has {rows} rows fewer than it says. "
            "Write it again."
        )
