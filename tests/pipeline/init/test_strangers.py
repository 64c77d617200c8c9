"""`deep-retrieval init` on files as strangers bring them: a config that fits, or one error."""

import json
import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components.ingest.job import ingest
from components.shared.contracts.statistics import Statistics
from pipeline.cli.main import main
from pipeline.config.loading import load_config

_DRAWN = random.Random(11)
PAIRS = list(dict.fromkeys((_DRAWN.randrange(30), _DRAWN.randrange(20)) for _ in range(700)))
ITEMS = range(20)
USERS = range(30)


def lines(folder: Path, name: str, rows: Any, head: str = "", encoding: str = "utf-8") -> str:
    """Write a text file; return its path."""
    path = folder / name
    path.write_text("".join(f"{row}\n" for row in ([head] if head else []) + list(rows)), encoding)
    return str(path)


def initialized(folder: Path, *data: str) -> tuple[str, dict[str, Any]]:
    """The config that `init` writes, as text and as values."""
    made = folder / "made.yaml"
    assert main(["init", *data, "--to", str(made), "--force"]) == 0
    text = made.read_text()
    return text, yaml.safe_load(text)


def ingested(folder: Path) -> Statistics:
    """What ingest makes of the config that `init` wrote."""
    values = load_config(str(folder / "made.yaml")).parameters()
    ingest(
        source=values["source"],
        config=values["ingest"],
        seed=values["seed"],
        needs=values["table_needs"],
        tables=str(folder / "tables"),
        rejects=str(folder / "rejects"),
    )
    return Statistics.read(folder / "tables")


def test_several_catalogues_are_joined(tmp_path: Path) -> None:
    log = lines(tmp_path, "log.csv", (f"{u},p{i}" for u, i in PAIRS), "user_id,item_id")
    few = lines(tmp_path, "few.csv", (f"p{i},{i % 3}" for i in ITEMS[:12]), "id,color")
    every = lines(tmp_path, "all.csv", (f"p{i},{i / 7}" for i in ITEMS), "id,price")
    other = lines(tmp_path, "other.csv", (f"p{i},{i % 2}" for i in ITEMS), "sku,size")
    text, config = initialized(tmp_path, log, few, every, other)
    assert config["source"]["candidates"] == [every, few]
    assert set(config["features"]["candidate"]) == {"item_id", "price", "color"}
    assert "other.csv is left out: its items are in 'sku', but in 'id' in" in text
    assert ingested(tmp_path).candidates == 20


def test_interactions_that_repeat_are_no_rejects(tmp_path: Path) -> None:
    log = lines(tmp_path, "log.csv", (f"{u},{i}" for u, i in PAIRS * 2), "user_id,item_id")
    _, config = initialized(tmp_path, log)
    assert config["ingest"]["duplicates"] == "history"
    statistics = ingested(tmp_path)
    assert statistics.rejects == {}
    assert sum(statistics.rows.values()) == len(PAIRS)


def test_rows_that_cannot_be_used_raise_the_limit_of_rejects(tmp_path: Path) -> None:
    rows = (f"{'' if n % 5 == 0 else u},{i},{1 + n % 5}" for n, (u, i) in enumerate(PAIRS))
    log = lines(tmp_path, "log.csv", rows, "user_id,item_id,rating")
    items = [*ITEMS, 3, 4]
    catalogue = lines(tmp_path, "items.csv", (f"{i},{i % 3}" for i in items), "item_id,color")
    text, config = initialized(tmp_path, log, catalogue)
    assert "# Rows are rejected: 20.0% without user_id" in text
    assert config["ingest"]["max_reject_share"] == pytest.approx(0.22, abs=0.02)
    assert sum(ingested(tmp_path).rows.values()) == len(PAIRS) - sum(
        n % 5 == 0 for n in range(len(PAIRS))
    )


