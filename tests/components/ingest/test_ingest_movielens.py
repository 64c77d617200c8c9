import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ingest_helpers import (
    GENRES_100K,
    RATINGS,
    Ingested,
    movielens_1m,
    movielens_100k,
    movielens_csv,
    run,
    write_archive,
    write_folder,
)

from components.ingest.config import MovieLensSource
from components.ingest.schemas import GENDERS, OCCUPATIONS, movielens_schema
from components.shared.contracts.tables import SPLITS, Schema, read_table
from components.shared.runtime.errors import InputError

RunStep = Callable[..., Any]
FILES = {
    "100k": movielens_100k,
    "1m": movielens_1m,
    "20m": movielens_csv,
    "25m": movielens_csv,
    "latest-small": movielens_csv,
}


def source(version: str, path: Path) -> dict[str, str]:
    return {"kind": "movielens", "version": version, "path": str(path)}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ingested]:
    """The invented MovieLens in each layout, from an archive."""
    ingested = {}
    for version in ("100k", "1m", "25m"):
        folder = tmp_path_factory.mktemp(version)
        inside = f"ml-{version}"
        archive = write_archive(folder / f"{inside}.zip", FILES[version](), inside)
        ingested[version] = run(folder, source(version, archive))
    return ingested


def users(ingested: Ingested) -> dict[str, dict[str, Any]]:
    return {row["user_id"]: row for row in ingested.interactions}


@pytest.mark.parametrize("version", ["100k", "1m", "25m"])
def test_every_rating_of_an_archive_is_read(opened: dict[str, Ingested], version: str) -> None:
    lower = 0.5 if version == "25m" else 0
    found = {
        (int(row["user_id"]), row["candidate_index"] + 1, row["user_rating"], row["timestamp"])
        for row in opened[version].interactions
    }
    assert found == {(user, movie, stars - lower, time) for user, movie, stars, time in RATINGS}
    assert opened[version].rejects == []


@pytest.mark.parametrize("version", ["100k", "1m", "25m"])
def test_the_tables_have_the_columns_of_the_version(
    opened: dict[str, Ingested], version: str
) -> None:
    schema = movielens_schema(version)
    tables = opened[version].tables
    assert Schema.read(tables) == schema
    for split in SPLITS:
        assert read_table(tables / "interactions" / split).schema.equals(schema.interactions_arrow)
    has_age = "raw_user_age" in schema.interactions_arrow.names
    assert has_age == (version == "100k")
    assert ("user_gender" in schema.interactions_arrow.names) == (version != "25m")


def test_the_100k_layout_is_latin_1_with_genre_flags(opened: dict[str, Ingested]) -> None:
    candidates = opened["100k"].candidates
    assert candidates[1] == {
        "movie_id": "2",
        "movie_title": "Café Légende (1991)",
        "movie_genres": ["Adventure", "Drama"],
    }
    for movie, row in enumerate(candidates, start=1):
        expected = {GENRES_100K[movie], "Drama"}
        assert row["movie_genres"] == [genre for genre in GENRES_100K if genre in expected]


def test_the_100k_layout_describes_its_users(opened: dict[str, Ingested]) -> None:
    found = users(opened["100k"])
    described = {
        user: (
            row["raw_user_age"],
            row["bucketized_user_age"],
            GENDERS[row["user_gender"]],
            OCCUPATIONS[row["user_occupation_label"]],
            row["user_occupation_text"],
            row["user_zip_code"],
        )
        for user, row in found.items()
    }
    assert described["1"] == (19, 18, "female", "other/not specified", "none", "00001")
    assert described["2"] == (23, 18, "male", "doctor/health care", "healthcare", "00002")
    assert described["4"] == (31, 25, "male", "technician/engineer", "engineer", "00004")
    assert described["5"] == (35, 35, "female", "other/not specified", "none", "00005")
    assert described["12"] == (63, 56, "male", "technician/engineer", "engineer", "00012")


