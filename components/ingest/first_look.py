"""What the first look at the data shows, before the log is read: all problems in one message."""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.catalogue import Catalogue, check_catalogue, list_separator
from components.ingest.config import IngestConfig
from components.ingest.context import with_context
from components.ingest.pipeline import Plan
from components.ingest.row_look import rows_show
from components.ingest.settings import candidate_problems, setting_problems
from components.ingest.sources import InteractionLog
from components.ingest.times import (
    SECONDS,
    UNIT_NAMES,
    Times,
    find_unit,
    iso,
    parse_times,
    plain_numbers,
)
from components.ingest.validation import Rules
from components.ingest.vectors import with_widths
from components.ingest.window import DataWindow
from components.shared.contracts.derived_columns import DERIVED
from components.shared.contracts.table_needs import ColumnNeed, TableNeeds
from components.shared.contracts.tables import Column, Schema
from components.shared.runtime.errors import InputError, raise_all

logger = logging.getLogger(__name__)

_FIRST_ROWS = 1000


def look(
    log: InteractionLog,
    settings: IngestConfig,
    window: DataWindow,
    seed: int,
    needs: TableNeeds | None,
) -> tuple[Plan, Catalogue]:
    """Check what can be checked before the log is read, and plan how to read it.

    Args:
        log: The log.
        settings: How it is checked and split.
        window: Which interactions are used.
        seed: The seed of the random splits.
        needs: What the later steps need of the tables; None for all columns.

    Raises:
        InputError: If anything cannot work; the message names everything that cannot.
    """
    problems = [*log.problems]
    if settings.ties == "file_order" and log.shuffled:
        logger.warning(
            "ingest.ties: TFDS has shuffled the prepared data set, so file_order is not that of "
            "published results. For theirs, set source.path to the archive."
        )
    if log.files is not None:
        problems += setting_problems(log.files, settings, not window.is_open, needs)
    schema, no_vectors = with_widths(log, needed_columns(log.schema, needs))
    problems += no_vectors
    derived = schema
    try:
        derived = with_context(schema, settings)
    except InputError as error:
        problems.append(str(error))
    if needs is not None:
        problems += _unfit_columns(needs, log, derived)
    times = SECONDS
    try:
        times = _times(log)
    except InputError as error:
        problems.append(str(error))
    catalogue = None
    try:
        if log.candidates.num_rows or not log.problems:
            catalogue = check_catalogue(log, schema, needs)
    except InputError as error:
        problems.append(str(error))
    if catalogue is not None and needs is not None:
        problems += candidate_problems(catalogue.candidates.num_rows, needs)
    if problems or catalogue is None:
        raise_all([*problems, *rows_show(log, schema, settings, needs)])
    assert catalogue is not None
    query_needs = needs.query if needs else None
    rules = Rules.of(query_needs, list_separator(log, "interactions"), times)
    has_sequences = log.files is not None and log.files.has_sequences
    return Plan(settings, derived, rules, window, seed, has_sequences), catalogue


def needed_columns(schema: Schema, needs: TableNeeds | None) -> Schema:
    """Return the columns that have a role or that a feature takes.

    Args:
        schema: All columns of a source.
        needs: The columns that features take; None for all columns.
    """
    if needs is None:
        return schema

    def kept(columns: list[Column], of_side: dict[str, ColumnNeed]) -> list[Column]:
        return [column for column in columns if column.role != "feature" or column.name in of_side]

    return schema.model_copy(
        update={
            "query": kept(schema.query, needs.query),
            "candidate": kept(schema.candidate, needs.candidate),
        }
    )


def _unfit_columns(needs: TableNeeds, log: InteractionLog, derived: Schema) -> list[str]:
    """Return why features cannot have their columns, unless the source says it."""
    problems = []
    source = log.schema
    for side, of_side, columns in (
        ("query", needs.query, [*source.query, *(c for c in derived.query if c.derived)]),
        ("candidate", needs.candidate, source.candidate),
    ):
        by_name = {column.name: column for column in columns}
        for name, need in of_side.items():
            if f"features.{side}.{name}" in log.refused:
                continue
            if name not in by_name:
                setting = DERIVED.get(name) if side == "query" else None
                problems.append(
                    f"features.{side}.{name}: there is no such column. "
                    + (f"Set {setting}, and ingest makes it. " if setting else "")
                    + f"The {side} columns of this source are {', '.join(by_name)}."
                )
            elif by_name[name].dtype not in need.dtypes:
                problems.append(_unfit(f"features.{side}.{name}", by_name[name], need))
    return problems


def _unfit(key: str, column: Column, need: ColumnNeed) -> str:
    problem = (
        f"{key}: its type needs a column of {' or '.join(need.dtypes)}, but {column.name} is "
        f"{column.dtype}."
    )
    if column.dtype == "string" and "list<string>" in need.dtypes:
        return (
            f"{problem} If it is text that joins several values, set source.dtypes."
            f"{column.name} to list<string>, and list_separator in source.formats to what "
            "separates them (| by default)."
        )
    return f"{problem} Choose another type for the feature, or convert the column."


def _times(log: InteractionLog) -> Times:
    """Find out how the log's times are read.

    Raises:
        InputError: If they are not times, or their unit is to be found and most of the
            first ones are not plausible in any unit.
    """
    if log.files is None or log.files.columns.timestamp is None:
        return SECONDS
    name, unit = log.files.columns.timestamp, log.files.columns.timestamp_unit
    if unit != "auto":
        return Times(unit)
    rows = None if log.batches is None else next(iter(log.batches([name])), None)
    if rows is None:
        return Times.plausible("s")
    first = rows[name].slice(0, _FIRST_ROWS)
    numbers = len(plain_numbers(first)) > 0
    found = find_unit(first)
    times = Times.plausible(found or "s")
    seconds = pc.drop_null(parse_times(first, name, times.unit).values)
    if len(seconds):
        _check_plausible(seconds, name, times, numbers)
    if numbers:
        logger.info(f"{name}: numbers are {UNIT_NAMES[times.unit]} since 1970")
    return times


def _check_plausible(seconds: pa.Array, name: str, times: Times, numbers: bool) -> None:
    values = seconds.to_numpy()
    plausible = (values >= times.earliest) & (values <= times.latest)
    if plausible.mean() >= 0.5:
        return
    first, last = iso(float(np.min(values))), iso(float(np.max(values)))
    where = f"source.columns.timestamp: the first {len(values):,} times of {name!r}"
    if numbers:
        raise InputError(
            f"{where} are numbers that are no plausible times in any unit: as seconds since 1970, "
            f"they are from {first} to {last}. Times are expected from 1990 to tomorrow. If they "
            "are right, set source.columns.timestamp_unit to s, ms, us or ns, and every time is "
            "accepted; if they are not times, remove source.columns.timestamp or name another "
            "column."
        )
    raise InputError(
        f"{where} are from {first} to {last}, which is not plausible: times are expected from "
        "1990 to tomorrow. Correct the column; or, if they are right, set "
        "source.columns.timestamp_unit, e.g. to s, and every time is accepted."
    )
