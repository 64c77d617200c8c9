"""The catalogue of candidates and the table of users, checked before the log is read."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import FileFormat, TableName
from components.ingest.parsing import parse
from components.ingest.rejects import examples
from components.ingest.sources import InteractionLog
from components.ingest.validation import Rules, check_rows, first_of_each
from components.shared.contracts.table_needs import TableNeeds
from components.shared.contracts.tables import Schema
from components.shared.runtime.errors import InputError


@dataclass(frozen=True)
class Catalogue:
    """The candidates, and the users if a source describes them separately.

    Args:
        candidates: The candidates table. A row's position is its candidate index.
        candidate_ids: `(candidates,)`, the column of their ids.
        users: The query columns by query id; None if interactions contain them.
        rejects: The rejected rows of both, with `REJECTS_SCHEMA`.
        rejected_ids: The ids of items that are in the source, but not in the candidates.
    """

    candidates: pa.Table
    candidate_ids: pa.Array
    users: pa.Table | None
    rejects: pa.Table
    rejected_ids: pa.Array


def check_catalogue(
    log: InteractionLog, schema: Schema, needs: TableNeeds | None = None
) -> Catalogue:
    """Check the candidates and users of a source, and number the candidates.

    Args:
        log: The source.
        schema: The columns of the tables, without those that are derived.
        needs: What the later steps need of them.

    Raises:
        InputError: If no candidate, or no user, is usable.
    """
    candidate_id = schema.role("candidate_id").name
    rows, bad = check_rows(log.candidates, schema.candidate, _rules(log, needs, "candidates"))
    candidates, repeated = first_of_each(rows, candidate_id, "item")
    rejects = [log.rejects, bad, repeated]
    if not candidates.num_rows:
        raise InputError(
            "The catalogue has no usable item: there is nothing to recommend. Each item needs an "
            f"id.{_files(log, 'candidates')}{examples(pa.concat_tables(rejects))}"
        )
    candidates = _numbered(candidates, candidate_id, schema)
    users = log.users
    if users is not None:
        users, bad_users = check_rows(users, schema.query, _rules(log, needs, "users"))
        users, repeated_users = first_of_each(users, schema.role("query_id").name, "user")
        rejects += [bad_users, repeated_users]
        if not users.num_rows:
            raise InputError(
                "No user of the source is usable. Each user needs an id."
                f"{_files(log, 'users')}{examples(pa.concat_tables(rejects))}"
            )
    ids = candidates[candidate_id].combine_chunks()
    return Catalogue(
        candidates=candidates,
        candidate_ids=ids,
        users=users,
        rejects=pa.concat_tables(rejects),
        rejected_ids=_rejected_ids(log, schema, ids),
    )


def _files(log: InteractionLog, table: Literal["candidates", "users"]) -> str:
    """Return a sentence that names the files of a table; empty for built-in sources."""
    if log.files is None:
        return ""
    key = table if getattr(log.files, table) else "interactions"  # without a catalogue
    paths = getattr(log.files, key)
    return f" Check source.{key}: {paths if isinstance(paths, str) else ', '.join(paths)}."


def _rules(
    log: InteractionLog, needs: TableNeeds | None, table: Literal["candidates", "users"]
) -> Rules:
    side = None if needs is None else needs.candidate if table == "candidates" else needs.query
    return Rules.of(side, list_separator(log, table))


def list_separator(log: InteractionLog, table: TableName) -> str:
    """Return what separates the values of a list in a table's text."""
    formats = log.files.formats if log.files else {}
    return formats.get(table, FileFormat()).list_separator


def _rejected_ids(log: InteractionLog, schema: Schema, ids: pa.Array) -> pa.Array:
    column = schema.role("candidate_id")
    found = pc.drop_null(parse(log.candidates[column.name], column, "").values)
    return found.filter(pc.invert(pc.is_in(found, ids)))


def _numbered(candidates: pa.Table, candidate_id: str, schema: Schema) -> pa.Table:
    """Order candidates by id, shorter ids first: "2" before "10".

    The order is the candidate index, so it must not depend on the order in a file.
    """
    ids = candidates[candidate_id]
    if pa.types.is_string(ids.type):
        keys = pa.table({"length": pc.binary_length(ids), "id": ids})
        order = pc.sort_indices(keys, [("length", "ascending"), ("id", "ascending")])
    else:
        order = pc.sort_indices(ids)
    return candidates.take(order).select(schema.candidates_arrow.names).combine_chunks()
