"""The part of JSON Schema that the config's schema uses."""

import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, Any] = {
    "array": list, "boolean": bool, "integer": int, "null": type(None), "number": (int, float),
    "object": dict, "string": str,
}  # fmt: skip
_BOUNDS = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
}
_SIZES = {
    "minItems": lambda value, size: len(value) >= size,
    "maxItems": lambda value, size: len(value) <= size,
    "minLength": lambda value, size: len(value) >= size,
    "minProperties": lambda value, size: len(value) >= size,
    "pattern": lambda value, pattern: re.search(pattern, value) is not None,
}
_NOTES = {
    "$defs", "$schema", "title", "description", "default", "discriminator", "propertyNames",
    "properties", "additionalProperties", "required", "items", "prefixItems",
}  # fmt: skip


def errors(value: Any, schema: Any, root: Any, where: str = "") -> Iterator[str]:
    """What is wrong with a value, with the key; a keyword that is not known here raises."""
    if schema is True or schema == {}:
        return
    for keyword, expected in schema.items():
        if keyword == "$ref":
            yield from errors(value, root["$defs"][expected.rpartition("/")[2]], root, where)
        elif keyword in ("anyOf", "oneOf"):
            fits = [not list(errors(value, one, root, where)) for one in expected]
            if not (any(fits) if keyword == "anyOf" else sum(fits) == 1):
                yield f"{where}: {value!r} fits {sum(fits)} alternatives"
        elif keyword == "type":
            right = isinstance(value, _TYPES[expected])
            if not right or (expected != "boolean" and isinstance(value, bool)):
                yield f"{where}: {value!r} is not of type {expected}"
                return
        elif keyword == "enum" and value not in expected:
            yield f"{where}: {value!r} is not in {expected}"
        elif keyword == "const" and value != expected:
            yield f"{where}: {value!r} is not {expected!r}"
        elif keyword in {**_BOUNDS, **_SIZES}:
            # A bound says nothing about what is not a number.
            applies = keyword not in _BOUNDS or isinstance(value, int | float)
            if applies and not {**_BOUNDS, **_SIZES}[keyword](value, expected):
                yield f"{where}: {value!r} breaks {keyword} {expected}"
        elif keyword not in {*_NOTES, "enum", "const"}:
            raise NotImplementedError(keyword)
    if isinstance(value, dict):
        yield from _in_object(value, schema, root, where)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from errors(item, schema.get("items", True), root, f"{where}.{number}")


def _in_object(
    value: dict[str, Any], schema: dict[str, Any], root: Any, where: str
) -> Iterator[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{where}.{key}: is missing"
    for key, item in value.items():
        if key in properties or others is not False:
            known = properties.get(key, others)
            yield from errors(item, known, root, f"{where}.{key}")
        else:
            yield f"{where}.{key}: unknown"
