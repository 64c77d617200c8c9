"""The section `cluster` in the compiled pipeline, setting by setting, as kfp's own messages.

Every setting is compared with the whole message, so a setting that brings
another one along fails as one that is lost does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
from compiled_pipeline import Compiled, Container, sample_with
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from kfp import compiler
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, PipelineTaskSpec, SinglePlatformSpec
from pydantic import BaseModel

from components.notify.job import WEBHOOK
from components.shared.runtime.attempts import RETRY
from components.shared.runtime.images import STEP_IMAGES
from pipeline.compilation import compile_pipeline
from pipeline.config.cluster import ClusterConfig, StepPlacement
from pipeline.definition import EXIT_STEP, STEPS, build_pipeline

ALL_STEPS = (*STEPS, EXIT_STEP)
# kfp's placeholders for train's accelerator, which comes from parameters of the pipeline.
FROM_PARAMETERS = {
    "accelerator": {
        "resourceType": "{{$.inputs.parameters['pipelinechannel--train_accelerator_type']}}",
        "resourceCount": "{{$.inputs.parameters['pipelinechannel--train_accelerator_count']}}",
    }
}
RetryPolicy = PipelineTaskSpec.RetryPolicy


@dataclass(frozen=True)
class Setting:
    """A setting of a step and all that it shall become, in JSON as protobuf writes it."""

    value: Any
    container: dict[str, Any] = field(default_factory=dict)
    pod: dict[str, Any] = field(default_factory=dict)
    retry: dict[str, Any] = field(default_factory=dict)


def constant(name: str) -> dict[str, Any]:
    """A name that is the same in each run, as kfp-kubernetes 2.17 writes it."""
    return {"runtimeValue": {"constant": name}}


STEP_SETTINGS = {
    "cpu_request": Setting(
        "500m", {"resources": {"cpuRequest": 0.5, "resourceCpuRequest": "500m"}}
    ),
    "cpu_limit": Setting("2", {"resources": {"cpuLimit": 2.0, "resourceCpuLimit": "2"}}),
    "memory_request": Setting(
        "1Gi", {"resources": {"memoryRequest": 1.073741824, "resourceMemoryRequest": "1Gi"}}
    ),
    "memory_limit": Setting("2G", {"resources": {"memoryLimit": 2.0, "resourceMemoryLimit": "2G"}}),
    "accelerator": Setting(
        {"type": "amd.com/gpu", "count": 1},
        {
            "resources": {
                "accelerator": {
                    "type": "amd.com/gpu",
                    "count": "1",
                    "resourceType": "amd.com/gpu",
                    "resourceCount": "1",
                }
            }
        },
    ),
    "node_selector": Setting(
        {"pool": "large", "kubernetes.io/arch": "amd64"},
        pod={"nodeSelector": {"labels": {"pool": "large", "kubernetes.io/arch": "amd64"}}},
    ),
    "tolerations": Setting(
        [
            {},
            {"key": "spot"},
            {"key": "pool", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
            {"key": "busy", "effect": "PreferNoSchedule"},
            {"key": "leaving", "effect": "NoExecute", "seconds": 300},
            {"effect": "NoExecute", "seconds": 0},
        ],
        pod={
            "tolerations": [
                {"operator": "Exists"},
                {"key": "spot", "operator": "Exists"},
                {"key": "pool", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
                {"key": "busy", "operator": "Exists", "effect": "PreferNoSchedule"},
                {
                    "key": "leaving",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": "300",
                },
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "0"},
            ]
        },
    ),
    "shared_memory": Setting(
        "2Gi",
        pod={
            "emptyDirMounts": [
                {
                    "volumeName": "shared-memory",
                    "mountPath": "/dev/shm",
                    "medium": "Memory",
                    "sizeLimit": "2Gi",
                }
            ]
        },
    ),
    "timeout_seconds": Setting(7200, pod={"activeDeadlineSeconds": "7200"}),
    "retry": Setting(
        {"count": 3, "backoff_seconds": 30, "backoff_factor": 3, "give_up_seconds": 86400},
        {
            "env": [
                {
                    "name": RETRY,
                    "value": '{"count":3,"backoff_seconds":30,"backoff_factor":3}',
                }
            ]
        },
        retry={
            "maxRetryCount": 3,
            "backoffDuration": "30s",
            "backoffFactor": 3.0,
            "backoffMaxDuration": "86400s",
        },
    ),
    "secrets": Setting(
        [
            {"secret": "s3", "env": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}},
            {"secret": "proxy", "env": {"HTTPS_PROXY": "address"}},
        ],
        pod={
            "secretAsEnv": [
                {
                    "secretName": secret,
                    "secretNameParameter": constant(secret),
                    "keyToEnv": [{"secretKey": key, "envVar": name}],
                    "optional": False,
                }
                for secret, name, key in (
                    ("s3", "AWS_ACCESS_KEY_ID", "id"),
                    ("s3", "AWS_SECRET_ACCESS_KEY", "key"),
                    ("proxy", "HTTPS_PROXY", "address"),
                )
            ]
        },
    ),
    "env": Setting(
        {"OMP_NUM_THREADS": "4", "XLA_FLAGS": "--a=1 --b=2"},
        {
            "env": [
                {"name": "OMP_NUM_THREADS", "value": "4"},
                {"name": "XLA_FLAGS", "value": "--a=1 --b=2"},
            ]
        },
    ),
    "volumes": Setting(
        [
            {"claim": "data", "mount_path": "/data"},
            {"claim": "state", "mount_path": "/state", "sub_path": "shop/a"},
        ],
        pod={
            "pvcMount": [
                {"constant": "data", "pvcNameParameter": constant("data"), "mountPath": "/data"},
                {
                    "constant": "state",
                    "pvcNameParameter": constant("state"),
                    "mountPath": "/state",
                    "subPath": "shop/a",
                },
            ]
        },
    ),
    "labels": Setting(
        {"team": "shop", "acme.example/cost": "ml"},
        pod={"podMetadata": {"labels": {"team": "shop", "acme.example/cost": "ml"}}},
    ),
    "annotations": Setting(
        {"sidecar.istio.io/inject": "false"},
        pod={"podMetadata": {"annotations": {"sidecar.istio.io/inject": "false"}}},
    ),
    "image_pull_policy": Setting("IfNotPresent", pod={"imagePullPolicy": "IfNotPresent"}),
}
EVERYTHING = {name: setting.value for name, setting in STEP_SETTINGS.items()}


def expected_container(step: str, *settings: Setting) -> Container:
    """The container with some settings; train's accelerator comes from parameters."""
    message = Container()
    for setting in settings:
        if not (setting.retry and step == EXIT_STEP):
            message.MergeFrom(json_format.ParseDict(setting.container, Container()))
    if step == "train":
        message.resources.ClearField("accelerator")
        message.MergeFrom(json_format.ParseDict({"resources": FROM_PARAMETERS}, Container()))
    return message


