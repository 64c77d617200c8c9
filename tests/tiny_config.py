"""A config that runs through all steps in seconds."""

from conftest import EVALUATE, TRAIN

from pipeline.config.loading import load_config
from pipeline.config.pipeline import PipelineConfig


def tiny(**changes: object) -> PipelineConfig:
    values = load_config("sample").model_dump(mode="json", exclude_none=True)
    values |= {
        "name": "tiny",
        "source": {"kind": "sample", "users": 60, "items": 40, "interactions": 1500},
        "train": {**TRAIN, "epochs": 2},
        "layer_stacks": [[8], [16, 8]],
        "evaluate": {**EVALUATE, "example_users": 2},
    }
    return PipelineConfig.model_validate({**values, **changes})
