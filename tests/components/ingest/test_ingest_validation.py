import collections
import decimal
import json
from pathlib import Path

import pyarrow as pa
import pytest
from ingest_helpers import (
    LOG,
    Ingested,
    catalogue_rows,
    catalogue_table,
    csv_source,
    files_source,
    log_rows,
    log_table,
    movielens_100k,
    parquet_source,
    run,
    write_csv,
    write_folder,
)

from components.ingest.rejects import reason_kind
from components.ingest.times import EXPECTED_TIME
from components.shared.contracts.tables import REJECTS_SCHEMA, SPLITS, read_table
from components.shared.runtime.errors import InputError

# A line of the log, where it stands in the file (1 is the header), and what is wrong with it.
BAD_LINES = {
    3: (",1,5,7", "missing user"),
    5: ("u1,,5,7", "missing item"),
    17: ("u1,1,,7", "missing rating"),
    18: ("u1,1,good,7", 'rating must be a finite number, not "good"'),
    19: ("u1,1,nan,7", 'rating must be a finite number, not "nan"'),
    20: ("u1,1,inf,7", 'rating must be a finite number, not "inf"'),
    41: ("u1,1,5,", "missing ts"),
    42: ("u1,1,5,soon", f'ts must be {EXPECTED_TIME}, not "soon"'),
    43: ("u1,1,5,1e300", f'ts must be {EXPECTED_TIME}, not "1e300"'),
    60: ("u1,999,5,7", "unknown item"),
    61: ("u1,1,5", "3 fields instead of 4"),
    62: ("u1,1,5,7,8", "5 fields instead of 4"),
    63: (" ,1,5,7", "missing user"),
    64: ('u1,1,5,"7', "a quote is not closed"),
    100: ("  ,1,5,7", "missing user"),
}
# Written differently, yet good.
GOOD_LINES = {70: ('"u, one", 1 ,1e0, 7 ', "u, one", 1.0, 7), 71: (" u2 ,+2,4.0,8.5", "u2", 4.0, 8)}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """A log with the bad lines and the good ones, read in small blocks and batches."""
    folder = tmp_path_factory.mktemp("checked")
    lines: list = [row for row in log_rows() if row[:2] != ("u2", 2)]
    for number, (line, *_) in sorted({**BAD_LINES, **GOOD_LINES}.items()):
        lines.insert(number - 2, line)
    source = csv_source(folder, lines, dtypes={"item": "int64"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.ingest.sources.text_stream.BLOCK_BYTES", 150)
        return run(folder, source, batch_rows=3, max_reject_share=0.5, shards=2)


def test_every_bad_line_is_rejected_with_file_row_and_reason(checked: Ingested) -> None:
    found = {row["row"]: (row["file"], row["reason"]) for row in checked.rejects}
    assert found == {row: ("log.csv", reason) for row, (_, reason) in BAD_LINES.items()}
    assert len(checked.rejects) == len(BAD_LINES)


def test_a_rejected_record_shows_the_content_of_the_file(checked: Ingested) -> None:
    records = {row["row"]: row["record"] for row in checked.rejects}
    assert json.loads(records[18]) == {"user": "u1", "item": "1", "rating": "good", "ts": "7"}
    assert json.loads(records[60])["item"] == 999
    assert records[61] == "u1,1,5"
    assert records[64] == 'u1,1,5,"7'


def test_rejects_are_typed_and_ordered(checked: Ingested) -> None:
    assert read_table(checked.rejects_folder).schema.equals(REJECTS_SCHEMA)
    rows = [(row["file"], row["row"]) for row in checked.rejects]
    assert rows == sorted(rows)


def test_statistics_count_the_rejects_by_reason(checked: Ingested) -> None:
    by_reason = collections.Counter(reason_kind(row["reason"]) for row in checked.rejects)
    assert checked.statistics.rejects == by_reason
    assert by_reason["missing user"] == by_reason["rating must be a finite number"] == 3
    assert checked.summary["rejects"] == len(BAD_LINES)


def test_the_rows_of_the_splits_and_the_rejects_are_the_rows_of_the_source(
    checked: Ingested,
) -> None:
    source_rows = len(log_rows()) - 1 + len(BAD_LINES) + len(GOOD_LINES)
    assert len(checked.interactions) + len(checked.rejects) == source_rows
    assert checked.statistics.rows == {name: len(checked.split(name)) for name in SPLITS}
    assert checked.summary["interactions"] == len(checked.interactions)


def test_statistics_describe_the_kept_rows(checked: Ingested) -> None:
    kept = checked.interactions
    assert checked.statistics.users == len({row["user"] for row in kept}) == 11
    assert checked.statistics.candidates == 11
    ratings = collections.Counter(f"{row['rating']:g}" for row in kept)
    assert checked.statistics.ratings == ratings
    assert min(first for first, _ in checked.statistics.times.values()) == 7
    for split, (first, last) in checked.statistics.times.items():
        times = [row["ts"] for row in checked.split(split)]
        assert (first, last) == (min(times), max(times))
    assert set(checked.statistics.times) == set(SPLITS)


@pytest.mark.parametrize("number", GOOD_LINES)
def test_spaces_quotes_and_other_spellings_of_numbers_are_accepted(
    checked: Ingested, number: int
) -> None:
    _, user, rating, timestamp = GOOD_LINES[number]
    matching = [
        row for row in checked.interactions if (row["user"], row["ts"]) == (user, timestamp)
    ]
    assert [row["rating"] for row in matching] == [rating]


def test_parquet_rows_are_numbered_across_row_groups_and_batches(tmp_path: Path) -> None:
    log = log_table().to_pylist()
    log[2]["user"], log[11]["rating"], log[25]["rating"], log[109]["item"] = None, None, -1e300, 999
    log[26]["rating"] = float("nan")
    source = parquet_source(tmp_path, pa.Table.from_pylist(log))
    ingested = run(tmp_path, source, max_reject_share=0.5, batch_rows=4)
    assert [(row["file"], row["row"], row["reason"]) for row in ingested.rejects] == [
        ("log.parquet", 3, "missing user"),
        ("log.parquet", 12, "missing rating"),
        ("log.parquet", 26, 'rating must be a finite number, not "-1e+300"'),
        ("log.parquet", 27, "missing rating"),
        ("log.parquet", 110, "unknown item"),
    ]


def test_decimals_of_a_rejected_row_are_shown(tmp_path: Path) -> None:
    ratings = [decimal.Decimal("1.5")] * 110
    log = log_table().set_column(2, "rating", pa.array(ratings)).to_pylist()
    log[0]["user"] = None
    ingested = run(tmp_path, parquet_source(tmp_path, pa.Table.from_pylist(log)))
    assert json.loads(ingested.rejects[0]["record"])["rating"] == "1.5"
    assert {row["rating"] for row in ingested.interactions} == {1.5}


def test_users_and_ratings_of_unknown_users_are_rejected(tmp_path: Path) -> None:
    files = movielens_100k()
    files["u.user"] = files["u.user"].replace(b"3|27|F|writer|00003\n", b"3|27|F|pirate|00003\n")
    files["u.user"] = files["u.user"].replace(b"\n5|35|", b"\n5|old|")
    files["u.user"] += b"1|40|F|writer|00001\nlost\n"
    files["u.data"] += b"77\t1\t5\t880000000\n\t1\t5\t880000000\n\n"
    folder = write_folder(tmp_path / "ml", files)
    source = {"kind": "movielens", "version": "100k", "path": str(folder)}
    ingested = run(tmp_path, source, max_reject_share=0.5)
    reasons = collections.Counter((row["file"], row["reason"]) for row in ingested.rejects)
    assert reasons == {
        ("u.user", "missing user_occupation_label"): 1,
        ("u.user", "missing raw_user_age"): 1,
        ("u.user", "duplicate user"): 1,
        ("u.user", "1 fields instead of 5"): 1,
        ("u.data", "unknown user"): 25,
        ("u.data", "missing user_id"): 1,
    }
    rows = {(row["file"], row["reason"]): row["row"] for row in ingested.rejects}
    assert rows["u.user", "missing user_occupation_label"] == 3
    assert rows["u.user", "duplicate user"] == 13
    assert rows["u.data", "missing user_id"] == 146
    assert {row["user_id"] for row in ingested.interactions}.isdisjoint({"3", "5", "77"})
    first = next(row for row in ingested.interactions if row["user_id"] == "1")
    assert first["raw_user_age"] == 19  # the first line of a user counts


def test_a_catalogue_loses_its_bad_and_repeated_items(tmp_path: Path) -> None:
    catalogue = [*catalogue_rows(), (4, "four again"), (13, ""), ("", "nameless"), "13"]
    source = csv_source(tmp_path, log=[*log_rows(), ("u1", 12, 5, 1)], catalogue=catalogue)
    ingested = run(tmp_path, source, max_reject_share=0.5)
    assert [(row["file"], row["row"], row["reason"]) for row in ingested.rejects] == [
        ("catalogue.csv", 13, "duplicate item"),
        ("catalogue.csv", 15, "missing item"),
        ("catalogue.csv", 16, "1 fields instead of 2"),
        ("log.csv", 112, "unknown item"),
    ]
    names = [row["name"] for row in ingested.candidates]
    assert names == [*(f"name {i}" for i in range(1, 12)), "13"]  # the id of the nameless one


# --- duplicates -----------------------------------------------------------------------------------

REPEATED = [("u1", 1, 2, 5000), ("u1", 1, 3, 4000), ("u1", 1, 4, 5000)]


def test_the_latest_of_several_duplicates_is_kept(tmp_path: Path) -> None:
    ingested = run(tmp_path, csv_source(tmp_path, [*log_rows(), *REPEATED]), max_reject_share=0.5)
    kept = [r for r in ingested.interactions if r["user"] == "u1" and r["candidate_index"] == 0]
    # Of two at the same time, the one that stands later in the file.
    assert [(row["rating"], row["ts"]) for row in kept] == [(4.0, 5000)]
    assert [(row["row"], row["reason"]) for row in ingested.rejects] == [
        (2, "duplicate"),
        (112, "duplicate"),
        (113, "duplicate"),
    ]
    assert json.loads(ingested.rejects[1]["record"])["rating"] == 2.0


def test_the_later_file_wins_among_duplicates_in_two_files(tmp_path: Path) -> None:
    write_csv(tmp_path / "log-b.csv", LOG, [("u1", 1, 2, 5000)])
    write_csv(tmp_path / "log-a.csv", LOG, [("u1", 1, 3, 5000), *log_rows()])
    catalogue = write_csv(tmp_path / "catalogue.csv", ("item", "name"), catalogue_rows())
    ingested = run(tmp_path, files_source(tmp_path / "log-*.csv", catalogue), max_reject_share=0.5)
    kept = [r for r in ingested.interactions if r["user"] == "u1" and r["candidate_index"] == 0]
    assert [row["rating"] for row in kept] == [2.0]
    assert [(row["file"], row["row"]) for row in ingested.rejects] == [
        ("log-a.csv", 2),
        ("log-a.csv", 3),
    ]


def test_duplicates_are_kept_if_configured(tmp_path: Path) -> None:
    source = csv_source(tmp_path, [*log_rows(), *REPEATED])
    ingested = run(tmp_path, source, duplicates="keep", max_reject_share=0)
    assert len(ingested.interactions) == 113
    assert ingested.rejects == []
    assert ingested.statistics.rejects == {}


# --- ids ------------------------------------------------------------------------------------------

LARGE = 2**53 + 1  # a float64 would make 2**53 of it
LARGER = 2**63 - 1


def test_large_ids_in_text_keep_their_value(tmp_path: Path) -> None:
    log = [(LARGE + n if n % 2 else LARGER, item, 5, n) for n in range(9)
           for item in (LARGE, LARGER, 5)]  # fmt: skip
    catalogue = [(LARGER, "c"), (LARGE, "b"), (5, "a")]
    dtypes = {"user": "int64", "item": "int64"}
    source = csv_source(tmp_path, log, catalogue, dtypes=dtypes)
    ingested = run(tmp_path, source, duplicates="keep")
    assert [(row["item"], row["name"]) for row in ingested.candidates] == [
        (5, "a"),
        (LARGE, "b"),
        (LARGER, "c"),
    ]
    assert {row["user"] for row in ingested.interactions} == {
        LARGER,
        *range(LARGE + 1, LARGE + 8, 2),
    }


def test_large_ids_in_parquet_keep_their_value(tmp_path: Path) -> None:
    log, catalogue = log_table(), catalogue_table()
    items = pa.array([item + LARGE for item in log["item"].to_pylist()])
    users = pa.array([LARGER - int(user[1:]) for user in log["user"].to_pylist()])
    log = log.set_column(0, "user", users).set_column(1, "item", items)
    catalogue = catalogue.set_column(0, "item", pa.array(range(LARGE + 1, LARGE + 12)))
    ingested = run(tmp_path, parquet_source(tmp_path, log, catalogue))
    assert [row["item"] for row in ingested.candidates] == list(range(LARGE + 1, LARGE + 12))
    assert {row["user"] for row in ingested.interactions} == {LARGER - n for n in range(1, 11)}
    assert read_table(ingested.tables / "candidates").schema.field("item").type == pa.int64()


@pytest.mark.parametrize("dtype", ["string", "int64"])
def test_candidates_are_ordered_by_their_id_with_2_before_10(tmp_path: Path, dtype: str) -> None:
    source = csv_source(tmp_path, catalogue=catalogue_rows()[::-1], dtypes={"item": dtype})
    ingested = run(tmp_path, source)
    assert [str(row["item"]) for row in ingested.candidates] == [str(i) for i in range(1, 12)]


def test_the_candidate_index_is_the_row_of_the_item(tmp_path: Path) -> None:
    source = csv_source(tmp_path, catalogue=catalogue_rows()[::-1], dtypes={"item": "int64"})
    ingested = run(tmp_path, source)
    expected = {(user, ts): item for user, item, _, ts in log_rows()}
    candidates = ingested.candidates
    assert len(ingested.interactions) == len(expected)
    for row in ingested.interactions:
        assert candidates[row["candidate_index"]]["item"] == expected[row["user"], row["ts"]]


# --- max_reject_share -----------------------------------------------------------------------------


def half_bad() -> list:
    return [*log_rows(), *[("u1", 1, "bad", 7)] * 100, *["short"] * 10]


def test_a_log_with_half_its_rows_malformed_is_refused_with_examples(tmp_path: Path) -> None:
    source = csv_source(tmp_path, half_bad())
    with pytest.raises(InputError) as caught:
        run(tmp_path, source)
    message = str(caught.value)
    assert "110 of 220 rows (50.0%) were rejected" in message
    assert "ingest.max_reject_share allows 1.0%" in message
    assert 'log.csv, row 112: rating must be a finite number, not "bad": {"user": "u1"' in message
    assert "log.csv, row 212: 1 fields instead of 4: short" in message  # one of each reason
    assert len(message.splitlines()) == 7


def test_too_many_rejects_leave_no_output(tmp_path: Path) -> None:
    source = csv_source(tmp_path, half_bad())
    with pytest.raises(InputError):
        run(tmp_path, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalogue.csv", "log.csv"]


def test_rejects_up_to_the_share_are_allowed(tmp_path: Path) -> None:
    ingested = run(tmp_path, csv_source(tmp_path, half_bad()), max_reject_share=0.5)
    assert len(ingested.interactions) == len(ingested.rejects) == 110
