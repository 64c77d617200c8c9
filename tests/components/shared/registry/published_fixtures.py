"""Locations where models can be published: a folder, memory, and a local S3 server.

A plugin of this folder's test modules rather than a conftest.py, which would hide the one that
other tests import by that name.
"""

import logging
import multiprocessing
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
import racing
from fsspec.implementations.memory import MemoryFileSystem
from moto.moto_server.werkzeug_app import MotoRequestHandler
from places import S3, MakeFolder, Race, S3App
from s3fs import S3FileSystem
from werkzeug.serving import make_server

RACERS = 4


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[S3App, str]]:
    """A local S3 server: its application and address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    app = S3App()
    server = make_server("127.0.0.1", 0, app, True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield app, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def s3_environment(s3_server: tuple[S3App, str]) -> Iterator[None]:
    """An environment that points to this S3 server only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": s3_server[1],
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        # s3fs caches its objects, together with the environment at their creation.
        S3FileSystem.clear_instance_cache()
        yield
        S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def _s3_client(s3_server: tuple[S3App, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=s3_server[1],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def s3(s3_server: tuple[S3App, str], s3_environment: None, _s3_client: Any) -> Iterator[S3]:
    """An empty bucket, and an environment that points to it."""
    app, endpoint = s3_server
    bucket = f"bucket-{uuid.uuid4().hex}"
    _s3_client.create_bucket(Bucket=bucket)
    yield S3(app, endpoint, bucket)
    app.denied.clear()
    app.answers_lost.clear()


@pytest.fixture
def changed_environment(s3_environment: None) -> Iterator[None]:
    """For a test that changes the environment's settings for S3."""
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


def place_url(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty location of a kind: folder, memory or s3."""
    if kind == "s3":
        return f"s3://{request.getfixturevalue('s3').bucket}/shop/models"
    if kind == "memory":
        root = f"/{uuid.uuid4().hex}"

        def forget() -> None:
            for path in [path for path in MemoryFileSystem.store if path.startswith(root)]:
                del MemoryFileSystem.store[path]

        request.addfinalizer(forget)
        return f"memory:/{root}/models"
    return str(request.getfixturevalue("tmp_path") / "shop" / "models")


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest) -> str:
    """An empty location of each kind."""
    return place_url(request.param, request)


@pytest.fixture(params=["folder", "s3"])
def shared_place(request: pytest.FixtureRequest) -> str:
    """An empty location of each kind that processes can share."""
    return place_url(request.param, request)


@pytest.fixture(scope="session")
def _processes() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        RACERS, context, initializer=racing.enter, initargs=(context.Barrier(RACERS),)
    ) as pool:
        yield pool


@pytest.fixture
def process_race(_processes: ProcessPoolExecutor) -> Race:
    """Call a function of `racing` in four processes at once, each with its own arguments."""

    def race(function: str, arguments: list[dict[str, Any]]) -> list[Any]:
        assert len(arguments) == RACERS
        environment = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
        futures = [_processes.submit(racing.run, function, environment, each) for each in arguments]
        return [future.result(timeout=120) for future in futures]

    return race


@pytest.fixture
def thread_race() -> Race:
    """Call a function of `racing` in threads at once, each with its own arguments."""

    def race(function: str, arguments: list[dict[str, Any]]) -> list[Any]:
        barrier = threading.Barrier(len(arguments))

        def run(each: dict[str, Any]) -> Any:
            barrier.wait(timeout=60)
            return getattr(racing, function)(**each)

        with ThreadPoolExecutor(len(arguments)) as pool:
            return list(pool.map(run, arguments))

    return race


@pytest.fixture(params=["threads", "processes"])
def race(request: pytest.FixtureRequest) -> Race:
    """Call a function of `racing` four times at once, in threads and in processes."""
    name = {"threads": "thread_race", "processes": "process_race"}[request.param]
    found: Race = request.getfixturevalue(name)
    return found


@pytest.fixture
def version_folder(tmp_path: Path) -> MakeFolder:
    """Create a folder like the one publish gathers, with its own content."""

    def make(content: str) -> Path:
        folder = tmp_path / "gathered" / content
        shutil.rmtree(folder, ignore_errors=True)
        for name in (
            "evaluation.json",
            "export/candidates/part-00000-of-00001.parquet",
            "export/export.json",
            "export/query_tower.keras",
            "export/saved_model/saved_model.pb",
            "export/saved_model/variables/variables.index",
            "export/users/part-00000-of-00001.parquet",
            "features/feature_spec.json",
            "features/vocabularies/movie_id.parquet",
            "lineage.json",
            "model/history.json",
            "model/query_tower.keras",
        ):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} of {content}\n")
        return folder

    return make
