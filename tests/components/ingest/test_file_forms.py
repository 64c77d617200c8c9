"""Forms of files: each is recognised by looking at it, and read without loss."""

import bz2
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest.config import FileFormat
from components.ingest.parsing import parse
from components.ingest.sources import text_stream
from components.ingest.sources.file_search import FoundFile, find_files
from components.ingest.sources.layout import Layout, look_at, look_at_table
from components.ingest.sources.reading import parts_of, read_batches, read_part
from components.ingest.sources.whole_tables import read_all
from components.shared.contracts.tables import Column, DType
from components.shared.runtime.errors import InputError


def look(path: Path, **how: Any) -> Layout:
    return look_at(FoundFile(str(path), path.name), FileFormat(**how))


def read(
    path: Path, wanted: Mapping[str, DType | None] | None = None, **how: Any
) -> tuple[list[tuple], list[tuple]]:
    """Reads a file; returns the values of each row after its number, and the rejects."""
    layout = look(path, **how)
    rows, rejects = [], []
    for part in parts_of([layout]):
        for records in read_part(part, wanted or dict.fromkeys(layout.columns)):
            names = list(wanted or layout.columns)
            rows += [(row["_row"], *(row[n] for n in names)) for row in records.rows.to_pylist()]
            rejects += [(r["row"], r["reason"], r["record"]) for r in records.rejects.to_pylist()]
    return rows, rejects


def written(folder: Path, content: bytes | str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- delimiters, encodings, line ends, compression ------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", "::", " "])
@pytest.mark.parametrize("name", ["a.csv", "a.dat", "a.txt", "a.tsv", "a"])
def test_the_delimiter_is_found_whatever_the_name(
    tmp_path: Path, delimiter: str, name: str
) -> None:
    lines = ["user,item,stars", "7,1,4.5", "8,2,3"]
    path = written(tmp_path, "\n".join(lines).replace(",", delimiter), name)
    assert look(path).text.delimiter == delimiter
    assert read(path) == ([(2, "7", "1", "4.5"), (3, "8", "2", "3")], [])


def test_a_delimiter_may_be_set(tmp_path: Path) -> None:
    path = written(tmp_path, "a~b\n1,5~2;5\n")
    assert read(path, delimiter="~") == ([(2, "1,5", "2;5")], [])
    assert read(written(tmp_path, "a<>b\n1<>2\n1\n"), delimiter="<>") == (
        [(2, "1", "2")],
        [(3, "1 fields instead of 2", "1")],
    )


def test_commas_in_values_do_not_hide_another_delimiter(tmp_path: Path) -> None:
    path = written(tmp_path, "user;stars\n7;4,5\n8;3,5\n")
    assert look(path).text.delimiter == ";"
    path = written(tmp_path, "item,genres\n1,a|b\n2,c|d\n")
    assert look(path).text.delimiter == ","


@pytest.mark.parametrize("delimiter", ["::", ";", "|"])
def test_a_header_in_a_comment_shows_which_of_several_delimiters_is_meant(
    tmp_path: Path, delimiter: str
) -> None:
    lines = ["# item::name", "1::Toy Story, The", "2::Net, The"]
    path = written(tmp_path, "\n".join(lines).replace("::", delimiter), "movies.dat")
    assert read(path) == ([(2, "1", "Toy Story, The"), (3, "2", "Net, The")], [])


def test_two_colons_divide_lines_with_a_comma_each_though_a_line_is_broken(tmp_path: Path) -> None:
    lines = [f"{item}::Movie {item}, The::Drama" for item in range(100)] + ["7::Net, The"]
    assert look(written(tmp_path, "\n".join(lines), "movies.dat")).text.delimiter == "::"


@pytest.mark.parametrize("delimiter", ["|", "\t", " ", ","])
def test_delimiters_and_line_breaks_may_be_in_quotes(tmp_path: Path, delimiter: str) -> None:
    lines = ["item~text~stars", '1~"a~b"~5', '2~"two\nlines"~4', "3~c~3", "4~d~2"]
    path = written(tmp_path, "\n".join(lines).replace("~", delimiter))
    rows, rejects = read(path)
    assert [row[1:] for row in rows] == [
        ("1", f"a{delimiter}b", "5"), ("2", "two\nlines", "4"), ("3", "c", "3"), ("4", "d", "2"),
    ]  # fmt: skip
    assert rejects == []


@pytest.mark.parametrize("text", ['"Heroes" live', '"Heroes', '12" mix', '"Heroes" "live"'])
def test_quotes_that_enclose_no_field_are_text(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"item\tname\tstars\n1\t{text}\t5\n2\tx\t4\n3\ty\t3\n")
    assert [row[2] for row in read(path)[0]] == [text, "x", "y"]


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
        ("latin-1", "cp1252"),
    ],
)
def test_the_encoding_is_found(
    tmp_path: Path, encoding: str, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "user,item\n7,Bjørk und Motörhead\n".encode(encoding))
    with caplog.at_level("INFO"):
        assert look(path).text.encoding == found
    assert read(path) == ([(2, "7", "Bjørk und Motörhead")], [])
    assert ("log.csv: " in caplog.text) == (found != "utf-8")


