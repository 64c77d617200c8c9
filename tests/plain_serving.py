"""Serves SavedModels with TensorFlow and nothing of this project: one JSON line in, one out.

A request has `model` (a folder), `inputs` ({name: [dtype, values]}) and `k`; with `exclude`
([dtype, ids, shape]) it goes to the signature `excluding`.
"""

import json
import sys
from typing import Any

import tensorflow as tf

models: dict[str, Any] = {}


def plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def tensor(dtype: str, values: list[Any]) -> Any:
    return tf.constant(values, tf.as_dtype(dtype))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    path = request["model"]
    if path not in models:
        models[path] = tf.saved_model.load(path)
    model = models[path]
    inputs = {name: tensor(*value) for name, value in request["inputs"].items()}
    inputs["k"] = tf.constant(request["k"])
    name = "serving_default"
    if request.get("exclude"):
        name = "excluding"
        dtype, ids, shape = request["exclude"]
        inputs["exclude"] = tf.reshape(tensor(dtype, ids), shape)
    outputs = model.signatures[name](**inputs)
    return {
        **{
            key: [[plain(item) for item in row] for row in value.numpy().tolist()]
            for key, value in outputs.items()
        },
        "dtypes": {key: value.dtype.name for key, value in outputs.items()},
        "signatures": {
            key: {name: spec.dtype.name for name, spec in f.structured_input_signature[1].items()}
            for key, f in model.signatures.items()
        },
        "foreign": sorted(
            module
            for module in sys.modules
            if module.split(".")[0] in ("components", "pipeline", "conftest")
        ),
    }


for line in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(line))), flush=True)
    except Exception as error:  # noqa: BLE001 - the test that asked is to see it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
