"""Turns validation errors into one sentence per key."""

from collections.abc import Iterable
from typing import Any

from pydantic import (
    Tag,
    ValidationError,
)
from pydantic.fields import FieldInfo

from pipeline.config.pipeline import PipelineConfig


def explain(error: ValidationError) -> str:
    """Turns pydantic's errors into one sentence a key."""
    sentences = []
    for problem in error.errors():
        # pydantic puts the chosen kind of a source or feature into the path; a user did not.
        location = [str(part) for part in problem["loc"] if part != "[key]"]
        key = ".".join(_written(location))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(allowed_keys(location[:-1]))
            message = f"unknown key. Allowed here: {allowed}" if allowed else "unknown key"
        elif problem["type"] == "missing":
            message = "is missing"
        elif problem["type"] != "value_error":
            message = f"{message}, not {problem['input']!r}"
        sentences.append(f"{key}: {message}" if key else message)
    if len(sentences) == 1:
        return sentences[0].rstrip(".") + "."
    return f"{len(sentences)} problems:\n" + "\n".join(f"  {sentence}" for sentence in sentences)


def walk(location: list[str]) -> Iterable[tuple[str, bool, Any]]:
    """Follows a pydantic location; yields each part, whether a user wrote it, and its type."""
    annotation: Any = PipelineConfig
    for part in location:
        fields = getattr(annotation, "model_fields", None)
        if fields is not None:
            annotation = _present(fields[part].annotation) if part in fields else None
            yield part, True, annotation
            continue
        options = _options(annotation)
        if part in options:  # the tag of a discriminated union
            annotation = options[part]
            yield part, False, annotation
            continue
        arguments = getattr(annotation, "__args__", ())
        annotation = arguments[-1] if arguments else None
        yield part, True, annotation


def _present(annotation: Any) -> Any:
    """`X` of `X | None`."""
    members = getattr(annotation, "__args__", ())
    present = [member for member in members if member is not type(None)]
    return present[0] if len(present) == 1 < len(members) else annotation


def _options(annotation: Any) -> dict[str, Any]:
    """The members of a discriminated union by their tag."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    members = getattr(annotation, "__args__", ())
    options = {}
    for member in members:
        for mark in getattr(member, "__metadata__", ()):
            if isinstance(mark, Tag):
                options[mark.tag] = member.__origin__
        for key in ("kind", "type"):
            field: FieldInfo | None = getattr(member, "model_fields", {}).get(key)
            if field is not None:
                options.update(dict.fromkeys(getattr(field.annotation, "__args__", ()), member))
    return options


def _written(location: list[str]) -> list[str]:
    return [part for part, written, _ in walk(location) if written]


def allowed_keys(location: list[str]) -> list[str]:
    """Returns the keys that a config may have at a location."""
    types = [PipelineConfig, *(annotation for _, _, annotation in walk(location))]
    annotation = types[-1]
    return list(getattr(annotation, "model_fields", {}))
