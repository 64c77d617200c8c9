"""`deep-retrieval compile`: equal inputs give equal files, and how a cluster run differs."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compiled_pipeline import Compiled, sample_with

from components.shared.runtime.errors import InputError
from components.shared.runtime.images import STEP_IMAGES
from pipeline.cli.main import main
from pipeline.compilation import (
    compile_pipeline,
    differences,
    kubernetes_manifests,
    version_name,
)
from pipeline.config.loading import load_config, shipped_configs
from pipeline.config.pipeline import PipelineConfig
from pipeline.definition import NAME

ROOT = Path(__file__).parents[2]
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
# The API server refuses parameters that are longer.
LONGEST_PARAMETER = 10_000
FULL: dict[str, Any] = {
    "service_account": "runner",
    "pipeline_root": "s3://bucket/runs",
    "image_pull_secrets": ["registry"],
    "queue": "team-a",
    "priority": "nightly",
    "ttl_seconds": 600,
    "ttl_seconds_after_failure": 900,
    "deadline_seconds": 3600,
    "checkpoints": "s3://bucket/state",
    "webhook": {"secret": "hooks", "key": "address"},
    "defaults": {
        "cpu_request": "500m",
        "cpu_limit": "2",
        "memory_request": "1Gi",
        "memory_limit": "2Gi",
        "node_selector": {"b": "1", "a": "2"},
        "tolerations": [{"key": "spot", "effect": "NoExecute", "seconds": 5}],
        "shared_memory": "1Gi",
        "timeout_seconds": 60,
        "retry": {"count": 2},
        "secrets": [{"secret": "s3", "env": {"B": "b", "A": "a"}}],
        "env": {"Z": "1", "Y": "2", "X": "3"},
        "volumes": [{"claim": "data", "mount_path": "/data", "sub_path": "a"}],
        "labels": {"z": "1", "y": "2"},
        "annotations": {"note": "ä: 'quoted' #1"},
        "image_pull_policy": "Always",
    },
    "steps": {
        **{step: {"memory_limit": "4Gi"} for step in STEP_IMAGES},
        "train": {"accelerator": {"type": "nvidia.com/gpu", "count": 1}},
    },
}


def fully_scheduled(name: str) -> PipelineConfig:
    """A shipped config with every setting of the section `cluster`."""
    values = load_config(name).model_dump(mode="json", exclude_none=True)
    return PipelineConfig.model_validate({**values, "cluster": FULL})


def written_config(folder: Path, **values: Any) -> Path:
    """The sample with a full section `cluster`, as a file."""
    sample = load_config("sample").model_dump(mode="json", exclude_none=True)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**sample, "cluster": FULL, **values}))
    return path


# --- the same bytes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two copies of this code: one without git, one in which a commit and a change are."""
    folder = tmp_path_factory.mktemp("checkouts")
    for part in ("pipeline", "components", "images"):
        shutil.copytree(
            ROOT / part, folder / "plain" / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    for part in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / part, folder / "plain")
    shutil.copytree(folder / "plain", folder / "deeper" / "changed")
    changed = folder / "deeper" / "changed"
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "All."]):
        subprocess.run([*git, *command], cwd=changed, check=True)
    (changed / "notes.txt").write_text("not committed")
    (changed / "pipeline" / "README.md").write_text("changed since")
    return [folder / "plain", changed]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--kubernetes", "--namespace", "team-a"]])
def test_processes_folders_and_git_states_make_no_difference(
    checkouts: list[Path], tmp_path: Path, options: list[str]
) -> None:
    config = written_config(tmp_path)
    texts = []
    for number, checkout in enumerate(checkouts):
        working = tmp_path / f"working-{number}"
        working.mkdir()
        command = ["compile", "--config", str(config), "--registry", "registry.example/team"]
        subprocess.run(
            [sys.executable, "-m", "pipeline.cli.main", *command, "--to", "out.yaml", *options],
            cwd=working,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(working),
                "PYTHONPATH": str(checkout),
                "PYTHONHASHSEED": str(number + 1),
                "TZ": ["UTC", "Asia/Tokyo"][number],
            },
            check=True,
            capture_output=True,
        )
        texts.append((working / "out.yaml").read_bytes())
    assert texts[0] == texts[1]
    for folder in (*checkouts, tmp_path):
        assert str(folder).encode() not in texts[0]


def test_the_compiled_file_has_no_time_in_it() -> None:
    text = compile_pipeline(fully_scheduled("sample"), STEP_IMAGES)
    assert not re.search(r"20\d\d-\d\d-\d\d", text)
    assert text == compile_pipeline(fully_scheduled("sample"), STEP_IMAGES)


def test_the_order_in_which_images_are_given_makes_no_difference() -> None:
    backwards = dict(reversed(STEP_IMAGES.items()))
    assert compile_pipeline(sample_with(), backwards) == compile_pipeline(
        sample_with(), STEP_IMAGES
    )


# --- versions -------------------------------------------------------------------------------------