def test_tables_without_header_get_names(tmp_path: Path) -> None:
    rows = (f"{u}::{i}::{1 + n % 5}::{978300760 + n}" for n, (u, i) in enumerate(PAIRS))
    data = [
        lines(tmp_path, "ratings.dat", rows),
        lines(tmp_path, "movies.dat", (f"{i}::Film {i} of {i + 1}::{'ab'[i % 2]}" for i in ITEMS)),
        lines(tmp_path, "users.dat", (f"{u}::{'FM'[u % 2]}::{u % 7}" for u in USERS)),
    ]
    _, config = initialized(tmp_path, *data)
    assert config["source"]["columns"] == {
        "query_id": "user", "candidate_id": "item", "rating": "rating", "timestamp": "timestamp",
        "title": "title",
    }  # fmt: skip
    assert config["source"]["formats"]["candidates"]["names"] == ["item", "title", "item_column_3"]
    assert set(config["features"]["query"]) == {"profile", "user_column_2", "user_column_3"}
    statistics = ingested(tmp_path)
    assert (statistics.candidates, statistics.rejects) == (20, {})


def test_columns_of_text_with_impossible_names_are_renamed(tmp_path: Path) -> None:
    log = lines(tmp_path, "log.csv", (f"{u};{i}" for u, i in PAIRS), '"User-ID";"Item/ID"')
    items = lines(tmp_path, "items.csv", (f"{i};{i % 3};{i % 2}" for i in ITEMS), "Item/ID;a/b;c")
    users = lines(tmp_path, "users.csv", (f"{u};{u % 3}" for u in USERS), "User-ID;class")
    _, config = initialized(tmp_path, log, items, users)
    assert config["source"]["columns"]["query_id"] == "User_ID"
    assert set(config["features"]["query"]) == {"profile", "class_"}
    assert set(config["features"]["candidate"]) == {"Item_ID", "a_b", "c"}
    assert ingested(tmp_path).rejects == {}


def test_an_id_that_no_feature_can_be_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.table({"User ID": [u for u, _ in PAIRS], "item_id": [i for _, i in PAIRS]})
    pq.write_table(table, tmp_path / "log.parquet")
    made = tmp_path / "made.yaml"
    assert main(["init", str(tmp_path / "log.parquet"), "--to", str(made)]) == 2
    assert "calls a column 'User ID', but it has to be a feature" in capsys.readouterr().err
    assert not made.exists()


def test_columns_of_json_with_objects_or_several_types_cost_no_row(tmp_path: Path) -> None:
    log = lines(tmp_path, "log.csv", (f"{u},{i}" for u, i in PAIRS), "user_id,item_id")
    items = [
        {
            "item_id": i,
            "rank": ["#1"] if i % 3 else "none",
            "shelves": [{"name": "x"}] if i % 2 else [],
            "details": {"a": 1},
            "mixed": {"b": 1} if i % 4 == 0 else "c",
            "tags": [["red"], ["blue", "red"]][i % 2],
        }
        for i in ITEMS
    ]
    catalogue = lines(tmp_path, "items.jsonl", map(json.dumps, items))
    text, config = initialized(tmp_path, log, catalogue)
    assert "20 rows; JSON Lines" in text
    assert set(config["features"]["candidate"]) == {"item_id", "tags"}
    for name in ("rank", "shelves", "details", "mixed"):
        assert f"# {name} is left out: no feature takes values of this type." in text
    assert ingested(tmp_path).candidates == 20


def test_names_that_the_tables_use_themselves_are_left_out(tmp_path: Path) -> None:
    rows = (f"{u},{i},{u % 3},{u % 4}" for u, i in PAIRS)
    log = lines(tmp_path, "log.csv", rows, "user_id,item_id,candidate_index,_row")
    users = lines(
        tmp_path, "users.csv", (f"{u},{u % 5},{u % 3}x,{u % 4},{u % 2}" for u in USERS),
        "user_id,rating,timestamp,item_id,age",
    )  # fmt: skip
    items = lines(tmp_path, "items.csv", (f"{i},{i % 5},{i % 4}" for i in ITEMS),
                  "item_id,title,rating")  # fmt: skip
    text, config = initialized(tmp_path, log, users, items)
    assert set(config["features"]["query"]) == {"profile", "age"}
    assert set(config["features"]["candidate"]) == {"item_id", "rating"}
    assert "# rating is left out: the tables have another column of this name" in text
    assert "# item_id is left out: the log has another column of this name" in text
    assert ingested(tmp_path).rejects == {}


