"""The commands and examples in the READMEs run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEPS = (
    "resolve",
    "ingest",
    "adapt",
    "train",
    "select_model",
    "export",
    "fetch_published",
    "encode_for_published",
    "evaluate",
    "publish",
    "notify",
)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_every_command_of_the_readme_runs_in_order(tmp_path: Path) -> None:
    commands = [line for block in blocks(ROOT / "README.md", "bash") for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        name, *arguments = re.findall(r"(?:'[^']*'|\S)+", command)
        assert name == "deep-retrieval", f"only its own commands run here, not {command}"
        arguments = [argument.replace("'", "") for argument in arguments]
        run([sys.executable, "-m", "pipeline.cli.main", *arguments], tmp_path)
    assert (tmp_path / "runs" / "latest" / "report.html").is_file()
    assert (tmp_path / "pipeline.yaml").is_file()


def test_commands_that_do_not_run_here_are_those_of_make_and_of_real_data() -> None:
    for block in blocks(ROOT / "README.md", "sh"):
        for line in block.splitlines():
            commands = "run|tune|compare|images|submit|schedule"
            pattern = rf"(MOVIELENS_100K=\S+ )?(make|deep-retrieval ({commands})) ?"
            assert re.match(pattern, line), line


def test_every_make_target_of_the_readme_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in blocks(ROOT / "README.md", "sh"):
        for words in re.findall(r"make ([a-z ]+)", block.replace("#", "\n")):
            assert set(words.split()) <= targets


def test_the_examples_of_the_steps_run_one_after_the_other(tmp_path: Path) -> None:
    ran = 0
    for step in STEPS:
        examples = blocks(ROOT / "components" / step / "README.md", "python")
        assert examples, f"{step} has no example"
        for example in examples:
            run([sys.executable, "-c", example], tmp_path)
            ran += 1
    assert ran == len(STEPS) + 1
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "README.md",
        ROOT / "docs" / "cluster.md",
        *(ROOT / "components" / step / "README.md" for step in STEPS),
    ],
)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        assert (path.parent / target).exists(), f"{path}: {target}"