def test_the_guess_of_an_encoding_is_stated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "a,b\n1,über\n".encode("latin-1"))
    with caplog.at_level("INFO"):
        look(path)
    assert caplog.messages == [
        "log.csv: not UTF-8, so it is read as Windows-1252 (cp1252); if that is wrong, set "
        "encoding in source.formats"
    ]


def test_the_first_text_that_is_not_ascii_may_come_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.ingest.sources.text_encoding._SAMPLE_BYTES", 100)
    monkeypatch.setattr("components.ingest.sources.text_encoding._SCAN_BYTES", 1000)
    path = written(tmp_path, b"a,b\n" + b"1,x\n" * 5000 + "2,é\n".encode("latin-1"))
    assert look(path).text.encoding == "cp1252"
    path = written(tmp_path, b"a,b\n" + b"1,x\n" * 5000 + "2,é\n".encode())
    assert look(path).text.encoding == "utf-8"


def test_an_encoding_may_be_set(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,日本\n".encode("shift_jis"))
    assert read(path, encoding="shift_jis") == ([(2, "1", "日本")], [])
    with pytest.raises(InputError, match="'klingon' is not an encoding"):
        look(path, encoding="klingon")
    with pytest.raises(InputError, match="'base64' is not an encoding"):
        look(path, encoding="base64")


@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "utf-16"])
def test_records_with_undecodable_bytes_are_rejected_alone(tmp_path: Path, encoding: str) -> None:
    good = "a,b\n1,日本\n2,x\n3,日本\n".encode(encoding)
    two = "2,x".encode(encoding).removeprefix(b"\xff\xfe")
    bad = {"utf-16": "2,".encode("utf-16-le") + b"\x00\xdc"}.get(encoding, b"2,\xff")
    path = written(tmp_path, good.replace(two, bad))
    rows, rejects = read(path, encoding=encoding)
    assert rows == [(2, "1", "日本"), (4, "3", "日本")]
    assert [(row, reason) for row, reason, _ in rejects] == [(3, f"not {encoding.upper()}")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_line_ends_of_every_system_are_read(tmp_path: Path, end: str) -> None:
    path = written(tmp_path, end.join(["a,b", "1,x", '2,"p, q"', "3,z", ""]))
    rows, rejects = read(path)
    assert [row[1:] for row in rows] == [("1", "x"), ("2", "p, q"), ("3", "z")]
    assert rejects == []


COMPRESS = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_compression_is_recognised_by_content(tmp_path: Path, compression: str, name: str) -> None:
    compress = COMPRESS[compression]
    content = compress(b"a,b\n1,x\n") + compress(b"2,y\n")  # as of files joined with cat
    path = written(tmp_path, content, name)
    assert read(path) == ([(2, "1", "x"), (3, "2", "y")], [])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\xfd7zXZ\x00rest", "compressed with xz"),
        (b"SQLite format 3\x00", "an SQLite database"),
    ],
)
def test_other_packed_files_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(InputError, match=f"log.csv is {what}, which is not read. Unpack"):
        look(written(tmp_path, content))


# --- headers, comments, types ---------------------------------------------------------------------


def test_a_file_without_a_header_takes_names_from_the_config(tmp_path: Path) -> None:
    path = written(tmp_path, "7\t1\t5\n8\t2\t4\n")
    assert list(look(path).columns) == ["column_1", "column_2", "column_3"]
    rows = [(1, "7", "1", "5"), (2, "8", "2", "4")]
    assert read(path, names=["user", "item", "stars"]) == (rows, [])
    with pytest.raises(InputError, match=r"log\.csv has 3 columns, but names has 2"):
        look(path, names=["user", "item"])


