"""The config's structure: which keys may be at a location."""

from collections.abc import Iterator, Sequence
from typing import Any, get_origin

from pydantic import Tag
from pydantic.fields import FieldInfo

from pipeline.config.pipeline import PipelineConfig


def allowed_keys(location: Sequence[str]) -> list[str]:
    """Return the keys that a config may have at a location; none if any key is allowed.

    Args:
        location: The keys from the top of the config, or pydantic's location.

    Example:
    ```python
    assert allowed_keys(["publish"]) == ["location", "warm_start"]
    ```
    """
    return list(getattr(_type_at(location), "model_fields", {}))


def is_key(parents: Sequence[str], key: str) -> bool:
    """Return whether a config may have a key below others."""
    annotation = _type_at(parents)
    return get_origin(annotation) is dict or key in getattr(annotation, "model_fields", {})


def as_written(location: Sequence[str]) -> list[str]:
    """Return pydantic's location as the user wrote it.

    pydantic adds the kind of a source and the type of a feature.
    """
    return [part for part, is_written, _ in _walk(location) if is_written]


def _type_at(location: Sequence[str]) -> Any:
    types = [PipelineConfig, *(annotation for _, _, annotation in _walk(location))]
    return types[-1]


def _walk(location: Sequence[str]) -> Iterator[tuple[str, bool, Any]]:
    """Follow a location; yield each part, whether a user wrote it, and its type."""
    annotation: Any = PipelineConfig
    for part in location:
        fields = getattr(annotation, "model_fields", None)
        if fields is not None:
            annotation = _without_none(fields[part].annotation) if part in fields else None
            yield part, True, annotation
            continue
        members = _members_by_tag(annotation)
        if part in members:
            annotation = members[part]
            yield part, False, annotation
            continue
        arguments = getattr(annotation, "__args__", ())
        annotation = arguments[-1] if arguments else None
        yield part, True, annotation


def _without_none(annotation: Any) -> Any:
    """Return `X` for `X | None`."""
    members = getattr(annotation, "__args__", ())
    present = [member for member in members if member is not type(None)]
    return present[0] if len(present) == 1 < len(members) else annotation


def _members_by_tag(annotation: Any) -> dict[str, Any]:
    """Return the members of a discriminated union by their tag."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    members = {}
    for member in getattr(annotation, "__args__", ()):
        for mark in getattr(member, "__metadata__", ()):
            if isinstance(mark, Tag):
                members[mark.tag] = member.__origin__
        for key in ("kind", "type"):
            field: FieldInfo | None = getattr(member, "model_fields", {}).get(key)
            if field is not None:
                members.update(dict.fromkeys(getattr(field.annotation, "__args__", ()), member))
    return members