def test_ages_fall_into_the_buckets_of_the_1m_version(tmp_path: Path) -> None:
    ages = [7, 17, 18, 24, 25, 34, 44, 45, 49, 50, 55, 56]
    files = movielens_100k()
    lines = [f"{user}|{age}|F|none|0" for user, age in enumerate(ages, start=1)]
    files["u.user"] = ("\n".join(lines) + "\n").encode()
    found = users(run(tmp_path, source("100k", write_folder(tmp_path / "ml", files))))
    buckets = [found[str(user)]["bucketized_user_age"] for user in range(1, 13)]
    assert buckets == [1, 1, 18, 18, 25, 25, 35, 45, 45, 50, 50, 56]


def test_the_1m_layout_is_latin_1_between_double_colons(opened: dict[str, Ingested]) -> None:
    assert opened["1m"].candidates[2] == {
        "movie_id": "3",
        "movie_title": "Fée d'hiver: 3 (1990)",
        "movie_genres": ["Animation", "Children"],  # "Children's" in the file
    }


def test_the_1m_layout_describes_its_users(opened: dict[str, Ingested]) -> None:
    found = users(opened["1m"])
    described = {
        user: (
            row["bucketized_user_age"],
            GENDERS[row["user_gender"]],
            OCCUPATIONS[row["user_occupation_label"]],
            row["user_occupation_text"],
        )
        for user, row in found.items()
    }
    assert described["1"] == (25, "female", "executive/managerial", "executive/managerial")
    assert described["4"] == (25, "male", "student", "K-12 student")
    assert described["12"] == (25, "male", "tradesman/craftsman", "tradesman/craftsman")


def test_the_csv_layout_has_quoted_titles(opened: dict[str, Ingested]) -> None:
    candidates = opened["25m"].candidates
    assert candidates[0] == {
        "movie_id": "1",
        "movie_title": 'Fée, La "vraie" 1 (1990)',
        "movie_genres": ["Children", "Film-Noir"],
    }
    assert candidates[11]["movie_genres"] == ["(no genres listed)"]


@pytest.mark.parametrize("version", ["100k", "1m", "25m"])
def test_the_folder_and_the_folder_above_it_give_the_archives_bytes(
    tmp_path: Path, opened: dict[str, Ingested], version: str
) -> None:
    folder = write_folder(tmp_path / "above" / f"ml-{version}", FILES[version]())
    expected = opened[version].files()
    assert run(tmp_path, source(version, folder)).files() == expected
    assert run(tmp_path, source(version, folder.parent)).files() == expected


@pytest.mark.parametrize("version", ["20m", "latest-small"])
def test_the_csv_versions_share_a_layout(
    tmp_path: Path, opened: dict[str, Ingested], version: str
) -> None:
    inside = f"ml-{version}"
    archive = write_archive(tmp_path / "any-name.zip", FILES[version](), inside)
    assert run(tmp_path, source(version, archive)).files() == opened["25m"].files()


# --- names that lead elsewhere --------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder", ["..", "../../..", "", "/tmp", "ml-100k/../../..", "ml-100k\\.."]
)
def test_an_archive_does_not_write_outside_the_work_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a" / "b"))
    archive = write_archive(tmp_path / "ml-100k.zip", movielens_100k(), folder)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(InputError) as error:
        run(tmp_path / "a", source("100k", archive))

    assert str(error.value).startswith(f"source.path: {archive}")
    if "\\" not in folder:  # then it is no folder, and the file has another name
        assert f"the file name '{folder}/u." in str(error.value)
        assert str(error.value).endswith("This is not GroupLens's archive: download it again.")
    assert sorted(tmp_path.rglob("*")) == before


