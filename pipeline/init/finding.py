"""What the tables and their columns mean: the story of how it is found."""

from collections.abc import Sequence

from pipeline.init.interaction_columns import find_interaction_columns, find_title
from pipeline.init.log_table import find_log
from pipeline.init.other_tables import assign_tables
from pipeline.init.renaming import rename_columns
from pipeline.init.roles import Roles
from pipeline.init.table_look import TableLook


def find_roles(tables: Sequence[TableLook]) -> Roles:
    """Find the log, the tables of items and users, and the meaning of columns.

    Args:
        tables: At least one table.

    Raises:
        InputError: If no table has columns that could be users and items, or one of
            them has a name that no feature can have.
    """
    log, ids = find_log(tables)
    roles = Roles(log, ids.query_id, ids.candidate_id, doubts=dict(ids.doubts))
    find_interaction_columns(roles)
    assign_tables(roles, tables)
    find_title(roles)
    rename_columns(roles)
    return roles
