"""MovieLens: the archive as GroupLens publishes it, or the data set as TFDS prepares it.

Both routes give the same rows. Names and numbers of genres and occupations,
and the columns' names, are those of `tensorflow_datasets.structured.movielens`
(4.9.10), which merges labels that differ between versions.
"""

import contextlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.config import MovieLensSource
from components.ingest.schemas import OCCUPATIONS, movielens_schema
from components.ingest.sources.log import FILE, ROW, InteractionLog, with_origin
from components.ingest.sources.text import ReadText, TextFormat, parse_file, split_blocks
from components.ingest.validation import parse_numbers
from components.shared.contracts.tables import TIMESTAMP
from components.shared.runtime.errors import InputError
from components.shared.storage.names import checked

# The genre flags of u.item, in the order of its columns.
_GENRES_100K = (
    "Unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_OCCUPATION_OF_TEXT_100K = {
    "administrator": "clerical/admin",
    "artist": "artist",
    "doctor": "doctor/health care",
    "educator": "academic/educator",
    "engineer": "technician/engineer",
    "entertainment": "entertainment",
    "executive": "executive/managerial",
    "healthcare": "doctor/health care",
    "homemaker": "homemaker",
    "lawyer": "lawyer",
    "librarian": "librarian",
    "marketing": "sales/marketing",
    "none": "other/not specified",
    "other": "other/not specified",
    "programmer": "programmer",
    "retired": "retired",
    "salesman": "sales/marketing",
    "scientist": "scientist",
    "student": "student",
    "technician": "technician/engineer",
    "writer": "writer",
}
# By the number that users.dat of the 1M version holds.
_OCCUPATION_TEXTS_1M = (
    "other/not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)
_STUDENTS_1M = {"K-12 student": "student", "college/grad student": "student"}
_AGE_BUCKETS = np.array([1, 18, 25, 35, 45, 50, 56])


@dataclass(frozen=True)
class _Layout:
    """The files of a version's archive and how to read them."""

    ratings: tuple[str, TextFormat]
    movies: tuple[str, TextFormat]
    users: tuple[str, TextFormat] | None
    parse_movies: Callable[[pa.Table], pa.Table]
    parse_users: Callable[[pa.Table], pa.Table] | None = None

    @property
    def files(self) -> list[str]:
        named = [self.ratings, self.movies, self.users]
        return [file[0] for file in named if file is not None]


def _movies(table: pa.Table, title: pa.ChunkedArray, genres: pa.Array) -> pa.Table:
    return pa.table(
        {
            "movie_id": table["movie_id"],
            "movie_title": title,
            "movie_genres": genres,
            FILE: table[FILE],
            ROW: table[ROW],
        }
    )


def _movies_100k(table: pa.Table) -> pa.Table:
    flags = np.column_stack([pc.equal(table[name], "1").to_numpy() for name in _GENRES_100K])
    rows, genres = np.nonzero(flags)
    offsets = np.searchsorted(rows, np.arange(len(flags) + 1))
    names = pa.array(_GENRES_100K).take(pa.array(genres))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names)
    return _movies(table, pc.utf8_trim_whitespace(table["movie_title"]), lists)


def _movies_with_genre_names(table: pa.Table) -> pa.Table:
    genres = pc.split_pattern(table["movie_genres"], "|").combine_chunks()
    names = pc.replace_substring(genres.flatten(), "Children's", "Children")
    lists = pa.ListArray.from_arrays(genres.offsets, names)
    return _movies(table, pc.utf8_trim_whitespace(table["movie_title"]), lists)


def _users(
    table: pa.Table, ages: dict[str, pa.Array], texts: pa.Array, labels: pa.Array
) -> pa.Table:
    return pa.table(
        {
            "user_id": table["user_id"],
            **ages,
            "user_gender": pc.cast(pc.index_in(table["gender"], pa.array(["F", "M"])), pa.int64()),
            "user_occupation_label": pc.cast(
                pc.index_in(labels, pa.array(OCCUPATIONS)), pa.int64()
            ),
            "user_occupation_text": texts,
            "user_zip_code": table["user_zip_code"],
            FILE: table[FILE],
            ROW: table[ROW],
        }
    )


