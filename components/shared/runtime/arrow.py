"""Conversions between Arrow columns and NumPy arrays."""

import numpy as np
import pyarrow as pa


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Join a column's chunks into one array.

    pyarrow's `combine_chunks` still returns a chunked array for some columns.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Convert an encoded column to a NumPy array.

    Args:
        column: Numbers, or fixed-size lists of numbers, without nulls.

    Returns:
        `(rows,)` or `(rows, width)`, of the column's number type.
    """
    array = one_array(column)
    if pa.types.is_fixed_size_list(array.type):
        return (
            array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), array.type.list_size)
        )
    return array.to_numpy(zero_copy_only=False)


def from_numpy(array: np.ndarray) -> pa.Array:
    """Convert a `(rows,)` or `(rows, width)` array to a column: numbers, or fixed-size lists."""
    if array.ndim == 1:
        return pa.array(array)
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])


def latest_first(values: pa.Array, begin: np.ndarray, end: np.ndarray, most: int) -> pa.ListArray:
    """Return the last values of ranges as lists, the last value first.

    Args:
        values: The values.
        begin: `(rows,) int`, the beginning of each row's range of `values`.
        end: `(rows,) int`, its end, exclusive.
        most: Maximum length of a list.

    Returns:
        `(rows,)` lists; an empty range gives an empty list.
    """
    lengths = np.minimum(end - begin, most)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    taken = values.take(pa.array(np.repeat(end, lengths) - 1 - within, pa.int64()))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), taken)
