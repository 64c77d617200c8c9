"""`deep-retrieval init` on logs in the forms in which people publish them, with no edit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_logs import FORMS, ITEMS, ROWS, USERS

from components.ingest.job import ingest
from components.shared.contracts.statistics import Statistics
from pipeline.cli.main import main
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """The form of a log."""
    return str(request.param)


def initialized(folder: Path, form: str) -> PipelineConfig:
    """The config that `init` writes for a form."""
    data = [str(path) for path in FORMS[form](folder)]
    assert main(["init", *data, "--to", str(folder / "made.yaml")]) == 0
    return load_config(str(folder / "made.yaml"))


def test_every_row_is_used(form: str, tmp_path: Path) -> None:
    values = initialized(tmp_path, form).parameters()
    tables, rejects = tmp_path / "tables", tmp_path / "rejects"
    ingest(
        source=values["source"],
        config=values["ingest"],
        seed=values["seed"],
        needs=values["table_needs"],
        tables=str(tables),
        rejects=str(rejects),
    )
    statistics = Statistics.read(tables)
    assert sum(statistics.rows.values()) == ROWS
    assert statistics.rejects == {}
    assert (statistics.users, statistics.candidates) == (USERS, ITEMS)


def test_training_follows_the_data_and_tunes_for_a_while(form: str, tmp_path: Path) -> None:
    config = initialized(tmp_path, form)

    assert (config.train.tune, config.train.refit) == ("small", True)
    assert config.train.loss == config.train.epochs == config.train.embedding_dimension == "auto"
    assert config.layer_stacks == [[]]


@pytest.mark.slow
def test_the_config_runs_as_it_stands(form: str, tmp_path: Path) -> None:
    initialized(tmp_path, form)
    few = ["--set", "train.epochs=1", "--set", "train.tune=none"]
    output = ["--output", str(tmp_path / "runs")]
    assert main(["run", "--config", str(tmp_path / "made.yaml"), *few, *output]) == 0
    export = str(tmp_path / "runs" / "latest" / "export")
    known = {
        "reviews": "A0001",
        "recbole": "1",
        "hetrec": "1",
        "semicolons": "c1",
        "sequences": "1",
    }
    user = known.get(form, "00000000-0000-0002-0000-000000000000")
    # In a process of its own, as tests have no TensorFlow.
    command = [sys.executable, "-m", "pipeline.cli.main", "recommend", "--user", user]
    done = subprocess.run([*command, "--export", export], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 10


@pytest.mark.parametrize(
    ("form", "columns"),
    [
        (
            "reviews",
            {"query_id": "reviewerID", "candidate_id": "asin", "rating": "overall",
             "timestamp": "unixReviewTime"},
        ),
        (
            "recbole",
            {"query_id": "user_id", "candidate_id": "item_id", "rating": "rating",
             "timestamp": "timestamp", "title": "title"},
        ),
        (
            "hetrec",
            {"query_id": "userID", "candidate_id": "artistID", "catalogue_id": "id",
             "rating": "weight", "title": "name"},
        ),
        (
            "events",
            {"query_id": "user_id", "candidate_id": "product_id", "event": "event_type",
             "timestamp": "event_time"},
        ),
        (
            "semicolons",
            {"query_id": "client_id", "candidate_id": "produit_id", "rating": "note",
             "timestamp": "date", "title": "name"},
        ),
        (
            "sequences",
            {"query_id": "user_id", "candidate_id": "item_id", "timestamp": "position"},
        ),
    ],
)  # fmt: skip
def test_columns_get_their_meaning(form: str, columns: dict[str, str], tmp_path: Path) -> None:
    config = initialized(tmp_path, form)
    assert config.source.kind == "files"
    found = config.source.columns.model_dump(exclude_none=True, exclude={"timestamp_unit"})
    assert found == columns


def test_show_prints_a_profile_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [path] = FORMS["events"](tmp_path)
    assert main(["init", "events.parquet", "--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "events.parquet: 1,200 rows; Parquet"
    assert " ".join(lines[2].split()) == (
        "event_type text 3 values view (600), cart (300), purchase (300)"
    )
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [str(path) for path in FORMS["hetrec"](tmp_path)]
    assert main(["init", *data, "--show", "--json"]) == 0
    profile: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [column["name"] for column in profile[data[0]]] == ["userID", "artistID", "weight"]


def test_an_existing_config_is_replaced_only_if_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, config = str(FORMS["events"](tmp_path)[0]), tmp_path / "made.yaml"
    config.write_text("mine")
    assert main(["init", data, "--to", str(config)]) == 2
    assert f"{config} exists. Choose another file with --to" in capsys.readouterr().err
    assert config.read_text() == "mine"
    assert main(["init", data, "--to", str(config), "--force"]) == 0
    assert config.read_text() != "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "log.csv is empty"),
        ("a,b\n1,2\n3,4\n", "No table has a column of users and a column of items"),
    ],
)
def test_files_that_are_no_log_are_refused_in_one_message(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.csv").write_text(content)
    assert main(["init", str(tmp_path / "log.csv"), "--to", str(tmp_path / "made.yaml")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert not (tmp_path / "made.yaml").exists()
