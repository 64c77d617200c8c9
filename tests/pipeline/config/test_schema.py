"""The JSON schema of the config, which editors use."""

from pathlib import Path

import pytest
import yaml
from json_schema import errors

from pipeline.config.loading import shipped_configs
from pipeline.config.schema import SCHEMA_FILE, config_schema, schema_text

SCHEMA = config_schema()


def test_the_file_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run 'make schema'"


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_config_fits_the_schema_that_it_names(name: str) -> None:
    path = SCHEMA_FILE.parent / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")

    assert list(errors(yaml.safe_load(text), SCHEMA, SCHEMA)) == []
    [comment] = [line for line in text.splitlines() if "yaml-language-server" in line]
    assert (path.parent / Path(comment.partition("$schema=")[2])).resolve() == SCHEMA_FILE


@pytest.mark.parametrize(
    ("section", "wrong", "where"),
    [
        ("train", {"epoch": 5}, ".train.epoch"),
        ("train", {"epochs": 0}, ".train.epochs"),
        ("train", {"loss": "hinge"}, ".train.loss"),
        ("source", {"kind": "kaggle"}, ".source"),
        ("cluster", {"defaults": {"cpu_limit": []}}, ".cluster.defaults.cpu_limit"),
        ("features", {}, ".features.query"),
    ],
)
def test_a_wrong_key_or_value_does_not_fit(section: str, wrong: object, where: str) -> None:
    values = yaml.safe_load((SCHEMA_FILE.parent / "sample.yaml").read_text())

    found = list(errors({**values, section: wrong}, SCHEMA, SCHEMA))

    assert any(error.startswith(where) for error in found), found


def test_keys_have_the_descriptions_of_the_models() -> None:
    assert SCHEMA["properties"]["seed"]["description"]
    assert "Args:" not in schema_text()
