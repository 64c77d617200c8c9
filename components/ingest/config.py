"""The settings of ingest."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from components.shared.contracts.tables import DType

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


TimestampUnit = Literal["auto", "s", "ms", "us", "ns"]

# The column of an item's place among its user's, with `format: sequences`.
POSITION = "position"


class FileColumns(BaseModel):
    """The meaning of the columns in the user's files.

    Args:
        query_id: The user's id, in the log and in `users`.
        candidate_id: The item's id, in the log and in the catalogue.
        catalogue_id: The item's id in the catalogue, if it has another name there.
        users_id: The user's id in `users`, if it has another name there.
        title: The item's name for people, in the catalogue, or in the log if there is
            no catalogue; the item's id by default.
        rating: How much the user liked the item, or how often or how long it was used
            (see `feedback`); 1 by default.
        timestamp: The time of the interaction; required by the splits by time.
            Numbers, ISO 8601 text (UTC unless it names a zone), dates and timestamps
            are times.
        timestamp_unit: The unit of numbers: `s`, `ms`, `us` or `ns` since 1970. `auto`
            finds it, and refuses times before 1990 or more than a day in the future;
            with a unit, every time is accepted.
        event: The kind of the interaction, e.g. `view`; see `feedback.weights`.
    """

    model_config = ConfigDict(extra="forbid")

    query_id: str
    candidate_id: str
    catalogue_id: str | None = None
    users_id: str | None = None
    title: str | None = None
    rating: str | None = None
    timestamp: str | None = None
    timestamp_unit: TimestampUnit = "auto"
    event: str | None = None


NULL_VALUES = ("NULL", "\\N")


class FileFormat(BaseModel):
    """How the files of a table are written. What is not set is found by looking at them.

    Args:
        format: `parquet`; `csv`, text with a delimiter; `jsonl`, a JSON object on each
            line; or `sequences`, for the log: a user on each line, and then the user's
            items in the order of time, with spaces between them. It is not found by
            looking.
        delimiter: What separates the fields of a line; one or more characters.
        encoding: The encoding of text, by its name in Python, e.g. `latin-1`.
        header: Whether the first line contains the names of the columns.
        names: The names of the columns, in order, if the files have no header; with `header:
            true`, they replace those in the file. With `sequences`, they are `user_id` and
            `item_id` by default.
        comment: Lines that begin with this text are skipped.
        list_separator: What separates the values of a list in text.
        null_values: Texts that stand for a missing value in delimited text, besides an
            empty field. The defaults are what databases write.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["parquet", "csv", "jsonl", "sequences"] | None = None
    delimiter: str | None = Field(None, min_length=1)
    encoding: str | None = None
    header: bool | None = None
    names: list[str] | None = Field(None, min_length=1)
    comment: str | None = Field(None, min_length=1)
    list_separator: str = Field("|", min_length=1)
    null_values: list[str] = list(NULL_VALUES)


class Feedback(BaseModel):
    """How implicit feedback becomes ratings.

    Args:
        weights: A rating for each kind of event in `columns.event`. Other events are
            dropped and counted. If there is a rating column as well, it is multiplied.
        scale: `log` replaces the rating column, a count or a duration, by
            log(1 + value); see Hu, Koren & Volinsky, "Collaborative Filtering for
            Implicit Feedback Datasets", 2008, section 4. Negative values are rejected.
    """

    model_config = ConfigDict(extra="forbid")

    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    scale: Literal["linear", "log"] = "linear"


TableName = Literal["interactions", "candidates", "users"]


class FilesSource(BaseModel):
    """The user's own log: Parquet, delimited text or JSON Lines, also compressed.

    Args:
        kind: `files`.
        interactions: The log: a file, a folder or a glob, also on `s3://` or `gs://`.
            A column that is neither in `columns` nor named by a feature is not read.
        candidates: The catalogue, likewise. Of several catalogues, the first lists the
            items, and columns of the others are joined by the item's id. Without a
            catalogue, the items are those of the log.
        users: A table of the users, likewise. Without it, the log's columns describe
            the user.
        columns: The meaning of the columns.
        dtypes: Types of columns: `string`, `int64`, `float32`, `list<string>`, or
            `list<float32>` for vectors. By default, those of the files, or in text those
            that the features take.
        formats: How the files of `interactions`, `candidates` and `users` are written;
            by default, this is found by looking at them.
        item_values: Without a catalogue, which row of the log gives an item's title and
            features: the `latest` or the `first`.
        feedback: How implicit feedback becomes ratings.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["files"]
    interactions: str
    candidates: str | list[str] | None = None
    users: str | None = None
    columns: FileColumns
    dtypes: dict[str, DType] = {}
    formats: dict[TableName, FileFormat] = {}
    item_values: Literal["latest", "first"] = "latest"
    feedback: Feedback = Feedback()

    @model_validator(mode="after")
    def _weights_have_a_column(self) -> "FilesSource":
        if self.feedback.weights and self.columns.event is None:
            raise ValueError("feedback.weights needs columns.event, the kind of the interaction")
        return self

    @property
    def has_sequences(self) -> bool:
        """Whether the log has the order of each user's items, and no times."""
        return self.formats.get("interactions", FileFormat()).format == "sequences"

    @model_validator(mode="after")
    def _sequences_have_positions_for_times(self) -> "FilesSource":
        for table in ("candidates", "users"):
            if table in self.formats and self.formats[table].format == "sequences":
                raise ValueError(f"formats.{table}.format: sequences is a form of interactions")
        if not self.has_sequences:
            return self
        columns = self.columns
        given = [name for name in ("rating", "event") if getattr(columns, name) is not None]
        if columns.timestamp not in (None, POSITION):
            given.append("timestamp")
        if given:
            raise ValueError(
                f"columns.{given[0]}: formats.interactions.format is sequences, whose lines have "
                "a user and items only. Remove the setting"
            )
        positions = {"timestamp": POSITION, "timestamp_unit": "s"}
        self.columns = columns.model_copy(update=positions)
        return self


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
            than three interactions are in the training split only.
        test_fraction: Share of the rows in the test split (not for
            `leave_last_out`).
        validation_fraction: Share of the remaining rows in the validation split.
        max_reject_share: Maximum share of rejected rows; the step fails above it.
        unknown_items: What happens to interactions with items that the catalogue does
            not have. `reject`: they are rejected, and limited by
            `max_unknown_item_share`. `drop`: they are counted and left out.
        max_unknown_item_share: Maximum share of rows that are rejected because of an
            unknown item; the step fails above it.
        duplicates: `reject`: keep only the latest of several rows with the same
            user and item. `history`: likewise, but the earlier ones are in histories and
            are not rejects. `keep`: keep all.
        ties: How a user's interactions with the same timestamp are ordered, for
            `leave_last_out` and for histories. `hash`: for the split by the hash of user,
            item and seed; none of them is in the history of another. `file_order`: as
            in the source, by the name of the file and then the row, as published
            results do; a history has what is before its row. `temporal` divides at a
            time in either case.
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
    unknown_items: Literal["reject", "drop"] = "reject"
    max_unknown_item_share: float = Field(0.01, ge=0, le=1)
    duplicates: Literal["reject", "history", "keep"] = "reject"
    ties: Literal["hash", "file_order"] = "hash"
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
