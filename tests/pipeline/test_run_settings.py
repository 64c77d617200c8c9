"""The settings of runs in the compiled pipeline; local runs have none of them."""

from collections.abc import Callable
from typing import Any

import pytest
from compiled_pipeline import Compiled, Container, sample_with
from google.protobuf import json_format
from kfp import compiler
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineTaskSpec, SinglePlatformSpec
from placement_settings import (
    ALL_STEPS,
    EVERYTHING,
    RetryPolicy,
    Setting,
    constant,
    expected_container,
    expected_pod,
)

from components.notify.job import WEBHOOK
from components.shared.runtime.images import STEP_IMAGES
from pipeline.compilation import build_pipeline, compile_pipeline
from pipeline.config.cluster import ClusterConfig
from pipeline.definition import EXIT_STEP, STEPS


def _only_labels(compiled: Compiled, labels: dict[str, str]) -> None:
    for step in ALL_STEPS:
        assert compiled.pod(step) == expected_pod(
            Setting(None, pod={"podMetadata": {"labels": labels}})
        ), step


def _with_queue(compiled: Compiled) -> None:
    _only_labels(compiled, {"kueue.x-k8s.io/queue-name": "value"})


def _with_priority(compiled: Compiled) -> None:
    _only_labels(compiled, {"kueue.x-k8s.io/priority-class": "value"})


def _goes_with_the_run_request(compiled: Compiled) -> None:
    """`submit` and `schedule` send it with the run, as the IR has no field for it."""
    assert compiled == Compiled.of()


def _with_pull_secrets(compiled: Compiled) -> None:
    secrets = [
        {"secretName": name, "secretNameParameter": constant(name)} for name in ("one", "two")
    ]
    for step in ALL_STEPS:
        assert compiled.pod(step) == expected_pod(Setting(None, pod={"imagePullSecret": secrets}))


def _with_pipeline_config(**expected: Any) -> Callable[[Compiled], None]:
    def check(compiled: Compiled) -> None:
        config = SinglePlatformSpec().pipelineConfig
        json_format.ParseDict(expected, config)
        assert compiled.on_kubernetes.pipelineConfig == config
        assert all(compiled.pod(step) == expected_pod() for step in ALL_STEPS)

    return check


def _with_checkpoints(compiled: Compiled) -> None:
    assert compiled.default["checkpoints"] == "s3://bucket/state"
    without = Compiled.of()
    assert without.default == {**compiled.default, "checkpoints": ""}
    assert compiled.task("train") == without.task("train")
    channel = "pipelinechannel--checkpoints"
    assert compiled.task("train").inputs.parameters["checkpoints"].component_input_parameter == (
        channel
    )


def _with_webhook(compiled: Compiled) -> None:
    for step in STEPS:
        assert compiled.pod(step) == expected_pod(), step
    secret = {
        "secretName": "hooks",
        "secretNameParameter": constant("hooks"),
        "keyToEnv": [{"secretKey": "address", "envVar": WEBHOOK}],
        "optional": False,
    }
    assert compiled.pod(EXIT_STEP) == expected_pod(Setting(None, pod={"secretAsEnv": [secret]}))


def _with_defaults(compiled: Compiled) -> None:
    for step in ALL_STEPS:
        assert compiled.pod(step).active_deadline_seconds == 9, step


def _with_steps(compiled: Compiled) -> None:
    for step in ALL_STEPS:
        assert compiled.pod(step).active_deadline_seconds == (9 if step == "export" else 0), step


RUN_SETTINGS: dict[str, tuple[Any, Callable[[Compiled], None]]] = {
    "service_account": ("runner", _goes_with_the_run_request),
    "pipeline_root": ("s3://bucket/runs", _goes_with_the_run_request),
    "image_pull_secrets": (["one", "two"], _with_pull_secrets),
    "queue": ("value", _with_queue),
    "priority": ("value", _with_priority),
    "ttl_seconds": (
        600,
        _with_pipeline_config(
            resourceTtlOnCompletion=600, resourceTtlOnSuccess=600, resourceTtlOnFailure=600
        ),
    ),
    "ttl_seconds_after_failure": (900, _with_pipeline_config(resourceTtlOnFailure=900)),
    "deadline_seconds": (3600, _with_pipeline_config(activeDeadlineSeconds=3600)),
    "checkpoints": ("s3://bucket/state", _with_checkpoints),
    "webhook": ({"secret": "hooks", "key": "address"}, _with_webhook),
    "defaults": ({"timeout_seconds": 9}, _with_defaults),
    "steps": ({"export": {"timeout_seconds": 9}}, _with_steps),
}


def test_each_setting_of_a_run_is_tested_here() -> None:
    assert set(RUN_SETTINGS) == set(ClusterConfig.model_fields)


@pytest.mark.parametrize("name", RUN_SETTINGS)
def test_a_runs_setting_is_in_kubeflows_place(name: str) -> None:
    value, check = RUN_SETTINGS[name]
    check(Compiled.of({name: value}))


def test_a_steps_labels_are_kept_with_the_queues() -> None:
    compiled = Compiled.of(
        {"queue": "a", "priority": "b", "steps": {"export": {"labels": {"team": "shop"}}}}
    )
    assert dict(compiled.pod("export").pod_metadata.labels) == {
        "team": "shop",
        "kueue.x-k8s.io/queue-name": "a",
        "kueue.x-k8s.io/priority-class": "b",
    }


