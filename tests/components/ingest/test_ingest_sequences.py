"""Logs of sequences: a user and the user's items, in the order of time, on each line."""

import gzip
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ingest_helpers import Ingested, run, write_csv
from pydantic import ValidationError

from components.ingest.config import FilesSource
from components.ingest.sources.sequences import looks_like_sequences
from components.shared.contracts.tables import SPLITS, Schema
from components.shared.runtime.errors import InputError
from pipeline.config.loading import load_config

LINES = ["ann 5 3 9 1", "bob  3\t4 ", "cid 9 5 3", "dan 1 2 3 4 5 9"]


def source_of(*paths: Path, columns: dict[str, str] | None = None, **how: Any) -> dict[str, Any]:
    [path, *others] = paths
    return {
        "kind": "files",
        "interactions": str(path if not others else path.parent),
        "columns": columns or {"query_id": "user_id", "candidate_id": "item_id"},
        "formats": {"interactions": {"format": "sequences", **how}},
    }


def write(path: Path, lines: list[str]) -> Path:
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def sequences_of(ingested: Ingested, item: str = "item_id") -> dict[str, list[str]]:
    """Each user's items by position, of all splits."""
    ids = [candidate[item] for candidate in ingested.candidates]
    rows = sorted(ingested.interactions, key=lambda row: row["position"])
    found: dict[str, list[str]] = {}
    for row in rows:
        items = found.setdefault(row["user_id"], [])
        items.append(ids[row["candidate_index"]])
        assert row["position"] == len(items)
    return found


@pytest.mark.parametrize("name", ["log.txt", "log.txt.gz"])
def test_the_order_on_a_line_is_the_order_of_time(tmp_path: Path, name: str) -> None:
    source = source_of(write(tmp_path / name, LINES))
    ingested = run(
        tmp_path, source, split="leave_last_out", history_length=2, shards=2, batch_rows=3
    )
    assert sequences_of(ingested) == {line.split()[0]: line.split()[1:] for line in LINES}
    ids = [candidate["item_id"] for candidate in ingested.candidates]
    assert {
        row["user_id"]: (ids[row["candidate_index"]], row["history"])
        for row in ingested.split("test")
    } == {"ann": ("1", ["9", "3"]), "cid": ("3", ["5", "9"]), "dan": ("9", ["5", "4"])}
    assert {row["user_id"] for row in ingested.split("validation")} == {"ann", "cid", "dan"}
    assert Schema.read(ingested.tables).role("timestamp").name == "position"


@pytest.mark.parametrize("split", ["random", "random_by_user"])
def test_splits_at_random_keep_every_interaction(tmp_path: Path, split: str) -> None:
    lines = [f"u{user} " + " ".join(map(str, range(user, user + 10))) for user in range(30)]
    ingested = run(tmp_path, source_of(write(tmp_path / "log.txt", lines)), split=split)
    assert sequences_of(ingested) == {line.split()[0]: line.split()[1:] for line in lines}
    assert all(ingested.statistics.rows[part] for part in SPLITS)


