"""Ingest reads data in each form of the how-to pages with the config of the page."""

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from test_docs import ROOT, blocks, completed

from components.ingest.job import ingest
from pipeline.config.pipeline import PipelineConfig

USERS, ITEMS, INTERACTIONS = 40, 30, 400
EVENTS = ("view", "add_to_cart", "purchase")
DERIVED = ("history", "profile", "hour_of_day", "day_of_week")
Row = dict[str, Any]
Format = dict[str, Any]


def _snippets() -> Iterator[Any]:
    for page in (*sorted((ROOT / "docs" / "data").glob("*.md")), ROOT / "docs" / "tutorial.md"):
        for number, block in enumerate(blocks(page, "yaml"), 1):
            snippet = yaml.safe_load(block)
            if "source" in snippet and "s3://" not in block:
                yield pytest.param(snippet, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("snippet", _snippets())
def test_the_config_of_a_how_to_reads_such_data(snippet: dict[str, Any], tmp_path: Path) -> None:
    config = completed(snippet)
    config["source"] = _write_source(config["source"], config["features"], tmp_path)
    loaded = PipelineConfig.model_validate(config)
    counts = ingest(
        source=loaded.source.model_dump(mode="json", exclude_none=True),
        config=loaded.ingest.model_dump(mode="json", exclude_none=True),
        seed=1,
        tables=str(tmp_path / "tables"),
        rejects=str(tmp_path / "rejects"),
        needs=loaded.table_needs.model_dump(mode="json"),
    )
    assert counts["interactions"] == INTERACTIONS
    assert (counts["users"], counts["candidates"], counts["rejects"]) == (USERS, ITEMS, 0)


def _write_source(source: Row, features: Row, folder: Path) -> Row:
    """Writes the tables of a source below a folder; gives the source with their paths."""
    columns, formats = source["columns"], source.get("formats", {})
    written = {**source, "interactions": str(folder / source["interactions"])}
    item_columns = {name: one["type"] for name, one in features["candidate"].items()}
    if "title" in columns:
        item_columns.setdefault(columns["title"], "text")
    user_columns = {
        name: one["type"] for name, one in features["query"].items() if name not in DERIVED
    }
    separator = formats.get("candidates", {}).get("list_separator", "|")
    items = [_values(item_columns, item, separator) for item in range(ITEMS)]
    users = [_values(user_columns, user, "|") for user in range(USERS)]
    candidates = source.get("candidates")
    log = _log(columns, users, [] if "users" in source else list(user_columns), items, candidates)
    _write(folder, source["interactions"], log, formats.get("interactions", {}))
    if candidates is not None:
        paths = candidates if isinstance(candidates, list) else [candidates]
        for path in paths:
            _write(folder, path, items, formats.get("candidates", {}))
        found = [str(folder / path) for path in paths]
        written["candidates"] = found if isinstance(candidates, list) else found[0]
    if "users" in source:
        _write(folder, source["users"], users, formats.get("users", {}))
        written["users"] = str(folder / source["users"])
    return written


def _values(types: dict[str, str], number: int, separator: str) -> Row:
    made = {
        "id": number,
        "text": f"name {number}",
        "vector": separator.join(("0.5", f"{number / ITEMS}", "-1")),
        "multi_categorical": separator.join((f"a{number % 3}", f"b{number % 5}")),
    }
    return {
        name: number * 1.5 if kind.startswith("float") else made.get(kind, f"c{number % 4}")
        for name, kind in types.items()
    }


def _log(
    columns: Row, users: list[Row], of_user: list[str], items: list[Row], candidates: Any
) -> list[Row]:
    rng = random.Random(1)
    rows = []
    for user in range(USERS):
        for item in rng.sample(range(ITEMS), INTERACTIONS // USERS):
            row = {name: users[user][name] for name in of_user}
            row |= {} if candidates is not None else items[item]
            row |= {columns["query_id"]: user, columns["candidate_id"]: item}
            optional = {
                "rating": rng.randint(1, 5),
                "timestamp": 1_700_000_000 + rng.randrange(9_000_000),
                "event": rng.choice(EVENTS),
            }
            row |= {columns[role]: value for role, value in optional.items() if role in columns}
            if columns.get("timestamp") == "day":
                row["day"] = f"2024-05-{rng.randint(1, 28):02d}"
            rows.append(row)
    return rows


def _write(folder: Path, pattern: str, rows: list[Row], how: Format) -> None:
    """Writes a table as the file's name and the config's format say."""
    path = folder / pattern.replace("*", "1")
    if "day" in rows[0]:
        for number, row in enumerate(rows):
            part = path / f"country={row['country']}" / f"day={row['day']}" / f"{number}.parquet"
            rest = {name: [value] for name, value in row.items() if name not in ("day", "country")}
            part.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(rest), part)
        return
    path = path / "part.csv" if not path.suffix else path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    is_json = ".jsonl" in path.suffixes or how.get("format") == "jsonl"
    text = "".join(f"{json.dumps(row)}\n" for row in rows) if is_json else _text(path, rows, how)
    data = text.encode(how.get("encoding", "utf-8"))
    compress = {".gz": gzip.compress, ".zst": lambda raw: pa.compress(raw, "zstd", asbytes=True)}
    path.write_bytes(compress.get(path.suffix, bytes)(data))


def _text(path: Path, rows: list[Row], how: Format) -> str:
    is_recbole = path.suffix in (".inter", ".item", ".user")
    if how.get("format") == "sequences":
        items: dict[str, list[str]] = {}
        for row in rows:
            items.setdefault(row["user_id"], []).append(str(row["item_id"]))
        return "".join(f"{user} {' '.join(seen)}\n" for user, seen in items.items())
    delimiter = how.get("delimiter", "\t" if is_recbole or path.suffix == ".dat" else ",")
    names = how.get("names", list(rows[0]))
    header = [f"{name}:{_recbole_type(rows[0][name])}" for name in names] if is_recbole else names
    lines = [header] if how.get("header", "names" not in how) else []
    for row in rows:
        fields = [str(row.get(name, "x")) for name in names]
        lines.append([f'"{one}"' if delimiter in one else one for one in fields])
    text = "".join(delimiter.join(line) + "\n" for line in lines)
    return text.replace("|", " ") if is_recbole else text


def _recbole_type(value: Any) -> str:
    if isinstance(value, str):
        return "token_seq" if {" ", "|"} & set(value) else "token"
    return "token" if isinstance(value, int) else "float"
