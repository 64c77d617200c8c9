"""Conversions between Arrow columns and NumPy arrays."""

import numpy as np
import pyarrow as pa


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Joins a column's chunks; pyarrow gives a chunked array back for some columns."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Turns an encoded column into an array.

    Args:
        column: Numbers, or fixed-size lists of numbers, without nulls.

    Returns:
        `(rows,)` or `(rows, width)` array of the column's number type.
    """
    array = one_array(column)
    if pa.types.is_fixed_size_list(array.type):
        return (
            array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), array.type.list_size)
        )
    return array.to_numpy(zero_copy_only=False)


def from_numpy(array: np.ndarray) -> pa.Array:
    """Turns a `(rows,)` or `(rows, width)` array into a column."""
    if array.ndim == 1:
        return pa.array(array)
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])


def latest_first(values: pa.Array, begin: np.ndarray, end: np.ndarray, most: int) -> pa.ListArray:
    """Makes lists of the last values of ranges, the last one first.

    Args:
        values: What the lists are made of.
        begin: `(rows,) int`, where each row's range of `values` begins.
        end: `(rows,) int`, where it ends, exclusive.
        most: Values of a list, at most.

    Returns:
        `(rows,)` lists; empty where a range is.
    """
    lengths = np.minimum(end - begin, most)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    taken = values.take(pa.array(np.repeat(end, lengths) - 1 - within, pa.int64()))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), taken)
