"""The tables that steps pass on to each other, and the files beside them.

`ingest` writes **tables**:

    interactions/{train,validation,test}/part-*.parquet, each with all rows of its users
        <query columns>   as in the source, e.g. user_id: string; then those that ingest
                          derives from the log, e.g. history: list<string>
        candidate_index   int32, the row of the item in `candidates`
        <rating column>   float32
        timestamp         int64, seconds since 1970 UTC
        row_order         int64, from 0, the place of the row among all of its user's; only with
                          `ingest.ties: file_order`
    candidates/part-*.parquet
        <candidate columns>, ordered by id; the row number is the candidate index
    schema.json           `Schema`: every column, its type and its role
    statistics.json       counts by split, rejects by reason
    split.json            `components.shared.contracts.split.Split`: how the log was split

and **rejects**: `part-*.parquet` with `REJECTS_SCHEMA`.

`adapt` writes **encoded** tables (`components.shared.contracts.feature_spec` describes them):

    interactions/{train,validation,test}/part-*.parquet
        query_id          the user's id, in its own type
        candidate_index   int32
        <query features>  int32 or float32, scalar or fixed-size list; no profile, which
                          `components.shared.retrieval.profiles` makes of other rows
        label             float32, the rescaled rating
        timestamp         int64
    candidates/part-*.parquet
        candidate_id      the item's id, in its own type
        title             string, the item's name for people
        <candidate features>
    vocabularies/<feature>.parquet   token, count; most frequent first
    query_feature_space.keras, candidate_feature_space.keras
    feature_spec.json, split.json

`encode_for_published` writes, for the comparison with the published model:

    part-*.parquet              the test split, encoded for that model's query tower
    published_test.json         `components.shared.contracts.published_test.PublishedTest`

`train` writes a **model**:

    query_tower.keras, candidate_tower.keras, history.json, training.json

`export` writes an **export**:

    candidates/part-*.parquet   candidate_id, title, embedding
    users/part-*.parquet        query_id, latest raw features except those derived from the
                                time of an interaction, seen (ids of items)
    query_tower.keras           the SavedModel's tower, for Keras on any backend
    saved_model/                takes raw query features, returns ids, titles and scores
    export.json                 `components.shared.contracts.export.ExportInfo`

Every folder has `step_records.json`: the steps that it depends on (`contracts.step_record`).
"""

import os
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from components.shared.contracts.json_file import JsonFile
from components.shared.contracts.split import Part
from components.shared.runtime.errors import InputError
from components.shared.runtime.files import beside

SPLITS: tuple[Part, ...] = ("train", "validation", "test")


CANDIDATE_INDEX = "candidate_index"


TIMESTAMP = "timestamp"


ROW_ORDER = "row_order"


QUERY_ID = "query_id"


CANDIDATE_ID = "candidate_id"


TITLE = "title"


LABEL = "label"


EMBEDDING = "embedding"


REJECTS_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string()),
        pa.field("row", pa.int64()),  # 1 is the first line or record of the file
        pa.field("reason", pa.string()),
        pa.field("record", pa.string()),  # the row as JSON, or the line, unchanged
    ]
)


VECTOR: Literal["list<float32>"] = "list<float32>"


DType = Literal["string", "int64", "float32", "list<string>", "list<float32>"]


IdDType = Literal["string", "int64"]


Role = Literal["query_id", "candidate_id", "title", "rating", "timestamp", "order", "feature"]


_ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "list<string>": pa.list_(pa.string()),
    "list<float32>": pa.list_(pa.float32()),
}


def value_type(dtype: DType) -> Literal["string", "int64", "float32"]:
    """Return the type of the values of a column: for lists, that of their elements.

    Example:
    ```python
    assert value_type("list<string>") == "string"
    ```
    """
    if dtype == "list<string>":
        return "string"
    return "float32" if dtype == "list<float32>" else dtype


