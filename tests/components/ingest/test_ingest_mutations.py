"""Mutated tables of each form go through the whole of ingest: counted right, or refused."""

import random
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_helpers import (
    Ingested,
    movielens_1m,
    movielens_100k,
    movielens_csv,
    run,
    write_archive,
)
from mutants import mutated, mutated_rows, with_odd_column
from table_forms import FORMS, ITEMS, LOG, USERS, Form, Rows, parquet_of

from components.shared.runtime.errors import InputError, without_beam

FAST, SLOW = 1, 8
MAX_MESSAGE = 6000
MAX_SECONDS = 20
# A message names a setting, a file, or what the log or the catalogue lacks.
PLACES = (
    "source.", "features.", "ingest.", "interactions", "candidates", "users", "catalogue", "part-",
    "ratings.", "movies.", "u.data", "u.item", "u.user",
)  # fmt: skip
COLUMNS = {
    "query_id": "user",
    "candidate_id": "item",
    "title": "name",
    "rating": "stars",
    "timestamp": "ts",
}
NEEDS: dict[str, dict[str, Any]] = {
    "query": {
        "user": {"dtypes": ["string", "int64"]},
        "age": {"dtypes": ["float32", "int64"]},
        "city": {"dtypes": ["string", "int64"], "missing": "reject"},
    },
    "candidate": {
        "item": {"dtypes": ["string", "int64"]},
        "tags": {"dtypes": ["list<string>"]},
        "price": {"dtypes": ["float32", "int64"], "missing": "reject"},
        "year": {"dtypes": ["int64", "string"]},
    },
}
# Everything is accepted that can be, so that the counts are seen.
LENIENT = {"max_reject_share": 1, "max_unknown_item_share": 1, "batch_rows": 50}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"split": "temporal", "history_length": 5, "duplicates": "history"},
    {"split": "leave_last_out", "unknown_items": "drop", "shards": 2},
    {"split": "random_by_user", "duplicates": "keep", "time_columns": ["hour_of_day"]},
]
SOURCES: list[dict[str, Any]] = [
    {},
    {},
    {"candidates": None, "columns": COLUMNS | {"title": None}, "item_values": "first"},
    {"users": None, "columns": COLUMNS | {"timestamp_unit": "s"}},
    {"feedback": {"scale": "log"}},
    {
        "columns": COLUMNS | {"event": "event"},
        "feedback": {"weights": {"view": 1, "buy": 3}},
    },
]
TABLES = {"interactions": LOG, "candidates": ITEMS, "users": USERS}


@dataclass
class Mutant:
    """Files of which one is mutated.

    Args:
        folder: The folder of the tables, each a file or a folder.
        source: The source.
        rows: The rows of each table; None if they are not known.
    """

    folder: Path
    source: dict[str, Any]
    rows: dict[str, Rows | None]

    @property
    def needs(self) -> dict[str, Any]:
        """The columns that features take of the tables there are."""
        query, candidate = (set(NEEDS[side]) for side in ("query", "candidate"))
        if self.source["users"] is None:
            query = {"user"}
        if self.source["candidates"] is None:
            candidate -= {"year"}
        return {
            "query": {name: NEEDS["query"][name] for name in sorted(query)},
            "candidate": {name: NEEDS["candidate"][name] for name in sorted(candidate)},
        }

    def records(self, table: str) -> int | None:
        """Returns how many records a table has, if that is known."""
        if self.source[table] is None:
            return None
        rows, path = self.rows[table], self.folder / table
        if rows is not None:
            return len(rows)
        files = path.iterdir() if path.is_dir() else [path]
        try:
            metadata = [pq.read_metadata(file) for file in files]
            return sum(
                of.row_group(n).num_rows for of in metadata for n in range(of.num_row_groups)
            )
        except (pa.ArrowException, OSError):  # not Parquet
            return None


def write_mutant(folder: Path, form: Form, rng: random.Random) -> Mutant:
    """Writes a log, a catalogue and users, and mutates one of them."""
    (chosen,) = rng.choices(list(TABLES), [6, 2, 2])
    source: dict[str, Any] = {"kind": "files", "columns": COLUMNS}
    rows: dict[str, Rows | None] = {}
    settings = rng.choice(SOURCES)
    for name, whole in TABLES.items():
        path = folder / name
        source[name] = str(path)
        rows[name] = whole
        content = form(whole)
        if name == chosen:
            content, rows[name] = mutation(whole, form, rng)
            if rng.random() < 0.3:  # of several parts, one is mutated
                path.mkdir()
                good, path = rng.sample([path / "part-0", path / "part-1"], 2)
                good.write_bytes(form(whole))
                rows[name] = None if rows[name] is None else [*whole, *rows[name]]
        path.write_bytes(content)
    return Mutant(folder, source | settings, rows)


def mutation(rows: Rows, form: Form, rng: random.Random) -> tuple[bytes, Rows | None]:
    """Returns a mutated file, and the rows in it if they are known."""
    kind = rng.randrange(4)
    if kind == 0:
        return mutated(form(rows), rng), None
    if kind == 1 and not form.is_parquet:
        content = mutated(form.write(rows), rng)
        return form.pack(content), form.rows_in(content)
    if kind == 1:
        return parquet_of(with_odd_column(rows, rng)), None
    while True:  # until the form has a type or bytes for the values
        changed = mutated_rows(rows, rng, of_one_type=form.is_parquet)
        try:
            return form(changed), changed if form.can_write(changed) else None
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            continue


def ingest_mutant(folder: Path, mutant: Mutant, rng: random.Random) -> Ingested | str:
    """Ingests a mutant; returns the message if it is refused."""
    settings = LENIENT | rng.choice(SETTINGS)
    return outcome_of(lambda: run(folder, mutant.source, needs=mutant.needs, **settings))


