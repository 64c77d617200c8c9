"""docs/reference/commands.md, which is made from the commands' help."""

import re

import pytest
from cyclopts import App

from pipeline.cli import reference
from pipeline.cli.commands import COMMANDS
from pipeline.cli.main import main
from pipeline.cli.reference import REFERENCE_FILE, command_reference


@pytest.fixture(scope="module")
def page() -> str:
    return command_reference()


def section(page: str, heading: str) -> str:
    return re.split(r"\n#+ ", page.partition(f"# {heading}\n")[2])[0]


def test_the_page_is_current(page: str) -> None:
    assert REFERENCE_FILE.read_text(encoding="utf-8") == page, "run 'make docs'"


def test_each_command_has_usage_options_and_examples(page: str) -> None:
    for command in COMMANDS:
        text = section(page, f"deep-retrieval {command.name}")
        assert f"```text\ndeep-retrieval {command.name}" in text
        assert command.summary in text
        assert f"```sh\ndeep-retrieval {command.name}" in text, f"{command.name} has no examples"


@pytest.mark.parametrize("words", [["run"], ["schedule", "create"], ["images"]])
def test_the_page_has_every_option_of_a_commands_help(
    page: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    options = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    text = section(page, " ".join(["deep-retrieval", *words]))
    for other in re.findall(r": see \[([^]]+)\]", text):
        text += section(page, other)
    assert len(options) > 4
    assert {option for option in options if f"`{option}" not in text} == set()


def test_defaults_choices_and_the_environment_are_stated(page: str) -> None:
    run = section(page, "deep-retrieval run")
    assert "(default: sample)" in run
    assert "(one of subprocess, docker; default: subprocess)" in run
    assert "environment variable DEEP_RETRIEVAL_REGISTRY" in run


def test_what_many_commands_share_is_printed_once(page: str) -> None:
    assert page.count("KF_PIPELINES_SA_TOKEN_PATH") == 1
    assert page.count("| `--kube-context NAME`") == 1
    assert page.count("\nConnection: see [deep-retrieval ") > 5


def test_links_lead_to_a_heading(page: str) -> None:
    anchors = {title.replace(" ", "-") for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors


def test_a_new_command_needs_no_change_of_the_generator(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_greet() -> App:
        app = original()
        greet = App(name="greet", help="Greet.", help_epilogue="Examples:\n  deep-retrieval greet")
        greet.default(lambda name, /, *, loud=False: 0)
        app.command(greet)
        return app

    original = reference.command_line
    monkeypatch.setattr(reference, "command_line", with_greet)
    text = section(command_reference(), "deep-retrieval greet")
    assert "Greet." in text
    assert "deep-retrieval greet [OPTIONS] NAME" in text
    assert "| `--loud` |" in text
    assert "```sh\ndeep-retrieval greet\n```" in text
