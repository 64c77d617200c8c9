"""The Docker runner: the same results as the subprocess runner, in containers that can do little.

Skipped, with the reason, where no container engine answers or the images are not built
(deep-retrieval images build).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL_SAMPLE, TRAIN
from tiny_config import tiny

from components.shared.contracts.tables import SPLITS, read_table
from components.shared.runtime.errors import InputError
from pipeline.cli.main import main
from pipeline.images import step_images
from pipeline.local.failure import RunFailed
from pipeline.local.results import RunResult
from pipeline.local.runner import run_locally

pytestmark = pytest.mark.slow

docker = pytest.importorskip("docker")


@pytest.fixture(scope="module")
def engine() -> Any:
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no container engine answers: {error}")
    for image in set(step_images().values()):
        try:
            client.images.get(image)
        except docker.errors.ImageNotFound:
            pytest.skip(f"{image} is not built: deep-retrieval images build")
    return client


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in ("docker", "subprocess")}


@pytest.fixture(scope="module")
def in_containers(engine: Any, outputs: dict[str, Path]) -> RunResult:
    from pipeline.local.docker_runner import Containers

    return run_locally(tiny(), str(outputs["docker"]), containers=Containers(step_images()))


@pytest.fixture(scope="module")
def in_processes(engine: Any, outputs: dict[str, Path]) -> RunResult:
    with pytest.MonkeyPatch.context() as patch:
        # Containers do not have this setting of the tests, which changes the last digits.
        patch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)
        return run_locally(tiny(), str(outputs["subprocess"]))


def artifact(output: Path, name: str) -> Path:
    [found] = (output / "work").glob(f"deep-retrieval-*/{name}")
    return found


def test_metrics_are_those_of_the_subprocess_runner(
    in_containers: RunResult, in_processes: RunResult
) -> None:
    """Bit for bit: both run the same wheels on the same machine."""
    ours, theirs = in_containers.evaluation, in_processes.evaluation
    assert ours.metrics == theirs.metrics
    assert ours.slices == theirs.slices
    assert ours.headline == theirs.headline


def test_tables_are_those_of_the_subprocess_runner(
    in_containers: RunResult, in_processes: RunResult, outputs: dict[str, Path]
) -> None:
    for step, name in (("ingest", "tables"), ("adapt", "encoded")):
        folders = [artifact(output, f"{step}/{name}") for output in outputs.values()]
        for table in ("candidates", *(f"interactions/{split}" for split in SPLITS)):
            first, second = (read_table(folder / table) for folder in folders)
            assert first.equals(second), f"{name}/{table}"


def test_embeddings_are_those_of_the_subprocess_runner(
    in_containers: RunResult, in_processes: RunResult
) -> None:
    first, second = (
        read_table(run.folder / "export" / "candidates") for run in (in_containers, in_processes)
    )
    assert first.equals(second)


def test_outputs_belong_to_the_caller(in_containers: RunResult, outputs: dict[str, Path]) -> None:
    files = list(outputs["docker"].rglob("*"))
    assert len(files) > 50
    assert {path.lstat().st_uid for path in files} == {os.getuid()}


def test_a_second_run_in_containers_reuses_every_step_but_publish(
    in_containers: RunResult, outputs: dict[str, Path]
) -> None:
    from pipeline.local.docker_runner import Containers

    again = run_locally(tiny(), str(outputs["docker"]), containers=Containers(step_images()))
    assert [step.step for step in again.steps if not step.reused] == ["resolve", "publish"]


def test_a_model_is_published_from_containers_and_belongs_to_the_caller(
    engine: Any, outputs: dict[str, Path], tmp_path: Path
) -> None:
    from pipeline.local.docker_runner import Containers

    models = tmp_path / "models"
    run = run_locally(
        tiny(
            source=SMALL_SAMPLE,
            train=TRAIN,
            layer_stacks=[[16]],
            publish={"location": str(models)},
        ),
        str(outputs["docker"]),
        containers=Containers(step_images()),
    )
    latest = json.loads((models / "latest.json").read_text())
    assert latest["version"] == run.publication.version != ""
    lineage = json.loads((models / "versions" / latest["version"] / "lineage.json").read_text())
    assert lineage["images"] == step_images()
    assert len(lineage["revision"]) >= 40  # which the images know, and containers have no git
    assert {path.lstat().st_uid for path in models.rglob("*")} == {os.getuid()}


def test_a_location_that_containers_cannot_reach_is_refused(engine: Any) -> None:
    from pipeline.local.docker_runner import Containers

    containers = Containers(step_images())
    with pytest.raises(InputError, match=r"publish\.location s3://bucket/m: containers"):
        containers.runner({}, Path("/var/tmp"), "s3://bucket/m")
    with pytest.raises(InputError, match=r"source\.interactions s3://bucket/log: con"):
        containers.runner({"interactions": "s3://bucket/log"}, Path("/var/tmp"))


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import os; assert os.getuid() != 0 and os.getgid() != 0", True),
        ("open('/opt/deep-retrieval/components/shared/runtime/step.py', 'a')", False),
        ("open('/written', 'w')", False),
        ("open('/tmp/written', 'w').write('x')", True),
        ("import socket; socket.create_connection(('192.0.2.1', 80), 2)", False),
        ("import os; os.setuid(0)", False),
        (
            "import os; os.environ['_KFP_RUNTIME'] = 'true'; "
            "import kfp.dsl.executor_main, components.shared.runtime.step",
            True,
        ),
    ],
)
def test_a_container_can_do_only_what_a_step_needs(
    engine: Any, tmp_path: Path, code: str, allowed: bool
) -> None:
    from pipeline.local.docker_runner import Containers

    options = Containers(step_images()).runner({}, tmp_path).container_run_args
    image = step_images()["train"]
    if allowed:
        engine.containers.run(image, ["python3", "-c", code], remove=True, **options)
    else:
        with pytest.raises(docker.errors.ContainerError):
            engine.containers.run(image, ["python3", "-c", code], remove=True, **options)


@pytest.mark.parametrize("name", sorted(set(step_images().values())))
def test_images_name_a_user_no_entrypoint_and_their_origin(engine: Any, name: str) -> None:
    config = engine.images.get(name).attrs["Config"]
    assert config["User"] == "65532:65532"
    assert not config["Entrypoint"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"]
    assert labels["org.opencontainers.image.revision"]


def test_the_model_image_has_no_tensorflow_and_no_beam(engine: Any) -> None:
    code = (
        "import importlib.util as u; "
        "print([n for n in ('tensorflow', 'apache_beam', 'pytest') if u.find_spec(n)])"
    )
    printed = engine.containers.run(step_images()["train"], ["python3", "-c", code], remove=True)
    assert printed.decode().strip() == "[]"


def test_images_hold_the_pinned_versions(engine: Any) -> None:
    code = (
        "from importlib.metadata import distributions; "
        "print(*{f'{d.name}=={d.version}'.lower().replace('_', '-') for d in distributions()})"
    )
    pins = {
        line.partition(" ;")[0].lower().replace("_", "-")
        for line in (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    }
    for image in sorted(set(step_images().values())):
        printed = engine.containers.run(image, ["python3", "-c", code], remove=True)
        installed = set(printed.decode().split())
        assert len(installed) > 30
        assert installed <= pins, image


@pytest.mark.parametrize("tool", ["gcc", "cc", "make", "uv"])
def test_images_have_no_build_tool(engine: Any, tool: str) -> None:
    for image in set(step_images().values()):
        with pytest.raises(docker.errors.ContainerError):
            engine.containers.run(image, ["sh", "-c", f"command -v {tool}"], remove=True)


def test_a_container_that_runs_out_of_memory_is_explained(engine: Any, tmp_path: Path) -> None:
    from pipeline.local.docker_runner import Containers

    config = tiny(source={"kind": "sample", "users": 20_000, "items": 4_000})
    with pytest.raises(RunFailed) as error:
        run_locally(
            config, str(tmp_path / "out"), containers=Containers(step_images(), memory="300m")
        )
    assert "ran out of memory (limit 300m)" in str(error.value)
    assert "--memory" in str(error.value)


def test_bad_input_is_explained_as_it_is_without_containers(engine: Any, tmp_path: Path) -> None:
    from pipeline.local.docker_runner import Containers

    config = tiny(source={"kind": "sample", "users": 1, "items": 40})
    with pytest.raises(RunFailed, match="ingest: The log has only one user"):
        run_locally(config, str(tmp_path), containers=Containers(step_images()))


def test_an_image_that_is_not_built_is_named_with_the_command(engine: Any) -> None:
    from pipeline.local.docker_runner import Containers

    with pytest.raises(InputError, match="deep-retrieval images build"):
        Containers({**step_images(), "train": "deep-retrieval-model:000000000000"})


def test_a_folder_that_containers_cannot_enter_is_refused(engine: Any) -> None:
    from pipeline.local.docker_runner import Containers

    containers = Containers(step_images())
    with pytest.raises(InputError, match="--output /root/runs/work: containers do not run as root"):
        containers.runner({}, Path("/root/runs/work"))
    with pytest.raises(InputError, match=r"source /root/ml-100k\.zip"):
        containers.runner({"path": "/root/ml-100k.zip"}, Path("/var/tmp"))


def test_a_download_that_is_there_already_is_taken(
    engine: Any, tmp_path: Path, movielens_tfds: Path
) -> None:
    from pipeline.local.docker_runner import Containers

    folder = tmp_path / "downloads"
    shutil.copytree(movielens_tfds / "downloads" / "movielens", folder)
    archive = Containers(step_images()).fetch("100k", folder, network="none")
    assert archive.parent == folder
    assert zipfile.is_zipfile(archive)
    assert archive.stat().st_uid == os.getuid()


def test_no_engine_is_one_readable_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert main(["run", "--config", "sample", "--runner", "docker"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: No container engine answers at unix:///nowhere/docker.sock")
    assert "--runner subprocess" in error


@pytest.fixture
def interrupted_run(engine: Any, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """Ctrl-C in the middle of training: exit status and output."""
    command = [
        sys.executable, "-m", "pipeline.cli.main", "run", "--runner", "docker",
        "--config", "sample",
        "--output", str(tmp_path), "--set", "train.epochs=500", "--set", "train.patience=null",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout
        printed = []
        for line in run.stdout:
            printed.append(line)
            if "epoch" in line:
                break
        run.send_signal(signal.SIGINT)
        began = time.monotonic()
        printed += run.stdout.readlines()
        run.wait(timeout=60)
        assert time.monotonic() - began < 30
        yield run.returncode, "".join(printed)


def test_ctrl_c_leaves_no_container_and_no_results(
    interrupted_run: tuple[int, str], engine: Any, tmp_path: Path
) -> None:
    status, printed = interrupted_run
    assert status == 130
    assert "interrupted" in printed
    assert "Traceback" not in printed
    label = {"label": "deep-retrieval.run"}
    assert engine.containers.list(all=True, filters=label, ignore_removed=True) == []
    assert not (tmp_path / "sample").exists()
