"""The settings of steps in the compiled pipeline, setting by setting, as kfp's own messages.

Every setting is compared with the whole message, so a setting that adds another one fails as does
a setting that is lost.
"""

from typing import Any, get_args

import pytest
from compiled_pipeline import Compiled
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, SinglePlatformSpec
from placement_settings import (
    ALL_STEPS,
    EVERYTHING,
    FROM_PARAMETERS,
    STEP_SETTINGS,
    RetryPolicy,
    expected_container,
    expected_pod,
    expected_retry,
)
from pydantic import BaseModel

from pipeline.config.cluster import StepPlacement
from pipeline.definition import STEPS


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
def test_a_default_reaches_every_step_and_adds_nothing_else(name: str) -> None:
    setting = STEP_SETTINGS[name]
    compiled = Compiled.of({"defaults": {name: setting.value}})
    for step in ALL_STEPS:
        assert compiled.scheduled(step) == expected_container(step, setting), step
        assert compiled.pod(step) == expected_pod(setting), step
        assert compiled.task(step).retry_policy == expected_retry(step, setting), step
    assert compiled.on_kubernetes.pipelineConfig == SinglePlatformSpec().pipelineConfig


@pytest.mark.parametrize("step", ALL_STEPS)
def test_a_steps_own_settings_reach_only_that_step(step: str) -> None:
    settings = STEP_SETTINGS.values()
    compiled = Compiled.of({"steps": {step: EVERYTHING}})
    assert compiled.scheduled(step) == expected_container(step, *settings)
    assert compiled.pod(step) == expected_pod(*settings)
    assert compiled.task(step).retry_policy == expected_retry(step, *settings)
    for other in set(ALL_STEPS) - {step}:
        # resolve reads the same data as these two.
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


def test_a_steps_setting_replaces_only_its_own_default() -> None:
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
    # Fields of the step are replaced as a whole.
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


def test_a_retry_has_the_types_of_kfps_message() -> None:
    policy = Compiled.of({"defaults": {"retry": {"count": 1}}}).task("ingest").retry_policy
    assert policy.max_retry_count == 1
    assert policy.backoff_duration == Duration(seconds=60)
    assert policy.backoff_factor == 2.0
    assert policy.backoff_max_duration == Duration(seconds=2 * 7 * 24 * 3600 + 60)


def test_retries_without_a_wait_begin_at_once() -> None:
    retry = {"count": 1, "backoff_seconds": 0}
    policy = Compiled.of({"defaults": {"retry": retry}}).task("ingest").retry_policy
    assert policy.backoff_duration == Duration()


def test_every_step_is_in_a_place_where_settings_reach_it() -> None:
    """Steps are inside the exit handler, inside its loop, and next to it."""
    ir = Compiled.of().ir
    assert set(ir.root.dag.tasks) == {"exit-handler-1", "notify"}
    group = ir.components["comp-exit-handler-1"].dag.tasks
    loops = [task for task in group.values() if task.HasField("parameter_iterator")]
    assert len(loops) == 1
    assert set(ir.components[loops[0].component_ref.name].dag.tasks) == {"train"}
    others = {name.replace("_", "-") for name in STEPS} - {"train"}
    assert others < set(group)


# Train's accelerator.


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
        # The cluster's driver silently drops a number.
        assert parameters[name].parameter_type == ParameterType.STRING
    # kfp 2.17 sets placeholders only in these two; the older fields, type and count, stay empty.
    accelerator = compiled.container("train").resources.accelerator
    assert json_format.MessageToDict(accelerator) == FROM_PARAMETERS["accelerator"]


def _group_inputs(compiled: Compiled) -> dict[str, set[str]]:
    """Return the inputs of each group of tasks."""
    groups = {"root": compiled.ir.root, **compiled.ir.components}
    return {
        name: {*group.input_definitions.parameters, *group.input_definitions.artifacts}
        for name, group in groups.items()
    }


def test_a_task_takes_only_inputs_of_its_group() -> None:
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
    """Some servers pass a placeholder inside a constant to the step unchanged.

    See https://github.com/kubeflow/pipelines/issues/11035.
    """
    compiled = Compiled.of({"steps": {"train": {"accelerator": {}}}})
    inputs = compiled.task("train").inputs.parameters
    for name in compiled.ir.components["comp-train"].input_definitions.parameters:
        assert inputs[name].component_input_parameter, name
