"""Connections, faults and a small pipeline for the tests of cluster commands."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_http import Clock, Fault, status
from kfp_server import KfpServer

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
# A request that meets one of these succeeds when it is repeated.
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
# A request that meets one of these is not repeated.
LASTING = {
    "400": status(400),
    "401": status(401),
    "403": status(403),
    "a web page": status(200, "<html><title>Sign in</title></html>", Content_Type="text/html"),
    "an answer of something else": status(200, '{"message": "welcome"}'),
    "a redirect": status(302, "", Location="https://login.example.com/dex?state=abc"),
}

# At each request of a command, one fault of each effect is enough: without and with the work done,
# cut in the middle of the body; a refusal, and an answer that hides whether the work was done.
# test_requests.py has every kind of fault.
PASSING_EFFECTS = ("503", "no answer, but done", "cut in the middle")
LASTING_EFFECTS = ("403", "a web page")


def connected(server: KfpServer, clock: Clock | None = None, **connection: Any) -> Cluster:
    """Connect to a server; waits use the tests' clock."""
    return connect(Connection(host=server.url, **connection), **by(clock or server.clock, server))


class Patient(Limits):
    """Waits long for an answer, and briefly if none will come.

    So a test that waits for nothing is short, and one on a busy machine does not fail.
    """

    server: KfpServer | None = None

    def __getattribute__(self, name: str) -> Any:
        server = type(self).server
        if name == "seconds" and server is not None and server.may_hang():
            return 0.12
        return 30.0 if name == "seconds" else super().__getattribute__(name)


def by(clock: Clock, server: KfpServer | None = None) -> dict[str, Any]:
    """Return the options of a connection whose waits use a clock."""
    return {
        "clock": retries.Clock(clock.sleep, clock.monotonic, clock.now, jitter=lambda: 1.0),
        "limits": type("Patient", (Patient,), {"server": server})(),
    }


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Hides this machine's settings from the tests, and forgets each test's secrets."""
    for name in list(os.environ):
        if name.startswith(("KF_", "KFP_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    yield
    redaction._SECRETS.clear()


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command against a server, with its clock and a small pipeline."""

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
    """Runs a command against a server, with the compiled pipeline."""

    def run(server: KfpServer, *arguments: str) -> int:
        monkeypatch.setattr(
            client, "connect", functools.partial(connect, **by(server.clock, server))
        )
        return main([*arguments, "--host", server.url])

    return run


def clear(message: str) -> bool:
    """Whether an error is a readable message: short, and without a traceback."""
    return (
        "Traceback" not in message
        and len(message) < 900
        and message.count("\n") < 3
        and "HTTPHeaderDict" not in message
        and "object at 0x" not in message
    )
