import errno
import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_helpers import (
    CATALOGUE,
    COLUMNS,
    LOG,
    Source,
    catalogue_rows,
    catalogue_table,
    csv_source,
    files_source,
    left_over,
    log_rows,
    log_table,
    movielens_1m,
    movielens_100k,
    movielens_csv,
    parquet_source,
    run,
    write_archive,
    write_csv,
    write_folder,
)

from components.ingest.job import ingest
from components.shared.runtime.errors import InputError
from components.shared.runtime.step import run_step


def movielens(version: str, path: Path) -> Source:
    return {"kind": "movielens", "version": version, "path": str(path)}


def without(name: str) -> dict[str, str]:
    return {meaning: column for meaning, column in COLUMNS.items() if meaning != name}


def empty_ratings(folder: Path) -> Source:
    return movielens("100k", write_folder(folder / "ml", {**movielens_100k(), "u.data": b""}))


def empty_items(folder: Path) -> Source:
    return movielens("100k", write_folder(folder / "ml", {**movielens_100k(), "u.item": b""}))


def empty_users(folder: Path) -> Source:
    return movielens("100k", write_folder(folder / "ml", {**movielens_100k(), "u.user": b""}))


def header_only_ratings(folder: Path) -> Source:
    files = {**movielens_csv(), "ratings.csv": b"userId,movieId,rating,timestamp\n"}
    return movielens("25m", write_folder(folder / "ml", files))


def other_version_archive(folder: Path) -> Source:
    return movielens("100k", write_archive(folder / "ml-1m.zip", movielens_1m(), "ml-1m"))


def other_version_folder(folder: Path) -> Source:
    return movielens("1m", write_folder(folder / "ml", movielens_csv()))


def other_version_100k(folder: Path) -> Source:
    return movielens("25m", write_archive(folder / "ml-100k.zip", movielens_100k(), "ml-100k"))


def no_zip(folder: Path) -> Source:
    (folder / "ml-100k.zip").write_text("<html>404 Not Found</html>")
    return movielens("100k", folder / "ml-100k.zip")


def damaged_zip(folder: Path) -> Source:
    path = write_archive(folder / "ml-100k.zip", movielens_100k(), "ml-100k")
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF  # a byte of u.data, stored as it is
    path.write_bytes(content)
    return movielens("100k", path)


def zip_without_files(folder: Path) -> Source:
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.writestr("photos/cat.jpg", b"meow")
    return movielens("100k", folder / "photos.zip")


def zip_without_one_file(folder: Path) -> Source:
    files = movielens_100k()
    del files["u.user"]
    return movielens("100k", write_archive(folder / "ml-100k.zip", files, "ml-100k"))


def unrelated_folder(folder: Path) -> Source:
    return movielens("100k", write_folder(folder / "photos", {"cat.jpg": b"meow"}))


def not_there(folder: Path) -> Source:
    return movielens("100k", folder / "nowhere.zip")


def header_only_log(folder: Path) -> Source:
    return csv_source(folder, [])


def header_only_users(folder: Path) -> Source:
    return csv_source(folder, users=str(write_csv(folder / "users.csv", ["user", "age"], [])))


def header_only_catalogue(folder: Path) -> Source:
    return csv_source(folder, catalogue=[])


def empty_csv(folder: Path) -> Source:
    source = csv_source(folder)
    (folder / "log.csv").write_bytes(b"")
    return source


def no_rows_in_parquet(folder: Path) -> Source:
    return parquet_source(folder, log_table().slice(0, 0))


def no_match(folder: Path) -> Source:
    return {**csv_source(folder), "interactions": str(folder / "logs-*.csv")}


def neither_kind(folder: Path) -> Source:
    (folder / "log.json").write_text("{}")
    return {**csv_source(folder), "interactions": str(folder / "log.json")}


def no_parquet(folder: Path) -> Source:
    source = parquet_source(folder)
    (folder / "log.parquet").write_text("user,item\n")
    return source


def missing_log_column(folder: Path) -> Source:
    return csv_source(folder, columns={**COLUMNS, "rating": "stars"})


def missing_catalogue_column(folder: Path) -> Source:
    return parquet_source(folder, catalogue=catalogue_table().rename_columns(["id", "name"]))


def mixed_kinds(folder: Path) -> Source:
    csv_source(folder, dtypes={})
    pq.write_table(pa.table({n: [str(v)] for n, v in zip(LOG, log_rows()[0], strict=True)}),
                   folder / "log.parquet")  # fmt: skip
    return files_source(folder / "log.*", folder / "catalogue.csv")