def test_other_members_of_an_archive_are_ignored(
    tmp_path: Path, opened: dict[str, Ingested]
) -> None:
    archive = write_archive(tmp_path / "ml.zip", movielens_100k(), "ml-100k")
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("../../WRITTEN", "x")
        zipped.writestr("/WRITTEN", "x")
        link = zipfile.ZipInfo("ml-100k/README")
        link.external_attr = 0o120777 << 16
        zipped.writestr(link, "/etc/passwd")

    assert run(tmp_path, source("100k", archive)).files() == opened["100k"].files()


def prepared_or_error(data_dir: str) -> str:
    """Called in a process that has TensorFlow: the files of a data set, or the InputError."""
    from components.ingest.sources.movielens_prepared import _prepared

    try:
        return str(_prepared(Path(data_dir), "100k-movies").files)
    except InputError as error:
        return f"InputError: {error}"


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        ("movielens", ""),
        ("movielens", "../../../../outside/"),
        ("movielens", "/etc/"),
        ("../../outside/movielens", ""),
    ],
)
def test_a_prepared_data_set_is_not_read_from_outside_its_folder(
    tmp_path: Path, in_tensorflow: RunStep, dataset: str, folder: str
) -> None:
    version = tmp_path / "movielens" / "100k-movies" / "0.1.1"
    version.mkdir(parents=True)
    template = f"{folder}{{DATASET}}-{{SPLIT}}.{{FILEFORMAT}}-{{SHARD_X_OF_Y}}"
    info = {
        "name": dataset,
        "configName": "100k-movies",
        "version": "0.1.1",
        "fileFormat": "tfrecord",
        "moduleName": "tensorflow_datasets.structured.movielens",
        "splits": [
            {"name": "train", "filepathTemplate": template, "shardLengths": ["1"], "numBytes": "1"}
        ],
    }
    (version / "dataset_info.json").write_text(json.dumps(info))

    found = in_tensorflow("test_ingest_movielens:prepared_or_error", data_dir=str(tmp_path))

    file = "movielens-train.tfrecord-00000-of-00001"
    if (dataset, folder) == ("movielens", ""):
        assert found == str([str(version / file)])
    else:
        assert found.startswith(f"InputError: source.path: {version}/dataset_info.json: the file ")
        assert found.endswith("Prepare the data set again.")


# --- what TFDS says -------------------------------------------------------------------------------


def builder_labels(version: str, data_dir: str) -> dict[str, Any]:
    """Called in a process that has TensorFlow."""
    import tensorflow_datasets as tfds

    ratings = tfds.builder(f"movielens/{version}-ratings", data_dir=data_dir).info.features
    return {
        "columns": list(ratings),
        "genres": list(ratings["movie_genres"].feature.names),
        "occupations": list(ratings["user_occupation_label"].names)
        if "user_occupation_label" in ratings
        else None,
    }


@pytest.mark.parametrize("version", ["100k", "1m", "25m"])
def test_names_and_label_numbers_match_tfds(
    tmp_path: Path, in_tensorflow: RunStep, opened: dict[str, Ingested], version: str
) -> None:
    labels = in_tensorflow(
        "test_ingest_movielens:builder_labels", version=version, data_dir=str(tmp_path)
    )
    schema = movielens_schema(version)
    columns = [*schema.query, *schema.interaction, *schema.candidate]
    assert sorted(column.name for column in columns) == sorted(labels["columns"])
    if version != "25m":
        assert labels["occupations"] == list(OCCUPATIONS)
        occupation = next(c for c in schema.query if c.name == "user_occupation_label")
        assert occupation.labels == {str(n): name for n, name in enumerate(labels["occupations"])}
    genres = {g for row in opened[version].candidates for g in row["movie_genres"]}
    assert genres <= set(labels["genres"])


