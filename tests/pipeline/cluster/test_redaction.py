"""Messages and logs show no secrets, and text from servers is made safe to print."""

import json
import logging
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from cluster_support import SECRET, by, clear, connected, no_settings
from faulty_http import status
from kfp_server import KfpServer

from pipeline.cli.main import main
from pipeline.cluster.client import redaction
from pipeline.cluster.client.cluster import Cluster
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.errors import ClusterError

__all__ = ["no_settings"]  # a fixture
HEALTH = kfp_server_api.HealthzServiceApi.healthz_service_get_healthz


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\n  lines\tand\r\nmore", "two lines and more"),
        ("\x1b[1;31mred\x1b[0m and \x9b4mlined", "red and lined"),
        ("\x1b]0;title\x07a \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "a link"),
        ("\x1bPdevice\x1b\\a\x1bcb\x00c\x7fd\x85e", "abcde"),
        ("\u202eright to left\u2066 \ufeffhidden\u200b", "right to left hidden"),
        ("half \ud800 a pair", "half a pair"),
        ("unfinished \x1b]0;never shown", "unfinished"),
        ("größe 5 €", "größe 5 €"),
        ("x" * 400, "x" * 300 + "…"),
        ("se\x1b[0mcr\x00et-tok\u200ben", "***"),
        ("x" * 295 + " secret-token", "x" * 295 + " ***"),
        ("Authorization: Bearer abcdefgh, more", "Authorization: ***, more"),
    ],
)
def test_text_from_outside_is_one_clean_line(text: str, shown: str) -> None:
    redaction.never_show("Bearer secret-token")
    assert redaction.clean(text) == shown
    assert redaction.clean(text).isprintable()
    redaction.clean(text).encode()


@pytest.mark.parametrize("code", [401, 500])
@pytest.mark.parametrize(
    "body",
    [
        None,  # the server's own, which repeats the request's headers
        f"<html><title>Error</title>Authorization: Bearer {SECRET}</html>",
        json.dumps({"error": {"headers": {"Authorization": f"Bearer {SECRET}"}}}),
        f"map[Authorization:[Bearer {SECRET}] Cookie:[session={SECRET}]]",
        "x" * 290 + SECRET,  # messages end after 300 characters
    ],
)
@pytest.mark.parametrize("way", ["token", "cookies", "token_file"])
def test_no_secret_is_in_a_message_or_log(
    code: int,
    body: str | None,
    way: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "token").write_text(SECRET)
    given = {
        "token": SECRET,
        "cookies": f"session={SECRET}",
        "token_file": str(tmp_path / "token"),
    }[way]
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "kfp_server_api", "kfp_server_api.rest", "kfp"):
        caplog.set_level(logging.DEBUG, logger=name)
    with KfpServer() as server:
        cluster = connected(server, **{way: given})
        caplog.clear()
        for name in ("urllib3", "kfp_server_api"):  # kfp_server_api sets them to WARNING
            logging.getLogger(name).setLevel(logging.DEBUG)
        server.fail("GET .*", status(code, body), nth=0)
        with pytest.raises(ClusterError) as caught:
            cluster.call("asking", HEALTH)
    chain: list[BaseException | None] = [caught.value]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    texts = [f"{error!r} {error}" for error in chain]
    printed = capsys.readouterr()
    texts += [caplog.text, printed.out, printed.err, repr(cluster.connection)]
    assert "response body" in caplog.text
    for text in texts:
        assert SECRET not in text
        assert SECRET[:8] not in text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (json.dumps({"message": "first\n  second\n"}), "403 Forbidden: first second. "),
        (
            json.dumps({"error_message": "no role", "error_details": "long"}),
            "403 Forbidden: no role",
        ),
        ("<html><head><title>RBAC:\n denied</title>", "403 Forbidden: RBAC: denied. "),
        ("RBAC: access denied", "403 Forbidden: RBAC: access denied. "),
        (json.dumps({"message": "word " * 500}), "word …. "),
        ("", "403 Forbidden. The user"),
    ],
)
def test_the_servers_message_is_shown_on_one_line(body: str, said: str) -> None:
    with KfpServer() as server:
        server.fail(0, status(403, body))
        with pytest.raises(ClusterError) as caught:
            connected(server)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert clear(str(caught.value))


ADDRESSES = [
    f"https://anna:{SECRET}@kfp.example.com",
    f"anna:{SECRET}@kfp.example.com:8080/path",
    f"https://{SECRET}@kfp.example.com",
    f"https://kfp.example.com/?token={SECRET}",
    f"https://anna:a/{SECRET}@kfp.example.com",
    f"https://anna:{SECRET} and more@kfp.example.com",
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("option", ["--host", "--ui-host"])
@pytest.mark.parametrize("way", ["option", "environment"])
def test_an_address_with_credentials_is_refused_and_not_repeated(
    option: str,
    address: str,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variable = {"--host": "KF_PIPELINES_ENDPOINT", "--ui-host": "KF_PIPELINES_UI_ENDPOINT"}[option]
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:9")
    arguments = ["schedule", "list"]
    if way == "option":
        arguments += [option, address]
    else:
        monkeypatch.setenv(variable, address)

    assert main(arguments) == 2

    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {option} (")
    assert "a URL must not contain credentials" in printed.err
    assert "--token-file" in printed.err
    assert SECRET not in printed.out + printed.err
    assert "anna" not in printed.err


@pytest.mark.parametrize(
    "address",
    [
        "https://kfp.example.com:8080/a@b",
        "kfp.example.com",
        "localhost:8080",
        "http://[::1]:80",
        "https://kfp.example.com/pipeline?view=runs",
    ],
)
def test_an_address_without_credentials_is_accepted(address: str) -> None:
    assert Connection(host=address, ui_host=address).host == address


def test_a_user_name_and_password_in_kubectls_config_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(client_configuration: Any, context: str) -> None:
        client_configuration.host = server.url.replace("//", "//anna:pass-word@")

    monkeypatch.setattr("kubernetes.config.load_kube_config", load)
    with KfpServer() as server:
        cluster = Cluster(Connection(kube_context="shop"), **by(server.clock))
        server.fail(0, status(403, "pass-word"))
        with pytest.raises(ClusterError) as caught:
            cluster.call("asking", HEALTH)
        assert "pass-word" not in str(caught.value)


def test_an_error_with_a_binary_body_is_still_an_error() -> None:
    with KfpServer() as server:
        server.fail(0, status(403, b"\xff\xfe\xff"))
        with pytest.raises(ClusterError, match="403"):
            connected(server)
