"""`schedule list` and `schedule show`."""

import json
from typing import Any

import pytest
from cluster_support import (
    IR,
    command_line,
    connected,
    no_settings,
    real_command_line,
)
from kfp_server import KfpServer
from schedule_support import LOCAL, create, local_zone, make

from pipeline.cluster.schedules import changes
from pipeline.cluster.schedules.cron import parse_cron
from pipeline.images import step_image

__all__ = ["command_line", "local_zone", "no_settings", "real_command_line"]  # fixtures


def test_all_schedules_are_listed_beyond_the_first_page(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer(page_size=1) as server:
        make(server, "a", "b", "c")
        changes.pause(connected(server), "b")
        assert command_line(server, "schedule", "list") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines[:3]] == [
            ["a", "on"],
            ["b", "paused"],
            ["c", "on"],
        ]
        assert "UTC" in lines[3]


def test_schedules_are_json_if_asked_for(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        make(server, "a", "b")
        changes.pause(connected(server), "b")
        assert command_line(server, "schedule", "list", "--json") == 0
        listed = json.loads(capsys.readouterr().out)
        assert command_line(server, "schedule", "show", "a", "--json") == 0
        [shown] = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["is_on"], len(one["next"])) for one in listed] == [
        ("a", True, 3),
        ("b", False, 0),
    ]
    assert shown == listed[0]
    assert shown["details"].endswith(shown["id"])


def test_show_says_in_words_when_it_runs_and_which_data_the_next_runs_take(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server, trigger=parse_cron("15 23 * * *"))
        assert command_line(server, "schedule", "show", "nightly") == 0
        printed = capsys.readouterr().out
        assert "when        At 23:15 every day (cron 15 23 * * *)" in printed
        for number, day in enumerate((24, 25, 26)):
            start = "next" if number == 0 else ""
            assert (
                f"  {start:<11} 2026-11-{day} 23:15 UTC (2026-11-{day + 1} 00:15 CET): "
                f"takes interactions before 2026-11-{day} 23:15 UTC\n" in printed
            )
        assert "CRON_SCHEDULE_TIMEZONE" in printed
        assert 'data_until = "scheduled"' in printed
        assert "warning" not in printed


@pytest.mark.parametrize(
    ("parameters", "data"),
    [
        (
            {"data_until": "scheduled", "ingest_config": {"window_days": 7}},
            "takes interactions from 2026-11-17 03:15 UTC to 2026-11-24 03:15 UTC",
        ),
        (
            {"data_until": "2026-11-01", "ingest_config": {"window_days": 1}},
            "takes interactions from 2026-10-31 00:00 UTC to 2026-11-01 00:00 UTC",
        ),
        ({"data_until": "20261101000000"}, "takes interactions before 20261101000000"),
        ({"seed": 7}, "takes the whole log"),
    ],
)
def test_what_a_run_takes_follows_from_its_parameters(
    command_line: Any, capsys: pytest.CaptureFixture[str], parameters: dict[str, Any], data: str
) -> None:
    ir = IR.replace("      rate:", "      ingest_config: {parameterType: STRUCT}\n      rate:")
    with KfpServer() as server:
        create(server, trigger=parse_cron("15 3 * * *"), parameters=parameters, content=ir)
        assert command_line(server, "schedule", "show", "nightly") == 0
        assert f"2026-11-24 03:15 UTC (04:15 CET): {data}\n" in capsys.readouterr().out


def test_what_a_run_takes_follows_from_the_versions_defaults(
    real_command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        arguments = ("--config", "movielens-100k", LOCAL, "--set", "ingest.window_days=2")
        windowed = ("--set", "data_until=2026-01-01", "--cron", "15 3 * * *")
        assert real_command_line(server, "schedule", "create", "by-day", *arguments, *windowed) == 0
        created = capsys.readouterr().out
        data = "takes interactions from 2026-11-22 03:15 UTC to 2026-11-24 03:15 UTC"
        assert data in created
        assert real_command_line(server, "schedule", "show", "by-day") == 0
        assert data in capsys.readouterr().out


def images_ir(*tags: str) -> str:
    """Return a pipeline of two steps whose images have these tags."""
    return IR + (
        "deploymentSpec:\n  executors:\n"
        f"    exec-ingest: {{container: {{image: 'ghcr.io/acme/deep-retrieval-data:{tags[0]}'}}}}\n"
        f"    exec-train: {{container: {{image: 'ghcr.io/acme/deep-retrieval-model:{tags[1]}'}}}}\n"
    )


def test_superseded_images_are_reported_with_the_fix(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = (step_image(step, gpu=True).rpartition(":")[2] for step in ("ingest", "train"))
    with KfpServer() as server:
        create(server, name="old", content=images_ir(data, "0123456789ab-gpu"))
        create(server, name="new", content=images_ir(data, model))
        assert command_line(server, "schedule", "list") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.endswith(" [superseded images]") for line in lines] == [False, True, False]
        assert command_line(server, "schedule", "show", "old") == 0
        assert (
            "its images differ from this checkout's; to update it: deep-retrieval images push "
            "--registry ghcr.io/acme --gpu, then deep-retrieval schedule create old … again"
        ) in capsys.readouterr().out
        assert command_line(server, "schedule", "show", "new") == 0
        assert "differ from this checkout" not in capsys.readouterr().out


def test_a_schedule_from_an_earlier_version_of_this_tool_is_reported_with_the_fix(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server, parameters={"data_until": "[[ScheduledTime]]"})
        assert command_line(server, "schedule", "list") == 0
        assert "[unresolved time]" in capsys.readouterr().out
        assert command_line(server, "schedule", "show", "nightly") == 0
        shown = capsys.readouterr().out
        assert "KFP 2 does not replace it" in shown
        assert "to fix this: deep-retrieval schedule create nightly … again" in shown
        create(server)
        assert command_line(server, "schedule", "list") == 0
        assert "[" not in capsys.readouterr().out


def test_a_schedule_whose_version_was_deleted_is_shown(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server)
        server.versions.clear()
        assert command_line(server, "schedule", "list") == 0
        assert command_line(server, "schedule", "show", "nightly") == 0
        assert "which was deleted" in capsys.readouterr().out


def test_a_schedule_made_elsewhere_is_shown_and_replaced(
    command_line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with KfpServer() as server:
        create(server)
        # Off, as the tests' controller cannot read it either.
        server.schedules[0] |= {
            "description": "made in the UI",
            "mode": "DISABLE",
            "status": "DISABLED",
            "trigger": {"cron_schedule": {"cron": "0 0 0 L * *"}},
        }
        assert command_line(server, "schedule", "show", "nightly") == 0
        assert "0 0 0 L * *" in capsys.readouterr().out
        assert create(server)[1] == "replaced"
