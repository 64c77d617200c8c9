"""The settings of ingest."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

TimeColumn = Literal["hour_of_day", "day_of_week", "month_of_year"]


class SampleSource(BaseModel):
    """The built-in sample: generated from the seed, shaped like MovieLens, with planted taste.

    Args:
        kind: `sample`.
        users: Number of users.
        items: Number of items.
        interactions: Approximate number of ratings.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["sample"]
    users: int = Field(600, ge=1)
    items: int = Field(500, ge=1)
    interactions: int = Field(40_000, ge=1)


class MovieLensSource(BaseModel):
    """MovieLens, in any version that TFDS has.

    Args:
        kind: `movielens`.
        version: The version.
        path: The archive (.zip), its unpacked folder, or a TFDS data directory
            in which `movielens/<version>-ratings` is prepared: a local path,
            `s3://` or `gs://`. By default, the archive is downloaded, and verified
            with TFDS's registered checksum.
        download_dir: The folder for downloads.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["movielens"]
    version: Literal["100k", "1m", "20m", "25m", "latest-small"]
    path: str | None = None
    download_dir: str = "~/tensorflow_datasets/downloads/movielens"


class FileColumns(BaseModel):
    """The meaning of the columns in the user's files.

    Args:
        query_id: The user's id.
        candidate_id: The item's id, in both files.
        title: The item's name for people; its id by default.
        rating: How much the user liked the item; 1 by default.
        timestamp: Seconds since 1970; required by the splits by time.
    """

    model_config = ConfigDict(extra="forbid")

    query_id: str
    candidate_id: str
    title: str | None = None
    rating: str | None = None
    timestamp: str | None = None


class FilesSource(BaseModel):
    """The user's own log: Parquet, or CSV with a header line.

    Args:
        kind: `files`.
        interactions: Path or glob of the log: ids, rating, timestamp, and every
            column that describes the user. It may be on `s3://` or `gs://`.
        candidates: Path or glob of the catalogue, which may also be remote.
        columns: The meaning of the columns.
        dtypes: The types of CSV columns: `string`, `int64`, `float32`, or
            `list<string>` (values joined by `|`). The default is `string`. Parquet
            files contain the types of their columns.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["files"]
    interactions: str
    candidates: str
    columns: FileColumns
    dtypes: dict[str, Literal["string", "int64", "float32", "list<string>"]] = {}


SourceConfig = Annotated[SampleSource | MovieLensSource | FilesSource, Field(discriminator="kind")]
SOURCE: TypeAdapter[SampleSource | MovieLensSource | FilesSource] = TypeAdapter(SourceConfig)


class IngestConfig(BaseModel):
    """How the log is checked and split.

    Args:
        split: `random`: by a hash of user, item and seed, so that a row stays in
            its split when the log grows. `random_by_user`: by the same hash, but
            with exactly these fractions of each user's rows, rounded to whole
            rows and with at least one row for training; rows may change their
            split when the log grows. `temporal`: the latest rows are the test
            split. `leave_last_out`: each user's last interaction is in the test
            split and the one before it in the validation split; users with fewer
            than three interactions are in the training split only. The hash
            orders interactions of the same time.
        test_fraction: Share of the rows in the test split (not for
            `leave_last_out`).
        validation_fraction: Share of the remaining rows in the validation split.
        max_reject_share: Maximum share of rejected rows; the step fails above it.
        duplicates: `reject`: keep only the latest of several rows with the same
            user and item. `keep`: keep all.
        window_days: Length of the data window before `data_until`, in days; by
            default all earlier interactions are used.
        history_length: Maximum number of items in the query column `history`, the
            ids of the user's previous items; see `components.ingest.context`. No
            such column by default.
        time_columns: Query columns with the time of an interaction, in UTC:
            `hour_of_day` (0 to 23), `day_of_week` (0, Monday, to 6),
            `month_of_year` (1 to 12).
        shards: Number of files of each table; all rows of a user are in one shard.
        batch_rows: Number of rows of an Arrow batch.
        beam_options: Options for Apache Beam, e.g. `--runner=FlinkRunner`.
    """

    model_config = ConfigDict(extra="forbid")

    split: Literal["random", "random_by_user", "temporal", "leave_last_out"] = "random"
    test_fraction: float = Field(0.2, gt=0, lt=1)
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    max_reject_share: float = Field(0.01, ge=0, le=1)
    duplicates: Literal["reject", "keep"] = "reject"
    window_days: float | None = Field(None, gt=0)
    history_length: int | None = Field(None, ge=1)
    time_columns: list[TimeColumn] = []
    shards: int = Field(1, ge=1)
    batch_rows: int = Field(65_536, ge=1)
    beam_options: list[str] = []

    @field_validator("time_columns")
    @classmethod
    def _each_once(cls, names: list[TimeColumn]) -> list[TimeColumn]:
        twice = sorted(name for name in set(names) if names.count(name) > 1)
        if twice:
            raise ValueError(f"{twice[0]} is listed twice")
        return names
