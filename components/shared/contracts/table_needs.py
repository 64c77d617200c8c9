"""What the later steps need of the tables from ingest, so that ingest can check it first."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from components.shared.contracts.tables import DType


class ColumnNeed(BaseModel):
    """What a feature needs of its column.

    Args:
        dtypes: The column types that the feature accepts, in order of preference.
        missing: `keep`: a row without a value stays, and the column contains the value
            of `components.shared.contracts.missing`. `reject`: the row is rejected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtypes: list[DType]
    missing: Literal["keep", "reject"] = "keep"


class TableNeeds(BaseModel):
    """What the later steps need of the tables.

    Args:
        query: The columns that features of the query side take, by name.
        candidate: Those of the candidate side.
        candidates: The smallest number of candidates for which every cut-off k makes
            sense: one more than the largest k that is set in the config.
        cutoffs: The settings with that k, for messages.
        distinct_ratings: Whether ratings must differ, as the loss learns nothing from
            equal ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: dict[str, ColumnNeed] = {}
    candidate: dict[str, ColumnNeed] = {}
    candidates: int = 2
    cutoffs: list[str] = []
    distinct_ratings: bool = False
