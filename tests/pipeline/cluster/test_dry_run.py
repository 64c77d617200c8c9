"""The output of `--dry-run`, and the differences between two definitions of the pipeline."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from cluster_support import command_line, connected, no_settings, real_command_line
from kfp_server import KfpServer

from components.shared.runtime.images import STEP_IMAGES
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.uploads.caching import without_caching
from pipeline.cluster.uploads.diff import differences
from pipeline.cluster.uploads.upload import upload
from pipeline.cluster.uploads.versions import Definition
from pipeline.compilation import compile_pipeline
from pipeline.config.loading import load_config

__all__ = ["command_line", "no_settings", "real_command_line"]  # fixtures
SUBMIT = ("submit", "--config", "sample", "--registry", "ghcr.io/acme")
CREATE = ("schedule", "create", "nightly", *SUBMIT[1:], "--cron", "15 3 * * *")


def compiled(*overrides: str, **images: str) -> str:
    return compile_pipeline(load_config("sample", overrides), {**STEP_IMAGES, **images})


def lines(*overrides: str, **images: str) -> list[str]:
    """Return how the sample with other settings or images differs from the sample."""
    return differences(Definition.read(compiled()), Definition.read(compiled(*overrides, **images)))


def changes(server: KfpServer) -> int:
    return server.count("(POST|PUT|PATCH|DELETE) .*")


# The differences.


def test_equal_definitions_have_no_differences() -> None:
    assert lines() == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("seed=7",), ["parameter seed: 42 -> 7"]),
        (
            ("layer_stacks=[[64], []]", "train.epochs=99"),
            [
                "parameter layer_stacks: [[32], [64, 32], [128, 64, 32]] -> [[64], []]",
                "parameter train_config.epochs: 16 -> 99",
            ],
        ),
        (("data_until=2026-11-24",), ['parameter data_until: "" -> 2026-11-24']),
        (("ingest.window_days=30",), ["parameter ingest_config.window_days: none -> 30"]),
        (
            ("cluster.steps.train.node_selector={pool: gpu}", "cluster.deadline_seconds=600"),
            [
                "train: nodeSelector.labels.pool none -> gpu",
                "run: activeDeadlineSeconds none -> 600",
            ],
        ),
        (
            ("cluster.defaults.memory_limit=8Gi",),
            ["all steps: resources.resourceMemoryLimit none -> 8Gi"],
        ),
    ],
)
def test_different_parameters_and_settings_are_listed_one_by_one(
    overrides: tuple[str, ...], expected: list[str]
) -> None:
    assert lines(*overrides) == expected


def test_different_images_are_listed_by_tag_once_for_all_their_steps() -> None:
    old = {step: f"ghcr.io/acme/{name}:abc" for step, name in STEP_IMAGES.items()}
    new = {**old, "train": "ghcr.io/acme/deep-retrieval-model:def"}
    both = (Definition.read(compiled(**images)) for images in (old, new))
    assert differences(*both) == ["train: image …abc -> …def"]
    everywhere = {step: image.replace("acme", "other") for step, image in old.items()}
    both = (Definition.read(compiled(**images)) for images in (old, everywhere))
    assert differences(*both) == [
        "adapt, check-data, encode-for-published, export, ingest: image "
        "ghcr.io/acme/deep-retrieval-data:abc -> ghcr.io/other/deep-retrieval-data:abc",
        "evaluate, fetch-published, fetch-published-2, notify, publish, resolve, select-model, "
        "train: image "
        "ghcr.io/acme/deep-retrieval-model:abc -> ghcr.io/other/deep-retrieval-model:abc",
    ]


def without_publish(ir: dict[str, Any]) -> None:
    del ir["components"]["comp-exit-handler-1"]["dag"]["tasks"]["publish"]
    del ir["components"]["comp-publish"], ir["deploymentSpec"]["executors"]["exec-publish"]


def with_other_code(ir: dict[str, Any]) -> None:
    ir["deploymentSpec"]["executors"]["exec-train"]["container"]["command"] = ["python3"]


def with_other_texts(ir: dict[str, Any]) -> None:
    ir["sdkVersion"] = "kfp-2.18.0"
    ir["components"]["comp-train"]["inputDefinitions"]["parameters"]["seed"]["description"] = "!"


def with_another_input(ir: dict[str, Any]) -> None:
    inputs = ir["components"]["comp-train"]["inputDefinitions"]["parameters"]
    inputs["more"] = {"parameterType": "STRING"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_publish, "step publish: removed"),
        (with_other_code, "train: code differs"),
        (with_other_texts, "descriptions, or kfp's version, differ"),
        (with_another_input, "train: interface differs"),
    ],
)
def test_differences_in_code_and_texts_are_listed_without_their_content(
    change: Callable[[dict[str, Any]], None], expected: str
) -> None:
    new = Definition.read(compiled())
    change(new.ir)  # type: ignore[arg-type]
    assert differences(Definition.read(compiled()), new) == [expected]


def test_a_new_step_is_listed_once() -> None:
    old = Definition.read(compiled())
    without_publish(old.ir)  # type: ignore[arg-type]
    assert differences(old, Definition.read(compiled())) == ["step publish: added"]


def test_a_step_whose_caching_is_turned_off_is_listed() -> None:
    text = compiled()
    told = differences(Definition.read(text), Definition.read(without_caching(text)))
    assert "ingest" in told[0]
    assert "cachingOptions" in told[0]


# The commands.


@pytest.mark.parametrize("arguments", [SUBMIT, CREATE])
def test_on_an_empty_server_a_dry_run_lists_what_would_be_created_and_creates_nothing(
    real_command_line: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with KfpServer() as server:
        assert real_command_line(server, *arguments, "--dry-run") == 0
        printed = capsys.readouterr().out
        assert "pipeline    deep-retrieval would be created" in printed
        assert re.search(r"version     sample-[0-9a-f]{12} would be uploaded", printed)
        assert "experiment  sample would be created" in printed
        assert "The server has no version of sample to compare with." in printed
        assert ("schedule    nightly would be created (cron 15 3 * * *)" in printed) == (
            arguments == CREATE
        )
        assert changes(server) == 0


def test_a_dry_run_of_an_uploaded_pipeline_reports_no_change(
    real_command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        assert real_command_line(server, *SUBMIT) == 0
        assert real_command_line(server, *CREATE) == 0
        done, runs = changes(server), len(server.runs)
        capsys.readouterr()
        for arguments in (SUBMIT, CREATE):
            assert real_command_line(server, *arguments, "--dry-run") == 0
            printed = capsys.readouterr().out
            assert printed.count(" exists") == (3 if arguments == SUBMIT else 4)
            assert printed.endswith("UTC:\n  nothing would change\n")
        assert (changes(server), len(server.runs)) == (done, runs)


def test_a_dry_run_lists_the_differences_from_the_configs_latest_version(
    real_command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer(page_size=1) as server:
        for seed in (1, 2):
            assert real_command_line(server, *SUBMIT, "--set", f"seed={seed}") == 0
            server.advance(60)
        cluster = connected(server)
        # Later versions, of other configs whose names start alike.
        for name in ("sample-2", "samples", "sample-0123456789ab"):
            upload(cluster, name, f"{compiled()}# {name}\n")
        done = changes(server)
        more = ("--set", "seed=3", "--set", "cluster.steps.train.node_selector={pool: gpu}")
        assert real_command_line(server, *SUBMIT, *more, "--dry-run") == 0
        printed = capsys.readouterr().out
        latest = server.versions[1]["name"]
        assert (
            f"Compared with the latest version of this config, {latest}, of 2026-11-24 03:11 UTC:"
            in printed
        )
        assert printed.endswith(
            "UTC:\n  parameter seed: 2 -> 3\n  train: nodeSelector.labels.pool none -> gpu\n"
        )
        assert changes(server) == done


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (("--cron", "0 4 * * *"), "would be replaced (cron 15 3 * * * -> cron 0 4 * * *)"),
        (("--param", "seed=3"), "would be replaced (cron 15 3 * * *)"),
        (("--set", "seed=3"), "would be replaced (cron 15 3 * * *)"),
        (("--paused",), "exists, and would be paused"),
    ],
)
def test_a_dry_run_of_a_schedule_says_what_would_happen_to_the_one_with_its_name(
    real_command_line: Any,
    capsys: pytest.CaptureFixture[str],
    changed: tuple[str, ...],
    says: str,
) -> None:
    with KfpServer() as server:
        assert real_command_line(server, *CREATE) == 0
        done = changes(server)
        assert real_command_line(server, *CREATE, *changed, "--dry-run") == 0
        assert f"schedule    nightly {says}\n" in capsys.readouterr().out
        assert changes(server) == done


def test_a_dry_run_says_that_an_experiment_is_archived(
    real_command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        experiment(connected(server), "sample")
        server.experiments[0]["storage_state"] = "ARCHIVED"
        assert real_command_line(server, *SUBMIT, "--dry-run") == 0
        assert "experiment  sample is archived" in capsys.readouterr().out


def test_a_dry_run_starts_no_run_that_could_be_followed(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        for option in (("--watch", "id"), ("--wait",)):
            assert command_line(server, *SUBMIT, "--dry-run", *option) == 2
            assert "--dry-run" in capsys.readouterr().err
        assert server.requests == []


def test_a_definition_from_the_server_is_read_with_and_without_kubernetes_settings() -> None:
    class Version:
        def __init__(self, specification: dict[str, Any]):
            self.pipeline_spec = specification

    text = compiled("cluster.deadline_seconds=600")
    ir, platform = yaml.safe_load_all(text)
    assert Definition.from_api(Version(ir)) == Definition(ir, {})
    both = {"pipeline_spec": ir, "platform_spec": platform}
    assert Definition.from_api(Version(both)) == Definition.read(text) == Definition(ir, platform)
