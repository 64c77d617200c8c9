"""What a step's process may import, and what its source may."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

from components.shared.runtime.images import DATA, MODEL, STEP_IMAGES
from components.shared.runtime.keras_backend import (
    require_jax,
    require_tensorflow,
    use_jax,
    use_tensorflow,
)

ROOT = Path(__file__).parents[2]
COMPONENTS = ROOT / "components"
STEPS = sorted(STEP_IMAGES)
_HEAVY = {"apache_beam", "keras", "keras_rs", "tensorflow", "jax"}
# What a step's image does not have, or its start-up shall not wait for.
FOREIGN = {
    "ingest": {"keras", "keras_rs", "tensorflow", "jax"},
    "check_data": {"keras", "keras_rs", "tensorflow", "jax"},
    "adapt": {"jax"},
    "train": {"apache_beam", "tensorflow"},
    "select_model": _HEAVY,
    "export": {"apache_beam", "jax"},
    "evaluate": {"apache_beam", "tensorflow"},
    "fetch_published": _HEAVY,
    "publish": _HEAVY,
    "notify": _HEAVY,
    "resolve": _HEAVY,
    # It has TensorFlow, and imports it where a model is published and takes the log.
    "encode_for_published": _HEAVY,
}
WORKING = ("train", "evaluate")
# The Keras backend that a step's component chooses; the other steps' jobs import no keras.
BACKENDS = {"train": "jax", "evaluate": "jax", "adapt": "tensorflow", "export": "tensorflow"}

# Runs in a fresh interpreter: does what the component does, imports a job, then calls it if there
# are arguments.
_PROBE = """
import importlib, json, sys

from components.shared.runtime import keras_backend

name, backend, absent, arguments = json.loads(sys.argv[1])
for package in absent:
    sys.modules[package] = None  # as where it is not installed
def packages():
    return sorted({m.partition(".")[0] for m, module in list(sys.modules.items()) if module})
if backend:
    getattr(keras_backend, f"use_{backend}")()
job = importlib.import_module(f"components.{name}.job")
imported = packages()
if arguments:
    getattr(job, name)(**arguments)
print(json.dumps([imported, packages()]))
"""


class _Probe:
    """A step's job in a process of its own, started at once and waited for when asked."""

    def __init__(self, step: str, absent: list[str], arguments: dict[str, Any]):
        environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
        request = json.dumps([step, BACKENDS.get(step), absent, arguments])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROBE, request],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._packages: tuple[set[str], set[str]] | None = None

    @property
    def packages(self) -> tuple[set[str], set[str]]:
        """Packages that were there after the import, and after the work."""
        if self._packages is None:
            output, errors = self._process.communicate(timeout=120)
            assert self._process.returncode == 0, errors
            imported, worked = json.loads(output.splitlines()[-1])
            self._packages = set(imported), set(worked)
        return self._packages

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="session")
def idle_probes() -> Iterator[dict[str, _Probe]]:
    """The jobs that are imported only."""
    # TensorFlow's lite module imports JAX where it is installed, so that adapt and export can
    # only be held to work where it is not: in the data image.
    yield from _ended(
        {
            step: _Probe(step, ["jax"] if STEP_IMAGES[step] == DATA else [], {})
            for step in STEPS
            if step not in WORKING
        }
    )


@pytest.fixture(scope="session")
def probes(
    idle_probes: dict[str, _Probe],  # first: they run while the sample is made
    sample_encoded: Path,
    sample_model: Path,
    sample_export: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, _Probe]]:
    """Every step's job, imported in a fresh process; train and evaluate also work there."""
    folder = tmp_path_factory.mktemp("isolation")
    train = {
        "encoded": str(sample_encoded),
        "config": {"epochs": 1, "monitor": "hit_rate_at_5_raw"},
        "layer_sizes": [4],
        "seed": 1,
        "model": str(folder / "model"),
    }
    evaluate = {
        "export": str(sample_export),
        "encoded": str(sample_encoded),
        "models": [str(sample_model)],
        "config": {"ks": [5], "headline": "hit_rate_at_5_raw"},
        **{name: str(folder / name) for name in ("evaluation", "metrics", "report")},
    }
    yield from _ended(
        {
            **idle_probes,
            "train": _Probe("train", [], train),
            "evaluate": _Probe("evaluate", [], evaluate),
        }
    )


def _ended(probes: dict[str, _Probe]) -> Iterator[dict[str, _Probe]]:
    yield probes
    for probe in probes.values():
        probe.end()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_importing_a_job_imports_no_kfp(probes: dict[str, _Probe], step: str) -> None:
    imported, _ = probes[step].packages

    assert "components" in imported
    assert "kfp" not in imported


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_importing_a_job_imports_nothing_that_its_image_lacks(
    probes: dict[str, _Probe], step: str
) -> None:
    imported, _ = probes[step].packages

    assert not imported & FOREIGN[step]


@pytest.mark.slow
@pytest.mark.parametrize("step", WORKING)
def test_the_work_never_imports_tensorflow_though_it_is_installed(
    probes: dict[str, _Probe], step: str
) -> None:
    assert PathFinder.find_spec("tensorflow") is not None

    _, worked = probes[step].packages

    assert {"jax", "keras"} <= worked
    assert not worked & {"kfp", "tensorflow", "apache_beam"}


