"""The server's version is checked before anything is sent."""

from typing import Any

import pytest
from cluster_support import clear, command_line, connected, no_settings
from kfp_server import KfpServer

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.client.server_versions import check_server, parse
from pipeline.config.cluster import ClusterConfig

__all__ = ["command_line", "no_settings"]  # fixtures
PLAIN: dict[str, Any] = {"deadline_seconds": None}
TTL = {"ttl_seconds": 600}
DEADLINE = {"deadline_seconds": 600}
SUB_PATH = {"steps": {"train": {"volumes": [{"claim": "c", "mount_path": "/c", "sub_path": "x"}]}}}


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("2.17.0", (2, 17, 0)),
        ("v2.16.1", (2, 16, 1)),
        ("2.17.0-rc.1", (2, 17, 0)),
        ("10.0.12", (10, 0, 12)),
        ("master", None),
        ("unknown", None),
        ("", None),
        ("2.17", None),
        ("2.5.0-vendor.3", None),
        ("4a3592cb2dd0a91a", None),
        ("9" * 400 + ".0.0", None),
    ],
)
def test_only_the_tag_of_a_release_is_a_version(tag: str, version: Any) -> None:
    assert parse(tag) == version


@pytest.mark.parametrize("version", ["1.8.5", "2.14.3", "2.15.0"])
@pytest.mark.parametrize("settings", [PLAIN, TTL | SUB_PATH])
def test_an_old_server_is_refused(version: str, settings: dict[str, Any]) -> None:
    with KfpServer() as server:
        server.version = version
        cluster = connected(server)
        with pytest.raises(ClusterError, match=r"2\.16 and later are supported") as caught:
            check_server(cluster, ClusterConfig.model_validate(settings))
        message = str(caught.value)
        assert clear(message)
        assert version in message
        assert ("cluster.ttl_seconds, sub_path of a volume" in message) == (settings != PLAIN)


@pytest.mark.parametrize("version", ["2.16.0", "2.16.1", "2.17.0-rc.1", "2.17.0", "2.18.3"])
@pytest.mark.parametrize("settings", [PLAIN, TTL, DEADLINE, SUB_PATH])
def test_a_setting_is_refused_where_it_would_be_dropped(
    version: str, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        server.version = version
        cluster = connected(server)
        config = ClusterConfig.model_validate(settings)
        if version.startswith("2.16") and settings in (TTL, DEADLINE):
            with pytest.raises(InputError, match=f"--set cluster.{next(iter(settings))}=null"):
                check_server(cluster, config)
        else:
            check_server(cluster, config)
        assert capsys.readouterr().err == ""


def test_a_schedule_needs_a_server_that_passes_the_scheduled_time() -> None:
    with KfpServer() as server:
        for version, refused in (("2.16.1", True), ("2.17.0", False)):
            server.version = version
            cluster = connected(server)
            check_server(cluster, ClusterConfig())
            if refused:
                with pytest.raises(ClusterError, match=r"data_until: scheduled needs 2\.17\.0"):
                    check_server(cluster, ClusterConfig(), scheduled=True)
            else:
                check_server(cluster, ClusterConfig(), scheduled=True)


@pytest.mark.parametrize("version", ["master", "", "\x1b[31mred"])
def test_an_unknown_version_is_only_a_warning(
    version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        server.version = version
        check_server(connected(server), ClusterConfig.model_validate(TTL), scheduled=True)
        (note,) = capsys.readouterr().err.splitlines()
        assert note.isprintable()
        assert "Needed here: 2.17.0, for cluster.ttl_seconds, data_until: scheduled." in note


def test_submit_sends_nothing_to_a_server_that_is_too_old(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        server.version = "2.14.3"
        assert command_line(server, "submit", "--local-images") == 1
        server.version = "2.16.1"
        setting = ("--set", "cluster.ttl_seconds=600")
        assert command_line(server, "submit", "--local-images", *setting) == 2
        assert {str(request) for request in server.requests} == {"GET /apis/v2beta1/healthz"}
        assert capsys.readouterr().err.count("error: ") == 2
