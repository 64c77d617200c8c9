"""Whole tables, read at once: the catalogue and the users."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.parsing import is_text, plain, unchecked
from components.ingest.sources.layout import TableLayout
from components.ingest.sources.log import with_row_numbers
from components.ingest.sources.reading import parts_of, read_part
from components.shared.contracts.tables import REJECTS_SCHEMA, DType
from components.shared.runtime.arrow import one_array


def read_all(table: TableLayout, wanted: Mapping[str, DType | None]) -> tuple[pa.Table, pa.Table]:
    """Read the wanted columns of a small table.

    Returns:
        The rows with `_file` and `_row`; and a table of `REJECTS_SCHEMA`. A column that
        has several types is text.
    """
    parts = [records for part in parts_of(table.files) for records in read_part(part, wanted)]
    rows = concat([records.rows for records in parts])
    rejects = pa.concat_tables(
        [REJECTS_SCHEMA.empty_table(), *(records.rejects for records in parts)]
    )
    if rows is None:
        empty = {name: pa.array([], pa.string()) for name in wanted}
        rows = with_row_numbers(pa.table(empty), "", np.empty(0, np.int64))
    return rows, rejects


def concat(tables: list[pa.Table]) -> pa.Table | None:
    """Join tables with the same names; columns that differ in their types become text."""
    if not tables:
        return None
    columns = {}
    for name in tables[0].column_names:
        arrays = [one_array(table[name]) for table in tables]
        arrays = [plain(a) if pa.types.is_dictionary(a.type) else a for a in arrays]
        kinds = {array.type for array in arrays if not pa.types.is_null(array.type)}
        if len(kinds) > 1:
            kinds = {_common(kinds)}
        kind = kinds.pop() if kinds else pa.null()
        columns[name] = pa.chunked_array([_cast(array, kind) for array in arrays], kind)
    return pa.table(columns)


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    types = pa.types
    if all(types.is_signed_integer(kind) for kind in kinds):
        return pa.int64()
    if all(types.is_floating(kind) for kind in kinds):
        return pa.float64()
    if all(_is_list(kind) for kind in kinds):
        return pa.list_(pa.string())
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