def _users_100k(table: pa.Table) -> pa.Table:
    age = parse_numbers(table["age"], pa.float32())
    known = age.fill_null(0).to_numpy()
    bucket = _AGE_BUCKETS[np.maximum(np.searchsorted(_AGE_BUCKETS, known, side="right") - 1, 0)]
    texts = table["occupation"].combine_chunks()
    index = pc.index_in(texts, pa.array(list(_OCCUPATION_OF_TEXT_100K)))
    labels = pa.array(list(_OCCUPATION_OF_TEXT_100K.values())).take(index)
    buckets = pc.if_else(pc.is_valid(age), pa.array(bucket, pa.float32()), None)
    return _users(table, {"raw_user_age": age, "bucketized_user_age": buckets}, texts, labels)


def _users_1m(table: pa.Table) -> pa.Table:
    number = parse_numbers(table["occupation"], pa.int64())
    inside = pc.and_(pc.greater_equal(number, 0), pc.less(number, len(_OCCUPATION_TEXTS_1M)))
    number = pc.if_else(inside, number, None)
    texts = pa.array(_OCCUPATION_TEXTS_1M).take(number)
    labels = pa.array([_STUDENTS_1M.get(text, text) for text in _OCCUPATION_TEXTS_1M]).take(number)
    age = parse_numbers(table["age"], pa.float32())
    return _users(table, {"bucketized_user_age": age}, texts, labels)


_RATING_FIELDS = ("user_id", "movie_id", "user_rating", TIMESTAMP)
_USER_FIELDS_1M = ("user_id", "gender", "age", "occupation", "user_zip_code")


def _layout(version: str) -> _Layout:
    if version == "100k":
        return _Layout(
            ratings=("u.data", TextFormat(_RATING_FIELDS, "\t", encoding="latin-1")),
            movies=(
                "u.item",
                TextFormat(
                    ("movie_id", "movie_title", "release", "video_release", "url", *_GENRES_100K),
                    "|",
                    encoding="latin-1",
                ),
            ),
            users=(
                "u.user",
                TextFormat(
                    ("user_id", "age", "gender", "occupation", "user_zip_code"),
                    "|",
                    encoding="latin-1",
                ),
            ),
            parse_movies=_movies_100k,
            parse_users=_users_100k,
        )
    movie_fields = ("movie_id", "movie_title", "movie_genres")
    if version == "1m":
        return _Layout(
            ratings=("ratings.dat", TextFormat(_RATING_FIELDS, "::", encoding="latin-1")),
            movies=("movies.dat", TextFormat(movie_fields, "::", encoding="latin-1")),
            users=("users.dat", TextFormat(_USER_FIELDS_1M, "::", encoding="latin-1")),
            parse_movies=_movies_with_genre_names,
            parse_users=_users_1m,
        )
    return _Layout(
        ratings=("ratings.csv", TextFormat(_RATING_FIELDS, ",", quoted=True, header=True)),
        movies=("movies.csv", TextFormat(movie_fields, ",", quoted=True, header=True)),
        users=None,
        parse_movies=_movies_with_genre_names,
    )


def open_movielens(config: MovieLensSource, *, batch_rows: int, workdir: str) -> InteractionLog:
    """Opens MovieLens from an archive, a folder, or a TFDS data directory.

    Args:
        config: Version and place.
        batch_rows: Rows of an Arrow batch.
        workdir: Where an archive is unpacked.

    Raises:
        InputError: If nothing is at the place, or something else than that
            version of MovieLens is, or a file in it is named by a path that leads
            elsewhere.
    """
    path = Path(config.path).expanduser() if config.path else download(config)
    if not path.exists():
        raise InputError(
            f"source.path: {path} does not exist. Give the MovieLens archive, its folder, or a "
            "TFDS data directory; or leave source.path out to download it."
        )
    if path.is_dir() and (path / "movielens" / f"{config.version}-ratings").is_dir():
        return _open_prepared(config, path, batch_rows)
    folder = path if path.is_dir() else _unpack(path, config.version, Path(workdir))
    return _open_folder(config.version, _find_files(folder, config.version, path), batch_rows)