def test_a_header_may_be_declared_or_denied(tmp_path: Path) -> None:
    path = written(tmp_path, "user,2024\nx,5\n")
    assert list(look(path).columns) == ["column_1", "column_2"]
    assert list(look(path, header=True).columns) == ["user", "2024"]
    path = written(tmp_path, "anna,jazz\nbert,rock\n")
    assert read(path, header=False)[0] == [(1, "anna", "jazz"), (2, "bert", "rock")]


def test_typed_headers_give_names_types_and_lists(tmp_path: Path) -> None:
    header = "item_id:token\tprice:float\ttags:token_seq"
    path = written(tmp_path, f"{header}\n7\t1.5\trock new wave\n8\t\t\n", "shop.item")
    layout = look(path)
    assert layout.columns == {
        "item_id": pa.string(),
        "price": pa.float64(),
        "tags": pa.list_(pa.string()),
    }
    wanted: dict[str, DType | None] = {"item_id": None, "price": None, "tags": "list<string>"}
    assert read(path, wanted)[0] == [
        (2, "7", "1.5", ["rock", "new", "wave"]),
        (3, "8", "", []),
    ]


@pytest.mark.parametrize("comment", ["# 2 users, 3 artists\n", "% bip weighted\n#\n", ""])
def test_a_comment_may_hold_the_names(tmp_path: Path, comment: str) -> None:
    path = written(tmp_path, f"{comment}# userID\tartistID\tweight\n2\t51\t13883\n", "plays.dat")
    assert list(look(path).columns) == ["userID", "artistID", "weight"]
    assert [row[1:] for row in read(path)[0]] == [("2", "51", "13883")]


def test_comments_before_a_header_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, "# made by a script\n\nuser,item\n7,#1 hit\n#8,x\n")
    # What the config does not declare as a comment is data.
    assert read(path) == ([(4, "7", "#1 hit"), (5, "#8", "x")], [])
    assert read(path, comment="#") == ([(4, "7", "#1 hit")], [])


def test_quotes_in_tab_separated_text_are_kept_if_they_do_not_enclose(tmp_path: Path) -> None:
    path = written(tmp_path, 'id\tname\n1\t"Weird Al" Yankovic\n2\t12" mix\n', "artists.dat")
    assert [row[2] for row in read(path)[0]] == ['"Weird Al" Yankovic', '12" mix']
    path = written(tmp_path, 'id\tname\n1\t"a\tb"\n2\t"c"\n', "artists.dat")
    assert [row[2] for row in read(path)[0]] == ["a\tb", "c"]


def test_columns_without_a_name_get_one(tmp_path: Path) -> None:
    path = written(tmp_path, ",user,item\n0,7,1\n")
    assert read(path) == ([(2, "0", "7", "1")], [])
    assert list(look(path).columns) == ["column_1", "user", "item"]


# --- records over several lines, and those that are none ------------------------------------------


@pytest.fixture(params=[7, 64, 8 << 20])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(text_stream, "BLOCK_BYTES", request.param)
    return request.param


def test_line_breaks_in_quotes_are_part_of_the_value(tmp_path: Path, block_bytes: int) -> None:
    content = 'user;text;stars\n7;"Zeile eins\r\n\r\nZeile ""drei""; größer";5\n8;"x";4\n'
    path = written(tmp_path, content.encode("latin-1"))
    assert read(path) == (
        [(2, "7", 'Zeile eins\n\nZeile "drei"; größer', "5"), (5, "8", "x", "4")],
        [],
    )


def test_values_over_two_lines_are_not_two_records(tmp_path: Path) -> None:
    # Each line alone would have two fields.
    path = written(tmp_path, 'a,b,c\n1,2,"x\ny",3,z\n4,5,"p\nq"\n')
    rows, rejects = read(path)
    assert rows == [(4, "4", "5", "p\nq")]
    assert rejects == [(2, "5 fields instead of 3", '1,2,"x\ny",3,z')]