def expected_pod(*settings: Setting) -> KubernetesExecutorConfig:
    """The pod with some settings."""
    message = KubernetesExecutorConfig()
    for setting in settings:
        message.MergeFrom(json_format.ParseDict(setting.pod, KubernetesExecutorConfig()))
    return message


def expected_retry(step: str, *settings: Setting) -> RetryPolicy:
    """How it is tried again; kfp 2.17 cannot try an exit task again."""
    message = RetryPolicy()
    for setting in settings:
        if step != EXIT_STEP:
            message.MergeFrom(json_format.ParseDict(setting.retry, RetryPolicy()))
    return message


# --- settings of a step ---------------------------------------------------------------------------


def test_each_setting_of_a_step_is_tested_here() -> None:
    assert set(STEP_SETTINGS) == set(StepPlacement.model_fields)


@pytest.mark.parametrize("name", ["tolerations", "secrets", "volumes", "accelerator", "retry"])
def test_each_setting_inside_a_setting_is_tested_here(name: str) -> None:
    value = STEP_SETTINGS[name].value
    models = [StepPlacement.model_fields[name].annotation]
    while not (isinstance(models[0], type) and issubclass(models[0], BaseModel)):
        models = [model for model in get_args(models[0]) if model is not type(None)]
    written = {key for part in (value if isinstance(value, list) else [value]) for key in part}
    assert written == set(models[0].model_fields)


