"""docs/architecture.md and the import rules match the code; examples in docstrings run."""

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("components", "pipeline")


def _drawn() -> set[str]:
    """The paths in the tree of the page."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    [tree] = re.findall(r"^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    paths, parents = set(), []
    for line in tree.splitlines():
        name = line.split()[0].rstrip("/")
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        paths.add("/".join(parents))
    return paths


def _tracked() -> set[str]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return {name for name in names if (ROOT / name).is_file()}


def test_the_tree_in_the_docs_matches_the_folders() -> None:
    folders = {
        parent.as_posix()
        for name in _tracked()
        for parent in Path(name).parents
        if parent.parts and parent.parts[0] in PACKAGES
    }
    modules = {name for name in _tracked() if re.fullmatch(r"pipeline/[a-z][a-z_]*\.py", name)}
    drawn = _drawn()

    assert {path for path in drawn if path.split("/")[0] in PACKAGES} == folders | modules
    assert all((ROOT / path).exists() for path in drawn)


def test_the_top_level_has_only_what_is_agreed() -> None:
    top = {name.split("/")[0] for name in _tracked()}

    assert {name for name in top if (ROOT / name).is_dir()} == {
        ".ci", ".github", "components", "docs", "images", "pipeline", "tests",
    }  # fmt: skip


def test_the_import_rules_hold() -> None:
    # In a process of its own: it changes the logging of the process that it runs in.
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def _examples() -> Iterator[Any]:
    """Each example in a docstring, with its module."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    continue
                found = re.findall(
                    r"Example:\s*```python\n(.*?)```", ast.get_docstring(node) or "", re.DOTALL
                )
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                name = getattr(node, "name", "module")
                for example in found:
                    yield pytest.param(
                        module.removesuffix(".__init__"), example, id=f"{module}.{name}"
                    )


@pytest.mark.parametrize(("module", "example"), _examples())
def test_examples_in_docstrings_run(
    module: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {
        name: value
        for name, value in vars(importlib.import_module(module)).items()
        if not name.startswith("_")
    }
    exec(compile(example, f"<example in {module}>", "exec"), {**names, "folder": tmp_path})
