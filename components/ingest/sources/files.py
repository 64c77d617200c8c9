"""The user's own files: which columns are read, and what they are."""

import logging
from dataclasses import replace

import pyarrow as pa

from components.ingest.config import FileFormat, FilesSource
from components.ingest.sources.catalogue_files import id_text, items_of_log, read_catalogues
from components.ingest.sources.column_plan import RATING, Planner, Tables, raise_all
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
from components.shared.runtime.errors import InputError

logger = logging.getLogger(__name__)

_FIRST_ROWS = 1000


def open_files(
    config: FilesSource, *, batch_rows: int, needs: TableNeeds | None = None
) -> InteractionLog:
    """Open the files.

    Args:
        config: The source.
        batch_rows: Number of rows of an Arrow batch.
        needs: The columns that are read besides those in `config.columns`; all by
            default.

    Raises:
        InputError: If there is no file or no row, or a column is missing or unusable;
            the message names all that is.
    """
    tables = _with_declared_keys(config, needs, _look_at_all(config))
    plan = Planner(config, needs, tables).plan()
    if not _has_records(tables.log):
        raise InputError(
            f"source.interactions: {config.interactions} has no rows: there are no interactions "
            "to learn from."
        )
    columns = config.columns
    users, rejects = None, [REJECTS_SCHEMA.empty_table()]
    if tables.catalogues:
        candidates, bad = read_catalogues(
            list(zip(tables.catalogues, plan.catalogues, strict=True)), columns.candidate_id
        )
        rejects.append(bad)
    else:
        latest = config.item_values == "latest"
        candidates = items_of_log(
            tables.log, plan.items, columns.candidate_id, columns.timestamp, latest
        )
        logger.info(f"source.candidates is not set: the log has {candidates.num_rows:,} items")
    if columns.title is None:
        candidates = candidates.append_column(TITLE, id_text(candidates, columns.candidate_id))
    if tables.users is not None:
        users, bad = read_all(tables.users, plan.users)
        rejects.append(bad)
    constants = {}
    if columns.rating is None:
        constants[RATING] = pa.scalar(1.0, pa.float32())
    if columns.timestamp is None:
        constants[TIMESTAMP] = pa.scalar(0, pa.int64())
    return InteractionLog(
        schema=plan.schema,
        interactions=ReadFiles(tables.log, plan.log, constants, batch_rows),
        candidates=candidates,
        users=users,
        rejects=pa.concat_tables(rejects),
        files=config,
        first_rows=_first_times(tables.log, columns.timestamp),
    )


def _first_times(table: TableLayout, timestamp: str | None) -> pa.Table | None:
    """Return the times of the log's first rows, so that their unit can be found."""
    if timestamp is None:
        return None
    for part in parts_of(table.files):
        for records in read_part(part, {timestamp: None}, _FIRST_ROWS):
            if records.rows.num_rows:
                return records.rows.slice(0, _FIRST_ROWS)
    return None


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
            name: pa.list_(pa.string()) if config.dtypes[name] == "list<string>" else pa.string()
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