def download(config: MovieLensSource) -> Path:
    """Fetches the archive with TFDS's download manager, which checks its registered checksum.

    Args:
        config: The version, and where downloads are kept.

    Returns:
        The archive.

    Raises:
        InputError: If it cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    folder = Path(config.download_dir).expanduser()
    builder = tfds.builder(f"movielens/{config.version}-ratings")
    manager = tfds.download.DownloadManager(
        download_dir=folder,
        url_infos=builder.url_infos,
        register_checksums=False,
        force_checksums_validation=True,
        dataset_name="movielens",
    )
    url = builder.builder_config.download_url
    try:
        return Path(manager.download(url))
    except Exception as error:  # requests, urllib3 and TFDS raise many kinds
        raise InputError(
            f"{url} could not be downloaded ({type(error).__name__}: {error}). Fetch it yourself "
            "and name the file with source.path."
        ) from error


def _other_version(names: set[str], version: str) -> str:
    for other in ("100k", "1m", "25m"):
        if other != version and set(_layout(other).files) <= names:
            known = "20m, 25m or latest-small" if other == "25m" else other
            return f" It looks like version {known}: set source.version to that."
    return ""


def _unpack(archive: Path, version: str, workdir: Path) -> Path:
    wanted = _layout(version).files
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = {Path(name).name: name for name in zipped.namelist()}
            for name in members.keys() & wanted:
                checked(
                    members[name],
                    f"source.path: {archive}",
                    "This is not GroupLens's archive: download it again.",
                )
            missing = [name for name in wanted if name not in members]
            if missing:
                raise InputError(
                    f"source.path: {archive} is not MovieLens {version}: {', '.join(missing)} "
                    f"is not in it.{_other_version(set(members), version)}"
                )
            for name in wanted:
                with zipped.open(members[name]) as source, open(workdir / name, "wb") as target:
                    shutil.copyfileobj(source, target)
    except zipfile.BadZipFile as error:
        raise InputError(
            f"source.path: {archive} is no zip archive ({error}). Download it again, or give "
            "the unpacked folder."
        ) from error
    return workdir


def _find_files(folder: Path, version: str, given: Path) -> dict[str, Path]:
    wanted = _layout(version).files
    for place in (folder, folder / f"ml-{version}"):
        if all((place / name).is_file() for name in wanted):
            return {name: place / name for name in wanted}
    names = {path.name for path in folder.iterdir()}
    missing = [name for name in wanted if name not in names]
    raise InputError(
        f"source.path: {given} is neither a folder of MovieLens {version} ({', '.join(missing)} "
        f"is not in it) nor a TFDS data directory (movielens/{version}-ratings is not in it)."
        f"{_other_version(names, version)}"
    )


def _open_folder(version: str, files: dict[str, Path], batch_rows: int) -> InteractionLog:
    layout = _layout(version)
    ratings, ratings_format = layout.ratings
    movies, movies_format = layout.movies
    blocks = split_blocks(str(files[ratings]), ratings, header=ratings_format.header)
    if not blocks:
        raise InputError(
            f"source.path: {files[ratings]} is empty: there are no interactions to learn from. "
            "Fetch the archive again."
        )
    candidates, rejects = parse_file(str(files[movies]), movies, movies_format)
    users = None
    if layout.users and layout.parse_users:
        name, users_format = layout.users
        rows, bad_users = parse_file(str(files[name]), name, users_format)
        users = layout.parse_users(rows)
        rejects = pa.concat_tables([rejects, bad_users])
    return InteractionLog(
        schema=movielens_schema(version),
        interactions=ReadText(blocks, ratings_format, batch_rows),
        candidates=layout.parse_movies(candidates),
        users=users,
        rejects=rejects,
    )


# --- the data set as TFDS prepares it -----------------------------------------------------------


def _open_prepared(config: MovieLensSource, data_dir: Path, batch_rows: int) -> InteractionLog:
    schema = movielens_schema(config.version)
    movies = _prepared(data_dir, f"{config.version}-movies")
    ratings = _prepared(data_dir, f"{config.version}-ratings")
    batches = [
        batch
        for path in movies.files
        for batch in movies.read(path, [c.name for c in schema.candidate], batch_rows)
    ]
    if not batches:
        raise InputError(f"{data_dir}: movielens/{config.version}-movies has no rows.")
    columns = [c.name for c in (*schema.query, *schema.interaction)]
    return InteractionLog(
        schema=schema,
        interactions=_ReadPrepared(ratings, [*columns, "movie_id"], batch_rows),
        candidates=pa.Table.from_batches(batches),
    )


@dataclass(frozen=True)
class _Prepared:
    """A data set as TFDS wrote it: TFRecord files of `tf.train.Example`."""

    files: list[str]
    genre_names: list[str]

    def read(self, path: str, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Parses whole batches: `tfds.load` decodes one example at a time."""
        import tensorflow as tf

        kinds: dict[str, Any] = {
            "user_id": tf.string,
            "movie_id": tf.string,
            "movie_title": tf.string,
            "user_occupation_text": tf.string,
            "user_zip_code": tf.string,
            "user_rating": tf.float32,
            "raw_user_age": tf.float32,
            "bucketized_user_age": tf.float32,
        }
        features = {
            name: tf.io.RaggedFeature(tf.int64)
            if name == "movie_genres"
            else tf.io.FixedLenFeature((), kinds.get(name, tf.int64))
            for name in columns
        }
        row = 1
        for examples in tf.data.TFRecordDataset(path).batch(batch_rows):
            parsed = tf.io.parse_example(examples, features)
            arrays = {name: self._arrow(parsed[name]) for name in columns}
            table = with_origin(pa.table(arrays), Path(path).name, row)
            row += table.num_rows
            yield from table.combine_chunks().to_batches()

    def _arrow(self, tensor: Any) -> pa.Array:
        if hasattr(tensor, "row_splits"):
            labels = pa.array(tensor.values.numpy())
            names = pa.array(self.genre_names).take(labels)
            return pa.ListArray.from_arrays(pa.array(tensor.row_splits.numpy(), pa.int32()), names)
        array = tensor.numpy()
        if array.dtype == object:
            return pa.array(array, pa.binary()).cast(pa.string())
        return pa.array(array)


