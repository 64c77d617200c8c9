"""The commands, examples and links in the documentation work."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_logs import reviews

from components.shared.runtime.images import STEP_IMAGES
from pipeline.cli.main import command_line
from pipeline.config.pipeline import PipelineConfig

ROOT = Path(__file__).parent.parent
# In the order in which their examples build on each other.
STEPS = (
    "resolve",
    "ingest",
    "adapt",
    "train",
    "select_model",
    "export",
    "fetch_published",
    "check_data",
    "encode_for_published",
    "evaluate",
    "publish",
    "notify",
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOP_LEVEL = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
STEP_PAGES = [ROOT / "components" / step / "README.md" for step in STEPS]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.slow
def test_every_command_in_a_bash_block_runs(tmp_path: Path) -> None:
    commands = [
        line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()
    ]
    assert len(commands) >= 6
    reviews(tmp_path)  # the log of the tutorial
    for command in dict.fromkeys(commands):
        name, *arguments = re.findall(r"(?:'[^']*'|\S)+", command)
        assert name == "deep-retrieval", f"only its own commands run here, not {command}"
        arguments = [argument.replace("'", "") for argument in arguments]
        run([sys.executable, "-m", "pipeline.cli.main", *arguments], tmp_path)
    assert (tmp_path / "runs" / "latest" / "report.html").is_file()
    assert (tmp_path / "pipeline.yaml").is_file()


@pytest.mark.parametrize("page", TOP_LEVEL, ids=lambda page: page.name)
def test_every_command_that_needs_a_cluster_or_data_is_one_with_these_options(page: Path) -> None:
    for block in blocks(page, "sh"):
        for command in re.findall(r"deep-retrieval .*", block.replace("\\\n", " ")):
            words = shlex.split(command, comments=True)[1:]
            command_line().parse_args(words, exit_on_error=False, print_error=False)


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


def _snippets() -> Iterator[Any]:
    """Each YAML block of the docs, with its page and its number on the page."""
    for page in TOP_LEVEL:
        name = page.relative_to(ROOT).as_posix()
        for number, block in enumerate(blocks(page, "yaml"), 1):
            yield pytest.param(yaml.safe_load(block), id=f"{name}-{number}")


def completed(snippet: dict[str, Any]) -> dict[str, Any]:
    """A part of a config, with ids for features and the keys that every config needs."""
    item = next(iter(snippet.get("features", {}).get("candidate", {"item": {}})))
    columns = {"query_id": "user", "candidate_id": item, "timestamp": "ts"}
    columns = snippet.get("source", {}).get("columns", columns)
    source = {"kind": "files", "interactions": "log.csv", "columns": columns}
    features = {
        "query": {columns["query_id"]: {"type": "id"}},
        "candidate": {columns["candidate_id"]: {"type": "id"}},
    }
    return {"name": "snippet", "source": source, "features": features, **snippet}


@pytest.mark.parametrize("snippet", _snippets())
def test_every_yaml_block_loads_as_a_config_or_a_part_of_one(snippet: dict[str, Any]) -> None:
    config = PipelineConfig.model_validate(completed(snippet))
    assert config.source.kind == snippet.get("source", {"kind": "files"})["kind"]


def test_every_form_of_data_has_a_page_with_a_config() -> None:
    pages = sorted((ROOT / "docs" / "data").glob("*.md"))
    index = (ROOT / "docs" / "own-data.md").read_text()
    assert len(pages) >= 10
    for page in pages:
        assert f"(data/{page.name})" in index, f"own-data.md does not list {page.name}"
        assert blocks(page, "yaml"), f"{page} has no config"


@pytest.mark.parametrize("page", TOP_LEVEL, ids=lambda page: page.name)
def test_every_make_target_in_the_docs_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    used = {word for words in re.findall(r"`make ([a-z -]+)[`A-Z]", text) for word in words.split()}
    for block in blocks(page, "sh"):
        for words in re.findall(r"make ([a-z -]+)", re.sub("#.*|&&", "\n", block)):
            used |= set(words.split())
    assert used <= targets


@pytest.mark.slow
def test_the_examples_of_the_steps_run_one_after_the_other(tmp_path: Path) -> None:
    assert set(STEPS) == set(STEP_IMAGES)
    ran = 0
    for page in STEP_PAGES:
        examples = blocks(page, "python")
        assert examples, f"{page} has no example"
        for example in examples:
            run([sys.executable, "-c", example], tmp_path)
            ran += 1
    assert ran >= len(STEPS)
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    "page", [*TOP_LEVEL, *STEP_PAGES], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_to_files_and_headings_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", prose):
        file, _, heading = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{page}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{page}: {target}"