@pytest.mark.parametrize("name", STEP_SETTINGS)
def test_a_default_reaches_every_step_and_brings_nothing_else(name: str) -> None:
    setting = STEP_SETTINGS[name]
    compiled = Compiled.of({"defaults": {name: setting.value}})
    for step in ALL_STEPS:
        assert compiled.scheduled(step) == expected_container(step, setting), step
        assert compiled.pod(step) == expected_pod(setting), step
        assert compiled.task(step).retry_policy == expected_retry(step, setting), step
    assert compiled.on_kubernetes.pipelineConfig == SinglePlatformSpec().pipelineConfig


@pytest.mark.parametrize("step", ALL_STEPS)
def test_a_steps_own_settings_reach_it_and_no_other_step(step: str) -> None:
    settings = STEP_SETTINGS.values()
    compiled = Compiled.of({"steps": {step: EVERYTHING}})
    assert compiled.scheduled(step) == expected_container(step, *settings)
    assert compiled.pod(step) == expected_pod(*settings)
    assert compiled.task(step).retry_policy == expected_retry(step, *settings)
    for other in set(ALL_STEPS) - {step}:
        # resolve looks at what these two read.
        shared = other == "resolve" and step in ("ingest", "fetch_published")
        parts = [STEP_SETTINGS[name] for name in ("volumes", "secrets", "env") if shared]
        assert compiled.scheduled(other) == expected_container(other, *parts), other
        assert compiled.pod(other) == expected_pod(*parts), other
        assert compiled.task(other).retry_policy == RetryPolicy(), other


def test_resolve_has_the_volumes_of_ingest_and_the_secrets_of_the_registry_once() -> None:
    data, models = [{"claim": name, "mount_path": f"/{name}"} for name in ("data", "models")]
    key = {"secret": "s3", "env": {"AWS_ACCESS_KEY_ID": "id"}}
    steps: dict[str, Any] = {
        "ingest": {"volumes": [data], "secrets": [key], "env": {"A": "ingest"}},
        "fetch_published": {
            "volumes": [models, data],
            "secrets": [key],
            "env": {"A": "b", "C": "d"},
        },
    }
    pod = Compiled.of({"steps": steps}).pod("resolve")
    assert [mount.constant for mount in pod.pvc_mount] == ["data", "models"]
    assert [secret.secret_name for secret in pod.secret_as_env] == ["s3"]
    own = Compiled.of({"steps": {**steps, "resolve": {"volumes": []}}}).pod("resolve")
    assert not own.pvc_mount


def test_a_steps_setting_takes_the_place_of_the_default_and_leaves_the_others() -> None:
    compiled = Compiled.of(
        {
            "defaults": {
                "cpu_limit": "2",
                "memory_limit": "2Gi",
                "labels": {"team": "shop"},
                "retry": {"count": 2, "give_up_seconds": 7200},
            },
            "steps": {
                "adapt": {"cpu_limit": "8", "labels": {"size": "large"}, "retry": {"count": 5}}
            },
        }
    )
    adapt, export = compiled.scheduled("adapt").resources, compiled.scheduled("export").resources
    assert (adapt.resource_cpu_limit, adapt.resource_memory_limit) == ("8", "2Gi")
    assert (export.resource_cpu_limit, export.resource_memory_limit) == ("2", "2Gi")
    # Field by field of the step, not of what a field holds.
    assert dict(compiled.pod("adapt").pod_metadata.labels) == {"size": "large"}
    assert dict(compiled.pod("export").pod_metadata.labels) == {"team": "shop"}
    assert compiled.task("adapt").retry_policy.max_retry_count == 5
    assert compiled.task("adapt").retry_policy.backoff_max_duration.seconds > 7200
    assert compiled.task("export").retry_policy.backoff_max_duration == Duration(seconds=7200)


