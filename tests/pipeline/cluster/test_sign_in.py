"""Connections: the source of the credentials, and the choice of the server."""

import json
import warnings
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from cluster_support import SECRET, by, connected, no_settings
from faulty_http import status
from kfp_server import KfpServer

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.cluster import Cluster, connect
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.client.sign_in import sign_in

__all__ = ["no_settings"]  # a fixture
HEALTH = kfp_server_api.HealthzServiceApi.healthz_service_get_healthz


def test_connecting_asks_once_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with KfpServer() as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        connected(server)
        assert [str(request) for request in server.requests] == ["GET /apis/v2beta1/healthz"]
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_a_token_file_is_read_again_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first-token\n")
    with KfpServer() as server:
        server.tokens = {"first-token"}
        cluster = connected(server, token_file=str(file))
        file.write_text("second-token\n")
        server.tokens = {"second-token"}
        cluster.call("asking", HEALTH)
        assert server.requests[-1].headers["authorization"] == "Bearer second-token"


@pytest.mark.parametrize(
    ("variable", "header", "value"),
    [
        ("KFP_TOKEN", "authorization", f"Bearer {SECRET}"),
        ("KFP_COOKIES", "cookie", SECRET),
        ("KF_PIPELINES_SA_TOKEN_PATH", "authorization", f"Bearer {SECRET}"),
    ],
)
def test_credentials_come_from_the_environment(
    variable: str, header: str, value: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(SECRET)
    given = str(tmp_path / "token") if variable.endswith("PATH") else SECRET
    with KfpServer() as server:
        environ = {variable: given, "KF_PIPELINES_ENDPOINT": server.url}
        connect(Connection.of(environ), **by(server.clock))
        assert server.requests[-1].headers[header] == value


def test_an_option_overrides_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-option")
    connection = Connection.of(
        {"KFP_TOKEN": SECRET, "KF_PIPELINES_ENDPOINT": "http://environment"},
        host="http://option",
        token_file=str(tmp_path / "token"),
        namespace=None,
    )
    assert connection.host == "http://option"
    assert connection.token is None
    assert connection.token_file == str(tmp_path / "token")


def test_the_identity_aware_proxy_is_asked_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def get_auth_token(*arguments: Any) -> tuple[str, bool]:
        asked.append(arguments)
        return SECRET, True

    monkeypatch.setattr("kfp.client.auth.get_auth_token", get_auth_token)
    environ = {
        "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID": "client",
        "KF_PIPELINES_APP_OAUTH2_CLIENT_ID": "app",
        "KF_PIPELINES_APP_OAUTH2_CLIENT_SECRET": "app-secret",
    }
    with KfpServer() as server:
        server.tokens = {SECRET}
        connect(Connection.of(environ, host=server.url), **by(server.clock))
    assert asked == [("client", "app", "app-secret")]


def test_in_a_pod_the_clusters_service_gets_the_pods_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("of-the-pod")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda: None)
    cluster = Cluster(Connection(kfp_namespace="ml"))
    assert cluster.host == "http://ml-pipeline.ml.svc.cluster.local:8888"
    assert cluster._api_client.configuration.get_api_key_with_prefix("authorization") == (
        "Bearer of-the-pod"
    )


def test_outside_a_cluster_kubectls_context_leads_to_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(client_configuration: Any, context: str) -> None:
        assert context == "shop"
        client_configuration.host = server.url
        client_configuration.api_key["authorization"] = f"Bearer {SECRET}"

    monkeypatch.setattr("kubernetes.config.load_kube_config", load)
    with KfpServer() as server:
        cluster = Cluster(Connection(kube_context="shop"), **by(server.clock))
        assert cluster.host == (
            f"{server.url}/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/"
        )
        with pytest.raises(ClusterError, match="404") as caught:  # it repeats the headers
            cluster.call("asking", HEALTH)
        assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert SECRET not in str(caught.value)


def test_a_missing_cluster_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(**arguments: Any) -> None:
        raise OSError("no config")

    monkeypatch.setattr("kubernetes.config.load_kube_config", load)
    with pytest.raises(InputError, match="Give --host"):
        sign_in(Connection())
    assert capsys.readouterr().out == ""


def test_a_token_is_never_sent_to_a_default_host() -> None:
    with pytest.raises(InputError, match="no host to send it to") as caught:
        Connection.of({"KFP_TOKEN": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "two\nlines"])
def test_an_unusable_token_file_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match="the token file"):
        Connection.of({}, host="http://localhost", token_file=str(file))


def test_only_a_multi_user_installation_needs_a_namespace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with KfpServer(multi_user=True) as server:
        with pytest.raises(InputError, match="--namespace"):
            connected(server)
        assert connected(server, namespace="team-a").namespace == "team-a"
        assert capsys.readouterr().err == ""
    with KfpServer() as server:
        assert connected(server, namespace="team-a").namespace is None
        (note,) = capsys.readouterr().err.splitlines()
        assert note.startswith(f"--namespace team-a is ignored: {server.url} is a single-user")


def test_the_namespace_of_kfp_is_not_taken_for_the_users() -> None:
    with KfpServer(multi_user=True) as server, pytest.raises(InputError, match="--namespace"):
        connected(server, kfp_namespace="ml")


def test_the_uis_answer_for_the_server_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    health = {"apiServerTagName": "2.17.0", "multi_user": False, "pipelineStore": "kubernetes"}
    with KfpServer() as server:
        server.fail(0, status(200, json.dumps({"apiServerReady": False, "buildDate": "today"})))
        server.fail(1, status(200, json.dumps({"apiServerReady": True, **health})))
        cluster = connected(server)
        assert len(server.clock.slept) == 1
        assert (cluster.version, cluster.keeps_resources) == ("2.17.0", True)


def test_credentials_are_renewed_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old-token")
    with KfpServer() as server:
        cluster = connected(server, token_file=str(file))
        server.tokens = {"new-token"}
        server.before = lambda request: file.write_text("new-token") and None
        cluster.call("asking", HEALTH)
        assert [request.status for request in server.requests] == [200, 401, 200]
        server.tokens = {"never"}
        with pytest.raises(ClusterError, match="401"):
            cluster.call("asking", HEALTH)
        assert [request.status for request in server.requests[3:]] == [401, 401]
