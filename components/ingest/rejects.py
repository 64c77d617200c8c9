"""Rejected rows: each with its file, row number, reason and record."""

import json

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.sources.log import FILE, ROW
from components.shared.contracts.tables import REJECTS_SCHEMA


def rejects_of(rows: pa.Table, reasons: pa.Array) -> pa.Table:
    """Return rejected rows as a table of `REJECTS_SCHEMA`.

    Args:
        rows: The rows, with `_file` and `_row`.
        reasons: `(rows,)` strings.
    """
    records = rows.drop_columns([FILE, ROW]).to_pylist()
    return pa.table(
        {
            "file": pc.cast(rows[FILE], pa.string()),
            "row": rows[ROW],
            "reason": reasons,
            # Decimals, which JSON does not have, become text.
            "record": [json.dumps(record, ensure_ascii=False, default=str) for record in records],
        },
        schema=REJECTS_SCHEMA,
    )


def examples(rejects: pa.Table, at_most: int = 5) -> str:
    """Show some rejects as indented lines: one of each reason first, then others.

    Args:
        rejects: A table of `REJECTS_SCHEMA`.
        at_most: Number of lines.

    Returns:
        The lines under a heading; empty if there are no rejects.
    """
    if not rejects.num_rows:
        return ""
    reasons = rejects["reason"].to_pylist()
    first = [reasons.index(reason) for reason in dict.fromkeys(reasons)]
    others = [row for row in range(len(reasons)) if row not in first]
    lines = [
        f"  {row['file']}, row {row['row']}: {row['reason']}: {row['record']}"
        for row in rejects.take(pa.array((first + others[:at_most])[:at_most])).to_pylist()
    ]
    return "\nExamples:\n" + "\n".join(lines)
