"""Interactions of users that the table of users does not have."""

import logging
import math
from pathlib import Path
from typing import Any

import pytest
from ingest_helpers import CATALOGUE, LOG, catalogue_rows, files_source, log_rows, run, write_csv

from components.shared.contracts.missing import MISSING_INTEGER
from components.shared.runtime.errors import InputError

FEATURES = {
    "age": {"dtypes": ["float32"]},
    "city": {"dtypes": ["string"]},
    "likes": {"dtypes": ["list<string>"]},
    "visits": {"dtypes": ["int64"]},
}


def source(folder: Path, users: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Ten users with eleven interactions each, and a table with some of them."""
    write_csv(folder / "log.csv", LOG, log_rows())
    write_csv(folder / "items.csv", CATALOGUE, catalogue_rows())
    write_csv(folder / "users.csv", ("user", *FEATURES), users)
    paths = folder / "log.csv", folder / "items.csv"
    return files_source(*paths, users=str(folder / "users.csv"))


def names() -> list[str]:
    return sorted({row[0] for row in log_rows()})


def test_their_rows_are_kept_without_values_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = [(name, 30, "Rome", "a|b", 7) for name in names()[:7]]
    damaged = (names()[7], "old", "Oslo", "", 8)
    with caplog.at_level(logging.WARNING):
        ingested = run(
            tmp_path, source(tmp_path, [*known, damaged]), needs={"query": FEATURES},
            max_reject_share=0.1,
        )  # fmt: skip
    assert len(ingested.interactions) == 110
    assert [(row["file"], row["row"]) for row in ingested.rejects] == [("users.csv", 9)]
    assert ingested.statistics.unknown_users == 33
    found = {row["user"]: row for row in ingested.interactions}
    for name in names()[7:]:
        row = found[name]
        assert math.isnan(row["age"])
        assert (row["city"], row["likes"], row["visits"]) == ("", [], MISSING_INTEGER)
    assert (found[names()[0]]["age"], found[names()[0]]["likes"]) == (30, ["a", "b"])
    assert "33 interactions are of users that source.users does not have" in caplog.text


def test_their_rows_are_rejects_if_a_feature_of_users_needs_a_value(tmp_path: Path) -> None:
    known = [(name, 30, "Rome", "a|b", 7) for name in names()[:9]]
    needs = {"query": {**FEATURES, "age": {"dtypes": ["float32"], "missing": "reject"}}}
    ingested = run(tmp_path, source(tmp_path, known), needs=needs, max_reject_share=0.1)
    assert ingested.statistics.rejects == {"unknown user": 11}
    assert ingested.statistics.unknown_users == 0


def test_a_table_of_other_users_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path, source(tmp_path, [("x", 1, "", "", 1)]), needs={"query": FEATURES})
    assert str(caught.value) == (
        "source.users: it has none of the users of 110 interactions. Check that "
        "source.columns.users_id names the ids of source.columns.query_id."
    )
