"""The connection: credentials, retries, errors, and what must never be shown."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from cluster_support import LASTING, PASSING, SECRET, by, clear, connected, no_settings
from kfp_server import Clock, Fault, KfpServer, Refusal, Request, check, status

from components.shared.runtime.errors import InputError
from pipeline.cli.main import main
from pipeline.cluster.client import redaction
from pipeline.cluster.client.cluster import Cluster, connect
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.client.filters import name_filter
from pipeline.cluster.client.sign_in import sign_in

__all__ = ["no_settings"]  # a fixture
HEALTH = kfp_server_api.HealthzServiceApi.healthz_service_get_healthz
CREATE = kfp_server_api.ExperimentServiceApi.experiment_service_create_experiment
LIST = kfp_server_api.ExperimentServiceApi.experiment_service_list_experiments


def test_connecting_asks_once_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with KfpServer() as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        connected(server)
        assert [str(request) for request in server.requests] == ["GET /apis/v2beta1/healthz"]
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_a_token_file_is_read_anew_for_each_request(tmp_path: Path) -> None:
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


def test_an_option_goes_before_the_environment(tmp_path: Path) -> None:
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


def test_in_a_pod_the_clusters_service_is_asked_with_the_pods_token(
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


def test_outside_of_a_cluster_kubectls_context_leads_to_the_proxy(
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
        with pytest.raises(ClusterError, match="404") as caught:  # which shows what it got
            cluster.call("asking", HEALTH)
        assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert SECRET not in str(caught.value)


def test_no_way_to_a_cluster_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(**arguments: Any) -> None:
        raise OSError("no config")

    monkeypatch.setattr("kubernetes.config.load_kube_config", load)
    with pytest.raises(InputError, match="Give --host"):
        sign_in(Connection())
    assert capsys.readouterr().out == ""


def test_a_token_is_not_sent_to_a_host_that_nobody_named() -> None:
    with pytest.raises(InputError, match="no host to send it to") as caught:
        Connection.of({"KFP_TOKEN": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "two\nlines"])
def test_a_token_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match="the token file"):
        Connection.of({}, host="http://localhost", token_file=str(file))


def test_many_users_need_a_namespace_and_one_user_has_none(
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


def test_where_kfp_is_installed_is_not_taken_for_the_users_namespace() -> None:
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


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_fault_is_waited_out(kind: str) -> None:
    with KfpServer() as server:
        server.fail(0, PASSING[kind])
        server.fail(1, PASSING[kind])
        connected(server)
        assert len(server.requests) == 3
        assert len(server.clock.slept) == 2


@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_fault_is_one_message_at_once(kind: str) -> None:
    with KfpServer() as server:
        server.fail(0, LASTING[kind])
        with pytest.raises(ClusterError) as caught:
            connected(server, token="x" * 20)
        assert len(server.requests) == 1
        assert server.clock.slept == []
        assert clear(str(caught.value))
        assert server.url in str(caught.value)
        assert "asking for the server's health" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("401", "Renew the token in the environment variable KFP_TOKEN"),
        ("403", "role kubeflow-edit"),
        ("a web page", "sign-in page"),
        ("a redirect", "https://login.example.com/dex,"),
    ],
)
def test_an_error_says_what_to_do(kind: str, advice: str) -> None:
    with KfpServer() as server:
        server.fail(0, LASTING[kind])
        with pytest.raises(ClusterError) as caught:
            connected(server, token="x" * 20)
        assert advice in str(caught.value)
        assert "state=abc" not in str(caught.value)


def test_a_host_that_is_not_kfp_is_told_so() -> None:
    with KfpServer() as server, pytest.raises(ClusterError, match="not the KFP API"):
        connect(Connection(host=f"{server.url}/elsewhere"), **by(server.clock))


def test_retry_after_is_kept_to() -> None:
    with KfpServer() as server:
        server.fail(0, status(429, Retry_After="17"))
        server.fail(1, status(503, Retry_After="Tue, 24 Nov 2026 03:11:00 GMT"))
        connected(server)
        assert server.clock.slept[0] == 17
        assert server.clock.slept[1] == pytest.approx(40 - 17, abs=1)


def test_waits_grow_and_end_in_time() -> None:
    with KfpServer() as server:
        server.fail("GET .*", status(503), nth=0)
        with pytest.raises(ClusterError, match=r"Tried \d+ times") as caught:
            connected(server)
        slept = server.clock.slept
        assert slept == sorted(slept)
        assert slept[:4] == [1, 2, 4, 8]
        assert max(slept) <= 30
        assert sum(slept) <= 120
        assert clear(str(caught.value))


def test_a_wait_that_is_too_long_is_not_begun() -> None:
    with KfpServer() as server:
        server.fail(0, status(429, Retry_After="3600"))
        with pytest.raises(ClusterError, match="429"):
            connected(server)
        assert server.clock.slept == []


def test_a_server_that_is_not_there_is_one_message() -> None:
    with KfpServer() as server:
        url = server.url
    clock = Clock()
    with pytest.raises(ClusterError, match="cannot be reached") as caught:
        connect(Connection(host=url), patience=5, **by(clock))
    assert clear(str(caught.value))
    assert 0 < sum(clock.slept) <= 5


@pytest.mark.parametrize(
    "host", ["http://[::1", "http://a..b", "two words", "http://127.0.0.1:99999", "http://x:y"]
)
def test_a_host_that_is_no_address_is_told_at_once(host: str) -> None:
    clock = Clock()
    with pytest.raises((InputError, ClusterError), match="is not an address"):
        connect(Connection(host=host), **by(clock))
    assert clock.slept == []


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


def _create_once(cluster: Cluster) -> tuple[Any, bool]:
    def find() -> Any:
        found = cluster.named("looking", LIST, "experiments", "shop")
        return found[0] if found else None

    body = kfp_server_api.V2beta1Experiment(display_name="shop")
    return cluster.create_once(
        find=find, create=lambda: cluster.send("creating", CREATE, experiment=body)
    )


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("times", [1, 3])
def test_what_is_created_is_created_once(kind: str, times: int) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        for nth in range(times):
            server.fail("POST .*", PASSING[kind], nth=nth + 1)
        experiment, is_new = _create_once(cluster)
        assert is_new
        assert [item["experiment_id"] for item in server.experiments] == [experiment.experiment_id]


def test_it_is_looked_for_before_it_is_asked_for_again() -> None:
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*", Fault("drop_after"))
        _create_once(cluster)
        methods = [request.method for request in server.requests[1:]]
        assert methods == ["GET", "POST", "GET"]


def test_what_someone_else_has_created_meanwhile_is_found() -> None:
    with KfpServer() as server:
        cluster = connected(server)

        def be_faster(request: Any) -> None:
            if request.method == "POST":
                server.before = lambda request: None
                server.experiments.append(
                    {
                        "experiment_id": "theirs",
                        "display_name": "shop",
                        "created_at": "2026-11-24T03:10:00Z",
                    }
                )

        server.before = be_faster
        experiment, is_new = _create_once(cluster)
        assert (experiment.experiment_id, is_new) == ("theirs", False)


def test_a_message_says_if_it_is_not_known_whether_it_was_created() -> None:
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*", Fault("drop_after"))
        server.fail("GET .*experiments", status(403), nth=2)
        with pytest.raises(ClusterError, match="not known whether"):
            _create_once(cluster)
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*", status(403))
        with pytest.raises(ClusterError) as caught:
            _create_once(cluster)
        assert "not known" not in str(caught.value)


def test_a_name_is_found_among_many_pages_letter_for_letter() -> None:
    with KfpServer(page_size=1) as server:
        cluster = connected(server)
        for name in ("Shop", "shop", "a+b 100% é", "shop 2"):
            body = kfp_server_api.V2beta1Experiment(display_name=name)
            cluster.send("creating", CREATE, experiment=body)
        for name in ("Shop", "shop", "a+b 100% é"):
            found = cluster.named("looking", LIST, "experiments", name)
            assert [item.display_name for item in found] == [name]
        assert len(cluster.every("listing", LIST, "experiments")) == 4


def test_the_filter_is_what_the_api_describes() -> None:
    check("V2beta1Filter", json.loads(name_filter('a "quoted" name')))


@pytest.mark.parametrize("kind", ["V2beta1Experiment"])
@pytest.mark.parametrize(
    "body", [{"display_name": 1}, {"name": "x"}, [], {"created_at": "now"}, {"storage_state": "?"}]
)
def test_the_tests_server_refuses_what_the_api_does_not_describe(kind: str, body: Any) -> None:
    with pytest.raises(Refusal):
        check(kind, body)


# As 2.14.3 and 2.17.0 word them, in the upload server's and gRPC's form.
UNKNOWN_FIELD = 'failed to unmarshal kubernetes config: proto: (line 1:2): unknown field "subPath"'
LASTING_500S = {
    "a refused upload": {"error_message": "template creation error: InvalidInputError: unknown"},
    "an unknown field": {"code": 13, "message": f"Failed to compile job: {UNKNOWN_FIELD}"},
    "with protobuf's other space": {"code": 2, "message": "proto:\u00a0(line 1:2): syntax error"},
    "JSON of another type": {"code": 13, "message": "json: cannot unmarshal string into Go value"},
    "wrapped by KFP": {"code": 13, "message": "Internal error: Invalid input error: no name"},
    "not found": {"code": 13, "message": "ResourceNotFoundError: Experiment 5 not found"},
    "gRPC's code alone": {"code": 3, "message": "it is not as it should be"},
    "HTTP's code in its place": {"code": 404, "message": "Resource not found"},
}


@pytest.mark.parametrize("kind", LASTING_500S)
def test_a_500_that_would_stay_is_one_message_at_once(kind: str) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*", status(500, json.dumps(LASTING_500S[kind])), nth=0)
        with pytest.raises(ClusterError, match="Retrying does not help") as caught:
            _create_once(cluster)
        assert server.count("POST .*") == 1
        assert server.clock.slept == []
        assert caught.value.refused
        assert "not known" not in str(caught.value)
        assert clear(str(caught.value))


def test_a_500_that_may_pass_is_tried_again_and_in_the_end_looked_after() -> None:
    body = json.dumps({"code": 13, "message": "InternalServerError: dial tcp: connection refused"})
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*", status(500, body), nth=0)
        with pytest.raises(ClusterError, match="Tried") as caught:
            _create_once(cluster)
        assert server.count("POST .*") > 3
        assert str(server.requests[-1]).startswith("GET")
        assert "not known" not in str(caught.value)


@pytest.mark.parametrize("answer", ["{", '{"welcome": true}', '{"experiment_id": 5}', "[]", "{}"])
def test_an_unreadable_answer_to_a_creation_is_looked_after(answer: str) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*", status(200, answer))
        with pytest.raises(ClusterError, match="not known whether"):
            _create_once(cluster)

        def garble(request: Any) -> None:
            if request.method == "POST":
                server._experiment_service_create_experiment(
                    Request("POST", "", {}, {}, {"display_name": "shop"})
                )

        server.before = garble
        server.fail("POST .*", status(200, answer))
        experiment, is_new = _create_once(cluster)
        assert is_new
        assert experiment.experiment_id == server.experiments[0]["experiment_id"]


def test_a_page_that_is_not_found_is_not_taken_for_something_that_is_gone() -> None:
    delete = kfp_server_api.RecurringRunServiceApi.recurring_run_service_delete_recurring_run
    with KfpServer() as server:
        cluster = connected(server)
        cluster.delete("deleting", delete, recurring_run_id="gone")
        server.fail(0, status(404, "<html><title>Not Found</title></html>"))
        with pytest.raises(ClusterError, match="404"):
            cluster.delete("deleting", delete, recurring_run_id="gone")


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
        None,  # the server's own, which shows the headers it got
        f"<html><title>Error</title>Authorization: Bearer {SECRET}</html>",
        json.dumps({"error": {"headers": {"Authorization": f"Bearer {SECRET}"}}}),
        f"map[Authorization:[Bearer {SECRET}] Cookie:[session={SECRET}]]",
        "x" * 290 + SECRET,  # a message is cut at 300
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
def test_what_the_server_says_is_in_one_line(body: str, said: str) -> None:
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
def test_an_address_without_credentials_is_taken(address: str) -> None:
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


def test_an_error_whose_body_is_no_text_is_still_an_error() -> None:
    with KfpServer() as server:
        server.fail(0, status(403, b"\xff\xfe\xff"))
        with pytest.raises(ClusterError, match="403"):
            connected(server)


def test_the_servers_time_is_taken_where_this_machines_is_wrong() -> None:
    with KfpServer() as server:
        wrong = Clock("2026-11-24T05:00:00+00:00")
        cluster = connected(server, clock=wrong)
        assert abs((cluster.now() - server.clock.now()).total_seconds()) <= 1
