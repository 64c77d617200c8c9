"""The reference of the config's keys, docs/reference/config.md, made from the models.

`make docs` writes it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.schema import config_schema

REFERENCE_FILE = Path(__file__).parents[2] / "docs" / "reference" / "config.md"

_INTRODUCTION = """\
# Config reference

<!-- `make docs` writes this page from the models of the config. Do not edit it. -->

A config is one YAML file. Every value can also be set on the command line: `--set train.epochs=5`.
In the tables, *required* keys have no default; `<name>` in a heading is a key that you choose, and
`[]` an element of a list. Rules about several keys are checked when the config is loaded, and each
message names the keys.
"""
_SCALARS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}
_Schema = dict[str, Any]


@dataclass
class _Section:
    """A model, and where a config can have it.

    Args:
        schema: The model's JSON schema.
        places: Its paths in the config, the first of which is the heading.
        tag: The key and value by which a config chooses it among several models, as
            Markdown; empty if there is no choice.
        choice: The value alone, or the place, for links.
    """

    schema: _Schema
    tag: str
    choice: str
    places: list[str] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """The heading as Markdown."""
        return f"`{self.places[0]}`{self.tag}"

    @property
    def link(self) -> str:
        """A link to the section."""
        anchor = re.sub(r"[^\w -]", "", self.heading.lower()).replace(" ", "-")
        return f"[{self.choice or f'`{self.places[0]}`'}](#{anchor})"


class _Reference:
    """The sections of the page, one for each model, in the order of the keys."""

    def __init__(self, schema: _Schema) -> None:
        self.schema = schema
        self.sections: dict[str, _Section] = {}
        self._add_models(schema, "")

    def page(self) -> str:
        """Return the page."""
        parts = [_INTRODUCTION, "## Top level\n", *self._table(self.schema)]
        for section in self.sections.values():
            level = "###" if re.search(r"[.\[]", section.places[0]) or section.tag else "##"
            parts.append(f"\n{level} {section.heading}\n")
            if section.schema.get("description"):
                parts.append(_prose(section.schema["description"]) + "\n")
            if len(section.places) > 1 and not section.tag:
                others = ", ".join(f"`{place}`" for place in section.places[1:])
                parts.append(f"Also at {others}.\n")
            parts += self._table(section.schema)
        return "\n".join(parts) + "\n"

    def _add_models(self, schema: _Schema, path: str) -> None:
        for key, value in schema.get("properties", {}).items():
            for name, tag, choice, place in _models(value, f"{path}.{key}".lstrip(".")):
                model = self.schema["$defs"][name]
                section = self.sections.setdefault(name, _Section(model, tag, choice))
                section.places.append(place)
                self._add_models(model, place)

    def _table(self, schema: _Schema) -> Iterator[str]:
        yield "| key | type | default | |"
        yield "|---|---|---|---|"
        for key, value in schema.get("properties", {}).items():
            default = "*required*" if key in schema.get("required", ()) else _default(value)
            cells = (f"`{key}`", self._type(value), default, _prose(value.get("description", "")))
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    def _type(self, schema: _Schema) -> str:
        """Return the type of a value, and its range, as Markdown."""
        if "$ref" in schema:
            return self.sections[_name(schema["$ref"])].link
        if "const" in schema:
            return f"`{schema['const']}`"
        if "enum" in schema:
            return _either([f"`{value}`" for value in schema["enum"]])
        members = [one for one in _members(schema) if one.get("type") != "null"]
        if members:
            types = list(dict.fromkeys(map(self._type, members)))
            return _either([one for one in types if one != "integer" or "number" not in types])
        if schema.get("type") == "array":
            return f"list{_size(schema, 'Items')} of {self._type(schema.get('items', {}))}"
        if schema.get("type") == "object":
            return self._map_type(schema)
        words = re.fullmatch(r"\^\(([\w|]+)\)\$", schema.get("pattern", ""))
        if words:
            return _either([f"`{word}`" for word in words[1].split("|")])
        return _SCALARS.get(schema.get("type", ""), "any value") + _range(schema)

    def _map_type(self, schema: _Schema) -> str:
        values = schema.get("additionalProperties")
        keys = schema.get("propertyNames", {})
        named = f", {self._type(keys)}" if "enum" in keys else ""
        kind = self._type(values) if isinstance(values, dict) else "any value"
        return f"by name{named}{_size(schema, 'Properties')}: {kind}"


def _models(schema: _Schema, place: str) -> Iterator[tuple[str, str, str, str]]:
    """Find the models of a value.

    Yields:
        A model's name; how it is chosen, as Markdown and for links, both empty without a choice;
        and its path.
    """
    if "$ref" in schema:
        yield _name(schema["$ref"]), "", "", place
    discriminator = schema.get("discriminator", {})
    for member in _members(schema):
        for name, tag, choice, path in _models(member, place):
            values = [
                f"`{value}`"
                for value, reference in discriminator.get("mapping", {}).items()
                if _name(reference) == name
            ]
            if values:
                choice = _either(values)
                tag = f" with `{discriminator['propertyName']}`: {choice}"
            elif len(_members(schema)) > 1 and not any(
                one.get("type") == "null" for one in _members(schema)
            ):
                choice = name.lower()
                tag = f" as {choice}"
            yield name, tag, choice, path
    if isinstance(schema.get("items"), dict):
        yield from _models(schema["items"], f"{place}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _models(schema["additionalProperties"], f"{place}.<name>")


def _members(schema: _Schema) -> list[_Schema]:
    members: list[_Schema] = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return members


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _either(words: list[str]) -> str:
    if len(words) > 1:
        joined = ", ".join(words[:-1])
        return f"{joined}, or {words[-1]}" if "," in words[-2] else f"{joined} or {words[-1]}"
    return words[0]


def _range(schema: _Schema) -> str:
    limits = [
        f"{words} {schema[key]}"
        for key, words in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    if "pattern" in schema:
        limits.append(f"`{schema['pattern']}`")
    return f", {' and '.join(limits)}" if limits else ""


def _size(schema: _Schema, what: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if low is None and high is None:
        return ""
    if low == high:
        return f" (exactly {low})"
    if high is None:
        return f" ({low} or more)"
    return f" ({low or 0} to {high})"


def _default(schema: _Schema) -> str:
    value = schema.get("default")
    if value is None or value == {} or "$ref" in schema:
        return ""
    if value == "":
        return "empty"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _prose(text: str) -> str:
    """Return a description as Markdown: what looks like HTML outside of code is text."""
    parts = text.split("`")
    return "`".join(
        part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts)
    )


def config_reference() -> str:
    """Return the page, as Markdown.

    Example:
    ```python
    assert "| `epochs` | integer, at least 1, or `auto` | `auto` |" in config_reference()
    ```
    """
    return _Reference(config_schema()).page()


if __name__ == "__main__":
    REFERENCE_FILE.parent.mkdir(parents=True, exist_ok=True)
    REFERENCE_FILE.write_text(config_reference(), encoding="utf-8")