def test_notify_has_the_webhook_and_its_other_secrets() -> None:
    secrets = {"secrets": [{"secret": "s3", "env": {"AWS_ACCESS_KEY_ID": "id"}}]}
    compiled = Compiled.of({"webhook": {"secret": "hooks", "key": "address"}, "defaults": secrets})
    names = [
        (secret.secret_name, secret.key_to_env[0].env_var)
        for secret in compiled.pod(EXIT_STEP).secret_as_env
    ]
    assert names == [("s3", "AWS_ACCESS_KEY_ID"), ("hooks", WEBHOOK)]


def test_an_empty_section_sets_nothing() -> None:
    compiled = Compiled.of()
    for step in ALL_STEPS:
        assert compiled.scheduled(step) == expected_container(step), step
        assert compiled.task(step).retry_policy == RetryPolicy(), step
    assert not compiled.platform.platforms
    assert compiled.default["checkpoints"] == ""


# Caching, and the report at the end.


@pytest.mark.parametrize("step", ALL_STEPS)
def test_a_cluster_caches_steps_that_depend_only_on_their_inputs(step: str) -> None:
    never = {"resolve", "publish", "notify"}
    assert Compiled.of().task(step).caching_options.enable_cache == (step not in never)


def test_on_this_machine_the_same_steps_are_reused(tmp_path) -> None:
    path = tmp_path / "local.yaml"
    compiler.Compiler().compile(build_pipeline(sample_with(), STEP_IMAGES), str(path))
    local = Compiled.read(path.read_text())
    reused = {step for step in STEPS if local.task(step).caching_options.enable_cache}
    assert reused == set(STEPS) - {"resolve", "publish"}


def test_both_fetches_have_the_same_placement() -> None:
    compiled = Compiled.of({"steps": {"fetch_published": EVERYTHING}})
    one, other = "fetch_published", "fetch_published_2"
    assert compiled.container(one) == compiled.container(other)
    assert compiled.pod(one) == compiled.pod(other)
    assert compiled.task(one).retry_policy == compiled.task(other).retry_policy
    assert compiled.task(other).task_info.name == "fetch_base"


def test_notify_runs_however_the_other_steps_ended() -> None:
    ir = Compiled.of().ir
    notify = ir.root.dag.tasks["notify"]
    assert notify.trigger_policy.strategy == (
        PipelineTaskSpec.TriggerPolicy.TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
    )
    assert list(notify.dependent_tasks) == ["exit-handler-1"]
    assert notify.inputs.parameters["status"].task_final_status.producer_task == "exit-handler-1"
    everything = ir.root.dag.tasks["exit-handler-1"]
    assert everything.task_info.name == "all steps"
    assert not everything.trigger_policy.strategy


def test_publish_and_notify_get_the_runs_name() -> None:
    compiled = Compiled.of()
    for step in ("publish", "notify"):
        value = compiled.task(step).inputs.parameters["run"].runtime_value.constant
        assert value.string_value == "{{$.pipeline_job_name}}"


# Local runs.


def test_a_local_run_has_no_cluster_settings_and_has_outputs(tmp_path) -> None:
    config = sample_with(
        {name: value for name, (value, _) in RUN_SETTINGS.items() if name != "steps"}
        | {"defaults": EVERYTHING}
    )
    path = tmp_path / "local.yaml"
    compiler.Compiler().compile(build_pipeline(config, STEP_IMAGES), str(path))
    local = Compiled.read(path.read_text())
    assert not local.platform.platforms
    assert set(local.ir.root.dag.tasks) >= {"ingest", "publish"}
    assert "notify" not in local.ir.root.dag.tasks
    for step in STEPS:
        assert local.scheduled(step) == Container(), step
        assert local.task(step).retry_policy == RetryPolicy(), step
    assert local.default["checkpoints"] == ""
    assert local.default["train_accelerator_count"] == ""
    outputs = local.ir.root.output_definitions
    assert set(outputs.parameters) == {"good_enough"}
    assert set(outputs.artifacts) == {"export", "evaluation", "report", "publication"}


def test_cluster_runs_and_local_runs_have_the_same_parameters(tmp_path) -> None:
    config = sample_with({"steps": {"train": {"accelerator": {}}}})
    path = tmp_path / "local.yaml"
    compiler.Compiler().compile(build_pipeline(config, STEP_IMAGES), str(path))
    local = Compiled.read(path.read_text())
    cluster = Compiled.read(compile_pipeline(config, STEP_IMAGES))
    assert local.default == {
        **cluster.default,
        "train_accelerator_type": "",
        "train_accelerator_count": "",
    }


# Limits of Argo Workflows.


def test_a_backoff_factor_that_argo_cannot_read_is_refused() -> None:
    with pytest.raises(ValueError, match="backoff_factor"):
        ClusterConfig.model_validate({"defaults": {"retry": {"count": 1, "backoff_factor": 1.5}}})


def test_a_step_that_may_run_for_hours_is_retried_after_hours() -> None:
    compiled = Compiled.of({"defaults": {"timeout_seconds": 4 * 3600, "retry": {"count": 2}}})
    policy = compiled.task("train").retry_policy
    attempts = policy.max_retry_count + 1
    assert policy.backoff_max_duration.seconds >= attempts * 4 * 3600
