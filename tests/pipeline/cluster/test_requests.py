"""Requests: repetition, creation without duplicates, and errors."""

import json
from typing import Any

import kfp_server_api
import pytest
from cluster_support import LASTING, PASSING, by, clear, connected, no_settings
from faulty_http import Clock, Fault, Request, status
from kfp_api import Refusal, check
from kfp_server import KfpServer

from components.shared.runtime.errors import InputError
from pipeline.cluster.client.cluster import Cluster, connect
from pipeline.cluster.client.connection import Connection
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.client.filters import name_filter

__all__ = ["no_settings"]  # a fixture
HEALTH = kfp_server_api.HealthzServiceApi.healthz_service_get_healthz
CREATE = kfp_server_api.ExperimentServiceApi.experiment_service_create_experiment
LIST = kfp_server_api.ExperimentServiceApi.experiment_service_list_experiments


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


def test_a_host_that_is_not_kfp_is_reported() -> None:
    with KfpServer() as server, pytest.raises(ClusterError, match="not the KFP API"):
        connect(Connection(host=f"{server.url}/elsewhere"), **by(server.clock))


def test_retry_after_is_obeyed() -> None:
    with KfpServer() as server:
        server.fail(0, status(429, Retry_After="17"))
        server.fail(1, status(503, Retry_After="Tue, 24 Nov 2026 03:11:00 GMT"))
        connected(server)
        assert server.clock.slept[0] == 17
        assert server.clock.slept[1] == pytest.approx(40 - 17, abs=1)


def test_waits_grow_and_end_after_two_minutes() -> None:
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


def test_a_wait_beyond_the_patience_is_not_started() -> None:
    with KfpServer() as server:
        server.fail(0, status(429, Retry_After="3600"))
        with pytest.raises(ClusterError, match="429"):
            connected(server)
        assert server.clock.slept == []


def test_an_unreachable_server_is_one_message() -> None:
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
def test_an_invalid_host_is_reported_at_once(host: str) -> None:
    clock = Clock()
    with pytest.raises((InputError, ClusterError), match="is not an address"):
        connect(Connection(host=host), **by(clock))
    assert clock.slept == []


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
def test_an_object_is_created_once(kind: str, times: int) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        for nth in range(times):
            server.fail("POST .*", PASSING[kind], nth=nth + 1)
        experiment, is_new = _create_once(cluster)
        assert is_new
        assert [item["experiment_id"] for item in server.experiments] == [experiment.experiment_id]


def test_an_object_is_looked_up_before_its_creation_is_repeated() -> None:
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*", Fault("drop_after"))
        _create_once(cluster)
        methods = [request.method for request in server.requests[1:]]
        assert methods == ["GET", "POST", "GET"]


def test_an_object_created_by_somebody_else_is_found() -> None:
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


def test_a_message_says_if_the_outcome_of_a_creation_is_unknown() -> None:
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


def test_an_exact_name_is_found_on_any_page() -> None:
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


# The wording of 2.14.3 and 2.17.0, in the upload server's and gRPC's form.
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
def test_a_lasting_500_is_one_message_at_once(kind: str) -> None:
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


def test_a_passing_500_is_repeated_and_its_outcome_is_looked_up() -> None:
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
def test_the_outcome_of_an_unreadable_answer_to_a_creation_is_looked_up(answer: str) -> None:
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


def test_a_404_page_is_not_taken_for_a_deleted_object() -> None:
    delete = kfp_server_api.RecurringRunServiceApi.recurring_run_service_delete_recurring_run
    with KfpServer() as server:
        cluster = connected(server)
        cluster.delete("deleting", delete, recurring_run_id="gone")
        server.fail(0, status(404, "<html><title>Not Found</title></html>"))
        with pytest.raises(ClusterError, match="404"):
            cluster.delete("deleting", delete, recurring_run_id="gone")


def test_the_servers_time_corrects_this_machines() -> None:
    with KfpServer() as server:
        wrong = Clock("2026-11-24T05:00:00+00:00")
        cluster = connected(server, clock=wrong)
        assert abs((cluster.now() - server.clock.now()).total_seconds()) <= 1
