"""The commands about finished runs: runs, show, diff, report."""

import json
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from made_runs import FIRST, SECOND, made_run

from pipeline.cli.main import main


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_runs_says_what_ran_how_good_it_was_and_how_long_it_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made_run(Path("runs"), FIRST)
    made_run(Path("runs"), SECOND, headline={"good_enough": False, "reasons": ["why"]})

    assert main(["runs"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [[cell.strip() for cell in line if cell] for line in lines] == [
        ["run", "metric", "model", "over most-popular", "verdict", "published", "took"],
        [f"tiny/{SECOND}", "hit_rate_at_10_filtered", "0.5000", "+0.2500", "not good enough",
         "1m03s"],
        [f"tiny/{FIRST}", "hit_rate_at_10_filtered", "0.5000", "+0.2500", "good enough", "1m03s"],
    ]  # fmt: skip
    assert [run["reasons"] for run in printed(capsys, "runs")] == [["why"], []]
    assert len(printed(capsys, "runs", "--limit", "1")) == 1
    assert printed(capsys, "runs", "--name", "other") == []


def test_a_damaged_run_is_named_beside_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    made_run(Path("runs"), FIRST)
    (made_run(Path("runs"), SECOND).folder / "run.json").write_text("{")

    assert main(["runs"]) == 0

    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [
        "run", f"tiny/{SECOND}", f"tiny/{FIRST}"
    ]  # fmt: skip
    assert "cannot be read" in out
    assert err.startswith(f"{Path('runs').resolve()}/tiny/{SECOND} cannot be read: ")
    assert [bool(run["problem"]) for run in printed(capsys, "runs")] == [True, False]


def test_without_runs_the_list_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == "no runs in runs\n"
    assert printed(capsys, "runs") == []


def test_show_prints_all_about_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_run(Path("runs"), FIRST).folder

    assert main(["show"]) == 0

    text = capsys.readouterr().out
    for words in (
        f"tiny ({folder / 'config.yaml'})", "80 training, 10 validation, 10 test rows", "20 items",
        "careful", "most-popular", "ingest", "1.5", "GOOD ENOUGH: hit_rate_at_10 filtered",
        "The towers do not beat the strongest baseline, EASE, beyond chance",
        "nothing was published: publish.location is not set", f"results  {folder}",
    ):  # fmt: skip
        assert words in text
    document = printed(capsys, "show", "tiny")
    assert document["id"] == f"tiny/{FIRST}"
    assert document["data"]["train"] == 80
    assert document["metrics"]["raw"]["model"]["hit_rate_at_10"] == 0.5
    assert document["report"] == str(folder / "report.html")


def test_diff_puts_metrics_side_by_side_and_names_the_config_keys_that_differ(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made_run(Path("runs"), FIRST, "a")
    made_run(Path("runs"), SECOND, "b", layer_stacks=[[4]])

    assert main(["diff", "a", "latest"]) == 0

    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines() if line]
    assert rows[0][-3:] == [f"a/{FIRST}", f"b/{SECOND}", "difference"]
    assert rows[1] == ["hit_rate_at_10_filtered", "0.5000", "0.5000", "+0.0000"]
    assert "layer_stacks" in [row[0] for row in rows]
    assert err == ""
    document = printed(capsys, "diff", "a", "b")
    assert document["config"] == [
        {"key": "name", "first": "a", "second": "b"},
        {"key": "layer_stacks", "first": [[8], [16, 8]], "second": [[4]]},
    ]
    assert document["metrics"][0]["difference"] == 0
    assert document["doubts"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"test": 11}}, "the data differs (test 10 and 11)"),
        ({"data": {"queries": 5}}, "recall, ndcg, mrr are means over queries, 9 and 5 of them"),
        ({"seed": 1}, "seed may change the data that is measured on"),
    ],
)
def test_diff_says_when_metrics_cannot_be_compared(
    changes: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made_run(Path("runs"), FIRST, "a")
    made_run(Path("runs"), SECOND, "b", **changes)

    assert main(["diff", "a", "b"]) == 0

    assert words in capsys.readouterr().err


def test_diff_names_a_config_that_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    made_run(Path("runs"), FIRST, "a")
    (made_run(Path("runs"), SECOND, "b").folder / "config.yaml").unlink()

    assert main(["diff", "a", "b"]) == 2

    assert "config.yaml does not exist" in capsys.readouterr().err


def test_report_prints_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(Path("runs"), FIRST)

    assert main(["report"]) == 0
    assert capsys.readouterr().out == f"{run.report}\n"
    assert printed(capsys, "report", "tiny") == {"report": str(run.report), "opened": None}

    run.report.unlink()
    assert main(["report"]) == 2


@pytest.mark.parametrize("opens", [True, False])
def test_report_opens_the_browser_or_says_that_there_is_none(
    opens: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_run(Path("runs"), FIRST)
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or opens)

    assert main(["report", "--open"]) == (0 if opens else 1)

    assert asked == [run.report.as_uri()]
    assert ("no browser" in capsys.readouterr().err) != opens
