"""Which columns of the user's files are read, from which table, and with which types."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest.config import FilesSource
from components.ingest.sources import InteractionLog
from components.ingest.sources.files import open_files
from components.ingest.sources.joining import concat
from components.ingest.sources.log import with_origin
from components.ingest.sources.reading import ReadFiles
from components.shared.contracts.table_needs import ColumnNeed, TableNeeds
from components.shared.contracts.tables import DType
from components.shared.runtime.arrow import one_array
from components.shared.runtime.errors import InputError, raise_all

COLUMNS = {"query_id": "user", "candidate_id": "item", "rating": "stars", "timestamp": "ts"}
LOG = "user,item,stars,ts,device,picture\nu1,7,5,30,web,\nu2,7,4,20,app,x\nu1,8,3,10,app,\n"
ITEMS = "item,name,tags,price,picture\n7,Seven,a|b,1.5,\n8,Eight,,2,x\n"


def needs(query: dict[str, list[DType]] | None = None, **candidate: list[DType]) -> TableNeeds:
    return TableNeeds(
        query={name: ColumnNeed(dtypes=dtypes) for name, dtypes in (query or {}).items()},
        candidate={name: ColumnNeed(dtypes=dtypes) for name, dtypes in candidate.items()},
    )


def opened(
    folder: Path, files: dict[str, str | bytes | pa.Table], want: TableNeeds | None, **source: Any
) -> InteractionLog:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, folder / name)
        else:
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    source = {"interactions": "log.csv", "columns": COLUMNS, **source}
    for key in ("interactions", "candidates", "users"):
        value = source.get(key)
        if isinstance(value, str):
            source[key] = str(folder / value)
        elif isinstance(value, list):
            source[key] = [str(folder / path) for path in value]
    config = FilesSource.model_validate({"kind": "files", **source})
    log = open_files(config, batch_rows=100, needs=want)
    raise_all(log.problems)
    return log


def rows(log: InteractionLog) -> list[dict[str, Any]]:
    read = log.interactions
    assert isinstance(read, ReadFiles)
    return [
        row
        for part in read._parts
        for batch in read._read.process(part)
        for row in getattr(batch, "value", batch).to_pylist()
    ]


def dtypes(log: InteractionLog) -> dict[str, str]:
    schema = log.schema
    return {c.name: c.dtype for c in (*schema.query, *schema.interaction, *schema.candidate)}


# --- only what is needed --------------------------------------------------------------------------


def test_only_needed_columns_are_read(tmp_path: Path) -> None:
    want = needs({"user": ["string"], "device": ["string"]}, tags=["list<string>"])
    log = opened(tmp_path, {"log.csv": LOG, "items.csv": ITEMS}, want, candidates="items.csv")
    assert list(dtypes(log)) == ["user", "device", "stars", "ts", "item", "title", "tags"]
    assert list(rows(log)[0]) == ["user", "device", "item", "stars", "ts", "_file", "_row"]
    assert log.candidates.column_names == ["item", "tags", "_file", "_row", "title"]
    assert log.files is not None


def test_unused_columns_of_any_type_do_not_stop_a_run(tmp_path: Path) -> None:
    table = pa.table({"user": ["u1"], "item": [7], "stars": [5], "ts": [10]})
    table = table.append_column("day", pa.array([1], pa.date32()))
    table = table.append_column("nested", [[{"k": 1}]]).append_column("nothing", pa.nulls(1))
    table = table.append_column("span", pa.array([1], pa.duration("s")))
    log = opened(tmp_path, {"log.parquet": table}, needs(), interactions="log.parquet")
    assert list(rows(log)[0]) == ["user", "item", "stars", "ts", "_file", "_row"]
    everything = opened(tmp_path, {}, None, interactions="log.parquet")
    assert [column.name for column in everything.schema.query] == ["user", "day", "nothing"]


def test_the_event_column_arrives_but_is_no_column_of_the_tables(tmp_path: Path) -> None:
    columns = {**COLUMNS, "event": "device"}
    log = opened(tmp_path, {"log.csv": LOG}, needs(), columns=columns)
    assert rows(log)[0]["device"] == "web"
    assert "device" not in dtypes(log)


def test_a_log_without_ratings_or_times_gets_constants(tmp_path: Path) -> None:
    columns = {"query_id": "user", "candidate_id": "item"}
    log = opened(tmp_path, {"log.csv": LOG}, needs(), columns=columns)
    assert [(row["rating"], row["timestamp"]) for row in rows(log)] == [(1.0, 0)] * 3


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item_values", "device", "row"), [("latest", "web", 2), ("first", "app", 3)]
)
def test_without_a_catalogue_the_items_are_those_of_the_log(
    tmp_path: Path, item_values: str, device: str, row: int
) -> None:
    want = needs({}, device=["string"])
    log = opened(tmp_path, {"log.csv": LOG}, want, item_values=item_values)
    found = {item["item"]: item for item in log.candidates.to_pylist()}
    assert set(found) == {"7", "8"}
    assert found["7"] == {
        "item": "7", "device": device, "_file": "log.csv", "_row": row, "title": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    "times",
    [
        ["9", "10", "x", ""],
        ["2024-01-31", "2024-02-01T00:00:00Z", "", "bad"],
        pa.array([1, 2, None, None], pa.timestamp("us", "UTC")),
        pa.array([1, 2, None, None], pa.date32()),
        pa.array([1.5, 1.75, None, float("nan")]),
        pa.array([2**64 - 2**12, 2**64 - 1, None, 1], pa.uint64()),
    ],
    ids=["text", "ISO", "timestamp", "date", "float", "uint64"],
)
def test_the_latest_row_is_found_for_every_form_of_time(tmp_path: Path, times: Any) -> None:
    table = pa.table({"user": ["u"] * 4, "item": ["i"] * 4, "ts": times, "n": ["a", "b", "c", "d"]})
    columns = {"query_id": "user", "candidate_id": "item", "timestamp": "ts"}
    want = needs({}, n=["string"])
    log = opened(tmp_path, {"l.parquet": table}, want, interactions="l.parquet", columns=columns)
    assert log.candidates["n"].to_pylist() == ["b"]


def test_without_a_catalogue_and_times_the_last_row_counts(tmp_path: Path) -> None:
    columns = {"query_id": "user", "candidate_id": "item", "title": "device"}
    log = opened(tmp_path, {"log.csv": LOG}, needs(), columns=columns)
    assert dict(zip(*(log.candidates[c].to_pylist() for c in ("item", "device")), strict=True)) == {
        "7": "app", "8": "app",
    }  # fmt: skip


def test_columns_of_several_catalogues_are_joined_by_the_items_of_the_first(tmp_path: Path) -> None:
    prices = pa.table({"item": [8, 9, 7, 8], "price": [2.0, 9.0, 1.0, 3.0]})
    tags = '{"item": "7", "tags": ["x", "y"]}\n'
    want = needs({}, price=["float32"], tags=["list<string>"])
    log = opened(
        tmp_path,
        {"log.csv": LOG, "items.csv": "item,name\n7,Seven\n8,Eight\n", "p.parquet": prices,
         "t.jsonl": tags},
        want, candidates=["items.csv", "p.parquet", "t.jsonl"],
        columns={**COLUMNS, "title": "name"},
    )  # fmt: skip
    assert log.candidates.drop_columns(["_file", "_row"]).to_pylist() == [
        {"item": "7", "name": "Seven", "price": 1.0, "tags": ["x", "y"]},
        {"item": "8", "name": "Eight", "price": 2.0, "tags": None},
    ]
    assert [(r["file"], r["row"], r["reason"]) for r in log.rejects.to_pylist()] == [
        ("p.parquet", 4, "duplicate item")
    ]
    assert dtypes(log)["price"] == "float32"


def test_rows_of_further_catalogues_that_no_item_can_have_are_rejects(tmp_path: Path) -> None:
    log = opened(
        tmp_path,
        {"log.csv": LOG, "items.csv": "item\n7\n8\n",
         "more.csv": "item,price\n,1\n7,2\n7,3\n ,4\n"},
        needs({}, price=["float32"]), candidates=["items.csv", "more.csv"],
    )  # fmt: skip
    assert [(r["row"], r["reason"]) for r in log.rejects.to_pylist()] == [
        (2, "missing item"), (4, "duplicate item"), (5, "missing item"),
    ]  # fmt: skip


def test_users_may_have_a_table_of_their_own(tmp_path: Path) -> None:
    users = "user_id:token\tage:float\tlikes:token_seq\nu1\t30\trock pop\nu2\t\t\n"
    log = opened(
        tmp_path,
        {"log.inter": LOG.replace(",", "\t").replace("user\t", "user_id\t"), "shop.user": users},
        needs({"user_id": ["string"], "age": ["float32"], "likes": ["list<string>"]}),
        interactions="log.inter", users="shop.user", columns={**COLUMNS, "query_id": "user_id"},
    )  # fmt: skip
    assert log.users is not None
    assert log.users.drop_columns(["_file", "_row"]).to_pylist() == [
        {"user_id": "u1", "age": "30", "likes": ["rock", "pop"]},
        {"user_id": "u2", "age": "", "likes": []},
    ]
    assert list(rows(log)[0]) == ["user_id", "item", "stars", "ts", "_file", "_row"]
    assert dtypes(log) | {"likes": "list<string>"} == dtypes(log)


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "wanted", "dtype"),
    [
        (["a|b"], ["list<string>"], "list<string>"),
        (["1"], ["float32", "int64"], "float32"),
        ([1], ["string", "int64"], "int64"),
        ([1], ["string"], "string"),
        ([True], ["int64"], "int64"),
        ([1.5], ["float32", "int64"], "float32"),
        ([1], ["float32", "int64"], "int64"),
        (pa.array([[1, 2]]), ["list<string>"], "list<string>"),
        (pa.array([1], pa.date32()), ["string"], "string"),
        (pa.array([1], pa.uint64()), ["string", "int64"], "string"),
        (pa.array([1], pa.uint64()), ["int64"], "int64"),
        (pa.array(["x"]).dictionary_encode(), ["string"], "string"),
        (pa.nulls(1), ["list<string>"], "list<string>"),
    ],
)
def test_a_typed_column_becomes_what_a_feature_takes(
    tmp_path: Path, values: Any, wanted: list[DType], dtype: str
) -> None:
    table = pa.table({"user": ["u"], "item": ["i"], "stars": [1], "ts": [1], "f": values})
    log = opened(tmp_path, {"l.parquet": table}, needs({"f": wanted}), interactions="l.parquet")
    assert dtypes(log)["f"] == dtype


@pytest.mark.parametrize(
    ("values", "wanted", "says"),
    [
        ([["a"]], ["string"], "has the type list<element: string>, but the feature f takes string. "
         "To fix this, use it in a feature that takes lists, e.g. multi_categorical or vector."),
        ([1], ["list<string>"], "has the type int64, but the feature f takes list<string>. To fix "
         "this, store lists, or text whose values are joined with list_separator of "
         "source.formats (| by default)."),
        ([{"k": 1}], ["string"], "To fix this, convert it to a string, a number or a list of "),
        ([1.5], ["string"], "has the type double, but the feature f takes string"),
        (pa.array([1], pa.date32()), ["int64"], "but the feature f takes int64"),
    ],
)  # fmt: skip
def test_a_column_that_would_lose_something_is_one_clear_error(
    tmp_path: Path, values: Any, wanted: list[DType], says: str
) -> None:
    table = pa.table({"user": ["u"], "item": ["i"], "stars": [1], "ts": [1], "f": values})
    with pytest.raises(InputError) as error:
        opened(tmp_path, {"l.parquet": table}, needs({"f": wanted}), interactions="l.parquet")
    assert str(error.value).startswith("source.interactions: the column 'f' has the type ")
    assert says in str(error.value)


def test_types_in_the_config_win(tmp_path: Path) -> None:
    want = needs({"device": ["string"]})
    log = opened(
        tmp_path, {"log.csv": LOG}, want, dtypes={"device": "list<string>", "item": "int64"}
    )
    assert dtypes(log)["device"] == "list<string>"
    assert dtypes(log)["item"] == "int64"
    assert rows(log)[0]["device"] == ["web"]


def test_the_separator_of_lists_may_be_set(tmp_path: Path) -> None:
    items = "item;tags\n7; a, b ,,\n8;\n"
    log = opened(
        tmp_path, {"log.csv": LOG, "i.csv": items}, needs({}, tags=["list<string>"]),
        candidates="i.csv", formats={"candidates": {"list_separator": ","}},
    )  # fmt: skip
    assert log.candidates["tags"].to_pylist() == [["a", "b"], []]


def test_a_rare_key_of_json_lines_is_read_if_it_is_declared(tmp_path: Path) -> None:
    lines = [json.dumps({"user": f"u{n}", "item": n, "stars": 1, "ts": n}) for n in range(9000)]
    lines.append('{"user": "u", "item": 1, "stars": 1, "ts": 1, "rare": "x"}')
    files: dict[str, Any] = {"log.jsonl": "\n".join(lines)}
    want = needs({"rare": ["string"]})
    with pytest.raises(InputError, match=r"features\.query\.rare: .* set source\.dtypes\.rare"):
        opened(tmp_path, files, want, interactions="log.jsonl")
    log = opened(tmp_path, files, want, interactions="log.jsonl", dtypes={"rare": "string"})
    assert [row["rare"] for row in rows(log)[-2:]] == [None, "x"]


# --- all that is wrong, in one message ------------------------------------------------------------


def test_all_missing_columns_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        opened(tmp_path, {"log.csv": LOG, "i.csv": "id,name\n7,x\n"}, needs(), candidates="i.csv",
               columns={**COLUMNS, "rating": "score"})  # fmt: skip
    assert str(error.value).splitlines() == [
        "2 problems:",
        "  source.columns.rating: log.csv has no column 'score'. Its columns are user, item, "
        "stars, ts, device, picture.",
        "  source.columns.candidate_id: i.csv has no column 'item'. Its columns are id, name.",
    ]


def test_a_damaged_catalogue_is_named_with_missing_columns(tmp_path: Path) -> None:
    items = pa.table({"item": [str(number) for number in range(1000)]})
    pq.write_table(items, tmp_path / "i.parquet", compression="none", write_page_checksum=True)
    content = bytearray((tmp_path / "i.parquet").read_bytes())
    content[200] ^= 0xFF
    with pytest.raises(InputError) as error:
        opened(tmp_path, {"log.csv": LOG, "i.parquet": bytes(content)}, needs(),
               candidates="i.parquet", columns={**COLUMNS, "rating": "score"})  # fmt: skip
    lines = str(error.value).splitlines()
    assert lines[0] == "2 problems:"
    assert lines[1].startswith("  source.columns.rating: log.csv has no column 'score'.")
    assert lines[2].startswith("  i.parquet is not a Parquet file, or is damaged (")


def test_features_without_a_column_are_named_with_the_columns_there_are(tmp_path: Path) -> None:
    want = needs({"age": ["float32"], "hour_of_day": ["int64"]}, genre=["string"])
    with pytest.raises(InputError) as error:
        opened(tmp_path, {"log.csv": LOG, "i.csv": ITEMS}, want, candidates="i.csv")
    assert str(error.value).splitlines() == [
        "2 problems:",
        "  features.query.age: source.interactions has no column 'age'. Its columns are user, "
        "item, stars, ts, device, picture.",
        "  features.candidate.genre: source.candidates has no column 'genre'. Its columns are "
        "item, name, tags, price, picture.",
    ]


def test_a_file_without_a_header_is_told_how_to_name_its_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        opened(tmp_path, {"log.csv": "u1,7,5,30\nu2,8,4,20\n"}, needs())
    assert "It has no header line: name its columns in source.formats.interactions.names." in str(
        error.value
    )


def test_types_that_ids_ratings_and_times_cannot_have_are_named(tmp_path: Path) -> None:
    table = pa.table({"user": [["u"]], "item": ["i"], "stars": [["x"]], "ts": [[1]]})
    with pytest.raises(InputError) as error:
        opened(tmp_path, {"l.parquet": table}, needs(), interactions="l.parquet")
    lines = str(error.value).splitlines()
    assert any("'user' of source.interactions has the type list" in line for line in lines)
    assert any(line.startswith("  source.columns.rating: the column 'stars'") for line in lines)
    assert any("a time is a number, ISO 8601 text, a date or a timestamp" in line for line in lines)


def test_a_message_lists_only_some_of_many_columns(tmp_path: Path) -> None:
    header = ",".join(f"{'c' * 200}{n}" for n in range(2000))
    with pytest.raises(InputError) as error:
        opened(tmp_path, {"log.csv": f"{header}\n{','.join('x' * 2000)}\n"}, needs())
    assert len(str(error.value)) < 10_000
    assert "and 1970 more" in str(error.value)


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_an_id_may_have_another_name_in_its_table(tmp_path: Path, form: str) -> None:
    def written(columns: dict[str, list[str]]) -> str | pa.Table:
        if form == "parquet":
            return pa.table(columns)
        lines = list(zip(*columns.values(), strict=True))
        if form == "csv":
            return "".join(",".join(line) + "\n" for line in [tuple(columns), *lines])
        return "".join(json.dumps(dict(zip(columns, line, strict=True))) + "\n" for line in lines)

    items = {"id": ["7", "8"], "item": ["hidden", "too"], "name": ["Seven", "Eight"]}
    people = {"uid": ["u1", "u2"], "city": ["Rome", "Oslo"]}
    log = opened(
        tmp_path,
        {"log.csv": LOG, f"items.{form}": written(items), f"users.{form}": written(people)},
        needs({"city": ["string"]}),
        candidates=f"items.{form}",
        users=f"users.{form}",
        columns={**COLUMNS, "title": "name", "catalogue_id": "id", "users_id": "uid"},
    )
    assert log.candidates.select(["item", "name"]).to_pydict() == {
        "item": ["7", "8"],
        "name": ["Seven", "Eight"],
    }
    assert log.users is not None
    assert log.users.select(["user", "city"]).to_pydict() == {
        "user": ["u1", "u2"],
        "city": ["Rome", "Oslo"],
    }


def test_words_of_a_typed_header_may_be_a_title_or_text(tmp_path: Path) -> None:
    log = opened(
        tmp_path,
        {
            "log.csv": LOG,
            "x.item": "item:token\tname:token_seq\tkind:token_seq\n7\tToy Story\ta b\n8\tHeat\tc\n",
        },
        needs(name=["string"], kind=["list<string>"]),
        candidates="x.item",
        columns={**COLUMNS, "title": "name"},
    )
    assert log.candidates.select(["name", "kind"]).to_pydict() == {
        "name": ["Toy Story", "Heat"],
        "kind": [["a", "b"], ["c"]],
    }


def test_times_of_several_zones_order_the_rows_of_an_item(tmp_path: Path) -> None:
    log = opened(
        tmp_path,
        {
            "log.csv": "user,item,stars,ts,shape\n"
            "u1,7,5,2024-05-01T10:00:00+09:00,early\nu2,7,4,2024-05-01T02:00:00Z,late\n"
        },
        needs(shape=["string"]),
    )
    assert log.candidates["shape"].to_pylist() == ["late"]


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (pa.array(["a"]), pa.array([b"\xff"]), [b"a", b"\xff"]),
        (pa.array([1]), pa.array([b"\xff"]), [b"1", b"\xff"]),
        (pa.array([b"a"], pa.binary(1)), pa.array([b"\xff"]), [b"a", b"\xff"]),
        (pa.array([["a"]]), pa.array([[b"\xff"]]), [[b"a"], [b"\xff"]]),
    ],
    ids=str,
)
def test_bytes_that_are_not_utf8_may_be_in_one_of_several_parts(
    first: pa.Array, second: pa.Array, joined: list[Any]
) -> None:
    table = concat([pa.table({"c": first}), pa.table({"c": second})])
    assert table is not None
    kept = one_array(table["c"])
    if pa.types.is_string(kept.type):
        kept = kept.view(pa.binary())
    assert kept.to_pylist() == joined


def test_only_the_row_whose_list_is_not_utf8_is_bytes_to_be_rejected(tmp_path: Path) -> None:
    tags = pa.array([b"c | d", b"e|\xff"]).view(pa.string())
    log = opened(
        tmp_path,
        {
            "log.csv": LOG,
            "items/a.parquet": pa.table({"item": [7], "tags": ["a|b"]}),
            "items/b.parquet": pa.table({"item": [8, 9], "tags": tags}),
        },
        needs(tags=["list<string>"]),
        candidates="items",
        columns={**COLUMNS},
    )
    assert log.candidates["tags"].to_pylist() == [[b"a", b"b"], [b"c", b"d"], [b"e", b"\xff"]]


def test_parts_whose_types_do_not_fit_together_are_named() -> None:
    parts = [
        with_origin(pa.table({"c": values}), file)
        for file, values in (("part-0", [1]), ("part-1", [["a"]]))
    ]
    with pytest.raises(InputError) as caught:
        concat(parts)
    assert str(caught.value) == (
        "The column 'c' has types that do not fit together: int64 and list<item: string> "
        "(part-0, part-1). Write it with one type."
    )
