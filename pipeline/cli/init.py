"""The command `deep-retrieval init`."""

import re
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.output import Json, print_json, print_table, progress_on_stderr

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
    from pipeline.init.looking import look_at_data

    with progress_on_stderr(as_json):
        tables = look_at_data(data)
    if show:
        if as_json:
            print_json(
                {
                    table.path: [column.model_dump() for column in table.columns.values()]
                    for table in tables
                }
            )
            return 0
        for table in tables:
            print(f"{table.path}: {table.rows:,} rows; {'; '.join(table.notes)}")
            rows = [row for name in table.columns for row in [_profile_row(table, name)]]
            width = max(len(row[0]) for row in rows) if rows else 0
            lines = (
                f"  {name:<{width}}  {kind:<7} {seen}  {top}".rstrip()
                for name, kind, seen, top in rows
            )
            print_table(("column", "kind", "values", "most frequent"), rows, lines)
        return 0
    from pipeline.init.config_text import config_text
    from pipeline.init.features import suggest_features
    from pipeline.init.roles import find_roles

    roles = find_roles(tables)
    query, candidate = suggest_features(roles)
    path = Path(to or f"{_name(roles.log.path)}.yaml")
    if path.exists() and not force:
        raise InputError(
            f"{path} exists. Choose another file with --to, or replace it with --force."
        )
    text = config_text(_name(path.stem), roles, query, candidate, str(path))
    _check(text)
    path.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"config": str(path), "rows": roles.log.rows, "doubts": roles.doubts})
        return 0
    for table in tables:
        print(f"{table.path}: {table.rows:,} rows; {'; '.join(table.notes)}")
    print(f"user {roles.query_id}, item {roles.candidate_id}, rating {roles.rating or 'none'}, "
          f"time {roles.timestamp or 'none'}")  # fmt: skip
    print(f"{len(query.features)} features of users, {len(candidate.features)} of items")
    for role, doubt in roles.doubts.items():
        print(f"check source.columns.{role}: {doubt}", file=sys.stderr)
    print(f"wrote {path}; now: deep-retrieval run --config {path}")
    return 0


def _check(text: str) -> None:
    """Load the config, so that what is written can run."""
    import yaml

    from pipeline.config.pipeline import PipelineConfig

    PipelineConfig.model_validate(yaml.safe_load(text))


def _name(path: str) -> str:
    """Return a name for a config: that of the file, in the letters that names may have."""
    stem = Path(path.rstrip("/*")).name.split(".")[0] or "my-data"
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "my-data"


def _profile_row(table, name: str) -> tuple[str, str, str, str]:  # type: ignore[no-untyped-def]
    from pipeline.init.features import describe

    column = table.columns[name]
    top = ", ".join(f"{entry.value} ({entry.rows:,})" for entry in column.top[:3])
    return name, column.kind, describe(table, name), top
