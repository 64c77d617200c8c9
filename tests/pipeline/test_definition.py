"""The pipeline, compiled by kfp alone and with a config."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from golden import GOLDEN, compiled, compiled_for_cluster
from kfp import compiler

from components.shared.runtime.images import (
    DATA,
    DATA_IMAGE,
    MODEL,
    MODEL_IMAGE,
    STEP_IMAGES,
    VERSION,
)
from pipeline.cli.main import main
from pipeline.config.loading import load_config
from pipeline.definition import STEPS

ROOT = Path(__file__).parents[2]
IMAGES = {DATA: DATA_IMAGE, MODEL: MODEL_IMAGE}


def compiled_by_kfp(source: str, folder: Path) -> dict[str, Any]:
    """Compile a file with `kfp dsl compile`."""
    path = folder / "compiled.yaml"
    subprocess.run(
        [
            str(Path(sys.executable).with_name("kfp")),
            "dsl",
            "compile",
            "--py",
            source,
            "--output",
            str(path),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def images_of(document: dict[str, Any]) -> dict[str, str]:
    """The image of each executor, by its name."""
    executors = document["deploymentSpec"]["executors"]
    return {name: executor["container"]["image"] for name, executor in executors.items()}


def test_kfp_compiles_the_pipeline_that_the_sample_config_gives(tmp_path: Path) -> None:
    alone = compiled_by_kfp("pipeline/definition.py", tmp_path)
    sample = compiled("sample", **{step: IMAGES[name] for step, name in STEP_IMAGES.items()})

    # What kfp takes for parameters, a config's pipeline has as constants.
    parameters = alone["root"]["inputDefinitions"]["parameters"]
    for task, argument, parameter in (
        ("publish", "name", "config_name"),
        ("publish", "images", "images"),
        ("resolve", "scheduled_time", "scheduled_time"),
    ):
        inputs = alone["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
        assert inputs[argument] == {"componentInputParameter": parameter}
        default = parameters.pop(parameter)["defaultValue"]
        inputs[argument] = {"runtimeValue": {"constant": default}}
    assert alone == sample


def test_kfp_compiles_a_component_file(tmp_path: Path) -> None:
    document = compiled_by_kfp("components/ingest/component.py", tmp_path)

    assert images_of(document) == {"exec-ingest": DATA_IMAGE}


@pytest.mark.parametrize("step", sorted(STEP_IMAGES))
def test_each_component_compiles_alone_with_a_complete_image(step: str, tmp_path: Path) -> None:
    component = getattr(importlib.import_module(f"components.{step}.component"), step)
    compiler.Compiler().compile(component, str(tmp_path / "component.yaml"))

    document = yaml.safe_load((tmp_path / "component.yaml").read_text())
    assert list(images_of(document).values()) == [IMAGES[STEP_IMAGES[step]]]


def test_complete_images_have_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION


def test_compiled_pipeline_equals_the_golden_file() -> None:
    assert compiled_for_cluster("sample") == yaml.safe_load(GOLDEN.read_text()), (
        "the compiled pipeline has changed; if it should have, run: make golden"
    )


def test_every_shipped_config_compiles() -> None:
    for name in ("movielens-100k", "movielens-100k-example", "movielens-1m", "movielens-25m"):
        ir = compiled(name)
        parameters = ir["root"]["inputDefinitions"]["parameters"]
        assert parameters["source"]["defaultValue"]["kind"] == "movielens"
        assert parameters["layer_stacks"]["defaultValue"] == load_config(name).layer_stacks


def test_every_step_is_in_the_pipeline_and_has_its_image() -> None:
    executors = compiled("sample", ingest="registry/data:1", train="registry/model:2")[
        "deploymentSpec"
    ]["executors"]
    images = {
        name.removeprefix("exec-").replace("-", "_"): executor["container"]["image"]
        for name, executor in executors.items()
    }
    # The second one fetches the model to begin from.
    assert sorted(images) == sorted([*STEPS, "fetch_published_2"])
    assert images == {
        "ingest": "registry/data:1",
        "check_data": DATA,
        "adapt": DATA,
        "train": "registry/model:2",
        "select_model": MODEL,
        "export": DATA,
        "evaluate": MODEL,
        "fetch_published": MODEL,
        "fetch_published_2": MODEL,
        "resolve": MODEL,
        "encode_for_published": DATA,
        "publish": MODEL,
    }


def test_no_step_installs_packages_when_it_runs() -> None:
    for executor in compiled("sample")["deploymentSpec"]["executors"].values():
        assert "pip install" not in " ".join(executor["container"]["command"])


def test_train_runs_for_each_layer_stack() -> None:
    tasks = compiled("sample")["root"]["dag"]["tasks"]
    loops = [task for task in tasks.values() if "parameterIterator" in task]
    assert len(loops) == 1
    assert loops[0]["parameterIterator"]["items"]["inputParameter"] == (
        "pipelinechannel--layer_stacks"
    )
    assert "for-loop-1" in tasks["select-model"]["dependentTasks"]


def test_evaluate_measures_the_export() -> None:
    evaluate = compiled("sample")["root"]["dag"]["tasks"]["evaluate"]
    artifacts = evaluate["inputs"]["artifacts"]
    assert artifacts["export"]["taskOutputArtifact"]["producerTask"] == "export"


def test_compile_gives_the_same_bytes_twice(tmp_path, capsys) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for path in (first, second):
        assert main(["compile", "--config", "sample", "--to", str(path)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert "deep-retrieval-model:" in capsys.readouterr().out


def test_images_are_tagged_by_content_and_never_latest(tmp_path) -> None:
    path = tmp_path / "pipeline.yaml"
    main(["compile", "--config", "sample", "--to", str(path), "--registry", "registry.example/a"])
    executors = yaml.safe_load(path.read_text())["deploymentSpec"]["executors"]
    for executor in executors.values():
        name, _, tag = executor["container"]["image"].rpartition(":")
        assert name in (f"registry.example/a/{DATA}", f"registry.example/a/{MODEL}")
        assert re.fullmatch(r"[a-z_]+-[0-9a-f]{12}", tag)
