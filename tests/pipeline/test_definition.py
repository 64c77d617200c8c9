"""The compiled pipeline."""

import re

import yaml
from golden import GOLDEN, compiled, compiled_for_cluster

from components.shared.runtime.images import DATA, MODEL
from pipeline.cli.main import main
from pipeline.config.loading import load_config
from pipeline.definition import STEPS


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
