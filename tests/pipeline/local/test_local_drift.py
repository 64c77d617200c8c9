"""Whole runs on this machine: a published model, then a log that breaks with its data."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import EVALUATE, TRAIN
from tiny_config import tiny

from components.shared.contracts.data_profile import DataProfile
from components.shared.contracts.lineage import Lineage
from components.shared.contracts.run import Run
from components.shared.registry.published_models import PublishedModels
from pipeline.cli.main import main

pytestmark = pytest.mark.slow

USERS, ITEMS, ROWS = 100, 60, 3000
FEATURES: dict[str, Any] = {
    "query": {"user": {"type": "id"}, "plan": {"type": "string_categorical"}},
    "candidate": {"item": {"type": "id"}},
}


def write_log(folder: Path, plans: tuple[str, ...]) -> None:
    """Write a log in which users mostly take items of their taste, and its catalogue."""
    rng = np.random.default_rng(4)
    user = rng.integers(0, USERS, ROWS)
    of_taste = 4 * rng.integers(0, ITEMS // 4, ROWS) + user % 4
    item = np.where(rng.random(ROWS) < 0.9, of_taste, rng.integers(0, ITEMS, ROWS))
    log = pa.table(
        {
            "user": [f"user {n}" for n in user],
            "plan": [plans[n % len(plans)] for n in user],
            "item": [f"item {n}" for n in item],
        }
    )
    pq.write_table(log, folder / "log.parquet")
    pq.write_table(
        pa.table({"item": [f"item {n}" for n in range(ITEMS)]}), folder / "items.parquet"
    )


@dataclass(frozen=True)
class Ran:
    """A run's exit code, its output, and the folder of its results."""

    code: int
    printed: str
    error: str
    folder: Path


def run(folder: Path, **drift: Any) -> Ran:
    config = tiny(
        name="shop",
        source={
            "kind": "files",
            "interactions": str(folder / "log.parquet"),
            "candidates": str(folder / "items.parquet"),
            "columns": {"query_id": "user", "candidate_id": "item"},
        },
        ingest={"duplicates": "keep"},
        features=FEATURES,
        drift=drift,
        train={**TRAIN, "sample_weight": "none", "epochs": 6},
        layer_stacks=[[]],
        evaluate={**EVALUATE, "example_users": 1},
        publish={"location": str(folder / "models")},
    )
    (folder / "config.yaml").write_text(config.to_yaml())
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(["run", "--config", str(folder / "config.yaml"), "--output", "runs"])
    latest = (folder / "runs" / "latest").resolve()
    return Ran(code, out.getvalue(), err.getvalue(), latest)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def first(shop: Path) -> Ran:
    """The run whose model is published."""
    write_log(shop, ("free", "pro"))
    return run(shop)


@pytest.fixture(scope="module")
def version(shop: Path, first: Ran) -> str:
    latest = PublishedModels.at(str(shop / "models")).latest()
    assert latest is not None, first.printed + first.error
    return latest.version


@pytest.fixture(scope="module")
def stopped(shop: Path, version: str) -> Ran:
    """A run of a log with other plans, which may not be."""
    write_log(shop, ("free", "trial"))
    return run(shop, on_break="stop")


@pytest.fixture(scope="module")
def warned(shop: Path, stopped: Ran) -> Ran:
    """The same run, with a warning only."""
    return run(shop, on_break="warn")


TABLE = [
    "table         column  what moved         published  now    limit",
    "interactions  plan    new values: trial  0.0%       49.8%  up to 5.0%  breaks",
    "interactions  plan    values gone: pro   49.8%      0.0%   up to 5.0%  breaks",
]


def test_the_version_has_the_profile_of_its_data(shop: Path, first: Ran, version: str) -> None:
    folder = shop / "models" / "versions" / version

    profile = DataProfile.read(folder)
    assert {"user", "plan"} <= {column.name for column in profile.interactions}
    assert "the data is not compared: no version is published" in first.printed
    lineage = Lineage.read(folder)
    assert lineage.parameters["drift"] == tiny().parameters()["drift"]
    assert "Data since the published model" not in (first.folder / "report.html").read_text()


def test_a_break_stops_the_run_before_adapt(first: Ran, stopped: Ran, version: str) -> None:
    assert stopped.code == 1
    assert stopped.error.splitlines() == [
        f"error: check_data: 2 breaks since the data of the published {version}:",
        *TABLE,
        "Fix the data; or, if it is right, raise the limits in the config's section drift, or set "
        "drift.on_break to warn.",
    ]
    assert "adapt" not in stopped.printed
    assert stopped.folder == first.folder


def test_a_warning_shows_the_table_in_the_output_and_in_the_report(
    warned: Ran, version: str
) -> None:
    assert warned.code == 0
    assert f"warning: 2 breaks since the data of the published {version}:" in warned.printed
    for line in TABLE:
        assert line in warned.printed
    page = (warned.folder / "report.html").read_text()
    assert "Data since the published model" in page
    assert "new values: trial" in page
    assert "check_data" in [step.step for step in Run.read(warned.folder).steps]