@pytest.mark.parametrize(
    ("name", "nothing"),
    [
        ("cpu_limit", None),
        ("accelerator", None),
        ("retry", None),
        ("retry", {"count": 0}),
        ("timeout_seconds", None),
        ("tolerations", []),
        ("node_selector", {}),
        ("secrets", []),
        ("env", {}),
        ("volumes", []),
        ("labels", {}),
    ],
)
def test_a_step_can_do_without_a_default(name: str, nothing: Any) -> None:
    default = STEP_SETTINGS[name]
    compiled = Compiled.of({"defaults": {name: default.value}, "steps": {"adapt": {name: nothing}}})
    assert compiled.scheduled("adapt") == expected_container("adapt")
    assert compiled.pod("adapt") == expected_pod()
    assert compiled.task("adapt").retry_policy == RetryPolicy()
    assert compiled.scheduled("export") == expected_container("export", default)


def test_a_retry_is_written_in_the_messages_own_types() -> None:
    policy = Compiled.of({"defaults": {"retry": {"count": 1}}}).task("ingest").retry_policy
    assert policy.max_retry_count == 1
    assert policy.backoff_duration == Duration(seconds=60)
    assert policy.backoff_factor == 2.0
    assert policy.backoff_max_duration == Duration(seconds=2 * 7 * 24 * 3600 + 60)


def test_retries_without_a_wait_begin_at_once() -> None:
    retry = {"count": 1, "backoff_seconds": 0}
    policy = Compiled.of({"defaults": {"retry": retry}}).task("ingest").retry_policy
    assert policy.backoff_duration == Duration()


def test_steps_are_where_the_settings_have_to_find_them() -> None:
    """Inside of the exit handler, inside of its loop, and beside it."""
    ir = Compiled.of().ir
    assert set(ir.root.dag.tasks) == {"exit-handler-1", "notify"}
    group = ir.components["comp-exit-handler-1"].dag.tasks
    loops = [task for task in group.values() if task.HasField("parameter_iterator")]
    assert len(loops) == 1
    assert set(ir.components[loops[0].component_ref.name].dag.tasks) == {"train"}
    others = {name.replace("_", "-") for name in STEPS} - {"train"}
    assert others < set(group)


# --- train's accelerator --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cluster", "kind", "count"),
    [
        ({}, "", ""),
        ({"steps": {"train": {"accelerator": {}}}}, "nvidia.com/gpu", "1"),
        ({"steps": {"train": {"accelerator": {"type": "amd.com/gpu"}}}}, "amd.com/gpu", "1"),
        ({"defaults": {"accelerator": {"type": "google.com/tpu"}}}, "google.com/tpu", "1"),
        (
            {"defaults": {"accelerator": {"count": 1}}, "steps": {"train": {"accelerator": None}}},
            "",
            "",
        ),
    ],
)
def test_trains_accelerator_is_a_parameter_of_strings_with_the_configs_values(
    cluster: dict[str, Any], kind: str, count: str
) -> None:
    compiled = Compiled.of(cluster)
    assert compiled.default["train_accelerator_type"] == kind
    assert compiled.default["train_accelerator_count"] == count
    parameters = compiled.ir.root.input_definitions.parameters
    for name in ("train_accelerator_type", "train_accelerator_count"):
        # The cluster's driver drops a number without a word.
        assert parameters[name].parameter_type == ParameterType.STRING
    # kfp 2.17 sends placeholders in these two only; the older ones, type and count, stay empty.
    accelerator = compiled.container("train").resources.accelerator
    assert json_format.MessageToDict(accelerator) == FROM_PARAMETERS["accelerator"]


def _group_inputs(compiled: Compiled) -> dict[str, set[str]]:
    """The inputs of each group of tasks."""
    groups = {"root": compiled.ir.root, **compiled.ir.components}
    return {
        name: {*group.input_definitions.parameters, *group.input_definitions.artifacts}
        for name, group in groups.items()
    }


def test_a_task_takes_only_inputs_that_its_group_has() -> None:
    compiled = Compiled.of({"steps": {"train": {"accelerator": {}}}})
    has = _group_inputs(compiled)
    for name, group in {"root": compiled.ir.root, **compiled.ir.components}.items():
        for task_name, task in group.dag.tasks.items():
            taken = {
                *(value.component_input_parameter for value in task.inputs.parameters.values()),
                *(value.component_input_artifact for value in task.inputs.artifacts.values()),
            }
            assert taken - {""} <= has[name], f"{task_name} in {name}"


