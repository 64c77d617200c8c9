"""The pipeline's own steps in a run: how they are found, and their states."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from argo_run import ArgoRun, Node, Pod, Story

from components.shared.kubeflow.argo_nodes import pod_names
from components.shared.kubeflow.run_shape import RunShape
from components.shared.kubeflow.run_steps import read_steps
from components.shared.kubeflow.step import Step, failed_steps, title
from components.shared.runtime.images import STEP_IMAGES
from pipeline.compilation import compile_pipeline
from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig

IR = next(iter(yaml.safe_load_all(compile_pipeline(load_config("sample"), STEP_IMAGES))))
SHAPE = RunShape.of(IR)
RUN = {"run_id": "5c8d1f0e", "created_at": "2026-11-24T03:00:00+00:00"}
DEFAULTS = [True, False]


def read(argo: ArgoRun, seconds: float = 10_000.0) -> dict[str, Step]:
    return {SHAPE.title(step): step for step in read_steps(argo.run(RUN, seconds))}


@pytest.mark.parametrize(
    ("name", "node_id"),
    [
        # From Argo 4.0.5: workflow/controller/operator_test.go, workflow/util/util_test.go.
        ("retry-backoff-s69z6(0)", "1807967148"),
        ("daemon-step-dvbnn[0].influx(0)", "2254877734"),
        ("workflow-retry.launch", "2014360908"),
        ("workflow-retry.launch(1:fail)(0)", "1861571805"),
    ],
)
def test_names_are_hashed_as_in_argo(name: str, node_id: str) -> None:
    assert str(Node(name, "", "", "", []).hash) == node_id


def test_a_child_with_argos_own_id_is_found() -> None:
    # A run of one step with ids as in Argo's tests can be read in no other way.
    tasks = [
        {"display_name": "wf", "child_tasks": [{"pod_name": _id("wf.train")}]},
        {"display_name": "train", "state": "SUCCEEDED",
         "child_tasks": [{"pod_name": _id("wf.train.executor")}]},
        {"display_name": "executor", "state": "SUCCEEDED"},
    ]  # fmt: skip

    (step,) = read_steps({"run_details": {"task_details": tasks}})

    assert (step.path, step.state) == (("train",), "SUCCEEDED")
    assert [attempt.node_id for attempt in step.attempts] == [_id("wf.train.executor")]


def _id(name: str) -> str:
    return f"wf-{Node(name, '', '', '', []).hash}"


@pytest.mark.parametrize("defaults", DEFAULTS)
def test_every_step_of_the_compiled_pipeline_is_found_and_nothing_else(defaults: bool) -> None:
    steps = read(ArgoRun(IR, template_defaults=defaults))

    assert sorted(steps) == sorted(SHAPE.titles())
    assert {step.state for step in steps.values()} == {"SUCCEEDED"}
    assert {len(step.attempts) for step in steps.values()} == {1}


@pytest.mark.parametrize("defaults", DEFAULTS)
def test_the_ids_of_attempts_are_those_of_the_pods(defaults: bool) -> None:
    argo = ArgoRun(IR, template_defaults=defaults)
    keys = {
        "train [32]": "train[0]",
        "train [64, 32]": "train[1]",
        "train [128, 64, 32]": "train[2]",
    }

    for name, step in read(argo).items():
        pod = argo.node(keys.get(name, step.path[-1]))
        assert step.attempts[0].node_id == pod.id
        assert pod.pod_name in pod_names(pod.id, is_driver=False)


@pytest.mark.parametrize("defaults", DEFAULTS)
def test_at_any_time_steps_are_in_one_of_their_states(defaults: bool) -> None:
    argo = ArgoRun(IR, Story(cached=["adapt"]), template_defaults=defaults)

    for seconds in range(0, int(argo.seconds), 2):
        for name, step in read(argo, seconds).items():
            allowed = {"PENDING", "RUNNING", "SUCCEEDED"} if name != "adapt" else {"REUSED"}
            assert step.state in allowed
            assert step.began


@pytest.mark.parametrize("defaults", DEFAULTS)
def test_cached_steps_are_distinguished_from_steps_that_ran(defaults: bool) -> None:
    cached = ["ingest", "train[0]", "train[2]", "export"]

    steps = read(ArgoRun(IR, Story(cached=cached), template_defaults=defaults))

    assert {name for name, step in steps.items() if step.state == "REUSED"} == {
        "ingest",
        "train [32]",
        "train [128, 64, 32]",
        "export",
    }


@pytest.mark.parametrize("defaults", DEFAULTS)
@pytest.mark.parametrize("step", ["ingest", "adapt", "train[1]", "select-model", "publish"])
@pytest.mark.parametrize("kind", ["step", "driver"])
def test_the_failed_step_or_driver_is_found(kind: str, step: str, defaults: bool) -> None:
    task, bracket, item = step.partition("[")
    key = step if kind == "step" else f"{task}-driver{bracket}{item}"
    bad = Pod(5, 1, "Failed")
    argo = ArgoRun(IR, Story(pods={key: [bad]}), template_defaults=defaults)

    failed = failed_steps(read_steps(argo.run(RUN, 10_000)))

    assert [one.path[-1] for one in failed] == [task]
    assert failed[0].items == ((("for-loop-2", 1),) if item else ())
    node = argo.node(key)
    found = failed[0].failed_driver or failed[0].attempts[-1].node_id
    assert found == node.id
    assert node.pod_name in pod_names(found, is_driver=kind == "driver")


def test_a_restarted_group_has_the_state_of_its_last_attempt() -> None:
    story = Story(pods={"train[1]": [Pod(9, 2, "Error")] * 4 + [Pod(9)]})

    argo = ArgoRun(IR, story)
    steps = read(argo)

    assert argo.phase == "Succeeded"
    assert {step.state for step in steps.values()} == {"SUCCEEDED"}
    assert len(steps["train [64, 32]"].attempts) == 5
    assert len({attempt.node_id for attempt in steps["train [64, 32]"].attempts}) == 5


def test_a_notify_that_fails_is_a_failed_step_as_well() -> None:
    failed = failed_steps(read(ArgoRun(IR, Story(pods={"notify": [Pod(5, 1, "Failed")]}))).values())

    assert [step.path for step in failed] == [("notify",)]


def test_a_run_is_read_fast() -> None:
    run = ArgoRun(IR, template_defaults=True).run(RUN, 10_000)

    began = time.perf_counter()
    read_steps(run)

    assert time.perf_counter() - began < 1


def wide(count: int) -> list[dict[str, Any]]:
    """Return a run with very many parallel steps."""
    names = [f"s{number}" for number in range(count)]
    tasks: list[dict[str, Any]] = [
        {"display_name": "wf", "child_tasks": [{"pod_name": _id(f"wf.{name}")} for name in names]}
    ]
    for name in names:
        children = [{"pod_name": _id(f"wf.{name}.executor")}]
        tasks.append({"display_name": name, "state": "RUNNING", "child_tasks": children})
        tasks.append({"display_name": "executor", "state": "RUNNING"})
    return tasks


def deep(count: int) -> list[dict[str, Any]]:
    """Return a run with very deeply nested groups."""
    names = ["wf" + ".a" * number for number in range(count)]
    return [{"display_name": "a", "child_tasks": [{"pod_name": _id(name)}]} for name in names[1:]]


@pytest.mark.parametrize("tasks", [wide(100), wide(2400), wide(9000), deep(1000), deep(4900)])
def test_a_run_of_any_size_is_read_in_seconds(tasks: list[dict[str, Any]]) -> None:
    began = time.perf_counter()

    read_steps({"run_details": {"task_details": tasks}})

    assert time.perf_counter() - began < 20


@pytest.mark.parametrize(
    "run",
    [
        {},
        {"run_details": None},
        {"run_details": []},
        {"run_details": {"task_details": None}},
        {"run_details": {"task_details": "text"}},
        {"run_details": {"task_details": [None, 1, "x", [], {}, {"display_name": 7}]}},
        {"run_details": {"task_details": [{"display_name": "wf", "child_tasks": 7}]}},
        {"run_details": {"task_details": [{"display_name": "wf", "child_tasks": [7, {}]}]}},
        {
            "run_details": {
                "task_details": [
                    {
                        "display_name": "wf",
                        "state": ["FAILED"],
                        "start_time": {"a": 1},
                        "end_time": "soon",
                        "state_history": [1, {"state": 7, "update_time": []}],
                        "child_tasks": [{"pod_name": "wf-99999999999999"}, {"pod_name": None}],
                    }
                ]
            }
        },
    ],
)
def test_a_malformed_run_has_no_steps_and_raises_nothing(run: Mapping[str, Any]) -> None:
    assert failed_steps(read_steps(run)) == []


# The compiled pipeline.


def test_steps_are_read_from_the_compiled_pipeline_in_their_order() -> None:
    names = [shape.name for shape in SHAPE.steps.values()]

    assert names.index("ingest") < names.index("adapt") < names.index("train")
    assert names.index("train") < names.index("select_model") < names.index("evaluate")
    assert names[-2:] == ["publish", "notify"]
    assert SHAPE.titles().count("train [64, 32]") == 1


def test_attempts_and_pods_names_follow_the_settings() -> None:
    values = load_config("sample").model_dump(mode="json", exclude_none=True)
    cluster = {
        "defaults": {"labels": {"team": "a", "cost": "b"}},
        "steps": {"train": {"retry": {"count": 4}}},
    }
    config = PipelineConfig.model_validate({**values, "cluster": cluster})
    ir, platform = yaml.safe_load_all(compile_pipeline(config, STEP_IMAGES))

    # YamlStringToPipelineSpecStruct in KFP's api_util.go returns two documents in this form.
    shape = RunShape.of({"pipeline_spec": ir, "platform_spec": platform})
    by_name = {of.name: of for of in shape.steps.values()}

    assert by_name["train"].attempts == 5
    assert by_name["train"].template == "metadata-0-2-retry-system-container-impl"
    assert by_name["adapt"].attempts is None
    assert by_name["adapt"].template == "metadata-0-2-system-container-impl"


CIRCLE = {"root": {"dag": {"tasks": {"a": None, "b": {"dependentTasks": ["b"]}}}}}


@pytest.mark.parametrize("specification", [None, "text", [], {"root": 7}, CIRCLE])
def test_a_malformed_pipeline_has_no_known_steps(specification: Any) -> None:
    shape = RunShape.of(specification)

    assert shape.items == {}
    assert set(shape.titles()) <= {"a", "b"}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([[32.0], [64.0, 32.0]], "train [64, 32]"),
        (["small", "large"], "train large"),
        ([1, 0.5], "train 0.5"),
        ([0, None], "train null"),
        ([[32]], "train #2"),
        (None, "train #2"),
    ],
)
def test_a_step_in_a_loop_is_named_by_its_item(items: Any, expected: str) -> None:
    step = Step(("for-loop-2", "train"), (("for-loop-2", 1),))

    assert title(step, lambda loop: items) == expected
