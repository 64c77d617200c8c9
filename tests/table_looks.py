"""Tables as `deep-retrieval init` sees them, made of columns."""

import random
from typing import Any

import pyarrow as pa

from components.shared.profiling.column_summary import ColumnSummary
from pipeline.init.table_look import TableLook


def look(path: str = "log.csv", **columns: list[Any]) -> TableLook:
    """A table with these columns."""
    table = pa.table(columns)
    profiles = {name: ColumnSummary.of(table[name]).profile(name) for name in table.column_names}
    return TableLook(path, profiles, table)


def log(**more: list[Any]) -> dict[str, list[Any]]:
    """Columns of a log: 20 users with 10 rows each, with 40 items."""
    drawn = random.Random(7)
    return {
        "user_id": [f"u{row // 10}" for row in range(200)],
        "item_id": [f"i{drawn.randrange(40)}" for _ in range(200)],
        **more,
    }
