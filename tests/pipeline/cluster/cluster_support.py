"""What the tests of the cluster commands share: connections, faults, a small pipeline."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kfp_server import Clock, Fault, KfpServer, status

from pipeline.cli.main import main
from pipeline.cluster.client import cluster as client
from pipeline.cluster.client import redaction, retries
from pipeline.cluster.client.cluster import Cluster, connect
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.transport import Limits

IR = """\
pipelineInfo:
  name: deep-retrieval
components:
  comp-loop:
    dag:
      tasks:
        train: {cachingOptions: {enableCache: true}}
root:
  inputDefinitions:
    parameters:
      data_until: {parameterType: STRING}
      layer_stacks: {parameterType: LIST}
      rate: {parameterType: NUMBER_DOUBLE}
      seed: {parameterType: NUMBER_INTEGER}
      source: {parameterType: STRUCT}
      source_note: {parameterType: STRING}
      verbose: {parameterType: BOOLEAN}
  dag:
    tasks:
      ingest: {cachingOptions: {enableCache: true}}
"""
SECRET = "sEcReT-token.abc123"
# After these, trying again is right.
PASSING = {
    "429": status(429, Retry_After="7"),
    "500": status(500),
    "503": status(503, "upstream connect error"),
    "dropped before": Fault("drop"),
    "dropped after": Fault("drop_after"),
    "no answer": Fault("hang"),
    "no answer, but done": Fault("hang_after"),
    "cut in the middle": Fault("cut"),
}
# After these it is not.
LASTING = {
    "400": status(400),
    "401": status(401),
    "403": status(403),
    "a web page": status(200, "<html><title>Sign in</title></html>", Content_Type="text/html"),
    "an answer of something else": status(200, '{"message": "welcome"}'),
    "a redirect": status(302, "", Location="https://login.example.com/dex?state=abc"),
}


def connected(server: KfpServer, clock: Clock | None = None, **connection: Any) -> Cluster:
    """A connection that waits by the tests' clock."""
    return connect(Connection(host=server.url, **connection), **by(clock or server.clock, server))


class Patient(Limits):
    """Waits long for an answer, and briefly where none comes.

    So a test that waits for nothing is short, and one on a busy machine does not fail.
    """

    server: KfpServer | None = None

    def __getattribute__(self, name: str) -> Any:
        server = type(self).server
        if name == "seconds" and server is not None and server.may_hang():
            return 0.12
        return 30.0 if name == "seconds" else super().__getattribute__(name)


def by(clock: Clock, server: KfpServer | None = None) -> dict[str, Any]:
    """The options of a connection that waits by a clock."""
    return {
        "clock": retries.Clock(clock.sleep, clock.monotonic, clock.now, jitter=lambda: 1.0),
        "limits": type("Patient", (Patient,), {"server": server})(),
    }


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keeps what this machine has set away from the tests, and each test's secrets to it."""
    for name in list(os.environ):
        if name.startswith(("KF_", "KFP_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    yield
    redaction._SECRETS.clear()


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command against a server, by its clock and with a small pipeline."""

    def run(server: KfpServer, *arguments: str) -> int:
        monkeypatch.setattr(
            client, "connect", functools.partial(connect, **by(server.clock, server))
        )
        monkeypatch.setattr("pipeline.compilation.compile_pipeline", lambda config, images: IR)
        monkeypatch.setattr("pipeline.compilation.cluster_images", lambda config, registry, gpu: {})
        return main([*arguments, "--host", server.url])

    return run


@pytest.fixture
def real_command_line(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command against a server, with the pipeline as it is compiled."""

    def run(server: KfpServer, *arguments: str) -> int:
        monkeypatch.setattr(
            client, "connect", functools.partial(connect, **by(server.clock, server))
        )
        return main([*arguments, "--host", server.url])

    return run


def clear(message: str) -> bool:
    """Whether an error is a message for people: short, and no traceback."""
    return (
        "Traceback" not in message
        and len(message) < 900
        and message.count("\n") < 3
        and "HTTPHeaderDict" not in message
        and "object at 0x" not in message
    )
