"""The shop's log as it was: the model that learned from it is published, and the log has grown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from published_features import published_features
from run_adapt import run_adapt
from shop_source import FEATURES, FIRST_ITEM, FIRST_USER, write_shop

VERSION = "shop-0123456789ab"
# Of the log as it was: who came first bought what was there first. One user has left since, one
# item was withdrawn.
OLD_USERS, OLD_ITEMS, OLD_ROWS = 30, 25, 700
GONE_USER, GONE_ITEM = FIRST_USER + 500, FIRST_ITEM - 1


def ingested(log: pa.Table, catalogue: pa.Table, source: dict[str, Any], folder: Path) -> Path:
    """Takes a changed shop through ingest; gives the folder of the tables."""
    from components.ingest.job import ingest

    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(log, folder / "log.parquet")
    pq.write_table(catalogue, folder / "catalogue.parquet")
    ingest(
        source={
            **source,
            "interactions": str(folder / "log.parquet"),
            "candidates": str(folder / "catalogue.parquet"),
        },
        config={"shards": 2, "duplicates": "keep"},
        seed=5,
        tables=str(folder / "tables"),
        rejects=str(folder / "rejects"),
    )
    return folder / "tables"


def shop(folder: Path) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """The log, the catalogue, and the source's config."""
    source = write_shop(folder)
    tables = (pq.read_table(source["interactions"]), pq.read_table(source["candidates"]))
    return *tables, source


def replaced(table: pa.Table, **columns: Any) -> pa.Table:
    """Gives some columns other values."""
    for name, values in columns.items():
        index = table.schema.get_field_index(name)
        kind = values.type if isinstance(values, pa.Array) else table.schema.field(name).type
        table = table.set_column(index, name, pa.array(values, kind))
    return table


def _old_tables(folder: Path) -> Path:
    log, catalogue, source = shop(folder)
    old = log.slice(0, OLD_ROWS).filter(
        pc.and_(
            pc.less(log["user_id"].slice(0, OLD_ROWS), FIRST_USER + OLD_USERS),
            pc.less(log["item_id"].slice(0, OLD_ROWS), FIRST_ITEM + OLD_ITEMS),
        )
    )
    rows = 12
    of_the_user = replaced(
        old.slice(0, rows),
        user_id=[GONE_USER] * rows,
        plan=["legacy"] * rows,
        city=["Atlantis"] * rows,
        interests=[["chess"]] * rows,
        at=range(rows),
    )
    of_the_item = replaced(old.slice(rows, rows), item_id=[GONE_ITEM] * rows, at=range(rows))
    items = catalogue.filter(pc.less(catalogue["item_id"], FIRST_ITEM + OLD_ITEMS))
    gone = replaced(
        items.slice(0, 1), item_id=[GONE_ITEM], title=["Withdrawn tea"], city=["Atlantis"],
        year=[1890], tags=[["chess"]],
    )  # fmt: skip
    return ingested(
        pa.concat_tables([old, of_the_user, of_the_item]),
        pa.concat_tables([items, gone]),
        source,
        folder / "old",
    )


def old_shop(
    temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]
) -> tuple[Path, Path]:
    """The tables of the log as it was and what adapt made of them, made once for all tests."""
    folder = temporary.getbasetemp() / "shop-as-it-was"
    tables, encoded = folder / "old" / "tables", folder / "encoded"
    if not encoded.is_dir():
        _old_tables(folder)
        run_adapt(in_tensorflow, tables, FEATURES, encoded)
    return tables, encoded


def published_shop(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The model of the log as it was, as fetch_published leaves its features."""
    _, encoded = old_shop(temporary, in_tensorflow)
    return published_features(encoded, temporary.mktemp("published") / "published", VERSION)
