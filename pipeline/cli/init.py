"""The command `deep-retrieval init`."""

import logging
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.output import Json, print_json, print_table, progress_on_stderr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.init.table_look import TableLook

init_app = App(
    name="init",
    help_epilogue="""\
Examples:
  deep-retrieval init log.csv items.csv
  deep-retrieval init reviews.jsonl.gz --to my-shop.yaml
  deep-retrieval init s3://bucket/events/ --show""",
)


@init_app.default
def init(
    data: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="the log, and the tables of items and users if there are any: files, folders, "
            "globs, s3:// or gs://; Parquet, CSV and its dialects, JSON Lines, compressed or not",
        ),
    ],
    /,
    *,
    to: Annotated[str, Parameter(help="the config to write; by default, named after the log")] = "",
    show: Annotated[
        bool, Parameter(help="print a profile of every column, and write nothing")
    ] = False,
    force: Annotated[bool, Parameter(help="replace an existing config")] = False,
    as_json: Json = False,
) -> int:
    """Look at your data, and write a config that runs on it."""
    # Importing apache_beam 2.77 warns about packages for BigQuery, which nothing here uses.
    logging.getLogger().addHandler(logging.NullHandler())
    from components.shared.runtime.progress import progress_lines
    from pipeline.init.looking import look_at_data

    # Remote files are copied here.
    with tempfile.TemporaryDirectory(prefix="init-") as work:
        with progress_on_stderr(as_json), progress_lines("init"):
            tables = look_at_data(data, Path(work))
        if show:
            _show(tables, as_json)
            return 0
        from pipeline.init.config_text import config_text
        from pipeline.init.features import suggest_features
        from pipeline.init.finding import find_roles
        from pipeline.init.own_check import check

        roles = find_roles(tables)
        query, candidate = suggest_features(roles)
        path = Path(to or f"{_name(roles.log.path)}.yaml")
        if path.exists() and not force:
            raise InputError(
                f"{path} exists. Choose another file with --to, or replace it with --force."
            )
        text = config_text(_name(path.stem), roles, query, candidate, str(path))
        check(text, {table.path: table.local for table in tables})
    path.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"config": str(path), "rows": roles.log.rows, "doubts": roles.doubts,
                    "absent": roles.absent, "unused": roles.unused})  # fmt: skip
        return 0
    for table in tables:
        print(_heading(table))
    print(f"user {roles.query_id}, item {roles.candidate_id}, rating {roles.rating or 'none'}, "
          f"time {roles.timestamp or 'none'}")  # fmt: skip
    print(f"features: {len(query.features)} of users, {len(candidate.features)} of items")
    for role, doubt in roles.doubts.items():
        print(f"check source.columns.{role}: {doubt}", file=sys.stderr)
    for role, reason in roles.absent.items():
        print(f"there is no source.columns.{role}: {reason}", file=sys.stderr)
    for unused, reason in roles.unused.items():
        print(f"{unused} is left out: {reason}", file=sys.stderr)
    print(f"wrote {path}; now: deep-retrieval run --config {path}")
    return 0


def _name(path: str) -> str:
    """Return a name for a config: that of the file, in the letters that names may have."""
    stem = Path(path.rstrip("/*")).name.split(".")[0] or "my-data"
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "my-data"


def _heading(table: "TableLook") -> str:
    bad = f"; {table.bad_records:,} records cannot be read" if table.bad_records else ""
    return f"{table.path}: {table.rows:,} rows; {'; '.join(table.notes)}{bad}"


def _show(tables: "Sequence[TableLook]", as_json: bool) -> None:
    """Print the profile of every column."""
    from pipeline.init.features import describe

    if as_json:
        columns = {table.path: table.columns.values() for table in tables}
        print_json({path: [one.model_dump() for one in of] for path, of in columns.items()})
        return
    for table in tables:
        rows = []
        for name, column in table.columns.items():
            top = ", ".join(f"{entry.value} ({entry.rows:,})" for entry in column.top[:3])
            rows.append((name, column.kind, describe(table, name), top))
        width = max(map(len, table.columns), default=0)
        seen_width = max((len(row[2]) for row in rows), default=0)
        lines = (
            f"  {name:<{width}}  {kind:<6}  {seen:<{seen_width}}  {top}".rstrip()
            for name, kind, seen, top in rows
        )
        print(_heading(table))
        print_table(("column", "kind", "values", "most frequent"), rows, lines)