def test_an_unclosed_quote_rejects_only_its_own_line(tmp_path: Path, block_bytes: int) -> None:
    lines = ["a,b", "1,x", '2,"open', "3,y", "short", '5,"p, q"', '6,"the ""z"""', '7,12" mix']
    rows, rejects = read(written(tmp_path, "\n".join(lines)))
    assert rows == [
        (2, "1", "x"), (4, "3", "y"), (6, "5", "p, q"), (7, "6", 'the "z"'), (8, "7", '12" mix'),
    ]  # fmt: skip
    assert sorted(rejects) == [
        (3, "a quote is not closed", '2,"open'),
        (5, "1 fields instead of 2", "short"),
    ]


def test_an_unclosed_quote_at_the_end_is_rejected(tmp_path: Path, block_bytes: int) -> None:
    assert read(written(tmp_path, 'a,b\n1,x\n2,"open')) == (
        [(2, "1", "x")],
        [(3, "a quote is not closed", '2,"open')],
    )


def test_a_quote_does_not_swallow_complete_records(tmp_path: Path) -> None:
    lines = ["a,b,c", '1,"open,5', "2,x,4", "3,y,3", '4,z",2', "5,w,1"]
    rows, rejects = read(written(tmp_path, "\n".join(lines)))
    assert [row[0] for row in rows] == [3, 4, 5, 6]
    assert rejects == [(2, "a quote is not closed", '1,"open,5')]


def test_many_unclosed_quotes_are_rejected_in_linear_time(tmp_path: Path) -> None:
    content = "a,b\n" + 'x","\n' * 20_000
    rows, rejects = read(written(tmp_path, content))
    assert len(rows) + len(rejects) >= 1
    assert len(rejects) <= 20_000


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_line_over_the_limit_is_a_reject_with_a_short_text(tmp_path: Path, form: str) -> None:
    first, last = ("a,b\n1,2\n", "3,4\n") if form == "csv" else ('{"a":"1","b":"2"}\n',
                                                                 '{"a":"3","b":"4"}\n')  # fmt: skip
    number = 3 if form == "csv" else 2
    path = written(tmp_path, first + "x" * 20_000_000 + "\n" + last)
    rows, rejects = read(path)
    assert [row[1:] for row in rows] == [("1", "2"), ("3", "4")]
    [(row, reason, text)] = rejects
    assert (row, reason) == (number, "longer than 1 MB")
    assert len(text) < 1000


# --- JSON Lines -----------------------------------------------------------------------------------


def test_json_lines_keep_their_types(tmp_path: Path, block_bytes: int) -> None:
    rows = [{"u": "a", "n": 1, "x": 0.5, "b": True, "l": ["p"], "o": {"k": 1}}] * 3
    path = written(tmp_path, "\n".join(map(json.dumps, rows)), "log.jsonl")
    assert look(path).columns == {
        "u": pa.string(), "n": pa.int64(), "x": pa.float64(), "b": pa.bool_(),
        "l": pa.list_(pa.string()), "o": pa.struct([]),
    }  # fmt: skip
    found, rejects = read(path, dict.fromkeys("unxbl"))
    assert found == [(row, "a", 1, 0.5, True, ["p"]) for row in (1, 2, 3)]
    assert rejects == []


def test_bad_lines_of_json_are_rejected_alone(tmp_path: Path, block_bytes: int) -> None:
    good = '{"u":"a","n":1}'
    bad = [
        ("{", "not JSON"), ("[1]", "not a JSON object"), ("5", "not a JSON object"),
        ('{"u":{"k":1}}', "u is an object"), ('{"u":["a"]}', "u is a list"),
        (good + good, "not JSON"), ('{"u":"\\ud800"}', "u is not Unicode text"),
        ('{"u":' * 3000, "not JSON"),
    ]  # fmt: skip
    lines = [good, *(line for line, _ in bad), "", good]
    rows, rejects = read(written(tmp_path, "\n".join(lines), "log.jsonl"), {"u": None, "n": None})
    assert [(number, str(n)) for number, _, n in rows] == [(1, "1"), (11, "1")]
    assert [(row, reason) for row, reason, _ in rejects] == [
        (number, reason) for number, (_, reason) in enumerate(bad, 2)
    ]


def test_values_of_several_types_in_json_become_text(tmp_path: Path) -> None:
    lines = ['{"id":1}', '{"id":18446744073709551615}', '{"id":"x"}', '{"id":null}', '{"id":true}']
    rows, _ = read(written(tmp_path, "\n".join(lines), "log.jsonl"))
    assert [value for _, value in rows] == ["1", "18446744073709551615", "x", None, "1"]