@pytest.mark.parametrize("part", ["count", "type"])
def test_the_parameters_of_trains_accelerator_reach_it_in_the_loop(part: str) -> None:
    compiled = Compiled.of()
    channel = f"pipelinechannel--train_accelerator_{part}"
    handler = compiled.ir.root.dag.tasks["exit-handler-1"]
    group = compiled.ir.components["comp-exit-handler-1"].dag.tasks
    (loop,) = [task for task in group.values() if task.HasField("parameter_iterator")]
    train = compiled.task("train")
    assert train.inputs.parameters[channel].component_input_parameter == channel
    assert loop.inputs.parameters[channel].component_input_parameter == channel
    assert handler.inputs.parameters[channel].component_input_parameter == (
        f"train_accelerator_{part}"
    )


def test_trains_own_inputs_come_from_parameters_and_not_from_placeholders() -> None:
    """A placeholder inside of a constant reaches the step as it stands on some servers.

    See https://github.com/kubeflow/pipelines/issues/11035.
    """
    compiled = Compiled.of({"steps": {"train": {"accelerator": {}}}})
    inputs = compiled.task("train").inputs.parameters
    for name in compiled.ir.components["comp-train"].input_definitions.parameters:
        assert inputs[name].component_input_parameter, name


# --- settings of the run --------------------------------------------------------------------------


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
    """The IR has no place for it: `submit` and `schedule` send it beside the IR."""
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
def test_a_runs_setting_is_where_kubeflow_looks_for_it(name: str) -> None:
    value, check = RUN_SETTINGS[name]
    check(Compiled.of({name: value}))


def test_labels_of_a_step_stay_beside_those_of_the_queue() -> None:
    compiled = Compiled.of(
        {"queue": "a", "priority": "b", "steps": {"export": {"labels": {"team": "shop"}}}}
    )
    assert dict(compiled.pod("export").pod_metadata.labels) == {
        "team": "shop",
        "kueue.x-k8s.io/queue-name": "a",
        "kueue.x-k8s.io/priority-class": "b",
    }


def test_notify_has_the_webhook_beside_its_other_secrets() -> None:
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


# --- what a cluster reuses, and what it says at the end -------------------------------------------


@pytest.mark.parametrize("step", ALL_STEPS)
def test_a_cluster_reuses_what_depends_on_nothing_but_its_inputs(step: str) -> None:
    never = {"resolve", "publish", "notify"}
    assert Compiled.of().task(step).caching_options.enable_cache == (step not in never)


def test_on_this_machine_the_same_steps_are_reused(tmp_path) -> None:
    path = tmp_path / "local.yaml"
    compiler.Compiler().compile(build_pipeline(sample_with(), STEP_IMAGES), str(path))
    local = Compiled.read(path.read_text())
    reused = {step for step in STEPS if local.task(step).caching_options.enable_cache}
    assert reused == set(STEPS) - {"resolve", "publish"}


def test_both_fetches_are_placed_alike() -> None:
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


def test_the_run_is_named_to_publish_and_to_notify() -> None:
    compiled = Compiled.of()
    for step in ("publish", "notify"):
        value = compiled.task(step).inputs.parameters["run"].runtime_value.constant
        assert value.string_value == "{{$.pipeline_job_name}}"


# --- a run on this machine ------------------------------------------------------------------------


def test_a_run_on_this_machine_has_none_of_it_and_gives_outputs(tmp_path) -> None:
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


def test_a_run_on_a_cluster_takes_the_same_parameters_as_one_on_this_machine(tmp_path) -> None:
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


# --- what Argo Workflows makes of it --------------------------------------------------------------


def test_a_backoff_factor_that_argo_cannot_read_is_refused() -> None:
    with pytest.raises(ValueError, match="backoff_factor"):
        ClusterConfig.model_validate({"defaults": {"retry": {"count": 1, "backoff_factor": 1.5}}})


def test_a_step_that_may_run_for_hours_is_retried_after_hours() -> None:
    compiled = Compiled.of({"defaults": {"timeout_seconds": 4 * 3600, "retry": {"count": 2}}})
    policy = compiled.task("train").retry_policy
    attempts = policy.max_retry_count + 1
    assert policy.backoff_max_duration.seconds >= attempts * 4 * 3600
