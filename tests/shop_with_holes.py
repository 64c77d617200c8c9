"""The shop's tables with a fifth of each feature's values missing, taken through the steps once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_adapt import run_adapt
from shop_source import FEATURES, shop_tables, trained_and_exported

from components.shared.contracts.missing import missing_value
from components.shared.contracts.tables import Schema

HOLED_FEATURES: dict[str, Any] = {
    **FEATURES,
    "query": {**FEATURES["query"], "visits": {"type": "float_normalized", "missing": "indicator"}},
    "candidate": {**FEATURES["candidate"], "stock": {"type": "float", "missing": "indicator"}},
}


def holed_tables(temporary: pytest.TempPathFactory) -> Path:
    """The tables, made once for all tests."""
    folder = temporary.getbasetemp() / "shop-with-holes"
    if not folder.is_dir():
        shutil.copytree(shop_tables(temporary), folder / "tables")
        schema = Schema.read(folder / "tables")
        columns = {c.name: c for c in [*schema.query, *schema.candidate] if c.role == "feature"}
        rng = np.random.default_rng(4)
        for path in sorted((folder / "tables").rglob("part-*.parquet")):
            table = pq.read_table(path)
            for name in [name for name in table.column_names if name in columns]:
                hole = missing_value(columns[name].dtype)
                values = [
                    hole if rng.random() < 0.2 else value for value in table[name].to_pylist()
                ]
                index = table.column_names.index(name)
                values = pa.array(values, columns[name].arrow_type)
                table = table.set_column(index, name, values)
            pq.write_table(table, path)
    return folder / "tables"


def holed_encoded(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The tables after adapt, made once for all tests."""
    tables = holed_tables(temporary)
    folder = tables.parent / "encoded"
    if not folder.is_dir():
        run_adapt(in_tensorflow, tables, HOLED_FEATURES, folder)
    return folder


def holed_export(temporary: pytest.TempPathFactory, in_tensorflow: Callable[..., Any]) -> Path:
    """The export after one epoch of training, made once for all tests."""
    return trained_and_exported(holed_encoded(temporary, in_tensorflow), in_tensorflow)