def test_a_process_that_runs_keras_on_another_backend_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Keras already computes on jax in this process"):
        use_tensorflow()


def test_choosing_the_backend_that_keras_runs_on_is_allowed() -> None:
    use_jax()

    assert sys.modules["keras"].backend.backend() == "jax"


def test_a_job_on_another_backend_fails_with_the_call_that_is_missing() -> None:
    require_jax()
    with pytest.raises(RuntimeError, match=r"this job needs tensorflow. Call .*use_tensorflow\(\)"):
        require_tensorflow()


@pytest.mark.parametrize("step", STEPS)
def test_importing_a_job_changes_nothing_in_the_process(step: str) -> None:
    """What the import of Keras itself does aside."""
    files = [*(COMPONENTS / step).glob("*.py"), *(COMPONENTS / "shared").rglob("*.py")]

    calls = {
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in files
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    }

    assert not calls


@pytest.mark.parametrize("step", STEPS)
def test_a_component_chooses_the_backend_before_it_imports_the_job(step: str) -> None:
    (function,) = (
        node
        for node in ast.parse((COMPONENTS / step / "component.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    )
    statements = [ast.unparse(node) for node in function.body]
    job = statements.index(f"from components.{step}.job import {step} as job")

    chosen = [call for call in statements[:job] if call in ("use_jax()", "use_tensorflow()")]
    assert chosen == ([f"use_{BACKENDS[step]}()"] if step in BACKENDS else [])


@pytest.mark.parametrize(
    ("use", "backend"),
    [(use_jax, "jax"), (use_tensorflow, "tensorflow")],
    ids=["jax", "tensorflow"],
)
def test_the_choice_counts_more_than_the_environment(
    use: Callable[[], None], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")

    use()

    assert os.environ["KERAS_BACKEND"] == backend
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """The modules that some code imports, in full, and the names taken from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
            module = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _file_imports(path: Path) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return set(_imports(ast.parse(path.read_text()), package))


def _is_of(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b, c", {"a.b", "c"}),
        ("from a import b, c", {"a.b", "a.c"}),
        ("def f():\n    from a.b import c", {"a.b.c"}),
        ("from . import c", {"components.train.c"}),
        ("from ..adapt import c", {"components.adapt.c"}),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, expected: set[str]) -> None:
    assert set(_imports(ast.parse(source), "components.train")) == expected


def test_every_step_has_a_folder_with_its_job_and_its_component() -> None:
    folders = {path.parent.name for path in COMPONENTS.glob("*/component.py")}

    assert folders == set(STEPS)
    assert all((COMPONENTS / step / "job.py").is_file() for step in STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_no_step_imports_another_step(step: str) -> None:
    files = sorted((COMPONENTS / step).rglob("*.py"))
    others = [f"components.{other}" for other in STEPS if other != step]

    found = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in files
        for module in _file_imports(path)
        for other in others
        if _is_of(module, other)
    }

    assert len(files) >= 3
    assert not found


def test_what_steps_share_imports_no_step() -> None:
    found = {
        f"{path.name}: {module}"
        for path in (COMPONENTS / "shared").rglob("*.py")
        for module in _file_imports(path)
        for step in STEPS
        if _is_of(module, f"components.{step}")
    }

    assert not found


def test_only_components_import_kfp() -> None:
    users = {
        path.relative_to(COMPONENTS).as_posix()
        for path in COMPONENTS.rglob("*.py")
        if any(_is_of(module, "kfp") for module in _file_imports(path))
    }

    assert users == {f"{step}/component.py" for step in STEPS}


@pytest.mark.parametrize("step", STEPS)
def test_no_step_imports_pipeline_code(step: str) -> None:
    for path in (COMPONENTS / step).rglob("*.py"):
        assert not [module for module in _file_imports(path) if _is_of(module, "pipeline")]


@pytest.mark.parametrize("step", STEPS)
def test_a_component_imports_its_work_only_when_it_runs(step: str) -> None:
    tree = ast.parse((COMPONENTS / step / "component.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    top = {
        module
        for node in tree.body
        if not isinstance(node, ast.FunctionDef)
        for module in _imports(node, f"components.{step}")
    }
    within = {m for node in functions for m in _imports(node, f"components.{step}")}

    assert [function.name for function in functions] == [step]
    assert [
        module
        for module in top
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not _is_of(module, "kfp")
        and not _is_of(module, "components.shared.runtime.images")
    ] == []
    assert [module for module in within if not _is_of(module, "components")] == []
    assert f"components.{step}.job.{step}" in within


@pytest.mark.parametrize("step", STEPS)
def test_a_component_runs_in_its_steps_image(step: str) -> None:
    source = (COMPONENTS / step / "component.py").read_text()
    constant = {DATA: "DATA_IMAGE", MODEL: "MODEL_IMAGE"}[STEP_IMAGES[step]]

    assert f"from components.shared.runtime.images import {constant}\n" in source
    assert f"base_image={constant}," in source