def column_twice(folder: Path) -> Source:
    write_csv(folder / "log.csv", ("user", "item", "item"), [])
    catalogue = write_csv(folder / "catalogue.csv", CATALOGUE, catalogue_rows())
    return files_source(folder / "log.csv", catalogue)


def rating_not_named(folder: Path) -> Source:
    return csv_source(folder, columns=without("rating"))


def title_not_named(folder: Path) -> Source:
    catalogue = catalogue_table().rename_columns(["item", "title"])
    return parquet_source(folder, catalogue=catalogue, columns=without("title"))


def one_column_for_two(folder: Path) -> Source:
    return csv_source(folder, columns={**COLUMNS, "title": "item"})


def taken_name(folder: Path) -> Source:
    names = ["user", "item", "rating", "candidate_index"]
    log = log_table().rename_columns(names)
    return parquet_source(folder, log, columns=without("timestamp"))


def float_ids(folder: Path) -> Source:
    catalogue = catalogue_table()
    ids = catalogue["item"].cast(pa.float64())
    return parquet_source(folder, catalogue=catalogue.set_column(0, "item", ids))


def cut_log(folder: Path) -> Source:
    """Gzip data in a file whose name does not say so, cut in a later block."""
    rows = [(f"u{row}", row % 11 + 1, 5, row * 7919 % 100_003) for row in range(40_000)]
    source = csv_source(folder, rows)
    content = gzip.compress((folder / "log.csv").read_bytes())
    (folder / "log.csv").write_bytes(content[: len(content) // 2])
    return source


def one_user(folder: Path) -> Source:
    return csv_source(folder, log_rows(users=1))


def no_good_row(folder: Path) -> Source:
    return csv_source(folder, [("u1", 1, "bad", 7)] * 3)


def too_few_rows(folder: Path) -> Source:
    return csv_source(folder, [("u1", 1, 5, 7), ("u2", 1, 5, 7)])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (empty_ratings, ["source.path", "u.data is empty", "Download the archive again"]),
        (empty_items, ["The catalogue has no usable item", "needs an id"]),
        (empty_users, ["No user of the source is usable", "needs an id"]),
        (header_only_ratings, ["source.path", "ratings.csv is empty"]),
        (other_version_archive, ["ml-1m.zip is not MovieLens 100k", "set source.version", "1m"]),
        (other_version_folder, ["MovieLens 1m", "version 20m, 25m or latest-small", "users.dat"]),
        (other_version_100k, ["ml-100k.zip is not MovieLens 25m", "looks like version 100k"]),
        (no_zip, ["ml-100k.zip is not a zip archive", "Download it again"]),
        (damaged_zip, ["ml-100k.zip is not a zip archive", "Download it again"]),
        (zip_without_files, ["photos.zip is not MovieLens 100k", "u.data, u.item, u.user"]),
        (zip_without_one_file, ["ml-100k.zip is not MovieLens 100k: u.user missing"]),
        (unrelated_folder, ["photos is neither a folder of MovieLens 100k", "TFDS data directory"]),
        (not_there, ["nowhere.zip does not exist", "leave source.path out to download it"]),
        (header_only_log, ["source.interactions", "log.csv has no rows"]),
        (
            header_only_catalogue,
            ["The catalogue has no usable item", "Check source.candidates: /", "/catalogue.csv."],
        ),
        (header_only_users, ["No user of the source", "Check source.users: /", "/users.csv."]),
        (empty_csv, ["source.interactions", "log.csv is empty: it has no header line"]),
        (no_rows_in_parquet, ["source.interactions", "log.parquet has no rows"]),
        (no_match, ["source.interactions: no file matches", "logs-*.csv"]),
        (neither_kind, ["log.json has no line that is a JSON object"]),
        (no_parquet, ["source.interactions", "log.parquet is not a Parquet file"]),
        (missing_log_column, ["source.columns.rating", "no column 'stars'", "user, item, rating"]),
        (missing_catalogue_column, ["source.columns.candidate_id", "'item'", "id, name"]),
        (mixed_kinds, ["log.csv is csv and log.parquet is parquet", "files of one format"]),
        (column_twice, ["log.csv has the column 'item' twice", "Rename"]),
        (rating_not_named, ["source.columns.rating is not set", "a column 'rating'"]),
        (title_not_named, ["source.columns.title is not set", "a column 'title'"]),
        (one_column_for_two, ["candidate_id and title are both 'item'"]),
        (taken_name, ["source.interactions", "'candidate_index'", "Rename it"]),
        (float_ids, ["item: an id must be a string or an integer, not float32", "source.dtypes"]),
        (cut_log, ["log.csv is damaged: its gzip data ends or breaks after", "again"]),
        (one_user, ["only one user", "names the user's column"]),
        (no_good_row, ["3 of 3 rows (100.0%) were rejected", "log.csv, row 2"]),
        (too_few_rows, ["part has no rows", "2 rows are too few for ingest.split=random"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_input_is_refused_with_a_message_and_leaves_no_output(
    tmp_path: Path, source: Callable[[Path], Source], says: list[str]
) -> None:
    made = source(tmp_path)
    with pytest.raises(InputError) as caught:
        run(tmp_path, made)
    for words in says:
        assert words in str(caught.value)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("split", ["temporal", "leave_last_out"])
def test_a_split_by_time_needs_timestamps(tmp_path: Path, split: str) -> None:
    source = csv_source(tmp_path, columns=without("timestamp"))
    with pytest.raises(InputError, match=rf"ingest\.split={split} .* source\.columns\.timestamp"):
        run(tmp_path, source, split=split)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("split", ["random", "temporal", "leave_last_out"])
def test_a_log_without_a_usable_row_is_refused_even_if_all_rejects_are_allowed(
    tmp_path: Path, split: str
) -> None:
    source = csv_source(tmp_path, [("u1", 1, "bad", 7)] * 3)
    with pytest.raises(
        InputError, match=r"None of the 3 rows can be used\.\nExamples:\n  log\.csv"
    ):
        run(tmp_path, source, split=split, max_reject_share=1.0)


def test_a_failed_run_leaves_the_previous_output_unchanged(tmp_path: Path) -> None:
    before = run(tmp_path, csv_source(tmp_path)).files()
    source = csv_source(tmp_path, ["short"] * 5)
    with pytest.raises(InputError):
        run(tmp_path, source)
    assert left_over(tmp_path) == ["rejects", "tables"]
    after = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for folder in ("tables", "rejects")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file() and path.name != "step_records.json"
    }
    assert after == before


# --- where the output goes ------------------------------------------------------------------------


def step(folder: Path, source: Source, **config: Any) -> None:
    run_step("ingest", ingest, source=source, config=config, seed=1,
             tables=str(folder / "tables"), rejects=str(folder / "rejects"))  # fmt: skip


def test_an_output_below_a_file_is_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        step(tmp_path / "file", csv_source(tmp_path))
    assert caught.value.code == 1
    out, err = capfd.readouterr()
    (line,) = out.splitlines()
    assert line.startswith("[ingest] error: Not a directory: ")
    assert str(tmp_path / "file") in line
    assert line.endswith("a file is where a folder should be: choose another folder.")
    assert err == ""


@pytest.mark.parametrize("part", ["candidates", "interactions/test", "rejects"])
@pytest.mark.parametrize("split", ["random", "temporal"])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    part: str,
    split: str,
) -> None:
    write = pq.write_table

    def full(table: pa.Table, where: Any, *args: Any, **kwargs: Any) -> None:
        if part in str(where):
            # As Arrow raises it: it does not name the file.
            raise OSError(errno.ENOSPC, "Error writing bytes to file. No space left on device")
        write(table, where, *args, **kwargs)

    source = csv_source(tmp_path, [*log_rows(), "short"])
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(SystemExit) as caught:
        step(tmp_path, source, split=split)
    assert caught.value.code == 1
    out, err = capfd.readouterr()
    (line,) = out.splitlines()
    assert line.startswith("[ingest] error: Error writing bytes to file. No space left on device: ")
    assert part in line
    assert line.endswith("To fix this: free some space, or choose another folder.")
    assert err == ""
    assert left_over(tmp_path) == []


def test_damage_found_by_a_worker_is_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.ingest.sources.text_stream.BLOCK_BYTES", 4096)
    monkeypatch.setattr("components.ingest.sources.text_encoding._SAMPLE_BYTES", 4096)
    source = cut_log(tmp_path)
    # With a known encoding, looking at the file ends before the damage.
    source["formats"] = {"interactions": {"encoding": "utf-8"}}
    with pytest.raises(SystemExit):
        step(tmp_path, source)
    out, err = capfd.readouterr()
    assert out.startswith("[ingest] error: log.csv is damaged: its gzip data ends or breaks after")
    assert out.endswith("Copy or download it again.\n")
    assert len(out.splitlines()) == 1
    assert err == ""
