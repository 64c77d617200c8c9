"""Joins the parts of a table, whose columns may differ in their types."""

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.parsing import is_text, plain, unchecked
from components.ingest.sources.log import FILE
from components.shared.runtime.arrow import one_array
from components.shared.runtime.errors import InputError


def concat(tables: list[pa.Table]) -> pa.Table | None:
    """Join tables with the same names; columns that differ in their types become text.

    Raises:
        InputError: If a column cannot, e.g. lists and numbers.
    """
    if not tables:
        return None
    columns = {}
    for name in tables[0].column_names:
        arrays = [one_array(table[name]) for table in tables]
        try:
            columns[name] = _joined(arrays)
        except pa.ArrowException as error:
            found = sorted({str(array.type)[:100] for array in arrays})
            raise InputError(
                f"The column {name!r} has types that do not fit together: {' and '.join(found)}"
                f"{_files(tables)}. Write it with one type."
            ) from error
    return pa.table(columns)


def _joined(arrays: list[pa.Array]) -> pa.ChunkedArray:
    arrays = [plain(array) if pa.types.is_dictionary(array.type) else array for array in arrays]
    kinds = {array.type for array in arrays if not pa.types.is_null(array.type)}
    if len(kinds) > 1:
        kinds = {_common(kinds)}
    kind = kinds.pop() if kinds else pa.null()
    return pa.chunked_array([_cast(array, kind) for array in arrays], kind)


def _files(tables: list[pa.Table]) -> str:
    tables = [table for table in tables if FILE in table.column_names]
    names = dict.fromkeys(name for table in tables for name in table[FILE].unique().to_pylist())
    return f" ({', '.join([*names][:3])})" if names else ""


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    types = pa.types
    if all(types.is_signed_integer(kind) for kind in kinds):
        return pa.int64()
    if all(types.is_floating(kind) for kind in kinds):
        return pa.float64()
    if all(_is_list(kind) for kind in kinds):
        some_bytes = any(types.is_binary(kind.value_type) for kind in kinds)
        return pa.list_(pa.binary() if some_bytes else pa.string())
    return pa.string()


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_string(kind) and is_text(array.type):
        return unchecked(array)  # a cast stops at text that is not UTF-8
    return pc.cast(array, kind)