def version_of(config: PipelineConfig, images: dict[str, str] = STEP_IMAGES) -> str:
    """The version's name."""
    return version_name(config.name, compile_pipeline(config, images))


def test_a_version_is_named_by_its_content() -> None:
    name = version_of(sample_with())
    assert re.fullmatch(r"sample-[0-9a-f]{12}", name)
    assert version_of(load_config("sample")) == name


@pytest.mark.parametrize(
    "other",
    [
        ["seed=7"],
        ["train.epochs=1"],
        ["layer_stacks=[[8]]"],
        ["publish.location=s3://bucket/models"],
        ["cluster.defaults.cpu_limit='1'"],
        ["cluster.checkpoints=s3://bucket/state"],
        ["cluster.ttl_seconds=5"],
        ["name=other"],
    ],
)
def test_another_config_is_another_version(other: list[str]) -> None:
    assert version_of(load_config("sample", other)) != version_of(load_config("sample"))


def test_another_image_is_another_version() -> None:
    images = {**STEP_IMAGES, "export": "data:2"}
    assert version_of(sample_with(), images) != version_of(sample_with())


@pytest.mark.parametrize(
    "same", [["description=Other words."], ["cluster.service_account=a"], ["train.epochs=16"]]
)
def test_what_is_not_in_the_file_makes_no_other_version(same: list[str]) -> None:
    assert version_of(load_config("sample", same)) == version_of(load_config("sample"))


def test_what_kubernetes_gets_is_the_version_that_the_ir_is() -> None:
    config = fully_scheduled("sample")
    manifests = list(yaml.safe_load_all(kubernetes_manifests(config, STEP_IMAGES)))
    assert manifests[1]["metadata"]["name"] == version_of(config)


# --- manifests for kubectl ------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", [None, "team-a"])
@pytest.mark.parametrize("cluster", [{}, FULL])
def test_manifests_hold_the_ir_and_the_settings_for_kubernetes(
    cluster: dict[str, Any], namespace: str | None
) -> None:
    config = sample_with(cluster)
    text = kubernetes_manifests(config, STEP_IMAGES, namespace)
    pipeline, version = yaml.safe_load_all(text)
    assert [document["kind"] for document in (pipeline, version)] == ["Pipeline", "PipelineVersion"]
    for document in (pipeline, version):
        assert document["apiVersion"] == "pipelines.kubeflow.org/v2beta1"
        assert document["metadata"].get("namespace") == namespace
    assert pipeline["metadata"]["name"] == version["spec"]["pipelineName"] == NAME
    ir = list(yaml.safe_load_all(compile_pipeline(config, STEP_IMAGES)))
    assert version["spec"]["pipelineSpec"] == ir[0]
    assert version["spec"].get("platformSpec") == (ir[1] if cluster else None)


@pytest.mark.parametrize("name", shipped_configs())
def test_the_names_of_manifests_are_ones_that_kubernetes_takes(name: str) -> None:
    text = kubernetes_manifests(load_config(name), STEP_IMAGES, "team-a")
    for document in yaml.safe_load_all(text):
        called = document["metadata"]["name"]
        assert DNS_SUBDOMAIN.fullmatch(called)
        assert len(called) <= 63  # that it fits into a label, too


def test_manifests_are_the_same_each_time() -> None:
    config = fully_scheduled("movielens-1m")
    assert kubernetes_manifests(config, STEP_IMAGES) == kubernetes_manifests(config, STEP_IMAGES)


def test_compile_writes_manifests_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "manifests.yaml"
    command = ["compile", "--config", "sample", "--to", str(path), "--kubernetes"]
    assert main([*command, "--namespace", "team-a"]) == 0
    documents = list(yaml.safe_load_all(path.read_text()))
    assert [document["kind"] for document in documents] == ["Pipeline", "PipelineVersion"]
    assert {document["metadata"]["namespace"] for document in documents} == {"team-a"}