def test_an_index_without_a_name_is_no_id(tmp_path: Path) -> None:
    log = lines(tmp_path, "log.csv", (f"{n},{u},{i}" for n, (u, i) in enumerate(PAIRS)),
                ",user_id,item_id")  # fmt: skip
    items = lines(tmp_path, "items.csv", (f"{n},{i},{i % 3}" for n, i in enumerate(ITEMS[::-1])),
                  ",item,color")  # fmt: skip
    _, config = initialized(tmp_path, log, items)
    assert config["source"]["columns"]["catalogue_id"] == "item"
    assert "formats" not in config["source"]


@pytest.mark.parametrize(
    "write",
    [
        lambda day: f"{day:%a %b %d} 18:00:06 +0000 {day:%Y}",
        lambda day: f"{day:%m/%d/%Y} 8:26",
        lambda day: f"{day:%d.%m.%Y}",
        lambda day: f"{day:%B %d %Y}",
    ],
)
def test_times_that_are_not_read_are_named(write: Callable[[date], str], tmp_path: Path) -> None:
    days = [date(2012, 4, 3) + timedelta(days=n) for n in range(len(PAIRS))]
    rows = (f"{u}\t{i}\t{write(day)}" for (u, i), day in zip(PAIRS, days, strict=True))
    text, config = initialized(
        tmp_path, lines(tmp_path, "log.tsv", rows, "user_id\titem_id\tadded")
    )
    assert f"# CHECK timestamp: 'added' seems to be one, but '{write(days[0])}'" in text
    assert config["ingest"]["split"] == "random"
    assert list(config["features"]["query"]) == ["profile"]


def test_a_log_in_two_tables_is_one_error_that_says_how_to_join_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = lines(tmp_path, "orders.csv", (f"{n},{n % 20}" for n in range(60)), "order_id,user_id")
    parts = (f"{n},{i}" for n in range(60) for i in range(n % 20, 20))
    products = lines(tmp_path, "products.csv", parts, "order_id,product_id")
    assert main(["init", orders, products, "--to", str(tmp_path / "made.yaml")]) == 2
    assert "join the two on order_id into one file" in capsys.readouterr().err


def test_more_users_than_are_counted_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("components.shared.profiling.column_summary", "pipeline.init.table_look"):
        monkeypatch.setattr(f"{module}.MOST_DISTINCT", 25)
    log = lines(tmp_path, "log.csv", (f"{u},{i}" for u, i in PAIRS), "user_id,item_id")
    _, config = initialized(tmp_path, log)
    assert config["source"]["columns"]["query_id"] == "user_id"


def test_impossible_times_are_rejected_and_old_ones_are_not(tmp_path: Path) -> None:
    def log(years: Callable[[int], int]) -> str:
        rows = (f"{u},{i},{years(n)}-01-05" for n, (u, i) in enumerate(PAIRS))
        return lines(tmp_path, "log.csv", rows, "reader,book,date")

    _, config = initialized(tmp_path, log(lambda n: 1700 + n % 300))
    assert config["source"]["columns"]["timestamp_unit"] == "s"
    text, config = initialized(tmp_path, log(lambda n: 1970 if n % 50 == 0 else 1995 + n % 25))
    assert "timestamp_unit" not in config["source"]["columns"]
    assert "2.2% whose date is before 1990" in text
    assert sum(ingested(tmp_path).rejects.values()) == sum(n % 50 == 0 for n in range(len(PAIRS)))
