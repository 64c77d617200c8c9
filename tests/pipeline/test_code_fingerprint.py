"""The hash of the code that a step imports."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import components
from components.shared.runtime.images import STEP_IMAGES
from pipeline.code_fingerprint import code_fingerprint, components_root, imported_files

STEPS = sorted(STEP_IMAGES)
Change = Callable[[str], set[str]]


def _fingerprints() -> dict[str, str]:
    return {step: code_fingerprint(f"components.{step}.component") for step in STEPS}


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Change a file in a copy of the code; return the steps whose fingerprint changes."""
    copy = tmp_path / "components"
    shutil.copytree(components_root(), copy)
    monkeypatch.setattr(components, "__path__", [str(copy)])
    before = _fingerprints()

    def changed(file: str) -> set[str]:
        with open(copy / file, "a", encoding="utf-8") as opened:
            opened.write("# changed\n")
        return {step for step, value in _fingerprints().items() if value != before[step]}

    return changed


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("shared/retrieval/towers.py", {"train", "export", "evaluate"}),
        ("train/losses.py", {"train"}),
        ("evaluate/report.html.j2", {"evaluate"}),
        ("ingest/sources/sample.py", {"ingest"}),
        ("train/README.md", set()),
        ("shared/runtime/step.py", set(STEPS)),
        ("shared/runtime/images.py", set(STEPS)),
        ("shared/__init__.py", set(STEPS)),
    ],
)
def test_a_fingerprint_changes_only_with_the_code_that_the_step_imports(
    change: Change, file: str, steps: set[str]
) -> None:
    assert change(file) == steps


def test_a_change_of_the_towers_leaves_ingest_and_adapt_cached(change: Change) -> None:
    assert not change("shared/retrieval/towers.py") & {"resolve", "ingest", "adapt"}


def test_a_job_is_found_although_its_component_imports_it_in_a_function() -> None:
    files = {
        path.relative_to(components_root()).as_posix()
        for path in imported_files("components.ingest.component")
    }

    assert {"ingest/component.py", "ingest/job.py", "ingest/sources/movielens.py"} <= files
    assert {"__init__.py", "shared/__init__.py", "ingest/__init__.py"} <= files


def test_a_missing_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"components\.nothing"):
        code_fingerprint("components.nothing")