def test_a_json_array_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a JSON array, not a JSON object on each line"):
        look(written(tmp_path, '[\n{"a": 1}\n]', "log.json"))


# --- Parquet --------------------------------------------------------------------------------------


def test_parquet_columns_of_any_type_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "view": pa.array(["a", None], pa.string_view()),
            "large": pa.array([2**64 - 1, 1], pa.uint64()),
            "category": pa.array(["x", "y"]).dictionary_encode(),
            "time": pa.array([1, 2], pa.timestamp("us", "UTC")),
            "nothing": pa.nulls(2),
            "nested": [{"k": 1}, {"k": 2}],
        }
    )
    path = tmp_path / "log.parquet"
    pq.write_table(table, path, row_group_size=1)
    rows, rejects = read(path, dict.fromkeys(["view", "large", "category", "nothing"]))
    assert rows == [(1, "a", 2**64 - 1, "x", None), (2, None, 1, "y", None)]
    assert rejects == []
    assert look(path).columns["time"] == pa.timestamp("us", "UTC")


def test_parts_may_differ_in_width_unused_columns_and_null_columns(tmp_path: Path) -> None:
    parts = {
        "a": pa.table({"id": pa.array([1], pa.int32()), "tag": ["x"]}),
        "b": pa.table({"tag": pa.nulls(1), "id": pa.array([2], pa.int64()), "more": ["z"]}),
        "c": pa.table({"id": pa.nulls(0), "tag": pa.nulls(0)}),
        "d": pa.table({"id": pa.array([4], pa.int64())}),
    }
    for name, table in parts.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    layout = look_at_table(find_files(str(tmp_path)), None, "source.interactions")
    rows, _ = read_all(layout, {"id": None, "tag": None})
    assert rows["id"].to_pylist() == [1, 2, 4]
    assert rows["tag"].to_pylist() == ["x", None, None]


@pytest.mark.parametrize("damage", ["cut", "no footer", "flipped"])
def test_damaged_parquet_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"id": list(range(1000))}), path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:100]
    elif damage == "no footer":
        content[-4:] = b"abcd"
    else:
        content[4:40] = bytes(36)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"log\.parquet is not a Parquet file, or is damaged"):
        read(path)


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_is_read_without_what_is_no_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["b/part-1.csv", "a/part-0.csv.gz", "_SUCCESS", ".part.csv.crc", "README.md"]
    for name in [*names, "_temporary/part-2.csv"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").touch()
    with caplog.at_level("INFO"):
        found = find_files(str(tmp_path), "source.interactions")
    assert [file.name for file in found] == ["a/part-0.csv.gz", "b/part-1.csv"]
    assert "README.md are not read: no ending of data" in caplog.text


def test_files_without_an_ending_are_read_if_no_other_has_one(tmp_path: Path) -> None:
    for name in ("part-00000", "part-00001"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    assert [file.name for file in find_files(str(tmp_path))] == ["part-00000", "part-00001"]


def test_folders_of_a_hive_table_are_columns(tmp_path: Path) -> None:
    for day, country in (("2024-05-01", "a%20b"), ("2024-05-02", "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / f"day={day}" / f"country={country}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"user": [1]}), folder / "part-0.parquet")
    layout = look_at_table(find_files(str(tmp_path)), None, "source.interactions")
    rows, _ = read_all(layout, dict.fromkeys(["user", "day", "country"]))
    assert rows.drop_columns(["_file", "_row"]).to_pylist() == [
        {"user": 1, "day": "2024-05-01", "country": "a b"},
        {"user": 1, "day": "2024-05-02", "country": None},
    ]


def test_files_of_several_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"source\.users: a\.csv is csv and b\.parquet is parquet"):
        look_at_table(find_files(str(tmp_path)), None, "source.users")


# --- limits ---------------------------------------------------------------------------------------


def test_a_file_that_unpacks_to_far_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_stream, "_RATIO_FROM_BYTES", 1 << 20)
    path = written(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 2_000_000), "log.csv.gz")
    with pytest.raises(InputError, match="unpacks to more than 250 times its"):
        read(path)


