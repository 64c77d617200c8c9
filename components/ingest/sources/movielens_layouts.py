"""The files of each MovieLens version, and how to read them.

Names and numbers of genres and occupations are those of
`tensorflow_datasets.structured.movielens` (4.9.10), which merges labels that
differ between versions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.parsing import parse_numbers
from components.ingest.schemas import OCCUPATIONS
from components.ingest.sources.log import FILE, ROW
from components.shared.contracts.tables import TIMESTAMP

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
# Indexed by the number in users.dat of version 1m.
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
class TextFormat:
    """How a file is written.

    Args:
        columns: The names of its columns, by position.
        delimiter: The separator of fields, of one or more characters.
        quoted: Whether fields may be quoted with `"`.
        header: Whether the first line contains other names of the columns.
        encoding: The encoding; found by looking at the file by default.
    """

    columns: tuple[str, ...]
    delimiter: str
    quoted: bool = False
    header: bool = False
    encoding: str | None = None


@dataclass(frozen=True)
class Archive:
    """The files of a version's archive, and how to read them.

    Args:
        ratings: The name and format of the log.
        movies: The name and format of the catalogue.
        users: The name and format of the users' file; None if there is none.
        parse_movies: Converts the catalogue to the candidates' columns.
        parse_users: Converts the users' file to the query columns.
    """

    ratings: tuple[str, TextFormat]
    movies: tuple[str, TextFormat]
    users: tuple[str, TextFormat] | None
    parse_movies: Callable[[pa.Table], pa.Table]
    parse_users: Callable[[pa.Table], pa.Table] | None = None

    @property
    def files(self) -> list[str]:
        """The names of all files."""
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


def archive_of(version: str) -> Archive:
    """Return the layout of a version's archive."""
    if version == "100k":
        return Archive(
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
        return Archive(
            ratings=("ratings.dat", TextFormat(_RATING_FIELDS, "::", encoding="latin-1")),
            movies=("movies.dat", TextFormat(movie_fields, "::", encoding="latin-1")),
            users=("users.dat", TextFormat(_USER_FIELDS_1M, "::", encoding="latin-1")),
            parse_movies=_movies_with_genre_names,
            parse_users=_users_1m,
        )
    return Archive(
        ratings=("ratings.csv", TextFormat(_RATING_FIELDS, ",", quoted=True, header=True)),
        movies=("movies.csv", TextFormat(movie_fields, ",", quoted=True, header=True)),
        users=None,
        parse_movies=_movies_with_genre_names,
    )
