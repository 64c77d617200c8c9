"""The JSON schema of the config, with which editors complete, explain and check YAML files.

`make schema` writes it beside the shipped configs.
"""

import json
from pathlib import Path
from typing import Any

from docstring_parser import parse
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from components.shared.contracts.metric import Metric
from pipeline.config.pipeline import PipelineConfig

SCHEMA_FILE = Path(__file__).parents[1] / "configs" / "config.schema.json"


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file (draft 2020-12).

    It checks keys, types and ranges. Rules about several keys are checked when the config is
    loaded.

    Example:
    ```python
    schema = config_schema()
    assert "layer_stacks" in schema["properties"]
    assert schema["additionalProperties"] is False
    ```
    """
    schema = PipelineConfig.model_json_schema(schema_generator=_Described)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


class _Described(GenerateJsonSchema):
    """Takes the keys' descriptions from the `Args:` of the models' docstrings."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        generated = super().model_schema(schema)
        model = schema["cls"]
        generated["description"] = (parse(model.__doc__ or "").description or "").strip()
        # A model's own docstring comes last, so it replaces those that it inherits keys from.
        for base in reversed(model.__mro__):
            if base is BaseModel or not issubclass(base, BaseModel):
                continue
            for argument in parse(base.__doc__ or "").params:
                field = generated.get("properties", {}).get(argument.arg_name)
                if field is not None and argument.description:
                    field["description"] = " ".join(argument.description.split())
        return generated

    def encode_default(self, dflt: Any) -> Any:
        # pydantic 2.14 writes a default as a dataclass, not as the field's serializer does.
        return str(dflt) if isinstance(dflt, Metric) else super().encode_default(dflt)


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
