"""The user's own files: which columns are read, and what they are."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import pyarrow as pa

from components.ingest.config import FileFormat, FilesSource
from components.ingest.sources.catalogue_files import id_text, items_of_log, read_catalogues
from components.ingest.sources.column_names import RATING
from components.ingest.sources.column_plan import Plan, Planner, Tables
from components.ingest.sources.file_search import find_files
from components.ingest.sources.layout import TableLayout, look_at_table
from components.ingest.sources.log import InteractionLog
from components.ingest.sources.reading import ReadFiles, parts_of, read_part
from components.ingest.sources.whole_tables import read_all
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import (
    REJECTS_SCHEMA,
    TIMESTAMP,
    TITLE,
)
from components.shared.runtime.errors import InputError, raise_all

logger = logging.getLogger(__name__)


def open_files(
    config: FilesSource, *, batch_rows: int, needs: TableNeeds | None = None
) -> InteractionLog:
    """Open the files.

    Args:
        config: The source.
        batch_rows: Number of rows of an Arrow batch.
        needs: The columns that are read besides those in `config.columns`; all by
            default.

    Returns:
        The log; its `problems` name all columns that are missing or unusable.

    Raises:
        InputError: If a file is missing or damaged, or two columns are one.
    """
    tables, plan = plan_files(config, needs)
    tables, problems = tables.without(plan.refused), [*plan.problems]
    if not _has_records(tables.log):
        problems.append(
            f"source.interactions: {config.interactions} has no rows: there are no interactions "
            "to learn from."
        )
    try:
        candidates, bad_items = _items(config, tables, plan, bool(problems))
        users, bad_users = _people(config, tables, plan)
    except InputError as error:
        raise_all([*problems, str(error)])
        raise
    constants = {}
    if config.columns.rating is None:
        constants[RATING] = pa.scalar(1.0, pa.float32())
    if config.columns.timestamp is None:
        constants[TIMESTAMP] = pa.scalar(0, pa.int64())
    return InteractionLog(
        schema=plan.schema,
        interactions=ReadFiles(tables.log, plan.log, constants, batch_rows),
        candidates=candidates,
        users=users,
        rejects=pa.concat_tables([bad_items, bad_users]),
        files=config,
        batches=partial(_batches, tables.log),
        problems=problems,
        refused=plan.refused_features,
    )


def plan_files(config: FilesSource, needs: TableNeeds | None) -> tuple[Tables, Plan]:
    """Look at the beginnings of the files, and decide which columns are read.

    Args:
        config: The source.
        needs: See `open_files`.

    Returns:
        The tables, and the plan; its `problems` name all columns that are missing or unusable.

    Raises:
        InputError: If a file is missing or damaged.
    """
    tables = _with_declared_keys(config, needs, _look_at_all(config))
    return tables, Planner(config, needs, tables).plan()


def _items(
    config: FilesSource, tables: Tables, plan: Plan, has_problems: bool
) -> tuple[pa.Table, pa.Table]:
    """Read the candidates; none if their id is unusable.

    With a problem, a log is not read for its items alone.
    """
    columns, rejects = config.columns, REJECTS_SCHEMA.empty_table()
    if _has(tables.catalogues[:1], columns.candidate_id):
        candidates, rejects = read_catalogues(
            list(zip(tables.catalogues, plan.catalogues, strict=True)), columns.candidate_id
        )
    elif not tables.catalogues and not has_problems:
        latest = config.item_values == "latest"
        candidates = items_of_log(
            tables.log, plan.items, columns.candidate_id, columns.timestamp, latest
        )
        logger.info(f"source.candidates is not set: the log has {candidates.num_rows:,} items")
    else:
        return pa.table({}), rejects
    if columns.title is None:
        candidates = candidates.append_column(TITLE, id_text(candidates, columns.candidate_id))
    return candidates, rejects


def _people(config: FilesSource, tables: Tables, plan: Plan) -> tuple[pa.Table | None, pa.Table]:
    """Read the table of users, if there is one and its id is usable."""
    if tables.users is None or not _has([tables.users], config.columns.query_id):
        return None, REJECTS_SCHEMA.empty_table()
    return read_all(tables.users, plan.users)


def _has(tables: list[TableLayout], column: str) -> bool:
    return any(column in table.columns for table in tables)


def _batches(table: TableLayout, columns: Sequence[str]) -> Iterator[pa.Table]:
    for part in parts_of(table.files):
        for records in read_part(part, dict.fromkeys(columns)):
            if records.rows.num_rows:
                yield records.rows


def _look_at_all(config: FilesSource) -> Tables:
    candidates = config.candidates
    paths = [candidates] if isinstance(candidates, str) else candidates or []
    keys = ["source.candidates"]
    if len(paths) > 1:
        keys = [f"source.candidates[{number}]" for number in range(len(paths))]
    problems: list[str] = []

    def look(path: str, key: str, how: FileFormat | None) -> TableLayout | None:
        try:
            return look_at_table(find_files(path, key), how, key)
        except InputError as error:
            problems.append(str(error))
            return None

    log = look(config.interactions, "source.interactions", config.formats.get("interactions"))
    catalogues = [
        look(path, key, config.formats.get("candidates"))
        for path, key in zip(paths, keys, strict=False)
    ]
    users = None
    if config.users is not None:
        users = look(config.users, "source.users", config.formats.get("users"))
    raise_all(problems)
    assert log is not None
    columns = config.columns
    return Tables(
        log,
        [
            table.with_alias(columns.candidate_id, columns.catalogue_id)
            for table in catalogues
            if table is not None
        ],
        users.with_alias(columns.query_id, columns.users_id) if users is not None else None,
    )


def _has_records(table: TableLayout) -> bool:
    return any(
        records.rows.num_rows or records.rejects.num_rows
        for part in parts_of(table.files)
        for records in read_part(part, {})
    )


def _with_declared_keys(config: FilesSource, needs: TableNeeds | None, tables: Tables) -> Tables:
    """Add the keys of JSON objects that are declared but not in the first lines."""
    if needs is None:
        return tables
    wanted = [name for name in (*needs.query, *needs.candidate) if name in config.dtypes]

    def extended(table: TableLayout) -> TableLayout:
        if table.files[0].format != "jsonl":
            return table
        more = {
            name: pa.list_(pa.string()) if config.dtypes[name].startswith("list<") else pa.string()
            for name in wanted
        }
        return TableLayout(
            table.key,
            [replace(layout, columns=more | layout.columns) for layout in table.files],
        )

    return Tables(
        extended(tables.log),
        [extended(table) for table in tables.catalogues],
        extended(tables.users) if tables.users else None,
    )
