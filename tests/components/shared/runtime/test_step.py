import errno
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest

from components.ingest.config import IngestConfig
from components.shared.runtime.errors import InputError, describe_os_error
from components.shared.runtime.progress import progress_lines
from components.shared.runtime.step import run_step


def raises(error: BaseException) -> Any:
    def job(**_: Any) -> dict[str, Any]:
        raise error

    return job


def test_a_step_passes_arguments_on_and_adds_its_times(capsys: pytest.CaptureFixture[str]) -> None:
    summary = run_step("train", lambda *, epochs: {"epochs": epochs}, epochs=3)
    assert summary.keys() == {"epochs", "seconds", "startup_seconds"}
    assert summary["epochs"] == 3
    assert 0 < summary["startup_seconds"] <= summary["seconds"]
    out = capsys.readouterr().out
    assert out.startswith("[train] done in ")
    assert out.endswith("s of it start-up\n")


def test_an_input_error_is_printed_line_by_line_and_ends_the_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = InputError("u.data is empty.\nExamples:\n  none")
    with pytest.raises(SystemExit) as caught:
        run_step("ingest", raises(error))
    assert caught.value.code == 1
    assert caught.value.__cause__ is error
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "[ingest] error: u.data is empty.",
        "[ingest] Examples:",
        "[ingest]   none",
    ]
    assert captured.err == ""


@pytest.mark.parametrize(
    "placeholder",
    [
        "{{$.pipeline_job_schedule_time_utc}}",
        "{{$.pipeline_job_create_time_utc}}",
        "[[ScheduledTime]]",
        "[[ScheduledTime.2006-01-02]]",
        "[[CurrentTime]]",
        "[[RunUUID]]",
        "[[Index]]",
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        lambda text: text,
        lambda text: f"s3://bucket/{text}/log.csv",
        lambda text: {"kind": "files", "interactions": f"s3://bucket/{text}/log.csv"},
        lambda text: {"columns": [{"name": "at"}, {"name": text}]},
        lambda text: {text: 1},
    ],
    ids=["itself", "in a path", "in an object", "in a list in an object", "as a key"],
)
def test_an_unreplaced_placeholder_is_refused_however_deep_it_is_nested(
    capsys: pytest.CaptureFixture[str], placeholder: str, around: Callable[[str], Any]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_step("ingest", raises(AssertionError("it ran")), seed=1, source=around(placeholder))

    assert caught.value.code == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[ingest] error: source: Kubeflow Pipelines did not replace ")
    assert f"the placeholder {placeholder}. " in line
    assert "2.17 or later" in line
    assert "data_until: scheduled" in line


@pytest.mark.parametrize(
    "value",
    [
        "{{name}}", "{$.name}", "[[Tag]]", "[ScheduledTime]", "ScheduledTime",
        {"a": {"b": {"c": 1}}}, [["ScheduledTime"]], [[1, 2]], {"features": [["$.x"]]},
    ],
    ids=str,
)  # fmt: skip
def test_text_that_resembles_a_placeholder_is_passed_on(value: Any) -> None:
    assert run_step("ingest", lambda *, source: {"source": source}, source=value)["source"] == value


def test_invalid_settings_are_printed_and_end_the_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def job(**config: Any) -> dict[str, Any]:
        return IngestConfig.model_validate(config).model_dump()

    with pytest.raises(SystemExit):
        run_step("ingest", job, sharts=2)
    printed = capsys.readouterr().out
    assert "[ingest] error: 1 validation error for IngestConfig" in printed
    assert "sharts" in printed


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space, or choose another folder"),
        (errno.EACCES, "make the folder writable, or choose another one"),
        (errno.EROFS, "make the folder writable, or choose another one"),
        (errno.ENOTDIR, "choose another folder"),
    ],
    ids=lambda value: errno.errorcode.get(value) if isinstance(value, int) else "",
)
def test_an_os_error_is_one_line_with_path_and_advice(
    capsys: pytest.CaptureFixture[str], number: int, advice: str
) -> None:
    reason = os.strerror(number)
    with pytest.raises(SystemExit) as caught:
        run_step("export", raises(OSError(number, reason, "/out/model")))
    assert caught.value.code == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"[export] error: {reason}: /out/model. To fix this: ")
    assert line.endswith(f"{advice}.")


def test_an_os_error_without_advice_or_path_keeps_its_text() -> None:
    assert describe_os_error(OSError("odd")) == "odd"
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "/in")
    assert describe_os_error(missing) == "No such file or directory: /in"


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("bug"), RuntimeError("bug")])
def test_other_errors_pass_through(capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run_step("adapt", raises(error))
    assert caught.value is error
    assert capsys.readouterr().out == ""


def test_a_runtime_error_raised_after_an_os_error_passes_through() -> None:
    def job() -> dict[str, Any]:
        try:
            raise OSError(errno.ENOENT, "No such file or directory")
        except OSError:
            raise RuntimeError("the real problem")  # noqa: B904 - as careless code would

    with pytest.raises(RuntimeError, match="the real problem"):
        run_step("adapt", job)


def _beam_with(error: Exception) -> dict[str, Any]:
    import apache_beam as beam

    from components.shared.runtime.beam import pipeline_options

    def fail(_: int) -> int:
        raise error

    with beam.Pipeline(options=pipeline_options([])) as pipeline:
        _ = pipeline | beam.Create([1]) | beam.Map(fail)
    return {}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("log.csv is bad."), "log.csv is bad."),
        (
            OSError(errno.ENOSPC, "No space left on device", "/out"),
            "No space left on device: /out. "
            "To fix this: free some space, or choose another folder.",
        ),
    ],
    ids=["InputError", "OSError"],
)
def test_errors_in_beam_workers_are_reported_as_they_were_raised(
    capfd: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    with pytest.raises(SystemExit):
        run_step("ingest", _beam_with, error=error)
    out, err = capfd.readouterr()
    assert out == f"[ingest] error: {line}\n"
    assert err == ""


def test_other_errors_in_beam_workers_keep_their_type_and_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="while running"):
        run_step("ingest", _beam_with, error=ZeroDivisionError("bug"))


def test_every_line_of_a_message_names_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines("train"):
        logging.getLogger("components.train.job").info("one\ntwo")
        logging.getLogger("components.train.job").warning("three")

    assert capsys.readouterr().out == "[train] one\n[train] two\n[train] warning: three\n"
