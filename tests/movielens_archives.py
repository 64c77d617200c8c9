"""Invented MovieLens archives: small logs in the layout of each version's archive."""

import zipfile
from pathlib import Path

import numpy as np

USERS, MOVIES, RATINGS_PER_USER = 60, 150, 24
INTERACTIONS = USERS * RATINGS_PER_USER

_GENRES = ("Action", "Children's", "Comedy", "Drama", "Film-Noir", "Sci-Fi")
_AGES = (1, 18, 25, 35, 45, 50, 56)


def write_movielens(folder: Path, version: str) -> Path:
    """Writes an archive with `USERS` users, `MOVIES` movies and `INTERACTIONS` ratings.

    Ids have gaps, and a user's ratings come in bursts of the same second, as in the real data.

    Args:
        folder: Where the archive is written.
        version: `1m`, `20m`, `25m` or `latest-small`.
    """
    files = _files_1m() if version == "1m" else _files_csv(version)
    archive = folder / f"ml-{version}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, (lines, encoding, newline) in files.items():
            text = newline.join([*lines, ""])
            zipped.writestr(f"ml-{version}/{name}", text.encode(encoding))
    return archive


def _ratings(step: float) -> list[tuple[int, int, float, int]]:
    """Users like the movies of their own third of the catalogue."""
    random = np.random.default_rng(3)
    rows = []
    for user in range(1, USERS + 1):
        weights = np.where(np.arange(MOVIES) % 3 == user % 3, 8.0, 1.0)
        movies = random.choice(MOVIES, RATINGS_PER_USER, replace=False, p=weights / weights.sum())
        first = 970_000_000 + int(random.integers(0, 60_000_000))
        for place, movie in enumerate(movies):
            stars = 4 if movie % 3 == user % 3 else 2
            rating = stars + step * int(random.integers(0, 1 / step + 1))
            rows.append((user, 1 + 3 * int(movie), rating, first + 60 * (place // 3)))
    return rows


_File = tuple[list[str], str, str]


def _files_1m() -> dict[str, _File]:
    ratings = [f"{user}::{movie}::{int(stars)}::{time}" for user, movie, stars, time in _ratings(1)]
    movies = [
        f"{1 + 3 * movie}::Fée d'hiver {movie}, L' ({1950 + movie % 50})::{_genres(movie)}"
        for movie in range(MOVIES)
    ]
    users = [
        f"{user}::{'MF'[user % 2]}::{_AGES[user % 7]}::{user % 21}::{10_000 + user % 9:05d}"
        + ("-2117" if user % 20 == 0 else "")
        for user in range(1, USERS + 1)
    ]
    return {
        "README": (["Invented."], "latin-1", "\n"),
        "movies.dat": (movies, "latin-1", "\n"),
        "ratings.dat": (ratings, "latin-1", "\n"),
        "users.dat": (users, "latin-1", "\n"),
    }


def _files_csv(version: str) -> dict[str, _File]:
    newline = "\n" if version == "25m" else "\r\n"
    half_stars = _ratings(0.5)
    ratings = [f"{user},{movie},{stars:.1f},{time}" for user, movie, stars, time in half_stars]
    movies = []
    for movie in range(MOVIES):
        title = f'"Fée ""{movie}"", La ({1950 + movie % 70})"' if movie % 4 else f"Plain {movie}"
        genres = _genres(movie).replace("Children's", "Children")
        movies.append(f"{1 + 3 * movie},{title},{genres if movie % 50 else '(no genres listed)'}")
    links = [f"{1 + 3 * movie},{1000 + movie:07d},{movie}" for movie in range(MOVIES)]
    return {
        "README.txt": (["Invented."], "utf-8", newline),
        "links.csv": (["movieId,imdbId,tmdbId", *links], "utf-8", newline),
        "movies.csv": (["movieId,title,genres", *movies], "utf-8", newline),
        "ratings.csv": (["userId,movieId,rating,timestamp", *ratings], "utf-8", newline),
        "tags.csv": (["userId,movieId,tag,timestamp", '2,1,"odd, ""quoted""",9'], "utf-8", newline),
    }


def _genres(movie: int) -> str:
    return "|".join(sorted({_GENRES[movie % 3], _GENRES[3 + movie % 2], _GENRES[movie % 6]}))