# --- the file -------------------------------------------------------------------------------------


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that an earlier compile wrote."""
    path = tmp_path / "pipeline.yaml"
    path.write_text("old: true\n")
    return path


def compile_to(path: Path, *options: str) -> int:
    """Compiles the sample."""
    return main(["compile", "--config", "sample", "--to", str(path), *options])


def test_a_config_that_is_wrong_leaves_the_old_file(target: Path) -> None:
    assert compile_to(target, "--set", "cluster.defaults.cpu_limit=four") == 2
    assert target.read_text() == "old: true\n"
    assert list(target.parent.iterdir()) == [target]


def test_a_compile_that_fails_leaves_the_old_file(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise InputError("no checkout")

    monkeypatch.setattr("pipeline.compilation.compile_pipeline", fail)
    assert compile_to(target) == 2
    assert target.read_text() == "old: true\n"
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_leaves_the_old_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text = Path.write_text

    def half(path: Path, text: str, **options: Any) -> int:
        write_text(path, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", half)
    assert compile_to(target) == 2
    monkeypatch.undo()
    assert target.read_text() == "old: true\n"
    assert "No space left" in capsys.readouterr().err


def test_a_compile_that_succeeds_leaves_the_file_only(target: Path) -> None:
    assert compile_to(target) == 0
    Compiled.read(target.read_text())
    assert list(target.parent.iterdir()) == [target]


# --- every shipped config -------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_config_compiles_with_every_setting_of_a_cluster(name: str) -> None:
    config = fully_scheduled(name)
    compiled = Compiled.read(compile_pipeline(config, STEP_IMAGES))
    assert compiled.pod("train").active_deadline_seconds == 60
    assert compiled.default["train_accelerator_count"] == "1"
    assert compiled.on_kubernetes.pipelineConfig.active_deadline_seconds == 3600
    expected = {**config.parameters(), "ingest_config": config.parameters()["ingest"]}
    for parameter in ("source", "features", "layer_stacks", "seed", "ingest_config"):
        assert compiled.default[parameter] == expected[parameter]


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_configs_parameters_are_short_enough_for_the_api_server(name: str) -> None:
    default = Compiled.read(compile_pipeline(load_config(name), STEP_IMAGES)).default
    assert set(default) > {"source", "features", "train_config"}
    longest = max(len(json.dumps(value)) for value in default.values())
    assert longest < LONGEST_PARAMETER
    assert len(json.dumps(default)) < LONGEST_PARAMETER  # it counts all of them together


# --- how a cluster run differs --------------------------------------------------------------------

SENTENCES = {
    "registry": ([], "registry.example/team"),
    "accelerator": (["cluster.steps.train.accelerator={}"], ""),
    "accelerator by default": (["cluster.defaults.accelerator.type=amd.com/gpu"], ""),
    "retry": (["cluster.defaults.retry.count=2"], ""),
    "retry of a step": (["cluster.steps.train.retry.count=4"], ""),
    "checkpoints": (["cluster.checkpoints=s3://bucket/state"], ""),
    "publish": (["publish.location=s3://bucket/models"], ""),
    "webhook": (["cluster.webhook={secret: hooks, key: address}"], ""),
}
SAID = {
    "registry": ["registry.example/team", "images push"],
    "accelerator": ["1 nvidia.com/gpu"],
    "accelerator by default": ["1 amd.com/gpu"],
    "retry": ["ingest 2", "train 2"],
    "retry of a step": ["train 4"],
    "checkpoints": ["s3://bucket/state"],
    "publish": ["s3://bucket/models"],
    "webhook": ["hooks"],
}


@pytest.mark.parametrize("what", SENTENCES)
def test_each_setting_changes_one_sentence_on_how_a_cluster_run_differs(what: str) -> None:
    overrides, registry = SENTENCES[what]
    before = differences(load_config("sample"), "")
    after = differences(load_config("sample", overrides), registry)
    assert len(before) == len(after)
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    for word in SAID[what]:
        assert word in changed[0]


def test_the_source_is_said_as_the_cluster_will_read_it(tmp_path: Path) -> None:
    config = written_config(
        tmp_path,
        source={
            "kind": "files",
            "interactions": "s3://bucket/logs/*.csv",
            "candidates": "items.csv",
            "columns": {"query_id": "user", "candidate_id": "item"},
        },
        features={"query": {"user": {"type": "id"}}, "candidate": {"item": {"type": "id"}}},
    )
    text = "\n".join(differences(load_config(str(config)), ""))
    assert "s3://bucket/logs/*.csv" in text


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("steps.publish.retry.count=2", "publish 2"),
        ("steps.select_model.retry.count=2", "select_model 2"),
        ("steps.fetch_published.retry.count=2", "fetch_published 2"),
        ("defaults.retry.count=0", "no step is retried"),
    ],
)
def test_each_step_that_is_retried_is_said_and_no_other(override: str, words: str) -> None:
    assert words in "\n".join(differences(load_config("sample", [f"cluster.{override}"]), ""))


def test_the_catalogue_is_said_as_the_source_is(tmp_path: Path) -> None:
    config = written_config(
        tmp_path,
        source={
            "kind": "files",
            "interactions": "s3://bucket/log.csv",
            "candidates": "/data/items.csv",
            "columns": {"query_id": "user", "candidate_id": "item"},
        },
        features={"query": {"user": {"type": "id"}}, "candidate": {"item": {"type": "id"}}},
    )
    assert "/data/items.csv" in "\n".join(differences(load_config(str(config)), ""))


def test_compile_says_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written_config(tmp_path)
    command = ["compile", "--config", str(config), "--to", str(tmp_path / "p.yaml")]
    assert main([*command, "--registry", "registry.example/team"]) == 0
    said = capsys.readouterr().out
    for line in differences(load_config(str(config)), "registry.example/team"):
        assert f"  - {line}\n" in said
    # Train asks for a GPU, so its image is the one with CUDA.
    assert re.search(r"registry\.example/team/deep-retrieval-model:train-[0-9a-f]{12}-gpu\n", said)
    assert re.search(r"registry\.example/team/deep-retrieval-data:ingest-[0-9a-f]{12}\n", said)
