"""What the tests of ingest share: tiny sources, and ingest's output as Python values."""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.job import ingest
from components.shared.contracts.statistics import Statistics
from components.shared.contracts.step_record import StepRecords
from components.shared.contracts.tables import SPLITS, read_table, table_files

Row = dict[str, Any]
Source = dict[str, Any]

COLUMNS = {
    "query_id": "user",
    "candidate_id": "item",
    "title": "name",
    "rating": "rating",
    "timestamp": "ts",
    "timestamp_unit": "s",  # times that a log may not have by default
}
LOG = ("user", "item", "rating", "ts")
CATALOGUE = ("item", "name")


@dataclass(frozen=True)
class Ingested:
    """What ingest wrote."""

    tables: Path
    rejects_folder: Path
    summary: dict[str, Any]

    def split(self, name: str) -> list[Row]:
        """The rows of a split."""
        return read_table(self.tables / "interactions" / name).to_pylist()

    @property
    def interactions(self) -> list[Row]:
        """The rows of all splits."""
        return [row for name in SPLITS for row in self.split(name)]

    @property
    def candidates(self) -> list[Row]:
        """The candidates, in order."""
        return read_table(self.tables / "candidates").to_pylist()

    @property
    def rejects(self) -> list[Row]:
        """The rejected rows."""
        return read_table(self.rejects_folder).to_pylist()

    @property
    def statistics(self) -> Statistics:
        """The statistics of the tables."""
        return Statistics.read(self.tables)

    def assignment(self, user: str = "user", item: str = "item") -> dict[tuple[Any, Any], str]:
        """The split of each pair of user and item."""
        ids = [candidate[item] for candidate in self.candidates]
        return {
            (row[user], ids[row["candidate_index"]]): name
            for name in SPLITS
            for row in self.split(name)
        }

    def files(self) -> dict[str, bytes]:
        """Every file's content, except the record of the arguments, by its path in the output."""
        return {
            str(path.relative_to(self.tables.parent)): path.read_bytes()
            for folder in (self.tables, self.rejects_folder)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != StepRecords.FILE
        }


def run(
    folder: Path,
    source: Source,
    *,
    seed: int = 1,
    needs: dict[str, Any] | None = None,
    **config: Any,
) -> Ingested:
    """Runs ingest into `folder`/tables and `folder`/rejects."""
    tables, rejects = folder / "tables", folder / "rejects"
    summary = ingest(
        source=source,
        config=config,
        needs=needs,
        seed=seed,
        tables=str(tables),
        rejects=str(rejects),
    )
    return Ingested(tables, rejects, summary)


def left_over(folder: Path) -> list[str]:
    """What a run that failed left beside its sources."""
    names = {"tables", "rejects", "tables.partial", "rejects.partial"}
    return sorted(path.name for path in folder.iterdir() if path.name in names)


def shard_files(ingested: Ingested, split: str) -> list[Path]:
    """The files of a split."""
    return [Path(file) for file in table_files(ingested.tables / "interactions" / split)]


# --- the user's files -----------------------------------------------------------------------------


def log_rows(users: int = 10, items: int = 11) -> list[tuple[Any, ...]]:
    """One rating of every item by every user, each at its own time."""
    return [
        (f"u{user}", item, (user + item) % 5 + 1, 1000 + 100 * item + user)
        for user in range(1, users + 1)
        for item in range(1, items + 1)
    ]


def catalogue_rows(items: int = 11) -> list[tuple[Any, ...]]:
    """The catalogue that goes with `log_rows`."""
    return [(item, f"name {item}") for item in range(1, items + 1)]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any] | str]) -> Path:
    """Writes lines; a row that is a string is a line as it stands."""
    lines = [row if isinstance(row, str) else ",".join(map(str, row)) for row in rows]
    path.write_text("\n".join([",".join(header), *lines]) + "\n", encoding="utf-8")
    return path


def csv_source(
    folder: Path,
    log: Iterable[Sequence[Any] | str] | None = None,
    catalogue: Iterable[Sequence[Any] | str] | None = None,
    **settings: Any,
) -> Source:
    """Writes a log and a catalogue as CSV; by default `log_rows` and `catalogue_rows`."""
    log_file = write_csv(folder / "log.csv", LOG, log_rows() if log is None else log)
    catalogue_file = write_csv(
        folder / "catalogue.csv", CATALOGUE, catalogue_rows() if catalogue is None else catalogue
    )
    return files_source(log_file, catalogue_file, **settings)


