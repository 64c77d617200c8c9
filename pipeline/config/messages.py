"""Messages about wrong keys and values in a config: one sentence for each."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from pipeline.config.locations import allowed_keys, as_written
from pipeline.config.suggestions import did_you_mean


def explain(error: ValidationError) -> str:
    """Describe each wrong key or value: where it is, and what is allowed there.

    Args:
        error: pydantic's errors on a `PipelineConfig`.

    Returns:
        One sentence, or a list with a line for each problem.
    """
    # A check of the whole config finds several problems, each in a line of its own.
    sentences = [
        sentence for problem in error.errors() for sentence in _sentence(problem).splitlines()
    ]
    if len(sentences) == 1:
        sentence = sentences[0]
        return sentence if sentence.endswith("?") else sentence.rstrip(".") + "."
    return f"{len(sentences)} problems:\n" + "\n".join(f"  {sentence}" for sentence in sentences)


def _sentence(problem: Mapping[str, Any]) -> str:
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    message = problem["msg"].removeprefix("Value error, ")
    kind = problem["type"]
    if kind == "extra_forbidden":
        allowed = allowed_keys(location[:-1])
        message = "unknown key"
        if allowed:
            suggestion = did_you_mean(location[-1], allowed)
            message += f". Allowed here: {', '.join(allowed)}" + (suggestion and "." + suggestion)
    elif kind == "missing":
        message = "is missing"
    elif kind != "value_error":
        given = problem["input"]
        message += f", not {given!r}"
        if kind == "literal_error" and isinstance(given, str):
            suggestion = did_you_mean(given, _quoted(problem["ctx"]["expected"]))
            message += suggestion and "." + suggestion
        elif kind == "union_tag_invalid":
            suggestion = did_you_mean(
                str(problem["ctx"]["tag"]), _quoted(problem["ctx"]["expected_tags"])
            )
            message += suggestion and "." + suggestion
    key = ".".join(as_written(location))
    return f"{key}: {message}" if key else message


def _quoted(text: str) -> list[str]:
    """Return the words in quotes, in pydantic's list of the values that it expected."""
    return re.findall(r"'([^']*)'", text)
