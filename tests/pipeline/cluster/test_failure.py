"""The explanation of a failed run at its end."""

import pytest
from argo_run import ArgoRun, Pod, Story
from cluster_support import (
    no_settings,
)
from followed import BAD, LOST, RETRIED, SAMPLE, Followed

__all__ = ["no_settings"]  # a fixture


def test_an_attempt_that_was_retried_successfully_is_not_blamed() -> None:
    story = Story(pods={"adapt": [LOST, Pod(10)], "export": [Pod(20, 2, "Failed", "no error")]})

    for text in (SAMPLE, RETRIED):
        run = Followed(story, text=text)
        assert run.end[1:] == [
            "error: export failed; its log shows no error",
            "not run: evaluate, publish",
            "more: LOGS export",
        ]


def test_the_first_of_several_steps_that_fail_is_blamed_and_the_others_named() -> None:
    run = Followed(Story(pods={"train[0]": [Pod(60, 2, "Failed")], "train[2]": [BAD]}))

    assert run.end[1].startswith("error: train [128, 64, 32] failed: train.batch_size")
    assert run.end[2] == "also failed: train [32]"


@pytest.mark.parametrize(
    ("message", "log", "says"),
    [
        ("OOMKilled (exit code 137)", "epoch 1\n", "OOMKilled (exit code 137)"),
        ("pod deleted", "", "pod deleted"),
        (
            "Error (exit code 1)",
            'Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 7\n',
            "KeyError: 7",
        ),
        (
            "Error (exit code 1)",
            "F1124 03:12:06.7 1 main.go:57] failed to execute component: no bucket\n",
            "failed to execute component: no bucket",
        ),
        ("Error (exit code 1)", "nothing of use\n", "Error (exit code 1)"),
        ("Error (exit code 1)", "[train] error: \x1b[31mred\x1b[0m\n", "red"),
    ],
)
def test_the_known_reason_of_a_failure_is_shown(message: str, log: str, says: str) -> None:
    run = Followed(Story(pods={"train[1]": [Pod(20, 2, "Failed", log, message)]}))

    assert run.end[1] == f"error: train [64, 32] failed: {says}"


def test_a_log_is_read_through_the_api_server_and_the_ui_server() -> None:
    for options in ({}, {"is_ui": True}, {"pods_alive": False}):
        run = Followed(Story(pods={"train[1]": [BAD]}), server=options)

        assert run.end[1] == (
            "error: train [64, 32] failed: train.batch_size: 0 is no size choose 1 or more"
        )


@pytest.mark.parametrize("text", [SAMPLE, RETRIED])
def test_without_a_log_the_kubectl_command_is_shown(text: str) -> None:
    story = Story(pods={"train[1]": [BAD]})

    run = Followed(story, text=text, server={"pods_alive": False, "archived": False})

    pod = run.argo.node("train[1]").pod_name
    assert run.end[1:3] == [
        "error: train [64, 32] failed: Error (exit code 1)",
        "Its log cannot be read through Kubeflow. To see it: kubectl logs --namespace kubeflow "
        f"{pod} --container main",
    ]


@pytest.mark.parametrize("text", [SAMPLE, RETRIED])
def test_a_pods_name_is_found_without_the_workflow(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArgoRun, "manifest", lambda self: "[]")
    story = Story(pods={"train[1]": [BAD]})

    run = Followed(story, text=text, server={"pods_alive": False, "archived": False})

    assert run.end[1] == "error: train [64, 32] failed"
    assert f" {run.argo.node('train[1]').pod_name} --container main" in run.end[2]


DRIVER = (
    "F1124 03:12:06.714331       1 main.go:126] KFP driver: driver.Container(pipelineName=deep, "
    'runID=5, task="export", component="comp-export", dagExecutionID=23, componentSpec) failed: '
)
TWICE = (
    "failed to get executions in DAG(executionID=23): two tasks have the same task name "
    '"select-model_23", id1=41 id2=43\n'
)


@pytest.mark.parametrize("defaults", [True, False])
def test_a_run_broken_by_a_preempted_driver_is_recognized(defaults: bool) -> None:
    driver = Pod(3, 1, "Failed", DRIVER + TWICE)

    run = Followed(Story(pods={"export-driver": [driver]}), template_defaults=defaults)

    assert "export failed" in run.steps
    assert run.end[1:3] == [
        "error: export could not start: Kubeflow has two records of select-model, "
        "because the pod of its driver was lost and replaced (e.g. its node was preempted).",
        "This run cannot continue. Start a new run: it reuses completed steps from the cache.",
    ]


@pytest.mark.parametrize("defaults", [True, False])
@pytest.mark.parametrize("step", ["export", "train[1]"])
def test_a_failed_driver_is_distinguished_from_a_failed_step(step: str, defaults: bool) -> None:
    name, _, item = step.partition("[")
    key = f"{name}-driver[{item}" if item else f"{name}-driver"
    driver = Pod(3, 1, "Failed", DRIVER + "no such secret\n")

    run = Followed(Story(pods={key: [driver]}), template_defaults=defaults)

    title = "train [64, 32]" if item else "export"
    assert run.end[1] == (f"error: {title} could not start: its driver failed: no such secret")
    assert run.end[-1] == f"more: LOGS {repr(title) if item else title}"


def test_a_loop_whose_driver_fails_is_named() -> None:
    for defaults in (True, False):
        driver = Pod(3, 1, "Failed", DRIVER + "no list\n")

        run = Followed(Story(pods={"iteration-driver": [driver]}), template_defaults=defaults)

        assert run.end[1] == "error: for_loop_2 could not start: its driver failed: no list"
        assert run.end[2] == "not run: train, select_model, export, evaluate, publish"