def test_further_lines_of_a_user_continue_the_sequence_in_the_order_of_the_files(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    second = write(folder / "2.txt", ["ann 7 8", "bob 1 2 3"])
    first = write(folder / "1.txt", ["ann 1 2", "bob 9 8", "ann 5 6 4"])
    ingested = run(
        tmp_path, source_of(second, first), split="leave_last_out", history_length=3, shards=3
    )
    assert sequences_of(ingested) == {
        "ann": ["1", "2", "5", "6", "4", "7", "8"],
        "bob": ["9", "8", "1", "2", "3"],
    }
    [ann] = [row for row in ingested.split("test") if row["user_id"] == "ann"]
    assert ann["history"] == ["7", "4", "6"]


def test_bad_lines_are_rejects_with_the_number_of_their_line(tmp_path: Path) -> None:
    lines = [*LINES, "eve", "", "f" * 1001 + " 3 4", "gus 3 5 9", "# note"]
    path = write(tmp_path / "log.txt", lines)
    path.write_bytes(path.read_bytes() + b"hal \xff 3\n")
    source = source_of(path, encoding="utf-8", comment="#")
    ingested = run(tmp_path, source, split="leave_last_out", max_reject_share=0.5)
    assert [(row["row"], row["reason"]) for row in ingested.rejects] == [
        (5, "a user without items"),
        (6, "an empty line"),
        (7, "the user's id is longer than 1000 bytes"),
        (10, "not UTF-8"),
    ]
    assert sequences_of(ingested).keys() == {"ann", "bob", "cid", "dan", "gus"}


def test_a_delimiter_a_header_and_names_can_be_told(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.csv", ["who,what", "ann, the hat,a cap ,a tie", "bob,a cap,,a tie"]
    )
    items = write_csv(tmp_path / "items.csv", ("sku", "name"), [
        ("the hat", "Hat"), ("a cap", "Cap"), ("a tie", "Tie")
    ])  # fmt: skip
    columns = {"query_id": "user_id", "candidate_id": "product", "catalogue_id": "sku"}
    source = source_of(
        path, columns=columns, delimiter=",", header=True, names=["user_id", "product"]
    )
    source["candidates"] = str(items)
    ingested = run(tmp_path, source, max_reject_share=0.5, split="leave_last_out")
    assert sequences_of(ingested, "product") == {
        "ann": ["the hat", "a cap", "a tie"],
        "bob": ["a cap", "a tie"],
    }
    assert [(row["row"], row["reason"]) for row in ingested.rejects] == [(3, "missing product")]


def test_what_needs_times_is_refused_in_one_message(tmp_path: Path) -> None:
    source = source_of(write(tmp_path / "log.txt", LINES))
    with pytest.raises(InputError) as refused:
        run(tmp_path, source, split="temporal", time_columns=["hour_of_day"])
    assert str(refused.value) == (
        "ingest.split=temporal and ingest.time_columns: the log has no times, as "
        "source.formats.interactions.format is sequences, but the order of each user's items. Use "
        "the split leave_last_out or random, and no data window and time columns."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"rating": "stars"}}, r"columns\.rating: .* have a user and items only"),
        ({"columns": {"timestamp": "ts"}}, r"columns\.timestamp: .* have a user and items only"),
        ({"formats": {"users": {"format": "sequences"}}}, r"formats\.users\.format: sequences is"),
    ],
)
def test_settings_that_sequences_cannot_have_are_refused(
    change: dict[str, dict[str, Any]], message: str
) -> None:
    source = source_of(Path("log.txt"))
    for key, value in change.items():
        source[key] |= value
    with pytest.raises(ValidationError, match=message):
        FilesSource.model_validate(source)


def test_a_checked_config_is_accepted_again() -> None:
    source = FilesSource.model_validate(source_of(Path("log.txt")))
    assert FilesSource.model_validate(source.model_dump()) == source


@pytest.mark.parametrize(
    ("lines", "is_one"),
    [
        ([line.replace("\t", " ") for line in LINES], True),
        (["1\tA hat", "2\tA nice hat", "3\tAnother very nice hat"], False),
        (["1 5 3", "2 4 5 6", "3 5"], True),
        (["1 5 3", "2 4 5", "3 5 9"], False),  # a table of three columns
        (["1 5 3", "1 4 5 6", "3 5"], False),  # a user on two lines
        (["1 5 3", "2 4 8 6", "3 7"], False),  # items that never come again
        (["u,i,t", "1,2,3", "2,2,4", "3,2,5"], False),
        (['{"user": 1}', '{"user": 2, "item": 3}', '{"a": 2, "item": 3, "b": 5}'], False),
        (["5 3"], False),
    ],
)
def test_sequences_are_told_from_other_text(lines: list[str], is_one: bool) -> None:
    assert looks_like_sequences("".join(f"{line}\n" for line in [*lines, "rest"])) == is_one


def test_the_config_of_amazon_beauty_reads_its_data(tmp_path: Path) -> None:
    path = os.environ.get("AMAZON_BEAUTY")
    if not path:
        pytest.skip("AMAZON_BEAUTY does not name amazon-beauty-sequences.txt.gz")
    config = load_config("amazon-beauty", [f"source.interactions={path}"]).parameters()
    ingested = run(tmp_path, config["source"], needs=config["table_needs"], **config["ingest"])
    assert ingested.summary == {
        "interactions": 198_502,
        "train_rows": 198_502 - 2 * 22_363,
        "validation_rows": 22_363,
        "test_rows": 22_363,
        "users": 22_363,
        "candidates": 12_101,
        "rejects": 0,
    }
    with gzip.open(path, "rt") as file:
        lines = {line.split()[0]: line.split()[1:] for line in file}
    ids = [candidate["item_id"] for candidate in ingested.candidates]
    for split, back in (("test", 1), ("validation", 2)):
        for row in ingested.split(split):
            items = lines[row["user_id"]]
            assert ids[row["candidate_index"]] == items[-back]
            assert row["history"] == items[:-back][::-1][:50]
    lengths = Counter(len(row["history"]) for row in ingested.split("test"))
    assert max(lengths) == 50