class Column(BaseModel):
    """A column of the raw tables.

    Args:
        name: The column's name.
        dtype: Its type.
        role: Its meaning; a column without a special meaning is a feature.
        labels: Names for the values of an integer category, for reports.
        derived: Whether ingest derived it from the log; its name is a key of
            `DERIVED`.
        width: Maximum length of a list, if ingest limits it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: DType
    role: Role = "feature"
    labels: dict[str, str] | None = None
    # Omitted at their defaults, so that the file is the same as before these fields existed.
    derived: bool = Field(False, exclude_if=lambda derived: not derived)
    width: int | None = Field(None, exclude_if=lambda width: width is None)

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's Arrow type."""
        return _ARROW_TYPES[self.dtype]


class Schema(JsonFile):
    """The columns of the raw tables.

    Args:
        query: Columns of an interaction that describe the user, including the id.
        interaction: The rating, the timestamp, and the order of a user's rows if it is
            more than that of their times.
        candidate: Columns of a candidate, including its id and title.
    """

    FILE: ClassVar[str] = "schema.json"

    query: list[Column]
    interaction: list[Column]
    candidate: list[Column]

    @property
    def id_dtypes(self) -> tuple[IdDType, IdDType]:
        """The dtypes of the user's id and of the candidate's id."""
        query, candidate = self.role("query_id"), self.role("candidate_id")
        for column in (query, candidate):
            if column.dtype not in ("string", "int64"):
                raise InputError(
                    f"{column.name}: an id must be a string or an integer, not {column.dtype}. "
                    "Convert the column, or set its type in source.dtypes."
                )
        return query.dtype, candidate.dtype  # type: ignore[return-value]

    def role(self, role: Role) -> Column:
        """Return the column that has a role.

        Raises:
            KeyError: If no column has it.
        """
        for column in [*self.query, *self.interaction, *self.candidate]:
            if column.role == role:
                return column
        raise KeyError(role)

    @property
    def order(self) -> list[str]:
        """The interaction columns that order a user's rows; the first one decides."""
        own = [column.name for column in self.interaction if column.role == "order"]
        return own or [self.role("timestamp").name, CANDIDATE_INDEX]

    @property
    def interactions_arrow(self) -> pa.Schema:
        """The Arrow schema of an interactions table."""
        fields = [pa.field(c.name, c.arrow_type) for c in self.query]
        fields.append(pa.field(CANDIDATE_INDEX, pa.int32()))
        fields += [pa.field(c.name, c.arrow_type) for c in self.interaction]
        return pa.schema(fields)

    @property
    def candidates_arrow(self) -> pa.Schema:
        """The Arrow schema of the candidates table."""
        return pa.schema([pa.field(c.name, c.arrow_type) for c in self.candidate])


def part_name(shard: int, shards: int) -> str:
    """Return the name of a table's file: `part-00000-of-00001.parquet`."""
    return f"part-{shard:05d}-of-{shards:05d}.parquet"


def table_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the files of a table, in order; none if the table has no rows."""
    return sorted(str(path) for path in Path(folder).glob("part-*.parquet"))


def read_table(folder: str | os.PathLike[str], columns: list[str] | None = None) -> pa.Table:
    """Read a whole table, its files in order.

    Args:
        folder: The table's folder.
        columns: The columns to read; all by default.

    Raises:
        InputError: If the folder contains no table.
    """
    files = table_files(folder)
    if not files:
        raise InputError(
            f"{folder} contains no table: it has no part-*.parquet. Run the step that writes it."
        )
    return pa.concat_tables([pq.read_table(file, columns=columns) for file in files])


def write_table(
    table: pa.Table, folder: str | os.PathLike[str], shard: int = 0, shards: int = 1
) -> None:
    """Write a table, or one shard of it, as a file of a folder; create the folder if necessary.

    The file appears once it is complete, so that a retried or duplicated worker
    leaves a whole one.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / part_name(shard, shards)
    with beside(path, unique=True) as aside:
        try:
            pq.write_table(table, aside)
        except OSError as error:
            if error.errno and not error.filename:  # Arrow does not name the file
                error.filename = str(path)
            raise
        aside.replace(path)
