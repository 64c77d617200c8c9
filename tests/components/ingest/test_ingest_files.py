from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_helpers import (
    CATALOGUE,
    COLUMNS,
    LOG,
    Ingested,
    catalogue_rows,
    catalogue_table,
    csv_source,
    files_source,
    log_rows,
    log_table,
    parquet_source,
    run,
    write_csv,
)

from components.shared.contracts.tables import Schema, read_table


def schema_of(ingested: Ingested) -> Schema:
    return Schema.read(ingested.tables)


def roles(columns: list) -> list[tuple[str, str, str]]:
    return [(column.name, column.dtype, column.role) for column in columns]


def without(*meanings: str) -> dict[str, str]:
    return {meaning: column for meaning, column in COLUMNS.items() if meaning not in meanings}


def test_csv_and_parquet_of_the_same_log_give_the_same_rows(tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        (tmp_path / kind).mkdir()
    from_csv = run(tmp_path / "csv", csv_source(tmp_path / "csv", dtypes={"item": "int64"}))
    from_parquet = run(tmp_path / "parquet", parquet_source(tmp_path / "parquet"))
    assert from_csv.interactions == from_parquet.interactions
    assert from_csv.candidates == from_parquet.candidates
    assert len(from_csv.interactions) == 110


def test_parquet_types_are_converted_to_the_tables_types(tmp_path: Path) -> None:
    log, rows = log_table(), 110
    features = {
        "age": (pa.array([30] * rows, pa.int16()), "int64", 30),
        "score": (pa.array([0.5] * rows), "float32", 0.5),
        "member": (pa.array([True] * rows), "int64", 1),
        "city": (pa.array(["Köln"] * rows).dictionary_encode(), "string", "Köln"),
        "street": (pa.array(["Ring"] * rows, pa.large_string()), "string", "Ring"),
        "tags": (pa.array([["a", "b"]] * rows), "list<string>", ["a", "b"]),
        "codes": (pa.array([[1, 2]] * rows, pa.list_(pa.int64())), "list<string>", ["1", "2"]),
    }
    for name, (values, _, _) in features.items():
        log = log.append_column(name, values)
    ingested = run(tmp_path, parquet_source(tmp_path, log))
    assert roles(schema_of(ingested).query) == [
        ("user", "string", "query_id"),
        *((name, dtype, "feature") for name, (_, dtype, _) in features.items()),
    ]
    for row in ingested.interactions:
        assert {name: row[name] for name in features} == {
            name: value for name, (_, _, value) in features.items()
        }


def test_integer_ids_stay_integers(tmp_path: Path) -> None:
    users = pa.array([int(user[1:]) for user in log_table()["user"].to_pylist()])
    ingested = run(tmp_path, parquet_source(tmp_path, log_table().set_column(0, "user", users)))
    assert schema_of(ingested).id_dtypes == ("int64", "int64")
    assert {row["user"] for row in ingested.interactions} == set(range(1, 11))


def test_ids_of_another_type_in_the_log_match_their_items(tmp_path: Path) -> None:
    text = catalogue_table()["item"].cast(pa.string())
    catalogue = catalogue_table().set_column(0, "item", text)
    ingested = run(tmp_path, parquet_source(tmp_path, catalogue=catalogue))
    assert len(ingested.interactions) == 110
    assert schema_of(ingested).id_dtypes == ("string", "string")


def test_lists_in_csv_are_split_at_bars_in_both_files(tmp_path: Path) -> None:
    log = [(*row, "a|b" if row[1] % 2 else "") for row in log_rows()]
    write_csv(tmp_path / "log.csv", (*LOG, "tags"), log)
    catalogue = [(*row, '"x, y|z"') for row in catalogue_rows()]
    write_csv(tmp_path / "catalogue.csv", (*CATALOGUE, "genres"), catalogue)
    dtypes = {"tags": "list<string>", "genres": "list<string>"}
    source = files_source(tmp_path / "log.csv", tmp_path / "catalogue.csv", dtypes=dtypes)
    ingested = run(tmp_path, source)
    assert ingested.candidates[0]["genres"] == ["x, y", "z"]
    by_parity = {row["candidate_index"] % 2: row["tags"] for row in ingested.interactions}
    assert by_parity == {0: ["a", "b"], 1: []}
    assert schema_of(ingested).candidate[2].dtype == "list<string>"


def test_csv_columns_have_the_configured_types(tmp_path: Path) -> None:
    log = [(*row, "7.5", "7") for row in log_rows()]
    write_csv(tmp_path / "log.csv", (*LOG, "age", "zip"), log)
    catalogue = write_csv(tmp_path / "catalogue.csv", CATALOGUE, catalogue_rows())
    source = files_source(tmp_path / "log.csv", catalogue, dtypes={"age": "float32"})
    ingested = run(tmp_path, source)
    assert {(row["age"], row["zip"]) for row in ingested.interactions} == {(7.5, "7")}


@pytest.mark.parametrize("make", [csv_source, parquet_source], ids=["csv", "parquet"])
def test_a_log_needs_neither_ratings_nor_timestamps_nor_titles(tmp_path: Path, make) -> None:
    source = make(tmp_path, columns=without("rating", "timestamp", "title"))
    names = {"rating": "stars"} if make is parquet_source else {}
    if names:
        pq.write_table(
            log_table().rename_columns(["user", "item", "stars", "ts"]), tmp_path / "log.parquet"
        )
    else:
        write_csv(tmp_path / "log.csv", ("user", "item", "stars", "ts"), log_rows())
    ingested = run(tmp_path, source)
    schema = schema_of(ingested)
    assert roles(schema.interaction) == [
        ("rating", "float32", "rating"),
        ("timestamp", "int64", "timestamp"),
    ]
    assert {(row["rating"], row["timestamp"]) for row in ingested.interactions} == {(1.0, 0)}
    # What is not named is a feature.
    assert [column.name for column in schema.query] == ["user", "stars", "ts"]
    assert schema.role("title").name == "title"
    assert [row["title"] for row in ingested.candidates] == [str(n) for n in range(1, 12)]
    assert ingested.candidates[0]["name"] == "name 1"


def test_a_glob_reads_all_its_files(tmp_path: Path) -> None:
    rows = log_rows()
    write_csv(tmp_path / "log-1.csv", LOG, rows[:50])
    write_csv(tmp_path / "log-2.csv", LOG, [*rows[50:], "short"])
    write_csv(tmp_path / "items-1.csv", CATALOGUE, catalogue_rows()[:5])
    write_csv(tmp_path / "items-2.csv", CATALOGUE, [*catalogue_rows()[5:], (3, "again")])
    ingested = run(
        tmp_path,
        files_source(tmp_path / "log-*.csv", tmp_path / "items-?.csv"),
        max_reject_share=0.5,
    )
    assert len(ingested.interactions) == 110
    assert len(ingested.candidates) == 11
    assert [(row["file"], row["row"], row["reason"]) for row in ingested.rejects] == [
        ("items-2.csv", 8, "duplicate item"),
        ("log-2.csv", 62, "1 fields instead of 4"),
    ]


def test_parquet_files_may_order_and_size_their_columns_differently(tmp_path: Path) -> None:
    log, catalogue = log_table(), catalogue_table()
    pq.write_table(log.slice(0, 50), tmp_path / "log-1.parquet")
    narrow = log.set_column(3, "ts", log["ts"].cast(pa.int32())).select(LOG[::-1])
    pq.write_table(narrow.slice(50), tmp_path / "log-2.parquet")
    pq.write_table(catalogue.slice(0, 5), tmp_path / "items-1.parquet")
    narrow = catalogue.set_column(0, "item", catalogue["item"].cast(pa.int32()))
    pq.write_table(narrow.select(CATALOGUE[::-1]).slice(5), tmp_path / "items-2.parquet")
    source = files_source(tmp_path / "log-*.parquet", tmp_path / "items-*.parquet")
    (tmp_path / "one").mkdir()
    in_one = run(tmp_path / "one", parquet_source(tmp_path / "one"))
    in_two = run(tmp_path, source)
    assert in_two.interactions == in_one.interactions
    assert in_two.candidates == in_one.candidates


def test_the_log_and_the_catalogue_may_be_of_different_kinds(tmp_path: Path) -> None:
    parquet_source(tmp_path)
    csv_source(tmp_path)
    source = files_source(tmp_path / "log.parquet", tmp_path / "catalogue.csv")
    assert len(run(tmp_path, source).interactions) == 110


def test_a_header_may_have_a_byte_order_mark_quotes_and_spaces(tmp_path: Path) -> None:
    source = csv_source(tmp_path)
    body = (tmp_path / "log.csv").read_bytes().partition(b"\n")[2]
    header = '\ufeff"user", item ,"rating",ts\r\n'.encode()
    (tmp_path / "log.csv").write_bytes(header + body)
    ingested = run(tmp_path, source)
    assert len(ingested.interactions) == 110
    assert read_table(ingested.tables / "interactions" / "train").column_names[0] == "user"


def test_the_first_row_of_a_file_is_the_line_after_the_header(tmp_path: Path) -> None:
    source = csv_source(tmp_path, ["first", *log_rows()])
    ingested = run(tmp_path, source, max_reject_share=0.5)
    assert [(row["row"], row["record"]) for row in ingested.rejects] == [(2, "first")]
