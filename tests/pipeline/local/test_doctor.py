"""What doctor finds on a machine."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cli.main import main
from pipeline.local import doctor


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What other programs print, by their name; a program that is not in it is missing."""
    printed: dict[str, Any] = {}

    def run(command: list[str], **_: Any) -> Any:
        name = Path(command[0]).name.split(".")[0]
        if name not in printed:
            raise FileNotFoundError(name)
        if printed[name] is None:
            raise subprocess.TimeoutExpired(command, 5)
        return SimpleNamespace(returncode=0, stdout=printed[name])

    monkeypatch.setattr("pipeline.local.doctor.subprocess", SimpleNamespace(
        run=run, TimeoutExpired=subprocess.TimeoutExpired, DEVNULL=subprocess.DEVNULL))  # fmt: skip
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if name in printed else None)
    monkeypatch.setattr(doctor, "step_images", lambda: {"ingest": "data:1", "train": "model:2"})
    monkeypatch.setattr(doctor, "_installed", lambda name: "1.0")
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["numpy>=1", 'x; extra == "dev"'])
    return printed


def checks(output: Path) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.check_machine(str(output))}


def test_this_environment_has_what_the_pipeline_needs(tmp_path: Path) -> None:
    assert [check.found for check in doctor._packages() if check.state == "missing"] == []
    assert doctor._python().state == "ok"
    assert doctor._output(str(tmp_path / "runs")).state == "ok"


def test_each_missing_package_is_named_with_the_command_that_installs_it(
    programs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name == "jax" else "2.0")
    asked = ['jax>=1; extra == "model"', "numpy<2", 'pytest; extra == "dev"', "pyarrow"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: asked)

    found = checks(tmp_path)["packages"]

    assert found.state == "missing"
    assert found.found == "jax is not installed; numpy is 2.0, not <2"
    assert "pip install" in found.advice


def test_packages_that_differ_from_the_pins_are_named(tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("numpy==0.1\nnot-installed==1\nsix==1 ; sys_platform == 'nowhere'\n")

    found = doctor._pins(pins, "pip install")

    assert found.state == "optional"
    assert found.found.startswith("1 differ from constraints.txt: numpy ")
    assert found.found.endswith("(pinned ==0.1)")


@pytest.mark.parametrize(
    ("printed", "engine", "images"),
    [
        ({}, "neither docker nor podman is installed", None),
        ({"docker": None}, "docker is installed but does not answer", None),
        ({"docker": "data:1\n"}, "docker answers", "1 of 2 built"),
        ({"podman": "localhost/data:1\nlocalhost/model:2\n"}, "podman answers", "2 of 2 built"),
    ],
)
def test_the_container_engine_is_optional(
    printed: dict[str, Any], engine: str, images: str | None, programs: dict[str, Any],
    tmp_path: Path,
) -> None:  # fmt: skip
    programs.update(printed)

    found = checks(tmp_path)

    assert found["container engine"].found == engine
    assert (found["images"].found if images else None) == images
    assert found["container engine"].state != "missing"
    assert bool(found["container engine"].advice) == (found["container engine"].state != "ok")


@pytest.mark.parametrize(
    ("backend", "plugin", "state", "words"),
    [
        ("gpu\n", "1.0", "ok", "which JAX uses"),
        ("cpu\n", "1.0", "optional", "JAX does not use it"),
        (None, "1.0", "ok", "did not answer in time"),
        ("cpu\n", None, "optional", "JAX has no CUDA"),
    ],
)
def test_a_gpu_that_jax_does_not_use_is_named(
    backend: str | None, plugin: str | None, state: str, words: str, programs: dict[str, Any],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    programs |= {"nvidia-smi": "NVIDIA H200, 143771 MiB\n", "python": backend, "python3": backend}
    monkeypatch.setattr(doctor, "_installed", lambda name: plugin if "cuda" in name else "1.0")

    found = checks(tmp_path)["GPU"]

    assert (found.state, words in found.found) == (state, True)


@pytest.mark.parametrize(
    ("free", "state"), [(10**6, "missing"), (10**9, "optional"), (10**12, "ok")]
)
def test_disk_space_is_that_of_the_output_folder(
    free: int, state: str, programs: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def disk_usage(path: Path) -> Any:
        assert path == tmp_path
        return SimpleNamespace(free=free)

    monkeypatch.setattr(doctor.shutil, "disk_usage", disk_usage)

    assert checks(tmp_path / "not" / "made")["disk space"].state == state


def test_a_folder_that_runs_cannot_use_is_missing_and_exits_with_1(
    programs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")

    assert main(["doctor", "--output", str(tmp_path / "file" / "runs"), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert not document["ready"]
    assert [it["name"] for it in document["checks"] if it["state"] == "missing"] == [
        "output folder"
    ]
    assert main(["doctor", "--output", str(tmp_path / "python3.11")]) == 1
    assert main(["doctor", "--output", str(tmp_path / "runs")]) == 0
