"""Results of commands: tables on a terminal, plain lines in a pipe, JSON for machines."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from made_evaluation import made_evaluation

from components.export.answers import Answer
from components.export.recommender import Recommendation
from components.shared.contracts.publication import Publication
from components.shared.contracts.run import Run, StepTime
from pipeline.cli.main import main
from pipeline.cli.output import print_aligned, print_table, progress_on_stderr
from pipeline.images import DOCKERFILES
from pipeline.local.results import RunResult
from pipeline.local.runner import RunFailed


class Terminal(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [("a",)], ["a line\x1b[31m of text"])

    assert capsys.readouterr().out == "a line of text\n"


def test_aligned_lines_in_a_pipe_have_one_line_for_each_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_aligned(("a", "name"), [("long", "two\nlines"), ("b", "")])

    assert capsys.readouterr().out == "a     name\nlong  two lines\nb\n"


def test_text_from_outside_is_shown_as_it_is_on_a_terminal(terminal: Terminal) -> None:
    with contextlib.redirect_stdout(terminal):
        print_table(("title",), [("[bold]Alien[/bold] [link=x]\x1b[2J\nsequel",)], [])

    assert "[bold]Alien[/bold] [link=x] sequel" in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


def test_no_color_is_respected(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    with contextlib.redirect_stdout(terminal):
        print_table(("name",), [("a",)], [])

    assert "\x1b[3" not in terminal.getvalue()


@pytest.mark.parametrize(("as_json", "out", "err"), [(True, "", "step\n"), (False, "step\n", "")])
def test_progress_leaves_stdout_to_the_document(
    as_json: bool, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_on_stderr(as_json):
        print("step")

    assert capsys.readouterr() == (out, err)


@pytest.fixture
def recommended(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Recommendation(7, "Alien [1979]", 0.51234), Recommendation(8, "Brazil\x1b[2J", 0.1)]
    answer = Answer("user", items, ["user 1 is not in the log."])
    monkeypatch.setattr("components.export.answers.answer", lambda *_: answer)


@pytest.mark.usefixtures("recommended")
def test_recommendations_are_lines_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--user", "1"]) == 0
    assert capsys.readouterr().out == (
        "  1    0.5123  Alien [1979]  (7)\n  2    0.1000  Brazil  (8)\n"
    )
    assert main(["recommend", "--user", "1"]) == 0
    assert capsys.readouterr().err == "user 1 is not in the log.\n"

    assert main(["recommend", "--user", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["user"], document["by"]) == ("1", "user")
    assert document["items"][0] == {"id": 7, "title": "Alien [1979]", "score": 0.51234}


@pytest.mark.usefixtures("recommended")
def test_recommendations_are_a_table_on_a_terminal(terminal: Terminal) -> None:
    with contextlib.redirect_stdout(terminal):
        assert main(["recommend", "--user", "1"]) == 0

    assert "Alien [1979]" in terminal.getvalue()
    assert "score" in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


def test_images_are_listed_with_their_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.images.find_engine", lambda _: "docker")
    monkeypatch.setattr("pipeline.images.image_exists", lambda _, image: "data" in image)

    assert main(["images", "list", "--registry", "ghcr.io/acme"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert main(["images", "list", "--registry", "ghcr.io/acme", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert {state for _, state in lines} == {"built", "not built"}
    assert [one["image"] for one in found] == [image for image, _ in lines]
    assert [one["built"] for one in found] == [state == "built" for _, state in lines]


@pytest.mark.parametrize(("action", "done"), [("build", "built"), ("push", "pushed")])
def test_what_was_done_to_images_is_json_if_asked_for(
    action: str, done: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.images.find_engine", lambda _: "docker")
    monkeypatch.setattr(f"pipeline.images.{action}_image", lambda _, name, *__, **___: [name])

    assert main(["images", action, "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {done: list(DOCKERFILES)}


def test_the_summary_of_compile_is_json_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.compilation.compile_pipeline", lambda *_: "ir")
    path = tmp_path / "pipeline.yaml"

    assert main(["compile", "--to", str(path), "--registry", "ghcr.io/acme", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert path.read_text() == "ir"
    assert found["file"] == str(path)
    assert all(image.startswith("ghcr.io/acme/") for image in found["images"])
    assert found["differences"]


def test_the_result_of_a_run_is_json_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publication = Publication(version="", location="", reasons=["no location"])

    def run_locally(*_: object, **__: object) -> Any:
        print("[train] started")
        run = Run(
            name="tiny",
            started="now",
            runner="subprocess",
            seconds=2.5,
            good_enough=True,
            publication=publication,
            steps=[StepTime(step="train", seconds=1.5, startup_seconds=0.5)],
        )
        return RunResult(tmp_path, made_evaluation(), run)

    monkeypatch.setattr("pipeline.local.runner.run_locally", run_locally)

    assert main(["run", "--json"]) == 0

    printed = capsys.readouterr()
    assert printed.err == "[train] started\n"
    assert json.loads(printed.out) == {
        "folder": str(tmp_path),
        "report": str(tmp_path / "report.html"),
        "export": str(tmp_path / "export"),
        "good_enough": True,
        "headline": made_evaluation().headline.model_dump(mode="json"),
        "metrics": made_evaluation().metrics.model_dump(mode="json"),
        "publication": publication.model_dump(mode="json"),
        "steps": [{"step": "train", "seconds": 1.5, "startup_seconds": 0.5, "reused": False}],
        "seconds": 2.5,
    }


def test_a_run_that_fails_prints_no_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RunFailed("train: no rows")

    monkeypatch.setattr("pipeline.local.runner.run_locally", fail)

    assert main(["run", "--json"]) == 1

    assert capsys.readouterr() == ("", "error: train: no rows\n")
