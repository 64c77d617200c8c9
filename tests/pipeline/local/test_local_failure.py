"""The explanation of a failed run."""

import io
from pathlib import Path

from pipeline.local.display import PlainDisplay
from pipeline.local.failure import explain_failure
from pipeline.local.output import RunOutput

KFP = "Pipeline 'deep-retrieval' has FAILED. Inner task failed: \x1b[96m'{}'\x1b[0m."
LOG = Path("work/run.log")


def printed(*lines: str) -> RunOutput:
    output = RunOutput(PlainDisplay(io.StringIO()), io.StringIO())
    for line in lines:
        output.line(line)
    return output


def test_an_error_of_a_step_is_told_in_its_own_words() -> None:
    output = printed("[train] epoch 1", "[train] error: The loss became nan.", "[train] Lower it.")
    message = explain_failure(KFP.format("train"), output, LOG, [])
    assert message == "train: The loss became nan.\nLower it."


def test_an_unexpected_error_is_told_with_the_last_output_and_the_log() -> None:
    output = printed("[train] epoch 1", "Traceback", "KeyError: 3")
    message = explain_failure(KFP.format("fetch-published-2"), output, LOG, [])
    assert message == (
        "fetch_published failed unexpectedly. Its last output:\n[train] epoch 1\nTraceback\n"
        "KeyError: 3\nThe whole log: work/run.log"
    )


def test_a_container_that_was_killed_is_told() -> None:
    message = explain_failure(KFP.format("train"), printed(), LOG, ["it ran out of memory"])
    assert message.startswith("train: it ran out of memory. Its last output:")