def files_source(interactions: Path, candidates: Path, **settings: Any) -> Source:
    """A source of kind `files`."""
    return {
        "kind": "files",
        "interactions": str(interactions),
        "candidates": str(candidates),
        "columns": COLUMNS,
        **settings,
    }


def log_table() -> pa.Table:
    """`log_rows` as a table."""
    return pa.table(dict(zip(LOG, map(list, zip(*log_rows(), strict=True)), strict=True)))


def catalogue_table() -> pa.Table:
    """`catalogue_rows` as a table."""
    columns = map(list, zip(*catalogue_rows(), strict=True))
    return pa.table(dict(zip(CATALOGUE, columns, strict=True)))


def parquet_source(
    folder: Path, log: pa.Table | None = None, catalogue: pa.Table | None = None, **settings: Any
) -> Source:
    """Writes a log and a catalogue as Parquet, ten rows a group."""
    log = log_table() if log is None else log
    catalogue = catalogue_table() if catalogue is None else catalogue
    pq.write_table(log, folder / "log.parquet", row_group_size=10)
    pq.write_table(catalogue, folder / "catalogue.parquet")
    return files_source(folder / "log.parquet", folder / "catalogue.parquet", **settings)


# --- MovieLens ------------------------------------------------------------------------------------

GENRES_100K = [
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
]
RATINGS = [
    (user, movie, (user + movie) % 5 + 1, 880_000_000 + 1000 * movie + user)
    for user in range(1, 13)
    for movie in range(1, 13)
]


def movielens_100k() -> dict[str, bytes]:
    """The files of an invented MovieLens in the layout of the 100k version."""
    items = []
    for movie in range(1, 13):
        genres = {GENRES_100K[movie], "Drama"}
        flags = "|".join(str(int(genre in genres)) for genre in GENRES_100K)
        title = "Café Légende (1991)" if movie == 2 else f"Invented, The {movie} (1990)"
        items.append(f"{movie}|{title} |01-Jan-1990||http://example.org/{movie}|{flags}")
    occupations = ["engineer", "none", "healthcare", "writer"]
    users = [
        f"{user}|{15 + 4 * user}|{'MF'[user % 2]}|{occupations[user % 4]}|0{user:04d}"
        for user in range(1, 13)
    ]
    ratings = ["\t".join(map(str, row)) for row in RATINGS]
    return _encoded({"u.data": ratings, "u.item": items, "u.user": users}, "latin-1")


def movielens_1m() -> dict[str, bytes]:
    """The same in the layout of the 1m version."""
    movies = [
        f"{movie}::Fée d'hiver: {movie} (1990)::Animation|Children's" for movie in range(1, 13)
    ]
    users = [f"{user}::{'MF'[user % 2]}::25::{user + 6}::0{user:04d}" for user in range(1, 13)]
    ratings = ["::".join(map(str, row)) for row in RATINGS]
    return _encoded({"ratings.dat": ratings, "movies.dat": movies, "users.dat": users}, "latin-1")


def movielens_csv() -> dict[str, bytes]:
    """The same in the layout of the 20m, 25m and latest-small versions."""
    movies = [
        f'{movie},"Fée, La ""vraie"" {movie} (1990)",Children|Film-Noir' for movie in range(1, 12)
    ]
    movies.append("12,Plain (1990),(no genres listed)")
    ratings = [",".join(map(str, (*row[:2], row[2] - 0.5, row[3]))) for row in RATINGS]
    return _encoded(
        {
            "ratings.csv": ["userId,movieId,rating,timestamp", *ratings],
            "movies.csv": ["movieId,title,genres", *movies],
        },
        "utf-8",
    )


def _encoded(files: dict[str, list[str]], encoding: str) -> dict[str, bytes]:
    return {name: ("\n".join(lines) + "\n").encode(encoding) for name, lines in files.items()}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files into a new folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_archive(
    path: Path, files: dict[str, bytes], inside: str, method: int = zipfile.ZIP_STORED
) -> Path:
    """Writes files into a zip archive, in a folder as GroupLens does."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(f"{inside}/{name}", content)
    return path
