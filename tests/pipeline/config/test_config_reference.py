"""docs/reference/config.md, which is made from the models of the config."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from components.shared.features.types import FEATURE_TYPES
from pipeline.config import reference
from pipeline.config.reference import REFERENCE_FILE, config_reference
from pipeline.config.schema import config_schema

PAGE = config_reference()
SCHEMA = config_schema()


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of the table below a heading, by key."""
    section = PAGE.partition(f"# {heading}\n")[2].partition("\n#")[0]
    cells = [
        re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if "| `" in line
    ]
    return {row[0].strip("`"): row[1:] for row in cells}


def models() -> Iterator[dict[str, Any]]:
    yield SCHEMA
    yield from SCHEMA["$defs"].values()


def test_the_page_is_current() -> None:
    assert REFERENCE_FILE.read_text(encoding="utf-8") == PAGE, "run 'make docs'"


def test_each_model_has_a_table_of_its_keys() -> None:
    lines = PAGE.splitlines()
    for model in models():
        table = [f"| `{key}` |" for key in model.get("properties", {})]
        assert any(
            all(line.startswith(start) for line, start in zip(lines[at:], table, strict=False))
            for at in range(len(lines))
        ), model.get("title")


def test_every_key_is_described() -> None:
    bare = [line for line in PAGE.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert bare == []


def test_ranges_defaults_and_required_keys_are_stated() -> None:
    train, ingest, files = (
        rows("`train`"),
        rows("`ingest`"),
        rows("`source` with `kind`: `files`"),
    )
    assert train["epochs"][:2] == ["integer, at least 1, or `auto`", "`auto`"]
    assert train["dropout"][:2] == ["number, at least 0 and below 1, or `auto`", "`auto`"]
    assert train["loss"][0] == "`mse`, `softmax`, `quadratic` or `auto`"
    assert train["monitor"][1] == "`hit_rate_at_100_filtered`"
    assert ingest["test_fraction"][0] == "number, above 0 and below 1"
    assert files["interactions"][1] == "*required*"
    assert files["columns"][0] == "[`source.columns`](#sourcecolumns)"


def test_each_source_and_each_feature_type_has_a_section() -> None:
    for kind in ("sample", "movielens", "files"):
        assert f"### `source` with `kind`: `{kind}`\n" in PAGE
    headings = [line for line in PAGE.splitlines() if "with `type`:" in line and line[0] == "#"]
    for name in FEATURE_TYPES:
        assert any(f"`{name}`" in heading for heading in headings), name


def test_headings_are_unique_and_links_lead_to_one() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= set(anchors)


def test_a_new_key_needs_no_change_of_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = {"enum": ["red", "blue"], "default": "red", "description": "One of <two>: a|b."}
    palette = {
        "type": "object",
        "description": "A new model.",
        "properties": {"colours": {"type": "array", "items": colour, "minItems": 1}},
        "required": ["colours"],
    }
    schema = {
        "$defs": {"Palette": palette},
        "properties": {
            "colour": colour,
            "palettes": {
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/Palette"},
                "description": "By name.",
            },
        },
    }
    monkeypatch.setattr(reference, "config_schema", lambda: schema)
    page = config_reference()
    assert "| `colour` | `red` or `blue` | `red` | One of &lt;two>: a\\|b. |" in page
    assert "by name: [`palettes.<name>`](#palettesname)" in page
    assert "### `palettes.<name>`\n\nA new model.\n" in page
    assert "| `colours` | list (1 or more) of `red` or `blue` | *required* |" in page
