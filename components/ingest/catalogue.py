"""The catalogue of candidates and the table of users, checked before the log is read."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.rejects import examples
from components.ingest.sources import InteractionLog
from components.ingest.validation import check_rows, first_of_each
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
    """

    candidates: pa.Table
    candidate_ids: pa.Array
    users: pa.Table | None
    rejects: pa.Table


def check_catalogue(log: InteractionLog) -> Catalogue:
    """Check the candidates and users of a source, and number the candidates.

    Raises:
        InputError: If no candidate, or no user, is usable.
    """
    schema = log.schema
    candidate_id = schema.role("candidate_id").name
    rows, bad = check_rows(log.candidates, schema.candidate)
    candidates, repeated = first_of_each(rows, candidate_id, "item")
    rejects = [log.rejects, bad, repeated]
    if not candidates.num_rows:
        raise InputError(
            "The catalogue has no usable item: there is nothing to recommend. Each item needs an "
            "id, a title and a value in every column." + examples(pa.concat_tables(rejects))
        )
    candidates = _numbered(candidates, candidate_id, schema)
    users = log.users
    if users is not None:
        users, bad_users = check_rows(users, schema.query)
        users, repeated_users = first_of_each(users, schema.role("query_id").name, "user")
        rejects += [bad_users, repeated_users]
        if not users.num_rows:
            raise InputError(
                "No user of the source is usable. Each user needs an id and a value in every "
                "column." + examples(pa.concat_tables(rejects))
            )
    return Catalogue(
        candidates, candidates[candidate_id].combine_chunks(), users, pa.concat_tables(rejects)
    )


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
