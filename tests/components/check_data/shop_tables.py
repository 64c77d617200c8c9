"""Tables as ingest writes them, and a registry with a version that was trained on them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from components.check_data.job import check_data
from components.fetch_published.job import fetch_published
from components.shared.contracts.tables import CANDIDATE_INDEX, Column, Schema, write_table
from components.shared.registry.published_models import PublishedModels

ROWS, ITEMS = 2000, 50


def shop_log() -> pa.Table:
    """The training split without its candidate index."""
    row = np.arange(ROWS)
    return pa.table(
        {
            "user": [f"user {n}" for n in row % 100],
            "plan": [("free", "free", "pro", "team")[n] for n in row % 4],
            "city": [("Oslo", "Rome", "Łódź", "Lima", "Bonn")[n] for n in row % 5],
            "age": pa.array(20 + row % 40, pa.int64()),
            "stars": pa.array(1 + row // 3 % 5, pa.float32()),
            "at": pa.array(1_700_000_000 + 60 * row, pa.int64()),
        }
    )


def shop_catalogue() -> pa.Table:
    """The candidates."""
    item = np.arange(ITEMS)
    return pa.table(
        {
            "item": [f"item {n:02d}" for n in item],
            "name": [f"Thing number {n}" for n in item],
            "brand": [("Acme", "Bolt")[n] for n in item % 2],
            "tags": pa.array([["new", "red"][: n % 3] for n in item], pa.list_(pa.string())),
            "price": pa.array(10 + item % 7, pa.float32()),
        }
    )


def replaced(table: pa.Table, **columns: object) -> pa.Table:
    """Give some columns other values, of another type if need be."""
    for name, values in columns.items():
        array = values if isinstance(values, pa.Array) else pa.array(values)
        table = table.set_column(table.schema.get_field_index(name), name, array)
    return table


_ROLES = {
    "user": "query_id",
    "stars": "rating",
    "at": "timestamp",
    "item": "candidate_id",
    "name": "title",
}


def _columns(table: pa.Table) -> list[Column]:
    dtypes = {"float": "float32", "list<item: string>": "list<string>"}
    return [
        Column.model_validate(
            {
                "name": field.name,
                "dtype": dtypes.get(str(field.type), str(field.type)),
                "role": _ROLES.get(field.name, "feature"),
            }
        )
        for field in table.schema
    ]


def schema_of(log: pa.Table, catalogue: pa.Table) -> Schema:
    """The schema of both tables."""
    columns = _columns(log)
    described = [column for column in columns if column.role in ("query_id", "feature")]
    return Schema(
        query=described,
        interaction=[column for column in columns if column not in described],
        candidate=_columns(catalogue),
    )


def write_tables(folder: Path, log: pa.Table, catalogue: pa.Table) -> str:
    """Write what check_data reads of the tables from ingest."""
    index = pa.array(np.arange(log.num_rows) % catalogue.num_rows, pa.int32())
    write_table(log.append_column(CANDIDATE_INDEX, index), folder / "interactions" / "train")
    write_table(catalogue, folder / "candidates")
    schema_of(log, catalogue).write(folder)
    return str(folder)


def published_shop(folder: Path, name: str = "shop") -> str:
    """Publish a version with the facts of the shop's data, and fetch it."""
    tables = write_tables(folder / "tables", shop_log(), shop_catalogue())
    check_data(tables=tables, config={}, data_check=str(folder / "version"))
    return publish_facts(folder, name)


def publish_facts(folder: Path, name: str) -> str:
    """Publish what is in `folder / version`, and fetch it."""
    version, location = folder / "version", str(folder / "models")
    (version / "model").mkdir(parents=True)
    (version / "model" / "weights").write_text("learned")
    models = PublishedModels.at(location)
    models.make_latest(models.add(version, name, ["model"]), None, "publish")
    fetch_published(location=location, number=1, published=str(folder / "published"))
    return str(folder / "published")
