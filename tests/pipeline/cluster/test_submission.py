"""Uploading, starting and following runs, with every request failing in turn."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_support import (
    IR,
    LASTING,
    LASTING_EFFECTS,
    PASSING,
    PASSING_EFFECTS,
    SECRET,
    by,
    clear,
    command_line,
    connected,
    no_settings,
    real_command_line,
)
from faulty_http import Fault
from kfp_server import KfpServer

from components.shared.runtime.errors import InputError
from pipeline.cli.main import main
from pipeline.cluster.client import cluster as client
from pipeline.cluster.client.errors import ClusterError
from pipeline.cluster.runs.experiments import experiment
from pipeline.cluster.runs.start import RunSettings, Started, start_run
from pipeline.cluster.uploads.caching import without_caching
from pipeline.cluster.uploads.parameters import pipeline_parameters, read_parameters
from pipeline.cluster.uploads.upload import upload, version_name

__all__ = ["command_line", "no_settings", "real_command_line"]  # fixtures
LOCAL = "--local-images"


def submit(server: KfpServer, **connection: Any) -> Started:
    cluster = connected(server, **connection)
    uploaded = upload(cluster, "shop", IR)
    return start_run(cluster, uploaded, experiment(cluster, "shop"), "shop")


def number_of_requests() -> int:
    with KfpServer() as server:
        submit(server)
        return len(server.requests)


REQUESTS = number_of_requests()


def amounts(server: KfpServer) -> tuple[int, int, int, int]:
    return tuple(
        len(items) for items in (server.pipelines, server.versions, server.experiments, server.runs)
    )


@pytest.mark.parametrize("kind", PASSING_EFFECTS)
@pytest.mark.parametrize("number", range(REQUESTS))
def test_a_submission_survives_a_passing_fault_and_creates_nothing_twice(
    number: int, kind: str
) -> None:
    with KfpServer() as server:
        server.fail(number, PASSING[kind])
        run = submit(server)
        assert amounts(server) == (1, 1, 1, 1)
        assert server.runs[0]["run_id"] == run.run_id
        assert server.requests[number].fault
        assert len(server.clock.slept) == 1


@pytest.mark.parametrize("kind", LASTING_EFFECTS)
@pytest.mark.parametrize("number", range(REQUESTS))
def test_a_submission_that_is_refused_ends_at_once_and_can_be_repeated(
    number: int, kind: str
) -> None:
    with KfpServer() as server:
        server.fail(number, LASTING[kind])
        with pytest.raises(ClusterError) as caught:
            submit(server)
        assert clear(str(caught.value))
        assert server.clock.slept == []
        # An answer other than JSON may hide that the request succeeded; here it did not.
        submit(server)
        assert amounts(server) == (1, 1, 1, 1)


@pytest.mark.parametrize("kind", PASSING)
def test_a_lasting_fault_ends_in_one_message(kind: str) -> None:
    with KfpServer() as server:
        # The two minutes pass by the tests' clock; hanging requests must not take real time.
        server.fail(".*/runs", PASSING[kind], nth=0)
        server._released.set()
        with pytest.raises(ClusterError) as caught:
            submit(server)
        assert clear(str(caught.value))
        assert "Tried" in str(caught.value)
        assert len(server.runs) == 0


def test_the_same_content_is_uploaded_once() -> None:
    with KfpServer() as server:
        cluster = connected(server)
        first = upload(cluster, "shop", IR)
        again = upload(cluster, "shop", IR)
        other = upload(cluster, "shop", IR + "# changed\n")
        assert first.is_new
        assert not again.is_new
        assert again.version_id == first.version_id != other.version_id
        assert [version["name"] for version in server.versions] == [first.version, other.version]
        assert re.fullmatch(r"shop-[0-9a-f]{12}", first.version)
        assert len(server.pipelines) == 1


def test_a_version_is_found_beyond_the_first_page() -> None:
    with KfpServer(page_size=1) as server:
        cluster = connected(server)
        names = [upload(cluster, "shop", f"{IR}# {number}\n") for number in range(3)]
        assert upload(cluster, "shop", f"{IR}# 2\n").version_id == names[2].version_id


def test_a_version_without_a_display_name_is_found_by_its_name() -> None:
    with KfpServer() as server:
        cluster = connected(server)
        first = upload(cluster, "shop", IR)
        del server.versions[0]["display_name"]  # as for a resource that kubectl applied
        again = upload(cluster, "shop", IR)
        assert (again.version_id, again.is_new) == (first.version_id, False)


def test_a_resource_without_the_webhooks_label_is_never_duplicated_silently(
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = version_name("shop", IR)
    with KfpServer() as server:
        server.store = "kubernetes"
        cluster = connected(server)
        server.unlisted = {f"deep-retrieval-{version}"}
        with pytest.raises(ClusterError, match="kubectl get pipelineversions") as caught:
            upload(cluster, "shop", IR)
        assert clear(str(caught.value))
        assert server.versions == []
        assert server.clock.slept == []
        server.unlisted = {version}  # the server accepts this
        assert upload(cluster, "shop", IR).is_new
        assert "kubectl get pipelineversions" in capsys.readouterr().err
        upload(cluster, "shop", IR)
        assert capsys.readouterr().err == ""


def test_the_compiled_text_is_uploaded() -> None:
    with KfpServer() as server:
        upload(connected(server), "shop", IR)
        assert [request.body for request in server.requests if request.body][-1] == IR


def test_a_run_names_its_version_and_its_settings() -> None:
    with KfpServer() as server:
        cluster = connected(server, ui_host="https://ui.example.com/")
        uploaded = upload(cluster, "shop", IR)
        run = start_run(
            cluster,
            uploaded,
            experiment(cluster, "team"),
            "shop",
            RunSettings({"seed": 7}, "trainer", "s3://bucket/root"),
            random_text=lambda: "abc123",
        )
        sent = server.runs[0]
        assert re.fullmatch(r"shop-20261124-0310\d\d-abc123", sent["display_name"])
        assert sent["pipeline_version_reference"] == {
            "pipeline_id": uploaded.pipeline_id,
            "pipeline_version_id": uploaded.version_id,
        }
        assert sent["runtime_config"] == {
            "parameters": {"seed": 7},
            "pipeline_root": "s3://bucket/root",
        }
        assert sent["service_account"] == "trainer"
        assert run.link == f"https://ui.example.com/#/runs/details/{run.run_id}"


def test_each_user_has_their_own_pipeline_and_experiment() -> None:
    with KfpServer(multi_user=True) as server:
        submit(server, namespace="team-a")
        submit(server, namespace="team-b")
        submit(server, namespace="team-a")
        assert amounts(server) == (2, 2, 2, 3)
        assert {item["namespace"] for item in server.experiments} == {"team-a", "team-b"}


def test_an_archived_experiment_is_refused() -> None:
    with KfpServer() as server:
        cluster = connected(server)
        experiment(cluster, "old")
        server.experiments[0]["storage_state"] = "ARCHIVED"
        with pytest.raises(InputError, match="old is archived"):
            experiment(cluster, "old")


def test_parameters_are_read_with_the_pipelines_types() -> None:
    pairs = [
        "seed=7",
        "rate=1",
        "verbose=true",
        "layer_stacks=[[32],[64,32]]",
        "source={kind: sample}",
        "data_until=20261124",
        "source_note=a: b: c",
    ]
    assert read_parameters(pairs, IR) == {
        "seed": 7,
        "rate": 1,
        "verbose": True,
        "layer_stacks": [[32], [64, 32]],
        "source": {"kind": "sample"},
        "data_until": "20261124",
        "source_note": "a: b: c",
    }


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("sede=7", "data_until, layer_stacks, rate, seed"),
        ("seed", "KEY=VALUE"),
        ("seed=seven", "a whole number"),
        ("seed=true", "a whole number"),
        ("seed=1.5", "a whole number"),
        ("verbose=1", "true or false"),
        ("layer_stacks=32", "a list"),
        ("source=[", "not YAML"),
        ("source={day: 2026-01-01}", "JSON"),
        ("rate=.nan", "JSON"),
    ],
)
def test_a_wrong_parameter_is_named_with_the_allowed_type(pair: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"--param {pair}")) as caught:
        read_parameters([pair], IR)
    assert says in str(caught.value)


def test_without_caching_no_task_is_cached_not_even_in_loops() -> None:
    changed = yaml.safe_load(without_caching(IR))
    assert changed["root"]["dag"]["tasks"]["ingest"]["cachingOptions"] == {"enableCache": False}
    loop = changed["components"]["comp-loop"]["dag"]["tasks"]
    assert loop["train"]["cachingOptions"] == {"enableCache": False}
    assert pipeline_parameters(without_caching(IR)) == pipeline_parameters(IR)
    assert version_name("shop", without_caching(IR)) != version_name("shop", IR)


def test_the_platform_specification_is_kept_without_caching() -> None:
    changed = list(yaml.safe_load_all(without_caching(f"{IR}---\nplatforms: {{kubernetes: 1}}\n")))
    assert changed[1] == {"platforms": {"kubernetes": 1}}


# The command.


def test_submit_prints_where_the_run_is(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        arguments = ("submit", LOCAL, "--param", "seed=7", "--service-account", "trainer")
        assert command_line(server, *arguments) == 0
        run = server.runs[0]
        printed = capsys.readouterr().out
        assert f"{server.url}/#/runs/details/{run['run_id']}" in printed
        assert server.versions[0]["name"] in printed
        assert run["runtime_config"]["parameters"] == {"seed": 7}
        assert run["service_account"] == "trainer"
        assert server.experiments[0]["display_name"] == "sample"


def test_submit_uploads_the_compiled_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    with KfpServer() as server:
        options = functools.partial(client.connect, **by(server.clock, server))
        monkeypatch.setattr(client, "connect", options)
        command = ["submit", "--host", server.url, "--registry", "registry.example.com/team"]
        assert main([*command, "--config", "sample", "--no-cache"]) == 0
        specification = server.versions[0]["pipeline_spec"]
        assert specification["pipelineInfo"]["name"] == server.pipelines[0]["name"]
        loops = [part["dag"] for part in specification["components"].values() if "dag" in part]
        assert loops
        for dag in [specification["root"]["dag"], *loops]:
            for task in dag["tasks"].values():
                assert task["cachingOptions"] == {"enableCache": False}
        images = [
            executor["container"]["image"]
            for executor in specification["deploymentSpec"]["executors"].values()
            if "container" in executor
        ]
        assert images
        assert all(image.startswith("registry.example.com/team/") for image in images)


def ended(state: str) -> dict[str, Any]:
    """Return a run whose only step ended in a state."""
    task = {"task_id": "1", "display_name": "ingest", "state": state}
    return {"state": state, "run_details": {"task_details": [task]}}


def test_submit_waits_for_the_end(command_line: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with KfpServer() as server:

        def end(request: Any) -> None:
            if re.search("runs/.", request.path):
                server.runs[0].update(ended("SUCCEEDED"))

        server.before = end
        assert command_line(server, "submit", LOCAL, "--wait") == 0
        assert "ingest         succeeded" in capsys.readouterr().out


def test_watch_follows_a_run_and_uploads_nothing(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        run = submit(server)
        server.runs[0].update(ended("FAILED"))
        posts = server.count("POST .*")
        assert command_line(server, "submit", "--watch", run.run_id) == 1
        assert server.count("POST .*") == posts
        assert "error: ingest failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--local-images"),
        ((LOCAL, "--param", "sede=7"), "seed"),
        ((LOCAL, "--param", f"source={{text: {'x' * 10_001}}}"), "10,000"),
        ((LOCAL, "--timeout", "5"), "--wait"),
        ((LOCAL, "--config", "no-such"), "no such config"),
        ((LOCAL, "--token-file", "no-such-file"), "no-such-file"),
        (("--watch", "id", "--no-cache"), "--watch"),
    ],
)
def test_wrong_input_returns_2_and_reaches_no_server(
    command_line: Any,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    with KfpServer() as server:
        assert command_line(server, "submit", *arguments) == 2
        assert server.requests == []
        error = capsys.readouterr().err
        assert says in error
        assert clear(error)


def test_credentials_in_a_parameter_are_refused_and_not_repeated(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        parameter = "source={path: 's3://key:sEcReT@bucket/log'}"
        assert command_line(server, "submit", LOCAL, "--param", parameter) == 2
        said = "".join(capsys.readouterr())
        assert "--param.source.path (in front of the bucket or host)" in said
        assert "sEcReT" not in said
        assert not server.requests


def test_no_cache_uploads_a_version_without_caching(command_line: Any) -> None:
    with KfpServer() as server:
        assert command_line(server, "submit", LOCAL) == 0
        assert command_line(server, "submit", LOCAL, "--no-cache") == 0
        first, second = server.versions
        assert first["name"] != second["name"]
        tasks = second["pipeline_spec"]["root"]["dag"]["tasks"]
        assert tasks["ingest"]["cachingOptions"] == {"enableCache": False}


def test_a_refusal_returns_1_with_one_message_without_secrets(
    command_line: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_TOKEN", SECRET)
    with KfpServer() as server:
        server.tokens = {"another"}
        assert command_line(server, "submit", LOCAL) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("error: asking for the server's health: ")
        assert "KFP_TOKEN" in printed.err
        assert printed.err.count("\n") == 1
        assert SECRET not in printed.err + printed.out


def test_a_secret_cannot_be_given_on_the_command_line(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        for option in ("--token", "--cookies"):
            assert command_line(server, "submit", LOCAL, option, SECRET) == 2
            error = capsys.readouterr().err
            assert "shows a secret" in error
            assert SECRET not in error
        assert server.requests == []


@pytest.mark.parametrize("cut", [Fault("cut"), Fault("drop_after")])
def test_a_truncated_upload_is_looked_up_before_it_is_repeated(cut: Fault) -> None:
    with KfpServer() as server:
        cluster = connected(server)
        server.fail("POST .*upload_version", cut)
        upload(cluster, "shop", IR)
        assert len(server.versions) == 1
        tail = [str(request).rpartition("/")[2] for request in server.requests]
        assert tail[tail.index("upload_version") + 1] == "versions"


def test_the_names_of_two_runs_differ() -> None:
    with KfpServer() as server:
        names = {submit(server).name for _ in range(3)}
        assert len(names) == 3


def test_the_compiled_pipeline_is_uploaded_once_and_runs_get_its_parameters(
    real_command_line: Any, tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.yaml"
    main(["compile", "--config", "movielens-100k", "--registry", "ghcr.io/acme", "--to", str(path)])
    with KfpServer() as server:
        arguments = ("submit", "--config", "movielens-100k", "--registry", "ghcr.io/acme")
        for _ in range(2):
            assert real_command_line(server, *arguments) == 0
        (version,) = server.versions
        assert version["pipeline_spec"] == next(iter(yaml.safe_load_all(path.read_text())))
        assert len(server.runs) == 2
        for run in server.runs:
            assert run["runtime_config"].get("parameters", {}) == {}


def test_an_accelerator_selects_the_image_with_cuda(real_command_line: Any) -> None:
    with KfpServer() as server:
        assert real_command_line(server, "submit", "--config", "movielens-25m", LOCAL) == 0
        text = json.dumps(server.versions[0]["pipeline_spec"])
        assert "-gpu" in text