def outcome_of(ingest: Callable[[], Ingested]) -> Ingested | str:
    """Returns what ingest wrote, or its message, if it refused the input."""
    began = time.monotonic()
    try:
        outcome: Ingested | str = ingest()
    except Exception as raised:
        error = without_beam(raised)
        if not isinstance(error, InputError):
            raise
        outcome = str(error)
    assert time.monotonic() - began < MAX_SECONDS
    return outcome


def check_message(message: str) -> None:
    assert len(message) < MAX_MESSAGE
    assert any(place in message for place in PLACES), message


def check(outcome: Ingested | str, mutant: Mutant) -> None:
    """Checks that every record is accounted for, or that the message is useful."""
    if isinstance(outcome, str):
        check_message(outcome)
        return
    statistics = outcome.statistics
    interactions, rejects = outcome.interactions, outcome.rejects
    assert len(interactions) == sum(statistics.rows.values())
    assert len(rejects) == sum(statistics.rejects.values())
    rejected = Counter(table_of(row, mutant) for row in rejects)
    records = mutant.records("interactions")
    if records is not None:
        left_out = sum(statistics.dropped.values()) + statistics.outside_window
        assert len(interactions) + rejected["interactions"] + left_out == records
    records = mutant.records("candidates")
    if records is not None:
        assert len(outcome.candidates) + rejected["candidates"] == records
    log = mutant.rows["interactions"]
    if log is not None:
        candidates = outcome.candidates
        for row in interactions:
            row["item"] = candidates[row["candidate_index"]]["item"]
        written = Counter(key_of(row, mutant) for row in interactions)
        assert not written - Counter(key_of(row, mutant) for row in log)


def table_of(reject: dict[str, Any], mutant: Mutant) -> str:
    """Returns the table of a reject; a folder's files are named without their folder."""
    if mutant.source["candidates"] is None and reject["record"].startswith('{"item": '):
        return "candidates"  # a row of the log that describes an item, and is counted as such
    in_folder = [name for name in TABLES if (mutant.folder / name).is_dir()]
    return reject["file"] if reject["file"] in TABLES else in_folder[0]


def key_of(row: dict[str, Any], mutant: Mutant) -> tuple[Any, ...]:
    """Returns what identifies an interaction however it is written."""
    stars = 0 if "feedback" in mutant.source else np.float32(number(row.get("stars")))
    return plain(row.get("user")), plain(row.get("item")), stars


def number(value: Any) -> float:
    try:
        return float(str(value))
    except ValueError:
        return -1


def plain(value: Any) -> Any:
    text = "|".join(map(str, value)) if isinstance(value, list) else str(value)
    text = {"true": "1", "false": "0"}.get(text.lower(), text)  # as in Parquet
    try:
        return int(text.strip().removesuffix(".0"))
    except ValueError:
        return text.strip()


# --- archives -------------------------------------------------------------------------------------

ARCHIVES: dict[str, Callable[[], dict[str, bytes]]] = {
    "100k": movielens_100k,
    "1m": movielens_1m,
    "latest-small": movielens_csv,
}


def write_mutated_archive(path: Path, version: str, rng: random.Random) -> int | None:
    """Writes an archive of MovieLens, or a file in it, mutated; returns its number of ratings."""
    files = ARCHIVES[version]()
    ratings = next(iter(files))
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
    if rng.random() < 0.5:
        write_archive(path, files, f"ml-{version}", method)
        path.write_bytes(mutated(path.read_bytes(), rng))
        return None
    name = rng.choice(list(files))
    files[name] = mutated(files[name], rng)
    write_archive(path, files, f"ml-{version}", method)
    lines = [line for line in files[ratings].split(b"\n") if line.strip()]
    if set(files[ratings]) & set(b'\r\0"'):
        return None
    return len(lines) - ratings.endswith(".csv")


def check_archive(folder: Path, version: str, rng: random.Random) -> Ingested | str:
    records = write_mutated_archive(folder / "ml.zip", version, rng)
    source = {"kind": "movielens", "version": version, "path": str(folder / "ml.zip")}
    outcome = outcome_of(lambda: run(folder, source, **LENIENT, **rng.choice(SETTINGS)))
    if isinstance(outcome, str):
        check_message(outcome)
    elif records is not None:
        ratings = next(iter(ARCHIVES[version]()))
        rejects = sum(Path(row["file"]).name == ratings for row in outcome.rejects)
        left_out = sum(outcome.statistics.dropped.values())
        assert len(outcome.interactions) + rejects + left_out == records
    return outcome


# --- tests ----------------------------------------------------------------------------------------


def check_mutants(folder: Path, form: str, count: int) -> None:
    first = 1000 * [*FORMS, *ARCHIVES].index(form)  # each form has its own mutations
    for number in range(first, first + count):
        own = folder / str(number)
        own.mkdir()
        check_mutant(own, form, random.Random(number))


def check_mutant(folder: Path, form: str, rng: random.Random) -> Ingested | str:
    if form in ARCHIVES:
        return check_archive(folder, form, rng)
    mutant = write_mutant(folder, FORMS[form], rng)
    outcome = ingest_mutant(folder, mutant, rng)
    check(outcome, mutant)
    return outcome


@pytest.mark.parametrize("form", ["csv", "inter", "jsonl", "parquet", "1m"])
def test_mutants_are_ingested_or_refused(tmp_path: Path, form: str) -> None:
    check_mutants(tmp_path, form, FAST)


@pytest.mark.slow
@pytest.mark.parametrize("form", [*FORMS, *ARCHIVES])
def test_many_mutants_are_ingested_or_refused(tmp_path: Path, form: str) -> None:
    check_mutants(tmp_path, form, SLOW)
