from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingest_helpers import Ingested, run

from components.ingest.config import SampleSource
from components.ingest.sources.sample import GENRES, open_sample

DEFAULT = SampleSource(kind="sample")  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def world() -> list[dict[str, Any]]:
    """The interactions of the default sample, with their items' genres."""
    log = open_sample(DEFAULT, seed=7, batch_rows=1000)
    genres = {row["movie_id"]: row["movie_genres"] for row in log.candidates.to_pylist()}
    rows = [row for batch in log.interactions._batches for row in batch.to_pylist()]
    return [{**row, "genres": genres[row["movie_id"]]} for row in rows]


def test_the_same_seed_makes_the_same_sample(sample_tables: Path, tmp_path: Path) -> None:
    source = {"kind": "sample", "users": 120, "items": 80, "interactions": 3000}
    again = run(tmp_path, source, seed=7).files()
    for name, content in again.items():
        folder, _, rest = name.partition("/")
        assert folder == "rejects" or (sample_tables / rest).read_bytes() == content


def test_another_seed_makes_another_sample() -> None:
    first, second = (open_sample(DEFAULT, seed=seed, batch_rows=10**6) for seed in (1, 2))
    assert not first.candidates.equals(second.candidates)
    assert not first.interactions._batches[0].equals(second.interactions._batches[0])


def test_the_sample_has_approximately_the_configured_size(world: list[dict[str, Any]]) -> None:
    assert len(world) == pytest.approx(40_000, rel=0.1)
    assert len({row["user_id"] for row in world}) == 600
    assert len({row["movie_id"] for row in world}) <= 500
    pairs = {(row["user_id"], row["movie_id"]) for row in world}
    assert len(pairs) == len(world)
    assert {row["user_rating"] for row in world} == {1, 2, 3, 4, 5}


def test_users_rate_their_favourite_genre_above_the_others(world: list[dict[str, Any]]) -> None:
    # The favourite is found in one half of the ratings and measured in the other, so that a
    # favourite found in noise would not stand out.
    index = {genre: number for number, genre in enumerate(GENRES)}
    sums, counts = np.zeros((2, 601, len(GENRES))), np.zeros((2, 601, len(GENRES)))
    for row in world:
        half = int(row["movie_id"]) % 2
        for genre in row["genres"]:
            sums[half, int(row["user_id"]), index[genre]] += row["user_rating"]
            counts[half, int(row["user_id"]), index[genre]] += 1
    with np.errstate(invalid="ignore"):
        means = np.where(counts >= 3, sums / counts, np.nan)
    known = (~np.isnan(means)).sum(2).min(0) >= 3
    favourite = np.nanargmax(means[0, known], axis=1)
    rows = np.arange(len(favourite))
    of_favourite, all_genres = means[1, known][rows, favourite], np.nanmean(means[1, known], axis=1)
    measured = ~np.isnan(of_favourite)
    assert measured.sum() > 100
    assert np.mean(of_favourite[measured] - all_genres[measured]) > 0.3
    assert np.mean(of_favourite[measured] > all_genres[measured]) > 0.65


def test_interactions_follow_taste(world: list[dict[str, Any]]) -> None:
    assert np.mean([row["user_rating"] for row in world]) > 3.6  # 3.4 without choosing


def test_popularity_is_skewed(world: list[dict[str, Any]]) -> None:
    counts = sorted(Counter(row["movie_id"] for row in world).values(), reverse=True)
    assert sum(counts[:50]) > 0.2 * len(world)  # a tenth of the items; even would be 0.1
    assert counts[0] > 5 * counts[len(counts) // 2]


def test_titles_are_informative_about_the_genre() -> None:
    candidates = open_sample(DEFAULT, seed=7, batch_rows=1000).candidates.to_pylist()
    foxes = [row for row in candidates if " Fox (" in row["movie_title"]]
    assert len(foxes) > 3
    assert all("Animation" in row["movie_genres"] for row in foxes)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    source = {"kind": "sample", "users": 20, "items": 10, "interactions": 100}
    return run(tmp_path_factory.mktemp("tiny"), source)


def test_a_tiny_sample_is_usable(tiny: Ingested) -> None:
    assert tiny.statistics.users == 20
    assert len(tiny.candidates) == 10
    assert tiny.rejects == []
