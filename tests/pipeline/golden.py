"""Writes the golden file: the pipeline compiled for a cluster that the test compares with.

Images are named without their content's hash, which changes with every line of code.
"""

import tempfile
from pathlib import Path
from typing import Any

import yaml

from components.shared.runtime.images import STEP_IMAGES
from pipeline.compilation import build_pipeline, compile_pipeline
from pipeline.config.loading import load_config

GOLDEN = Path(__file__).with_name("golden_sample.yaml")


def compiled(config_name: str, **images: str) -> dict[str, Any]:
    """Compiles a shipped config for this machine, and reads the IR back."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "pipeline.yaml")
        pipeline = build_pipeline(load_config(config_name), {**STEP_IMAGES, **images})
        compiler.Compiler().compile(pipeline, path)
        return yaml.safe_load(Path(path).read_text())


def compiled_for_cluster(config_name: str) -> dict[str, Any]:
    """Compiles a shipped config for a cluster, and reads the IR back."""
    return yaml.safe_load(compile_pipeline(load_config(config_name), STEP_IMAGES))


if __name__ == "__main__":
    GOLDEN.write_text(yaml.safe_dump(compiled_for_cluster("sample"), sort_keys=True))
    print(f"wrote {GOLDEN}")
