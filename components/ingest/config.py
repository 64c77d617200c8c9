"""The settings of ingest."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

TimeColumn = Literal["hour_of_day", "day_of_week", "month_of_year"]


class SampleSource(BaseModel):
    """The built-in sample: made from the seed, shaped like MovieLens, with planted taste.

    Args:
        kind: `sample`.
        users: How many users.
        items: How many items.
        interactions: About how many ratings.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["sample"]
    users: int = Field(600, ge=1)
    items: int = Field(500, ge=1)
    interactions: int = Field(40_000, ge=1)


class MovieLensSource(BaseModel):
    """MovieLens, in any version that TFDS knows.

    Args:
        kind: `movielens`.
        version: Which one.
        path: The archive (.zip), its unpacked folder, or a TFDS data directory
            in which `movielens/<version>-ratings` is prepared; of this machine,
            or s3:// or gs://. Where it is none, the archive is downloaded with
            TFDS's registered checksum.
        download_dir: Where downloads are kept.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["movielens"]
    version: Literal["100k", "1m", "20m", "25m", "latest-small"]
    path: str | None = None
    download_dir: str = "~/tensorflow_datasets/downloads/movielens"


class FileColumns(BaseModel):
    """Which columns of the user's files mean what.

    Args:
        query_id: The user.
        candidate_id: The item, in both files.
        title: What a person calls an item; the id where there is none.
        rating: How much the user liked it; 1 where the log has no ratings.
        timestamp: Seconds since 1970; needed by the splits that go by time.
    """

    model_config = ConfigDict(extra="forbid")

    query_id: str
    candidate_id: str
    title: str | None = None
    rating: str | None = None
    timestamp: str | None = None


class FilesSource(BaseModel):
    """The user's own log: Parquet or CSV with a header line.

    Args:
        kind: `files`.
        interactions: Path or glob of the log: ids, rating, timestamp, and every
            column that describes the user. It may be on s3:// or gs://.
        candidates: Path or glob of the catalogue, likewise.
        columns: Which columns mean what.
        dtypes: Types of columns, for CSV, which has none: `string`, `int64`,
            `float32`, or `list<string>` (values joined by `|`). Columns that
            are not named are strings; of Parquet, types are read from the file.
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
        split: `random`: by a hash of user, item and seed, so a row keeps its
            part when the log grows. `random_by_user`: by the same hash, but of
            each user's rows exactly the fractions, rounded to whole rows, so
            that rows may change their part when the log grows; at least one
            row is left to train on. `temporal`: the latest rows are
            the test part. `leave_last_out`: each user's last interaction is,
            and the one before it is the validation part; users with fewer than
            three have none in either. Of interactions of the same time, the
            hash says which is later.
        test_fraction: Share of the rows in the test part (not for
            `leave_last_out`).
        validation_fraction: Share of the remaining rows in the validation part.
        max_reject_share: The run stops when more than this share is rejected.
        duplicates: `reject`: of several rows with the same user and item only
            the latest stays. `keep`: all stay.
        window_days: Only interactions of so many days before `data_until` are
            taken; all before it by default.
        history_length: Gives each interaction a query column `history`: the
            ids of the last so many items of its user before it; see
            `components.ingest.context`. None by default.
        time_columns: Query columns that tell when an interaction was, in UTC:
            `hour_of_day` (0 to 23), `day_of_week` (0, Monday, to 6),
            `month_of_year` (1 to 12).
        shards: Files of each table; a user's rows are all in one shard.
        batch_rows: Rows of an Arrow batch.
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
            raise ValueError(f"{twice[0]} is there twice")
        return names