def _prepared(data_dir: Path, name: str) -> _Prepared:
    import tensorflow_datasets as tfds

    with contextlib.redirect_stderr(open(os.devnull, "w")):
        builder = tfds.builder(f"movielens/{name}", data_dir=data_dir)
    if not builder.info.splits:
        raise InputError(
            f"source.path: movielens/{name} is not prepared in {data_dir}. Prepare it with "
            f"tfds.builder('movielens/{name}', data_dir=…).download_and_prepare()."
        )
    # Their names are made from a template in dataset_info.json, whoever has written that.
    files = [str(path) for path in builder.info.splits["train"].filepaths]
    for path in files:
        checked(
            path.removeprefix(f"{builder.data_path}/"),
            f"source.path: {builder.data_path}/dataset_info.json",
            "Prepare the data set again.",
        )
    genres = builder.info.features["movie_genres"].feature.names
    return _Prepared(files, list(genres))


class _ReadPrepared(beam.PTransform):
    def __init__(self, dataset: _Prepared, columns: list[str], batch_rows: int):
        super().__init__()
        self._dataset = dataset
        self._columns = columns
        self._batch_rows = batch_rows

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        return {
            "main": begin
            | "Files" >> beam.Create(self._dataset.files)
            | "Spread" >> beam.Reshuffle()
            | "Parse" >> beam.FlatMap(self._dataset.read, self._columns, self._batch_rows),
            "rejects": begin | "No rejects" >> beam.Create([]),
        }
