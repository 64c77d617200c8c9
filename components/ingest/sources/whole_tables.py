"""Whole tables, read at once: the catalogue and the users."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from components.ingest.sources.joining import concat
from components.ingest.sources.layout import TableLayout
from components.ingest.sources.log import with_row_numbers
from components.ingest.sources.reading import parts_of, read_part
from components.shared.contracts.tables import REJECTS_SCHEMA, DType


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