def test_the_genre_flags_have_the_names_of_tfds(tmp_path: Path, in_tensorflow: RunStep) -> None:
    from components.ingest.sources import movielens_layouts

    labels = in_tensorflow(
        "test_ingest_movielens:builder_labels", version="100k", data_dir=str(tmp_path)
    )
    assert set(movielens_layouts._GENRES_100K) <= set(labels["genres"])
    assert tuple(GENRES_100K) == movielens_layouts._GENRES_100K
    texts = set(movielens_layouts._OCCUPATION_OF_TEXT_100K.values())
    numbers = {
        movielens_layouts._STUDENTS_1M.get(t, t) for t in movielens_layouts._OCCUPATION_TEXTS_1M
    }
    assert texts <= set(labels["occupations"])
    assert numbers <= set(labels["occupations"])


# --- the real archive -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(movielens_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """MovieLens 100K from its archive."""
    return run(tmp_path_factory.mktemp("real"), source("100k", movielens_archive))


@pytest.mark.movielens
def test_the_real_archive_has_its_published_counts(real: Ingested) -> None:
    statistics = real.statistics
    assert sum(statistics.rows.values()) == 100_000
    assert (statistics.users, statistics.candidates) == (943, 1682)
    assert statistics.ratings == {"1": 6110, "2": 11370, "3": 27145, "4": 34174, "5": 21201}
    assert statistics.rejects == {}
    assert real.candidates[0]["movie_title"] == "Toy Story (1995)"
    assert real.candidates[0]["movie_genres"] == ["Animation", "Children", "Comedy"]


@pytest.mark.movielens
def test_the_real_folder_gives_the_archives_bytes(
    tmp_path: Path, real: Ingested, movielens_archive: Path
) -> None:
    with zipfile.ZipFile(movielens_archive) as archive:
        archive.extractall(tmp_path)
    assert run(tmp_path, source("100k", tmp_path / "ml-100k")).files() == real.files()


@pytest.mark.movielens
def test_the_prepared_tfds_data_set_gives_the_archives_tables(
    tmp_path: Path, real: Ingested, movielens_tfds: Path, in_tensorflow: RunStep
) -> None:
    tables = tmp_path / "tables"
    in_tensorflow(
        "components.ingest.job:ingest",
        source=source("100k", movielens_tfds),
        config={"batch_rows": 20_000},
        seed=1,
        tables=str(tables),
        rejects=str(tmp_path / "rejects"),
    )
    assert Schema.read(tables) == Schema.read(real.tables)
    for name in [*(f"interactions/{split}" for split in SPLITS), "candidates"]:
        ours, theirs = (
            read_table(folder / name).combine_chunks() for folder in (real.tables, tables)
        )
        assert theirs.equals(ours), name
    assert Ingested(tables, tmp_path / "rejects", {}).rejects == []


# --- the download ---------------------------------------------------------------------------------


def download_or_error(download_dir: str) -> str:
    """Called in a process that has TensorFlow: what `download` returns, or its InputError."""
    import requests

    from components.ingest.sources.movielens import download

    config = MovieLensSource(kind="movielens", version="100k", download_dir=download_dir)
    unreachable = requests.exceptions.ConnectionError("no route to host")
    with mock.patch.object(requests.Session, "request", side_effect=unreachable):
        try:
            return str(download(config))
        except InputError as error:
            return f"InputError: {error}"


@pytest.mark.movielens
def test_a_cached_archive_needs_no_network(
    tmp_path: Path, movielens_tfds: Path, movielens_archive: Path, in_tensorflow: RunStep
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(movielens_tfds / "downloads" / "movielens", cache)
    path = in_tensorflow("test_ingest_movielens:download_or_error", download_dir=str(cache))
    assert Path(path).parent == cache
    assert Path(path).read_bytes() == movielens_archive.read_bytes()


def test_without_cache_and_network_the_message_says_to_set_the_path(
    tmp_path: Path, in_tensorflow: RunStep
) -> None:
    message = in_tensorflow(
        "test_ingest_movielens:download_or_error", download_dir=str(tmp_path / "cache")
    )
    assert message.startswith("InputError: http")
    assert "ml-100k.zip could not be downloaded (ConnectionError: no route to host)" in message
    assert message.endswith("Download it yourself, and set source.path to the file.")