@pytest.mark.parametrize(
    ("compression", "damage"),  # zstd has no checksum by default
    [("gzip", "cut"), ("gzip", "flipped"), ("bz2", "cut"), ("bz2", "flipped"), ("zstd", "cut")],
)
def test_damaged_compression_is_one_clear_error(
    tmp_path: Path, compression: str, damage: str
) -> None:
    content = "a,b\n" + "".join(f"{n * 7919 % 99_991},{n}\n" for n in range(20_000))
    packed = bytearray(COMPRESS[compression](content.encode()))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    else:
        packed[len(packed) // 2] ^= 0xFF
    path = written(tmp_path, bytes(packed))
    with pytest.raises(InputError, match=f"log.csv is damaged: its {compression} data"):
        read(path)


def test_batches_are_read_without_a_config(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item\n7,1\n8,2\n")
    [batch] = read_batches(look(path), ["item"])
    assert batch["item"].to_pylist() == ["1", "2"]


def test_parts_with_text_of_other_widths_are_joined_though_it_is_not_utf8(tmp_path: Path) -> None:
    bad = pa.array([b"\xff", b"b"]).view(pa.string())
    pq.write_table(pa.table({"id": ["1", "2"], "tag": bad}), tmp_path / "a.parquet")
    wide = pa.array(["c"], pa.large_string())
    pq.write_table(pa.table({"id": ["3"], "tag": wide}), tmp_path / "b.parquet")
    large = pa.array([b"\xfe"], pa.large_binary())
    pq.write_table(pa.table({"id": ["4"], "tag": large}), tmp_path / "c.parquet")
    layout = look_at_table(find_files(str(tmp_path)), None, "source.candidates")
    rows, _ = read_all(layout, {"id": None, "tag": None})
    found = parse(rows["tag"], Column(name="tag", dtype="string"), "|")
    assert found.values.to_pylist() == [None, "b", "c", None]
    assert found.missing.to_pylist() == [False] * 4  # so that these rows are rejects


def test_a_header_over_the_limit_of_a_line_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{'c' * 90}{number}" for number in range(40)]
    lines = [names, *([str(row)] * 40 for row in range(3))]
    (tmp_path / "log.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    monkeypatch.setattr(text_stream, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(text_stream, "BLOCK_BYTES", 500)
    assert read(tmp_path / "log.csv", {names[0]: None}) == (
        [(row + 2, str(row)) for row in range(3)],
        [],
    )


@pytest.mark.parametrize("bad", ["", "no JSON\n"])
def test_a_bad_line_of_json_changes_no_other_value(tmp_path: Path, bad: str) -> None:
    (tmp_path / "log.jsonl").write_text('{"seen": true, "n": 1}\n{"seen": false}\n{}\n' + bad)
    layout = look(tmp_path / "log.jsonl")
    (table, *_) = (records.rows for part in parts_of([layout]) for records in
                   read_part(part, {"seen": None}))  # fmt: skip
    text = parse(table["seen"], Column(name="seen", dtype="string"), "|").values
    assert text.to_pylist() == ["true", "false", None]


def test_files_of_the_same_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "log.csv").write_text("x,y\n1,2\n")
    found = find_files(str(tmp_path / "**" / "*.csv"))
    assert [file.name for file in found] == ["a/log.csv", "b/c/log.csv"]
    assert [file.name for file in find_files(str(tmp_path / "[ab]"))] == ["log.csv", "c/log.csv"]
    (tmp_path / "b" / "log.csv").write_text("x,y\n1,2\n")
    names = [file.name for file in find_files(str(tmp_path / "[ab]"))]
    assert names == ["a/log.csv", "b/c/log.csv", "b/log.csv"]


@pytest.mark.parametrize("quote", ["", '"'])
def test_what_databases_write_for_a_missing_value_is_missing(tmp_path: Path, quote: str) -> None:
    (tmp_path / "users.csv").write_text(f"user,age\n1,{quote}NULL{quote}\n2,\\N\n3,\n4,30\n5,-\n")
    read = {
        name: read_all(
            look_at_table(find_files(str(tmp_path / "users.csv")), how, "source.users"),
            {"age": None},
        )[0]["age"].to_pylist()
        for name, how in (("default", None), ("own", FileFormat(null_values=["-"])))
    }
    assert read == {
        "default": [None, None, "", "30", "-"],
        "own": ["NULL", "\\N", "", "30", None],
    }
